"""Pulling from a hub on loopback, by the hub's own client; and from a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stapes.engines.model_folder import RECORD
from stapes.errors import HubUnreachableError, ModelError
from stapes.models import pulling
from stapes.models.catalogue import Model, ModelFile
from stapes.models.pulling import pull, pull_from
from stapes.models.shelf import find_faults, read_record, read_shelf
from tests.hub import COMMIT, REPOSITORY, Hub, running_hub, sha256

MIB = 1024 * 1024
WEIGHTS = bytes(range(256)) * 4000
TOKENS = b"a 0\nb 1\n"
PATHS = ("model.onnx", "lang/tokens.txt")
FILES = {"model.onnx": WEIGHTS, "lang/tokens.txt": TOKENS, "README.md": b"not wanted"}


def row(**changes: object) -> Model:
    """A model of two files, of which the catalogue knows no size or hash."""
    values = {
        "name": "tiny",
        "engine": "scripted",
        "model_type": "ORACLE",
        "languages": ["en-US"],
        "domains": ["GENERIC"],
        "sample_rate_hz": 16000,
        "streaming": True,
        "repository": REPOSITORY,
        "files": [{"path": path} for path in PATHS],
    }
    return Model.model_validate({**values, **changes})


def pinned(weights: bytes = WEIGHTS) -> Model:
    """The model at one commit, with sizes and hashes."""
    files = {"model.onnx": weights, "lang/tokens.txt": TOKENS}
    return row(
        revision=COMMIT,
        files=[
            {
                "path": path,
                "size": len(content),
                "sha256": sha256(content),
            }
            for path, content in files.items()
        ],
    )


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub(dict(FILES)) as hub:
        yield hub


def installed(shelf: Path) -> set[str]:
    """Names of what looks installed."""
    return set(read_shelf(shelf, {}).models)


@pytest.mark.parametrize("model", [row(), pinned()], ids=["newest", "pinned"])
def test_a_pulled_model_is_whole_and_records_what_it_is(
    tmp_path: Path, hub: Hub, model: Model
) -> None:
    """The commit, and size and hash of every file; nothing else is left."""
    found = pull(model, tmp_path, mirror=hub.url)

    assert found.folder == tmp_path / "tiny"
    assert (found.folder / "model.onnx").read_bytes() == WEIGHTS
    assert read_record(found.folder) == pinned() == found.row
    assert find_faults(found) == []
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {f"tiny/{name}" for name in (*PATHS, RECORD)}


def test_nobodys_token_is_sent(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to the hub nor to a mirror."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pull(row(), tmp_path, mirror=hub.url)
    assert hub.headers
    assert "hf_secret" not in str(hub.headers)


def test_a_model_that_is_there_is_not_fetched_again(tmp_path: Path, hub: Hub) -> None:
    """Unless a file of it is not as it was."""
    pull(row(), tmp_path, mirror=hub.url)
    hub.asked.clear()
    pull(row(), tmp_path, mirror=hub.url)
    assert [path for _, path, _ in hub.asked if "resolve" in path] == []

    (tmp_path / "tiny" / "model.onnx").write_bytes(b"broken")
    assert find_faults(pull(row(), tmp_path, mirror=hub.url)) == []


def test_a_cut_connection_leaves_nothing_and_the_next_pull_goes_on(
    tmp_path: Path, hub: Hub
) -> None:
    """From what the client had written by then, which it does by 10 MiB."""
    hub.files["model.onnx"] = bytes(12 * MIB)
    hub.cut_at = 11 * MIB
    with pytest.raises(HubUnreachableError, match="503"):
        pull(row(), tmp_path, mirror=hub.url)
    assert installed(tmp_path) == set()

    hub.cut_at, hub.is_cut = None, False
    hub.asked.clear()
    found = pull(row(), tmp_path, mirror=hub.url)
    firsts = [first for way, path, first in hub.asked if way == "GET" and "model.onnx" in path]
    assert firsts == [10 * MIB]
    assert found.row.files[0].sha256 == sha256(bytes(12 * MIB))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_what_the_catalogue_says_of_a_model_that_is_there_is_taken_over(
    tmp_path: Path, hub: Hub
) -> None:
    """Its languages, options and licence are those of the row that was changed meanwhile."""
    pull(row(), tmp_path, mirror=hub.url)
    hub.asked.clear()
    other = {"languages": ["en-US", "en-GB"], "sherpa": {"delay_ms": 80}, "licence": "MIT"}
    found = pull(row(**other), tmp_path, mirror=hub.url)
    assert [path for _, path, _ in hub.asked if "resolve" in path] == []
    assert found.row == read_record(tmp_path / "tiny")
    assert found.row == pinned().model_copy(update={**other, "languages": ("en-US", "en-GB")})
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == sorted(
        ("lang", "model.onnx", RECORD)
    )


def test_a_mirror_may_be_written_with_a_slash_behind_it(tmp_path: Path, hub: Hub) -> None:
    """It is the same mirror."""
    pull(row(), tmp_path, mirror=f"{hub.url}/")
    assert not any(target.startswith("//") for target in hub.targets)


def test_a_disk_that_is_full_is_no_fault_of_the_hub(tmp_path: Path, hub: Hub) -> None:
    """It is said as it is, and nothing is installed."""
    full = tmp_path / f".tiny.pulling-{COMMIT[:12]}" / "model.onnx.part"
    full.parent.mkdir()
    full.symlink_to("/dev/full")
    with pytest.raises(ModelError, match="No space left on device") as caught:
        pull(row(), tmp_path, mirror=hub.url)
    assert not isinstance(caught.value, HubUnreachableError)
    assert installed(tmp_path) == set()


def test_a_file_of_another_hash_than_the_catalogues_is_refused(tmp_path: Path, hub: Hub) -> None:
    """Nothing is installed, and the right one is fetched when it is there."""
    hub.files["model.onnx"] = WEIGHTS[::-1]
    with pytest.raises(ModelError, match=r"model\.onnx of tiny .* hash is wrong"):
        pull(pinned(), tmp_path, mirror=hub.url)
    assert installed(tmp_path) == set()

    hub.files["model.onnx"] = WEIGHTS
    assert find_faults(pull(pinned(), tmp_path, mirror=hub.url)) == []


@pytest.mark.parametrize("path", ["model.onnx", "lang/tokens.txt"])
def test_a_file_of_another_hash_than_the_hubs_is_refused(
    tmp_path: Path, hub: Hub, path: str
) -> None:
    """A SHA-256 of large files, a git id of small ones."""
    hub.promised[path] = FILES[path][::-1]
    with pytest.raises(ModelError, match="hash is wrong"):
        pull(row(), tmp_path, mirror=hub.url)
    assert installed(tmp_path) == set()


def test_what_the_hub_has_not_is_an_error_of_the_model(tmp_path: Path, hub: Hub) -> None:
    """A file, a commit, a repository."""
    with pytest.raises(ModelError, match=r"somebody/tiny has no other\.onnx"):
        pull(row(files=[{"path": "other.onnx"}]), tmp_path, mirror=hub.url)
    with pytest.raises(ModelError, match=r"refuses somebody/tiny at .* 404"):
        pull(row(revision="f" * 40), tmp_path, mirror=hub.url)
    with pytest.raises(ModelError, match="refuses somebody/else at main"):
        pull(row(repository="somebody/else"), tmp_path, mirror=hub.url)
    with pytest.raises(ModelError, match="--from"):
        pull(row(repository=None), tmp_path, mirror=hub.url)


def test_a_hub_that_refuses_connections_is_told_in_one_line_at_once(tmp_path: Path) -> None:
    """It names the hub, and what else there is to do."""
    with running_hub({}) as gone:
        pass
    with pytest.raises(HubUnreachableError, match=f"{gone.url} cannot be reached") as caught:
        pull(row(), tmp_path, mirror=gone.url)
    assert "\n" not in str(caught.value)
    assert "--from" in str(caught.value)


def test_a_hub_that_says_nothing_is_given_up(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it would have gone on; people wait less than five seconds for it."""
    assert pulling.ANSWER_TIMEOUT_S < 5
    monkeypatch.setattr(pulling, "ANSWER_TIMEOUT_S", 0.1)
    hub.is_silent = True
    with pytest.raises(HubUnreachableError):
        pull(row(), tmp_path, mirror=hub.url)


def test_without_the_hubs_client_the_command_that_installs_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder needs none."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install 'stapes\[models\]'"):
        pull(row(), tmp_path / "shelf")
    (tmp_path / "model.onnx").write_bytes(WEIGHTS)
    (tmp_path / "tokens.txt").write_bytes(TOKENS)
    assert find_faults(pull_from(row(), tmp_path / "shelf", tmp_path)) == []


def test_a_folder_that_was_pulled_elsewhere_is_installed_with_its_commit(
    tmp_path: Path, hub: Hub
) -> None:
    """Its files are where they were."""
    there = pull(row(), tmp_path / "there", mirror=hub.url).folder
    assert there is not None
    here = pull_from(row(), tmp_path / "here", there)
    assert here.row == pinned()
    assert pull_from(pinned(), tmp_path / "here", there).row == pinned()


def test_a_wrong_or_missing_file_of_a_folder_installs_nothing(tmp_path: Path) -> None:
    """It is named, and what was installed stays."""
    shelf, source = tmp_path / "shelf", tmp_path / "source"
    source.mkdir()
    (source / "model.onnx").write_bytes(WEIGHTS)
    with pytest.raises(ModelError, match=r"no lang/tokens\.txt in "):
        pull_from(pinned(), shelf, source)
    assert installed(shelf) == set()

    (source / "tokens.txt").write_bytes(TOKENS)
    pull_from(pinned(), shelf, source)
    (source / "model.onnx").write_bytes(b"other")
    with pytest.raises(ModelError, match=r"model\.onnx is not what it should be"):
        pull_from(pinned(), shelf, source)
    assert find_faults(read_shelf(shelf, {}).models["tiny"]) == []
    assert [path.name for path in shelf.iterdir()] == ["tiny"]


def test_files_of_one_commit_may_be_of_an_unknown_one(tmp_path: Path) -> None:
    """A folder without a record, and a row without hashes."""
    (tmp_path / "model.onnx").write_bytes(WEIGHTS)
    model = row(files=[ModelFile(path="model.onnx")], revision=COMMIT)
    assert pull_from(model, tmp_path / "shelf", tmp_path).row.revision is None

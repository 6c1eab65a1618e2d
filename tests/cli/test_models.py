"""``stapes models``, against a hub on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stapes.models.catalogue import EXTRAS, read_catalogue
from tests.cli.conftest import Run
from tests.engines.models import PUNCTUATION
from tests.hub import COMMIT, REPOSITORY, Hub, running_hub

ROW = f"""
[models.tiny]
engine = "scripted"
repository = "{REPOSITORY}"
model_type = "ORACLE"
languages = ["en-US"]
domains = ["GENERIC"]
sample_rate_hz = 16000
streaming = true
licence = "CC0-1.0"
files = [{{ path = "model.onnx" }}]
[models.tiny.wer]
percent = 12.5
set = "ours"
source = "measured here"
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub({"model.onnx": b"weights"}) as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a row of its own; no command has to have made it a home."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "models.toml").write_text(ROW)
    monkeypatch.setenv("STAPES_HOME", str(folder))
    return folder


@pytest.fixture
def pulled(home: Path, hub: Hub, run: Run) -> Path:
    """The folder of the model, which was pulled."""
    assert run("models", "pull", "tiny", "--mirror", hub.url).exit_code == 0
    return home / "models" / "tiny"


def objects(run: Run) -> dict[str, dict[str, Any]]:
    """What ``models list --json`` says, by name."""
    return {each["name"]: each for each in json.loads(run("models", "list", "--json").stdout)}


def test_list_has_every_row_and_what_is_installed(run: Run, home: Path) -> None:
    """One's own rows first."""
    done = run("models", "list")
    assert done.exit_code == 0
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == ["tiny", *read_catalogue()]
    assert "12.5 % (ours)" in done.stdout
    assert [name for name, each in objects(run).items() if each["installed"]] == ["pocketsphinx"]


def test_pull_prints_the_commit_and_the_folder(run: Run, home: Path, hub: Hub) -> None:
    """A second time it is found there."""
    for _ in range(2):
        done = run("models", "pull", "tiny", "--mirror", hub.url)
        assert (done.exit_code, done.stderr) == (0, "")
        assert COMMIT in done.stdout
        assert str(home / "models" / "tiny") in done.stdout
    assert objects(run)["tiny"]["revision"] == COMMIT


def test_pull_as_json_is_the_row_of_what_is_installed(run: Run, home: Path, hub: Hub) -> None:
    """With its commit and size."""
    found = json.loads(run("models", "pull", "tiny", "--mirror", hub.url, "--json").stdout)
    assert (found["installed"], found["revision"], found["size"]) == (True, COMMIT, 7)
    assert found["in"] == str(home / "models" / "tiny")


def test_pull_says_which_engine_is_missing(
    run: Run, home: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(EXTRAS, "scripted", "no_such_module")
    done = run("models", "pull", "tiny", "--mirror", hub.url)
    assert (done.exit_code, "pip install 'stapes[scripted]'" in done.stderr) == (0, True)


def test_pull_from_a_folder_needs_no_network(run: Run, home: Path, tmp_path: Path) -> None:
    """Its commit is not known."""
    (tmp_path / "model.onnx").write_bytes(b"weights")
    done = run("models", "pull", "tiny", "--from", tmp_path)
    assert (done.exit_code, "at an unknown commit" in done.stdout) == (0, True)
    assert objects(run)["tiny"]["installed"]


def test_a_model_that_sets_marks_is_one_as_the_others(run: Run, home: Path) -> None:
    """It is pulled, shown, verified and removed."""
    folder = PUNCTUATION / "edge"
    row = (folder / "stapes-model.toml").read_text().split("licence", 1)[0]
    with (home / "models.toml").open("a") as file:
        file.write(row.replace('name = "edge"', "[models.marks]"))
        file.write('files = [{ path = "model.onnx" }, { path = "bpe.vocab" }]\n')
    assert run("models", "pull", "marks", "--from", str(folder)).exit_code == 0
    assert objects(run)["marks"]["installed"]
    shown = run("models", "info", "marks").stdout.splitlines()
    assert [line.split() for line in shown if line.startswith("role")] == [["role", "punctuation"]]
    assert run("models", "verify", "marks").stdout == "marks: as it was pulled\n"
    assert run("models", "remove", "marks").exit_code == 0
    assert not objects(run)["marks"]["installed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pull", "nonesuch"), "no model 'nonesuch'"),
        (("pull", "pocketsphinx"), "comes with Stapes"),
        (("pull", "tiny", "--mirror", "http://127.0.0.1:9"), "cannot be reached"),
        (("pull", "tiny", "--mirror", "http://127.0.0.1:9", "--from", "."), "not both"),
        (("pull", "tiny", "--from", "/nonesuch"), "no model.onnx in /nonesuch"),
        (("info", "nonesuch"), "no model 'nonesuch'"),
        (("remove", "tiny"), "not installed"),
        (("verify", "tiny"), "not installed"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_1(
    run: Run, home: Path, arguments: tuple[str, ...], said: str
) -> None:
    """And changes nothing."""
    done = run("models", *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not objects(run)["tiny"]["installed"]


def test_a_wrong_row_of_ones_own_is_one_line(run: Run, home: Path) -> None:
    """It names the file, the row and the field."""
    (home / "models.toml").write_text(ROW.replace("16000", "11025"))
    done = run("models", "list")
    assert done.exit_code == 1
    assert "models.toml: tiny: sample_rate_hz" in done.stderr


def test_info_shows_everything_and_how_to_have_it(run: Run, home: Path, hub: Hub) -> None:
    """No longer how, when it is there."""
    done = run("models", "info", "tiny")
    for part in (REPOSITORY, "CC0-1.0", "12.5 ours measured here", "stapes models pull tiny"):
        assert part in done.stdout
    run("models", "pull", "tiny", "--mirror", hub.url)
    there = run("models", "info", "tiny").stdout
    assert COMMIT in there
    assert "To have it" not in there
    assert json.loads(run("models", "info", "tiny", "--json").stdout)["installed"]


def test_verify_finds_what_is_not_as_it_was_pulled(run: Run, pulled: Path) -> None:
    """Exit code 1 and the file, in words and in JSON."""
    done = run("models", "verify")
    assert (done.exit_code, "tiny: as it was pulled" in done.stdout) == (0, True)

    (pulled / "model.onnx").write_bytes(b"strange")
    done = run("models", "verify", "tiny")
    assert (done.exit_code, "tiny: model.onnx is not what was pulled" in done.stdout) == (1, True)
    done = run("models", "verify", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["models"]["tiny"]


def test_a_model_that_cannot_be_read_is_told_by_list_and_verify(run: Run, pulled: Path) -> None:
    """The others are listed."""
    (pulled / "stapes-model.toml").write_text("[")
    done = run("models", "list")
    assert (done.exit_code, str(pulled) in done.stderr) == (0, True)
    done = run("models", "verify")
    assert (done.exit_code, str(pulled) in done.stdout) == (1, True)


def test_remove_takes_it_away(run: Run, pulled: Path) -> None:
    """Its folder is gone."""
    done = run("models", "remove", "tiny")
    assert (done.exit_code, done.stdout) == (0, "tiny is removed.\n")
    assert not pulled.exists()
    assert not objects(run)["tiny"]["installed"]

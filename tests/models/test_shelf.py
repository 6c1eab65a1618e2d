"""The shelf: what counts as installed, and what is wrong with it."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from stapes.engines.model_folder import RECORD
from stapes.errors import ModelError
from stapes.models.catalogue import Model, ModelFile, WordErrorRate, read_catalogue
from stapes.models.shelf import (
    InstalledModel,
    find_faults,
    locked,
    only,
    read_record,
    read_shelf,
    remove,
    write_record,
)

CONTENT = b"weights"


def row(name: str = "mine") -> Model:
    """A model of one file."""
    return Model(
        name=name,
        engine="scripted",
        model_type="ORACLE",
        languages=("en-US", "en-GB"),
        domains=("GENERIC",),
        sample_rate_hz=8000,
        streaming=True,
        sherpa={"delay_ms": 180, "modeling_unit": "bpe"},
        summary='says "ä" \\ and \x7f',
        repository="somebody/tiny",
        revision="0" * 40,
        files=(
            ModelFile(
                path="a/model.onnx",
                size=len(CONTENT),
                sha256=hashlib.sha256(CONTENT).hexdigest(),
            ),
        ),
        wer=WordErrorRate(percent=3.5, set="a set", source="a source"),
    )


def install(shelf: Path, name: str = "mine") -> InstalledModel:
    """Put the model there."""
    folder = shelf / name
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "model.onnx").write_bytes(CONTENT)
    write_record(folder, row(name))
    return InstalledModel(row(name), folder)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Whatever its texts hold; any reader of TOML reads it."""
    folder = install(tmp_path).folder
    assert folder is not None
    assert read_record(folder) == row()
    written = tomllib.loads((folder / RECORD).read_text("utf-8"))
    assert (written["engine"], written["wer"]["percent"]) == ("scripted", 3.5)
    assert written["sherpa"] == {"delay_ms": 180, "modeling_unit": "bpe"}
    assert [file["path"] for file in written["files"]] == ["a/model.onnx"]


def test_installed_is_what_has_a_record_and_no_dot(tmp_path: Path) -> None:
    """And what comes with Stapes."""
    install(tmp_path)
    install(tmp_path, "unfinished").folder.rename(tmp_path / ".unfinished")  # type: ignore[union-attr]
    (tmp_path / "empty").mkdir()
    shelf = read_shelf(tmp_path, read_catalogue())
    assert set(shelf.models) == {"mine", "pocketsphinx"}
    assert shelf.models["pocketsphinx"].folder is None
    assert not shelf.faults
    assert set(read_shelf(tmp_path / "none", read_catalogue()).models) == {"pocketsphinx"}


@pytest.mark.parametrize("record", ["name = 1", "[", 'name = "other"', 'name = "mine"'])
def test_a_record_that_cannot_be_read_is_a_fault_and_nothing_else(
    tmp_path: Path, record: str
) -> None:
    """The others are read."""
    install(tmp_path, "other")
    folder = install(tmp_path).folder
    assert folder is not None
    (folder / RECORD).write_text(record)
    shelf = read_shelf(tmp_path, {})
    assert set(shelf.models) == {"other"}
    assert [str(folder) in fault for fault in shelf.faults] == [True]


def test_faults_are_found_in_every_file(tmp_path: Path) -> None:
    """Another content, another size, none at all."""
    model = install(tmp_path)
    path = tmp_path / "mine" / "a" / "model.onnx"
    assert find_faults(model) == []
    path.write_bytes(CONTENT[::-1])
    assert ["SHA-256" in fault for fault in find_faults(model)] == [True]
    path.write_bytes(b"")
    assert find_faults(model) == ["a/model.onnx has 0 bytes, not 7"]
    path.unlink()
    assert find_faults(model) == ["a/model.onnx is missing"]


def test_a_record_made_by_hand_needs_no_sizes_and_hashes(tmp_path: Path) -> None:
    """Then a file only has to be there."""
    folder = install(tmp_path).folder
    assert folder is not None
    bare = row().model_copy(update={"files": (ModelFile(path="a/model.onnx"),)})
    write_record(folder, bare)
    model = read_shelf(tmp_path, {}).models["mine"]
    assert find_faults(model) == []
    (folder / "a" / "model.onnx").unlink()
    assert find_faults(model) == ["a/model.onnx is missing"]


def test_removed_is_gone_whole(tmp_path: Path) -> None:
    """A second time it is an error, and so is what was never installed."""
    install(tmp_path)
    remove(tmp_path, "mine")
    assert not list(tmp_path.iterdir())
    for name in ("mine", "..", ""):
        with pytest.raises(ModelError, match="not installed"):
            remove(tmp_path, name)


def test_one_at_a_time_changes_the_shelf(tmp_path: Path) -> None:
    """The other one is told."""
    with (
        locked(tmp_path / "new"),
        pytest.raises(ModelError, match="another command"),
        locked(tmp_path / "new"),
    ):
        raise AssertionError
    with locked(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()


def test_one_model_alone(tmp_path: Path) -> None:
    """That of the name, with what sets marks; one that is not there is told with what is."""
    for name in ("mine", "other"):
        (tmp_path / name).mkdir()
        write_record(tmp_path / name, row(name))
    marks = row("marks").model_copy(update={"role": "punctuation", "engine": "sherpa"})
    (tmp_path / "marks").mkdir()
    write_record(tmp_path / "marks", marks)
    shelf = read_shelf(tmp_path, read_catalogue())
    assert [each.name for each in only("mine", shelf)] == ["marks", "mine"]
    assert [each.name for each in only("pocketsphinx", shelf)] == ["pocketsphinx", "marks"]
    for name in ("marks", "nonesuch", "../mine"):
        with pytest.raises(ModelError) as caught:
            only(name, shelf)
        assert f"no model {name!r} that hears is installed" in str(caught.value)
        assert "there are: mine, other, pocketsphinx" in str(caught.value)


def test_what_is_left_of_another_model_stays(tmp_path: Path) -> None:
    """One whose name only begins the same may be in the middle of a download."""
    install(tmp_path)
    left = tmp_path / ".mine.en.pulling-0123456789ab"
    for folder in (left, tmp_path / ".mine.pulling-0123456789ab"):
        folder.mkdir()
    remove(tmp_path, "mine")
    assert list(tmp_path.iterdir()) == [left]


def test_a_shelf_that_cannot_be_changed_is_an_error_that_names_it(tmp_path: Path) -> None:
    """As any other."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(ModelError, match=r"file/models cannot be changed: "),
        locked(tmp_path / "file" / "models"),
    ):
        raise AssertionError

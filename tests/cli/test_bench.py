"""``stapes bench``: the commands as people call them, against a server that counts."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from stapes import samples
from stapes.cli.bench import _serving
from tests.cli.conftest import Run
from tests.engines.models import PUNCTUATION
from tests.shelf import install

COMMANDS = ("wer", "latency", "capacity")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """One clip, the shortest of the samples."""
    path = tmp_path / "one.jsonl"
    short = samples.load("short")
    path.write_text(json.dumps({"audio": str(short.path), "text": short.text, "set": "one"}))
    return path


def test_help_lists_every_command(run: Run) -> None:
    """Each with an example of its own help."""
    listed = run("bench", "--help")
    assert all(f" {command} " in listed.output for command in COMMANDS)
    for command in COMMANDS:
        shown = run("bench", command, "--help")
        assert shown.exit_code == 0
        assert f"• stapes bench {command}" in shown.output


def test_words_are_counted_both_ways(
    run: Run, at_server: tuple[str, ...], manifest: Path, tmp_path: Path
) -> None:
    """The figures are written, and the table has a row for each way."""
    file, plot = tmp_path / "wer.json", tmp_path / "wer.svg"
    options = ("--direct", "--engine", "scripted", "--json", file, "--plot", plot)
    result = run("bench", "wer", manifest, *at_server, *options)
    assert result.exit_code == 0, result.output
    assert "direct" in result.stdout
    figures = json.loads(file.read_text())
    assert set(figures["sets"]["one"]) == {"service", "direct"}
    assert figures["sets"]["one"]["service"]["words"] == 10
    assert plot.exists()


def test_delays_are_printed_as_json(run: Run, at_server: tuple[str, ...], manifest: Path) -> None:
    """Standard output is the object alone; the table goes to standard error."""
    options = ("--final-silence-ms", "200", "--json", "-")
    result = run("bench", "latency", manifest, *at_server, *options)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["clips"], figures["missed"]) == (1, 0)
    assert figures["final_beyond_threshold_ms"]["p50"] is not None
    assert "final beyond the threshold" in result.stderr


def test_capacity_stops_where_it_is_told(
    run: Run, at_server: tuple[str, ...], manifest: Path
) -> None:
    """Two steps, and no limit was found."""
    options = ("--final-silence-ms", "200", "--most", "2", "--json", "-")
    result = run("bench", "capacity", manifest, *at_server, *options)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert [step["streams"] for step in figures["steps"]] == [1, 2]


def test_interrupt_prints_what_was_found(
    run: Run, at_server: tuple[str, ...], manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during the second step leaves the first one's figures."""
    from stapes.cli import bench_reports

    told = bench_reports._told

    def interrupt(step: object) -> str:
        if getattr(step, "streams", 0) == 2:
            raise KeyboardInterrupt
        return told(step)  # type: ignore[arg-type]

    monkeypatch.setattr(bench_reports, "_told", interrupt)
    options = ("--final-silence-ms", "200", "--json", "-")
    result = run("bench", "capacity", manifest, *at_server, *options)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["steps"]) == 2
    assert "interrupted" in result.stderr


def test_a_missing_extra_is_told_before_anything_is_heard(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, with the command that installs it."""
    from stapes.measuring.scoring import normaliser

    normaliser.cache_clear()
    monkeypatch.setitem(sys.modules, "whisper_normalizer.basic", None)
    result = run("bench", "wer")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'stapes[bench]'" in result.stderr


def test_a_manifest_that_is_none_is_one_line(run: Run, tmp_path: Path) -> None:
    """And no server is started for it."""
    result = run("bench", "latency", tmp_path / "no.jsonl")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cannot read")


def test_what_hears_is_what_a_server_would_hear_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best that hears, whatever else is installed, or the one that the settings name."""
    monkeypatch.setenv("STAPES_HOME", str(tmp_path))
    shutil.copytree(PUNCTUATION / "edge", tmp_path / "models" / "edge")
    assert _serving("en-US") == ("pocketsphinx", None)
    for name in ("zipformer-en", "mine"):
        install(tmp_path / "models", name, "en-US")
    assert _serving("en-US") == ("scripted", tmp_path / "models" / "zipformer-en")
    monkeypatch.setenv("STAPES_MODEL", "mine")
    assert _serving("en-US") == _serving("fr-FR") == ("scripted", tmp_path / "models" / "mine")

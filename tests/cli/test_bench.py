"""``stapes bench``: the commands as people call them, against a server that counts."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stapes import samples
from stapes.cli import bench_reports
from stapes.cli.bench import _serving
from stapes.client.connecting import connect
from stapes.client.profile import Server
from stapes.engines.port import HearingParams
from tests.cli.conftest import Run
from tests.engines.models import PUNCTUATION
from tests.shelf import install

COMMANDS = ("wer", "latency", "capacity")
MORE_THAN_A_TENANCY_HAS = 11


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
    service = figures["sets"]["one"]["service"]
    assert (service["words"], service["utterances"]) == (10, 1)
    assert figures["model"] == "scripted"
    assert "heard by scripted" in result.stdout
    assert [each["audio"] for each in figures["worst"]] == [str(samples.load("short").path)]
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
    english, models = HearingParams(), tmp_path / "models"
    assert _serving(english) == ("pocketsphinx", None)
    for name in ("zipformer-en", "mine"):
        install(models, name, "en-US")
    install(models, "whisper-tiny", "en", model_type="WHISPER")
    assert _serving(english) == ("scripted", models / "zipformer-en")
    assert _serving(HearingParams("en", "WHISPER")) == ("scripted", models / "whisper-tiny")
    monkeypatch.setenv("STAPES_MODEL", "mine")
    assert _serving(english) == _serving(HearingParams("fr-FR")) == ("scripted", models / "mine")


@pytest.mark.parametrize("command", COMMANDS)
def test_models_of_the_other_type_can_be_measured(
    run: Run, at_server: tuple[str, ...], manifest: Path, command: str
) -> None:
    """In a language of theirs, if none is named; this server has none."""
    result = run("bench", command, manifest, *at_server, "--model-type", "whisper")
    assert result.exit_code == 1
    assert "modelType WHISPER is not installed on this server" in result.stderr


def test_what_could_not_be_written_is_told_before(run: Run, manifest: Path, tmp_path: Path) -> None:
    """And so is a clip that is not there; no server is started for it."""
    result = run("bench", "wer", manifest, "--json", tmp_path / "none" / "wer.json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: there is no folder {tmp_path}/none for the figures\n"

    manifest.write_text(json.dumps({"audio": "gone.wav", "text": "gone"}))
    result = run("bench", "wer", manifest)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"there is no file {tmp_path}/gone.wav" in result.stderr


def test_no_quota_ends_the_measurement_of_capacity(
    run: Run, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own server takes more sessions than a tenancy may have of others."""
    monkeypatch.setenv("STAPES_ENGINE", "scripted")

    async def open_many(server: Server) -> None:
        async with AsyncExitStack() as stack:
            for _ in range(MORE_THAN_A_TENANCY_HAS):
                session = connect(
                    server.url, profile=server.profile, compartment_id=server.compartment_id
                )
                await stack.enter_async_context(session)

    def measure(server: Server, *_: object) -> bench_reports.Measured:
        asyncio.run(open_many(server))
        return bench_reports.Measured({}, (), lambda _path: None)

    monkeypatch.setattr(bench_reports, "measure_capacity", measure)
    result = run("bench", "capacity", manifest)
    assert result.exit_code == 0, result.output


def test_a_server_that_does_not_say_which_model_hears_is_measured_all_the_same(
    at_server: tuple[str, ...],
) -> None:
    """Other services have no such page."""
    url, english = at_server[1], HearingParams()
    assert bench_reports.model_at(f"{url}/", english) == "scripted"
    assert bench_reports.model_at(url, HearingParams("xx-XX")) is None
    assert bench_reports.model_at(f"{url}/elsewhere", english) is None
    assert bench_reports.model_at("http://127.0.0.1:9", english) is None
    assert bench_reports.model_at("no URL", english) is None

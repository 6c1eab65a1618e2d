"""``stapes transcribe``, with a server that counts what it hears."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import srt

from stapes.samples import load
from tests.cli.conftest import Run
from tests.conftest import Served

SHORT = load("short").path
LONG = load("demo").path
DEADLINE_S = 120


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    """A file in which nobody speaks."""
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16000), 16000)
    return path


def test_finals_are_lines_in_a_pipe(run: Run, at_server: tuple[str, ...]) -> None:
    """One file, no heading, nothing else."""
    result = run("transcribe", *at_server, "--fast", SHORT)
    assert result.exit_code == 0
    assert result.stdout.startswith("zero one two ")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_several_files_have_headings(run: Run, at_server: tuple[str, ...], silence: Path) -> None:
    """One after another, each a session of its own; silence has no lines."""
    result = run("transcribe", *at_server, "--fast", SHORT, silence, SHORT)
    first, heard, nothing, again, same = result.stdout.splitlines()
    assert (first, nothing, again) == (f"== {SHORT}", f"== {silence}", f"== {SHORT}")
    assert heard == same
    assert result.exit_code == 0


def test_unreadable_files_do_not_stop_the_others(run: Run, at_server: tuple[str, ...]) -> None:
    """A line for each on standard error, and exit code 1 at the end."""
    result = run("transcribe", *at_server, "--fast", "/no.wav", __file__, SHORT)
    assert result.exit_code == 1
    assert f"== {SHORT}\nzero one" in result.stdout
    missing, text = result.stderr.splitlines()
    assert missing == "Error: cannot read /no.wav: there is no such file"
    assert text.startswith(f"Error: cannot read {__file__}: ")


def test_a_model_of_the_other_type_can_be_asked_for(run: Run, at_server: tuple[str, ...]) -> None:
    """This server has none, and says so."""
    result = run("transcribe", *at_server, "--fast", "--model-type", "WHISPER", SHORT)
    assert result.exit_code == 1
    assert "modelType WHISPER is not installed on this server" in result.stderr


def test_nothing_readable_starts_no_server(run: Run) -> None:
    """Not even a profile is needed to say so."""
    result = run("transcribe", "/no.wav")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: cannot read /no.wav: there is no such file\n"


def test_json_is_an_object_a_line(
    run: Run, at_server: tuple[str, ...], silence: Path, served: Served
) -> None:
    """Per file, with words and times in ms; the session is in the server's store."""
    result = run("transcribe", *at_server, "--fast", "--format", "json", SHORT, silence)
    speech, nothing = map(json.loads, result.stdout.splitlines())
    assert speech["file"] == str(SHORT)
    assert speech["durationInMs"] == 3885
    assert speech["text"].startswith("zero one")
    final = speech["transcriptions"][0]
    assert [word["word"] for word in final["words"]] == final["transcription"].split()
    assert final["startTimeInMs"] == final["words"][0]["startTimeInMs"]
    assert final["endTimeInMs"] == final["words"][-1]["endTimeInMs"] > 1000
    assert (nothing["text"], nothing["transcriptions"]) == ("", [])
    served.deployment.writer.flush(DEADLINE_S)
    assert served.deployment.store.finals(speech["sessionId"])[0].text == speech["text"]


@pytest.mark.parametrize("format_", ["srt", "vtt"])
def test_subtitles_are_a_document(run: Run, at_server: tuple[str, ...], format_: str) -> None:
    """Standard output has it and nothing else, ready for a file."""
    result = run("transcribe", *at_server, "--fast", "--format", format_, SHORT)
    if format_ == "srt":
        assert next(iter(srt.parse(result.stdout))).content.startswith("zero one")
    else:
        assert result.stdout.startswith("WEBVTT\n\n00:00:00.")


def test_standard_input_is_a_file(run: Run, at_server: tuple[str, ...]) -> None:
    """In any container."""
    content = SHORT.read_bytes()
    result = run("transcribe", *at_server, "--fast", "-", input=content)
    assert result.stdout == run("transcribe", *at_server, "--fast", SHORT).stdout
    broken = run("transcribe", *at_server, "-", input=b"nonsense")
    assert broken.exit_code == 1
    assert broken.stderr.startswith("Error: cannot read standard input: ")


def test_parameters_reach_the_server(run: Run, at_server: tuple[str, ...]) -> None:
    """A value that is not allowed comes back as the server's own words."""
    result = run("transcribe", *at_server, "--language", "xx-XX", SHORT)
    assert result.exit_code == 1
    assert "400 InvalidParameter: languageCode" in result.stderr
    assert result.stderr.count("\n") == 1
    for option, name in [
        ("--partial-silence-ms", "partialSilenceThresholdInMs"),
        ("--final-silence-ms", "finalSilenceThresholdInMs"),
    ]:
        assert name in run("transcribe", *at_server, option, 9999, SHORT).stderr
    for option in ("--stabilize", "--punctuation"):
        assert "must be one of NONE" in run("transcribe", *at_server, option, "x", SHORT).stderr


def test_missing_server_is_one_line(run: Run, served: Served) -> None:
    """It names the URL and how a server is started."""
    options = ("--url", "http://127.0.0.1:1", "--config-file", served.home.config_file)
    result = run("transcribe", *options, SHORT)
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:1" in result.stderr
    assert "`stapes serve` starts one" in result.stderr
    assert result.stderr.count("\n") == 1


def test_refused_token_is_one_line(run: Run, served: Served, tmp_path: Path) -> None:
    """Somebody else's key."""
    foreign = tmp_path / "foreign"
    run("init", "--home", foreign)
    options = ("--url", served.url, "--config-file", foreign / "oci" / "config")
    result = run("transcribe", *options, SHORT)
    assert result.exit_code == 1
    assert "refused a token: 401 NotAuthenticated" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "at least one FILE"),
        (["--mic", "a.wav"], "not both"),
        (["--raw", "16000", "a.wav"], "--raw speaks of standard input"),
        (["--format", "srt", "a.wav", "b.wav"], "one file at a time"),
    ],
)
def test_contradictions_are_usage_errors(run: Run, arguments: list[str], message: str) -> None:
    """Exit code 2, before anything is done."""
    result = run("transcribe", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_missing_microphone_support_names_the_extra(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no server is started for it."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = run("transcribe", "--mic")
    assert result.exit_code == 1
    assert "pip install 'stapes[mic]'" in result.stderr


def test_live_input_ends_with_the_first_interrupt(served: Served) -> None:
    """Although its pipe stays open: what was heard is settled and the exit code is 0."""
    options = ["--url", served.url, "--config-file", str(served.home.config_file)]
    speech = soundfile.read(SHORT, dtype="int16")[0].tobytes()
    with _started("transcribe", "-", "--raw", "16000", "--fast", *options) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(speech + bytes(32000 * 3) + speech)
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"zero one two ")  # it is under way
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0


def test_file_is_left_at_the_first_interrupt(served: Served, tmp_path: Path) -> None:
    """Quietly, with exit code 130; it would have gone on for minutes."""
    speech, rate = soundfile.read(LONG, dtype="int16")
    words = np.concatenate((speech[:rate], np.zeros(rate, np.int16)))
    soundfile.write(tmp_path / "longer.wav", np.tile(words, 100), rate)
    options = ["--url", served.url, "--config-file", str(served.home.config_file)]
    longer = str(tmp_path / "longer.wav")
    with _started("transcribe", "--final-silence-ms", "0", *options, longer) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()  # it is under way
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr.read() == b""


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "stapes", *arguments]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            yield process
        finally:
            process.kill()

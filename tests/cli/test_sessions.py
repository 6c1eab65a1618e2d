"""``stapes sessions``, over a store that was written for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import srt

from stapes.protocol.words import Word
from stapes.server.new_home import create_home
from stapes.store.records import FinalHeard, StreamClosed, StreamMetered, StreamOpened
from stapes.store.sql import open_store
from tests.cli.conftest import Run
from tests.conftest import Served

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ONE = "ocid1.aispeechrealtimesession.oc1..one"
TWO = "ocid1.aispeechrealtimesession.oc1..two"


@dataclass(frozen=True, slots=True)
class Kept:
    """A home in which session ONE had one stream and session TWO had two, the last one live."""

    path: Path
    compartment_id: str


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    home, _ = create_home(tmp_path_factory.mktemp("kept") / "home", NOW)
    store = open_store(home.database)

    def opened(session_id: str, stream: int, minutes: int) -> StreamOpened:
        return StreamOpened(
            session_id=session_id,
            stream=stream,
            tenancy_id=home.tenancy_id,
            compartment_id=home.compartment_id,
            user_id=home.user_id,
            opened_at=NOW + timedelta(minutes=minutes),
            params={},
            engine="scripted",
        )

    def final(session_id: str, stream: int, number: int, text: str) -> FinalHeard:
        words = tuple(
            Word(word, 1000 * number + 200 * n, 1000 * number + 200 * n + 200, 0.5)
            for n, word in enumerate(text.split())
        )
        return FinalHeard(
            session_id=session_id,
            stream=stream,
            number=number,
            text=text,
            start_ms=words[0].start_ms,
            end_ms=words[-1].end_ms,
            confidence=0.5,
            words=words,
            heard_at=NOW,
        )

    store.write(
        [
            opened(ONE, 1, 0),
            final(ONE, 1, 1, "good morning"),
            final(ONE, 1, 2, "good bye"),
            StreamClosed(ONE, 1, NOW + timedelta(minutes=1), "peer", 61_500, 30_000, words=4),
            opened(TWO, 1, 2),
            final(TWO, 1, 1, "first"),
            StreamClosed(TWO, 1, NOW + timedelta(minutes=3), "idle", 1000, 500, words=1),
            opened(TWO, 2, 4),
            final(TWO, 2, 1, "second"),
            StreamMetered(TWO, 2, audio_ms=500, speech_ms=300, wall_ms=500, words=1),
        ]
    )
    store.close()
    return Kept(home.path, home.compartment_id)


def test_list_is_a_table_newest_first(run: Run, kept: Kept) -> None:
    """Whole ids, also where the terminal is narrower."""
    heading, *rows = run("sessions", "--home", kept.path).output.splitlines()
    assert heading.split()[-1] == "session"
    assert [row.split() for row in rows] == [
        ["2026-11-22", "12:04:00", "-", "0.5", "1", "1", "2", TWO],
        ["2026-11-22", "12:02:00", "idle", "1.0", "1", "1", "1", TWO],
        ["2026-11-22", "12:00:00", "peer", "61.5", "2", "4", "1", ONE],
    ]
    assert len(run("sessions", "--home", kept.path, "--limit", 1).output.splitlines()) == 2


def test_list_as_json(run: Run, kept: Kept) -> None:
    """An array; a live stream has no end yet."""
    live, _, closed = json.loads(run("sessions", "--home", kept.path, "--json").output)
    assert (live["sessionId"], live["stream"], live["timeClosed"]) == (TWO, 2, None)
    assert closed["compartmentId"] == kept.compartment_id
    assert closed["timeClosed"] == "2026-11-22T12:01:00+00:00"
    assert (closed["audioInMs"], closed["finals"], closed["words"]) == (61_500, 2, 4)


def test_empty_store_says_so(run: Run, tmp_path: Path) -> None:
    """In JSON it is an empty array."""
    create_home(tmp_path / "home", NOW)
    assert run("sessions", "--home", tmp_path / "home").output == "No sessions yet.\n"
    assert run("sessions", "--home", tmp_path / "home", "--json").output == "[]\n"


def test_transcript_is_printed(run: Run, kept: Kept) -> None:
    """A line per final; the home may be named before ``show`` or after it."""
    expected = "good morning\ngood bye\n"
    assert run("sessions", "show", ONE, "--home", kept.path).output == expected
    assert run("sessions", "--home", kept.path, "show", ONE).output == expected


def test_streams_of_a_session_have_headings(run: Run, kept: Kept) -> None:
    """Unless one is chosen."""
    both = run("sessions", "show", TWO, "--home", kept.path).output
    assert both == "== stream 1\nfirst\n== stream 2\nsecond\n"
    assert run("sessions", "show", TWO, "--stream", 2, "--home", kept.path).output == "second\n"


def test_transcript_as_json_and_subtitles(run: Run, kept: Kept) -> None:
    """The same documents as ``stapes transcribe`` makes."""
    shown = json.loads(run("sessions", "show", ONE, "--home", kept.path, "--format", "json").output)
    assert shown["sessionId"] == ONE
    assert shown["streams"][0]["text"] == "good morning good bye"
    assert shown["streams"][0]["transcriptions"][1]["words"][0]["startTimeInMs"] == 2000
    document = run("sessions", "show", ONE, "--home", kept.path, "--format", "srt").output
    assert [cue.content for cue in srt.parse(document)] == ["good morning", "good bye"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "there is no session nobody in this home"),
        ([ONE, "--stream", "7"], "has streams 1 to 1, and no 7"),
        ([TWO, "--format", "vtt"], "choose one with --stream"),
    ],
)
def test_what_is_not_there_is_one_line(
    run: Run, kept: Kept, arguments: list[str], message: str
) -> None:
    """Exit code 1."""
    result = run("sessions", "show", *arguments, "--home", kept.path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_missing_home_is_one_line(run: Run, tmp_path: Path) -> None:
    """And none is made."""
    result = run("sessions", "--home", tmp_path / "none")
    assert result.exit_code == 1
    assert "run `stapes init --home" in result.stderr
    assert not (tmp_path / "none").exists()


def test_works_while_a_server_runs(run: Run, served: Served, at_server: tuple[str, ...]) -> None:
    """Over the same database."""
    from stapes.samples import load

    heard = run("transcribe", *at_server, "--fast", "--format", "json", load("digits").path)
    session_id = json.loads(heard.stdout)["sessionId"]
    served.deployment.writer.flush(60)
    assert session_id in run("sessions", "--home", served.home.path).output
    shown = run("sessions", "show", session_id, "--home", served.home.path)
    assert shown.output.startswith("zero one two ")

"""``stapes usage`` and ``stapes prune``."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stapes.server.new_home import create_home
from stapes.store.records import FinalHeard, Record, SessionCreated, StreamClosed, StreamOpened
from stapes.store.sql import open_store
from tests.cli.conftest import Run

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def stream(
    session_id: str, at: datetime, audio_ms: int, user_id: str, tags: dict[str, str]
) -> list[Record]:
    """A session with one stream that ended, and a final."""
    return [
        SessionCreated(session_id, "t", "c", user_id, "kid", at, at, {}, freeform_tags=tags),
        StreamOpened(session_id, 1, "t", "c", user_id, at, {}, "scripted"),
        FinalHeard(session_id, 1, 1, "word", 0, 1, 1.0, (), at),
        StreamClosed(session_id, 1, at, "peer", audio_ms, audio_ms // 2, audio_ms + 1, 3),
    ]


def make_home(path: Path, *streams: list[Record]) -> Path:
    home, _ = create_home(path, NOON)
    store = open_store(home.database)
    store.write([record for records in streams for record in records])
    store.close()
    return home.path


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three streams, the last of them a day later than the others."""
    return make_home(
        tmp_path_factory.mktemp("used") / "home",
        stream("one", NOON, 61_501, "ada", {"project": "demo"}),
        stream("two", NOON, 1, "bob", {"project": "=1+1"}),
        stream("three", NOON + timedelta(days=1), 1000, "ada", {}),
    )


DAYS = ("--from", "2026-11-22", "--to", "2026-11-24")


def test_sums_are_a_table_with_a_total(run: Run, used: Path) -> None:
    """Most audio first; seconds to the millisecond."""
    result = run("usage", "--by", "user", *DAYS, "--home", used)
    title, heading, *rows = result.output.splitlines()
    assert title.startswith("2026-11-22 00:00:00+00:00 to 2026-11-24 00:00:00+00:00, by user")
    assert heading.split() == ["streams", "audio", "s", "speech", "s", "words", "name"]
    assert [row.split() for row in rows] == [
        ["2", "62.501", "31.250", "6", "ada"],
        ["1", "0.001", "0.000", "3", "bob"],
        ["3", "62.502", "31.250", "9", "total"],
    ]


def test_sums_as_json(run: Run, used: Path) -> None:
    """Milliseconds, as in the receipts."""
    result = run("usage", *DAYS, "--json", "--home", used)
    document = json.loads(result.output)
    amounts = {"streams": 3, "audioInMs": 62_502, "speechInMs": 31_250, "wallInMs": 62_505}
    assert document["sums"] == [{"name": "c", **amounts, "words": 9}]
    assert document["total"] == {**amounts, "words": 9}
    assert (document["by"], document["from"]) == ("compartment", "2026-11-22T00:00:00+00:00")


def test_sums_as_csv_by_tag(run: Run, used: Path) -> None:
    """A value that a spreadsheet would execute is made a text; the total is left to the reader."""
    result = run("usage", "--by", "tag:project", *DAYS, "--csv", "--home", used)
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert [(row["name"], row["audio_ms"]) for row in rows] == [
        ("demo", "61501"),
        ("", "1000"),
        ("'=1+1", "1"),
    ]


@pytest.mark.parametrize(
    ("period", "streams"),
    [
        (("--from", "2026-11-22", "--to", "2026-11-22"), 0),
        (("--from", "2026-11-22", "--to", "2026-11-23"), 2),
        (("--from", "2026-11-22T12:00:00Z", "--to", "2026-11-23T12:00:00Z"), 2),
        (("--from", "2026-11-22T12:00:00.000001Z", "--to", "2026-11-23T12:00:01Z"), 1),
    ],
)
def test_a_period_has_its_first_instant_and_not_its_last(
    run: Run, used: Path, period: tuple[str, ...], streams: int
) -> None:
    """So periods side by side count everything once."""
    result = run("usage", *period, "--json", "--home", used)
    assert json.loads(result.output)["total"]["streams"] == streams


def test_this_month_is_the_default(run: Run, tmp_path: Path) -> None:
    """Up to now."""
    now = datetime.now(UTC)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    home = make_home(
        tmp_path / "home",
        stream("before", first - timedelta(microseconds=1), 1, "u", {}),
        stream("first", first, 2, "u", {}),
        stream("future", now + timedelta(days=1), 4, "u", {}),
    )
    assert json.loads(run("usage", "--json", "--home", home).output)["total"]["audioInMs"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "engine"], "is none of compartment, user and tag:KEY"),
        (["--from", "yesterday"], "neither a day such as"),
        (["--from", "2026-11-23", "--to", "2026-11-22"], "is after --to"),
    ],
)
def test_what_is_not_understood_is_a_fault_of_usage(
    run: Run, used: Path, arguments: list[str], message: str
) -> None:
    """Nothing is printed in its place."""
    result = run("usage", *arguments, "--home", used)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.replace("│", "").split())


def left(home: Path) -> tuple[int, int]:
    """How many streams and finals a home has."""
    store = open_store(home / "stapes.db")
    try:
        streams = store.streams()
        return len(streams), sum(each.finals for each in streams)
    finally:
        store.close()


@pytest.fixture
def aged(tmp_path: Path) -> Path:
    """A home with sessions of now, of ten days and of a hundred days ago."""
    now = datetime.now(UTC)
    return make_home(
        tmp_path / "home",
        *(stream(f"{days}", now - timedelta(days=days), 1, "u", {}) for days in (0, 10, 100)),
    )


def test_prune_forgets_what_is_older(run: Run, aged: Path) -> None:
    """Transcripts and sessions, each by its own age."""
    ages = ("--transcripts-older-than", "9d", "--receipts-older-than", "2160h")
    result = run("prune", *ages, "--home", aged)
    assert result.output == "Deleted 2 finals and 1 sessions.\n"
    assert left(aged) == (2, 1)
    rows = json.loads(run("audit", "list", "--json", "--home", aged).output)
    assert [row["action"] for row in rows] == ["store.pruned"]


def test_prune_takes_ages_from_the_settings(run: Run, aged: Path) -> None:
    """The command line goes over them."""
    (aged / "stapes.toml").write_text("keep_transcripts_days = 50\nkeep_receipts_days = 36500\n")
    assert run("prune", "--home", aged).output == "Deleted 1 finals and 0 sessions.\n"
    result = run("prune", "--transcripts-older-than", "0s", "--home", aged)
    assert result.output == "Deleted 2 finals and 0 sessions.\n"
    assert left(aged) == (3, 0)


def test_prune_without_an_age_keeps_everything(run: Run, aged: Path) -> None:
    """And records nothing."""
    result = run("prune", "--home", aged)
    assert result.output.startswith("Everything is kept")
    assert left(aged) == (3, 3)
    assert run("audit", "list", "--home", aged).output == ""


def test_prune_does_not_guess_an_age(run: Run, aged: Path) -> None:
    """30 what?"""
    assert run("prune", "--receipts-older-than", "30", "--home", aged).exit_code == 2
    assert left(aged) == (3, 3)

"""Times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer

from stapes.cli.moments import format_moment, parse_age, parse_moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T12:30:00Z", datetime(2026, 11, 22, 12, 30, tzinfo=UTC)),
        ("2026-11-22 12:30:00.25+05:30", datetime(2026, 11, 22, 7, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_day_or_a_time_is_a_moment(text: str, moment: datetime) -> None:
    """In UTC."""
    parsed = parse_moment(text)
    assert (parsed, parsed.tzinfo) == (moment, UTC)


@pytest.mark.parametrize(
    "text", ["", "today", "2026-11", "2026-13-01", "20261122", "2026-11-22T12:00:00", "1700000000"]
)
def test_other_texts_are_no_moment(text: str) -> None:
    """Nor a time without its offset: nobody knows which instant that is."""
    with pytest.raises(typer.BadParameter, match="neither a day such as"):
        parse_moment(text)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("30d", timedelta(days=30)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("0s", timedelta()),
        ("36500d", timedelta(days=36500)),
    ],
)
def test_an_age_has_a_unit(text: str, age: timedelta) -> None:
    """Days, hours, minutes or seconds."""
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "1y", "1d12h", "9999999d"])
def test_other_texts_are_no_age(text: str) -> None:
    """None is guessed at."""
    with pytest.raises(typer.BadParameter, match="is no age such as 30d"):
        parse_age(text)


def test_an_age_has_a_bound() -> None:
    """No moment lies before the first year."""
    with pytest.raises(typer.BadParameter, match="is more than 36500d"):
        parse_age("36501d")


def test_moments_are_printed_in_utc() -> None:
    """To the second."""
    assert format_moment(parse_moment("2026-11-22T12:30:00+05:30")) == "2026-11-22 07:00:00"

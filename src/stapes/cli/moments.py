"""Times on the command line: moments, days and ages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

LONGEST_AGE = timedelta(days=36_500)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_AGE = re.compile(r"(\d{1,6})([dhms])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def parse_moment(text: str) -> datetime:
    """``YYYY-MM-DD`` (its first instant in UTC) or RFC 3339 with an offset, in UTC.

    Raises `typer.BadParameter`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is not None and _DAY.fullmatch(text):
        return moment.replace(tzinfo=UTC)
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} is neither a day such as 2026-11-22 nor a time such as 2026-11-22T12:00:00Z"
        )
    return moment.astimezone(UTC)


def parse_age(text: str) -> timedelta:
    """``30d``, ``12h``, ``90m`` or ``5s``; a century at most. Raises `typer.BadParameter`."""
    if not (match := _AGE.fullmatch(text)):
        raise typer.BadParameter(f"{text!r} is no age such as 30d, 12h or 90m")
    if (age := timedelta(**{_UNITS[match[2]]: int(match[1])})) > LONGEST_AGE:
        raise typer.BadParameter(f"{text!r} is more than {LONGEST_AGE.days}d")
    return age


def format_moment(moment: datetime) -> str:
    """``2026-11-22 12:00:00``, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"

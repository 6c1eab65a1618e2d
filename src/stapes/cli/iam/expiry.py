"""When a key expires: ``--expires``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_SPAN = re.compile(r"([0-9]{1,6})([dh])")
_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1)}


def parse_expiry(text: str, now: datetime) -> datetime:
    """``90d``, ``12h``, a date or an ISO 8601 time; without an offset it is UTC.

    A date stands for its first instant. Raises `typer.BadParameter` for anything else, and for a
    time that is not in the future.
    """
    try:
        found = _SPAN.fullmatch(text)
        at = now + int(found[1]) * _UNITS[found[2]] if found else datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"--expires takes 90d, 12h, a date or a time as 2030-12-31T12:00Z, not {text!r}"
        ) from None
    if at <= now:
        raise typer.BadParameter(f"--expires {text} is not in the future")
    return at

"""``stapes prune``: forget what was kept long enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from stapes.cli.moments import parse_age
from stapes.cli.own_store import open_own
from stapes.cli.terminal import HomeFolder, local_actor


def prune(
    *,
    home: HomeFolder = None,
    transcripts_older_than: Annotated[
        str | None,
        typer.Option(
            help="Delete transcripts heard longer ago.",
            metavar="AGE",
            show_default="keep_transcripts_days",
        ),
    ] = None,
    receipts_older_than: Annotated[
        str | None,
        typer.Option(
            help="Delete sessions that ended longer ago, with their receipts and transcripts.",
            metavar="AGE",
            show_default="keep_receipts_days",
        ),
    ] = None,
) -> None:
    """Delete transcripts, or whole sessions, that are older than an age such as 30d or 12h.

    Without an age, and without one in the settings, nothing is deleted. The audit log stays.

    For example:

    - stapes prune
    - stapes prune --transcripts-older-than 30d --receipts-older-than 400d
    """
    from stapes.server.retention import prune as forget

    now = datetime.now(UTC)
    with open_own(home, with_keys=False) as own:
        transcripts = _before(now, transcripts_older_than, own.settings.keep_transcripts_days)
        receipts = _before(now, receipts_older_than, own.settings.keep_receipts_days)
        if transcripts is None and receipts is None:
            typer.echo("Everything is kept: name an age, or set keep_transcripts_days.")
            return
        pruned = forget(
            own.store,
            actor=local_actor(),
            tenancy_id=own.home.tenancy_id,
            now=now,
            transcripts_before=transcripts,
            receipts_before=receipts,
        )
    typer.echo(f"Deleted {pruned.finals} finals and {pruned.sessions} sessions.")


def _before(now: datetime, age: str | None, days: float | None) -> datetime | None:
    if age is not None:
        return now - parse_age(age)
    return None if days is None else now - timedelta(days=days)

"""``stapes usage``: what was used, by compartment, user or tag."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.moments import parse_moment
from stapes.cli.own_store import open_own
from stapes.cli.terminal import AsJson, HomeFolder, printable

if TYPE_CHECKING:
    from stapes.accounts.usage import Sum

COLUMNS = ("name", "streams", "audio_ms", "speech_ms", "wall_ms", "words")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def usage(
    *,
    home: HomeFolder = None,
    by: Annotated[
        str, typer.Option(help="What to sum by.", metavar="compartment|user|tag:KEY")
    ] = "compartment",
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="From this day or time on, UTC.", show_default="the first of this month"
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="Up to and without this day or time, UTC.", show_default="now"),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, without the total.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sum what was used by streams that ended within a time; live ones are not in it yet.

    The sums are those of the receipts, to the millisecond.

    For example:

    - stapes usage
    - stapes usage --by user --from 2026-11-01 --to 2026-12-01 --csv
    - stapes usage --by tag:project --json
    """
    from stapes.accounts.usage import parse_grouping, sum_up

    try:
        name_of = parse_grouping(by)
    except ValueError as error:
        raise typer.BadParameter(f"--by: {error}") from error
    since, until = _period(from_, to, datetime.now(UTC))
    with open_own(home, with_keys=False) as own:
        sums = sum_up(own.store.closed_streams(since, until), name_of)
    total = _total(sums)
    if as_json:
        typer.echo(_to_json(by, since, until, sums, total))
    elif as_csv:
        typer.echo(_to_csv(sums), nl=False)
    else:
        _print_table(by, since, until, [*sums, total])


def _period(from_: str | None, to: str | None, now: datetime) -> tuple[datetime, datetime]:
    until = now if to is None else parse_moment(to)
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = first if from_ is None else parse_moment(from_)
    if since > until:
        raise typer.BadParameter(f"--from {since.isoformat()} is after --to {until.isoformat()}")
    return since, until


def _total(sums: Sequence[Sum]) -> Sum:
    from stapes.accounts.usage import Sum

    return Sum("total", *(sum(getattr(each, name) for each in sums) for name in COLUMNS[1:]))


def _to_json(by: str, since: datetime, until: datetime, sums: Sequence[Sum], total: Sum) -> str:
    document = {
        "by": by,
        "from": since.isoformat(),
        "to": until.isoformat(),
        "sums": [_object(each) for each in sums],
        "total": {name: value for name, value in _object(total).items() if name != "name"},
    }
    return json.dumps(document, ensure_ascii=False)


def _object(each: Sum) -> dict[str, Any]:
    return {
        "name": each.name,
        "streams": each.streams,
        "audioInMs": each.audio_ms,
        "speechInMs": each.speech_ms,
        "wallInMs": each.wall_ms,
        "words": each.words,
    }


def _to_csv(sums: Sequence[Sum]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for each in sums:
        writer.writerow({**asdict(each), "name": _cell(each.name)})
    return text.getvalue()


def _cell(name: str) -> str:
    """A tag's value is its giver's: with an apostrophe first no spreadsheet takes it to execute."""
    return f"'{name}" if name.startswith(_FORMULA) else name


def _print_table(by: str, since: datetime, until: datetime, rows: Sequence[Sum]) -> None:
    typer.echo(f"{since.isoformat(' ', 'seconds')} to {until.isoformat(' ', 'seconds')}, by {by}")
    typer.echo(f"{'streams':>8}  {'audio s':>14}  {'speech s':>14}  {'words':>10}  name")
    for each in rows:
        typer.echo(
            f"{each.streams:>8}  {_seconds(each.audio_ms):>14}  {_seconds(each.speech_ms):>14}  "
            f"{each.words:>10}  {printable(each.name) or '-'}"
        )


def _seconds(ms: int) -> str:
    return f"{ms // 1000}.{ms % 1000:03d}"

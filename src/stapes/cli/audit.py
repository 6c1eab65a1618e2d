"""``stapes audit``: who did what, and whether the log is whole."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.moments import format_moment, parse_moment
from stapes.cli.own_store import open_own
from stapes.cli.terminal import AsJson, HomeFolder, fail, printable
from stapes.errors import StoreError

if TYPE_CHECKING:
    from stapes.accounts.audit import AuditRow
    from stapes.store.port import Store

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Who did what, in a log in which every row is hashed with the one before.\n\n"
    "For example:\n\n- stapes audit list\n- stapes audit verify",
)

_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


@app.command()
def verify(
    home: HomeFolder = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="A head that was noted before: it has to be in the log.", metavar="SEQ:HASH"
        ),
    ] = None,
) -> None:
    """Check every row, and print the head: the number and hash of the last one.

    Note the head on another machine. A log that was cut off or made anew does not hold it.

    For example:

    - stapes audit verify
    - stapes audit verify --head 17:9f86d0...
    """
    from stapes.accounts.audit import check

    noted = None if head is None else _parse_head(head)
    found: dict[int, str] = {}
    with open_own(home, with_keys=False) as own:
        verdict = check(_noticed(audit_rows(own.store), noted, found))
    fault = f"audit row {verdict.seq} {verdict.fault}" if verdict.fault else _fault(noted, found)
    if fault:
        fail(fault)
        raise typer.Exit(1)
    typer.echo(f"rows {verdict.seq}")
    typer.echo(f"head {verdict.seq}:{verdict.hash}")


@app.command("list")
def list_rows(
    home: HomeFolder = None,
    since: Annotated[
        str | None, typer.Option(help="Only from this day or time on.", metavar="TIME")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(help="Only this action, or all of a kind.", metavar="KIND[.DONE]"),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many of the newest rows.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was done, newest last.

    For example:

    - stapes audit list --since 2026-11-22
    - stapes audit list --action key.rotated --json
    """
    from_ = None if since is None else parse_moment(since)
    with open_own(home, with_keys=False) as own:
        chosen = (
            row
            for row in audit_rows(own.store)
            if (from_ is None or row.at >= from_) and _is_of(row.action, action)
        )
        rows = deque(chosen, maxlen=limit)
    if as_json:
        typer.echo(json.dumps([_row_object(row) for row in rows], ensure_ascii=False))
        return
    for row in rows:
        details = json.dumps(row.details, ensure_ascii=False) if row.details else ""
        line = f"{row.seq:>6}  {format_moment(row.at)}  {row.actor}  {row.action}  {row.subject}"
        typer.echo(printable(f"{line}  {details}".rstrip()))


def audit_rows(store: Store) -> Iterator[AuditRow]:
    """All rows in order, a page at a time. Raises `StoreError`, naming one that cannot be read."""
    after = 0
    while page := _page(store, after):
        yield from page
        after = page[-1].seq


def _page(store: Store, after: int) -> list[AuditRow]:
    try:
        return store.audit(after)
    except StoreError:  # perhaps for one row of them: those before it can be read
        pass
    try:
        return store.audit(after, limit=1)
    except StoreError as error:
        raise StoreError(f"audit row {after + 1} cannot be read: {error}") from error


def _parse_head(text: str) -> tuple[int, str]:
    if not (match := _HEAD.fullmatch(text.strip().lower())):
        raise typer.BadParameter("--head takes SEQ:HASH as `stapes audit verify` printed it")
    return int(match[1]), match[2]


def _noticed(
    rows: Iterator[AuditRow], noted: tuple[int, str] | None, found: dict[int, str]
) -> Iterator[AuditRow]:
    """The same rows; the hash of the noted one is put into ``found``."""
    for row in rows:
        if noted is not None and row.seq == noted[0]:
            found[row.seq] = row.hash
        yield row


def _fault(noted: tuple[int, str] | None, found: dict[int, str]) -> str | None:
    if noted is None or found.get(noted[0]) == noted[1]:
        return None
    if not found:
        return f"audit row {noted[0]}, which was noted, is missing: the log was cut off"
    return f"audit row {noted[0]} is not the one that was noted: the log was made anew"


def _is_of(action: str, wanted: str | None) -> bool:
    return wanted is None or action == wanted or action.startswith(f"{wanted}.")


def _row_object(row: AuditRow) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "time": row.at.isoformat(),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "tenancyId": row.tenancy_id,
        "details": dict(row.details),
        "hash": row.hash,
    }

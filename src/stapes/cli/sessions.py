"""``stapes sessions``: what was transcribed, from a home's store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stapes.cli.formats import Format, render, to_object
from stapes.cli.own_store import open_own
from stapes.cli.terminal import AsJson, HomeFolder, print_table
from stapes.errors import StoreError

if TYPE_CHECKING:
    from stapes.store.port import StreamSummary
    from stapes.store.records import FinalHeard

app = typer.Typer(no_args_is_help=False, add_completion=False)


@app.callback(invoke_without_command=True)
def list_sessions(
    context: typer.Context,
    home: HomeFolder = None,
    limit: Annotated[int, typer.Option(help="How many of the newest streams.", min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """List sessions, newest first, or show the transcript of one.

    A session has a row for each time that it was opened. Works while a server runs.

    For example:

    - stapes sessions
    - stapes sessions show OCID --format srt
    """
    context.obj = home
    if context.invoked_subcommand is not None:
        return
    with open_own(home, with_keys=False) as own:
        streams = own.store.streams(limit=limit)
    if as_json:
        typer.echo(json.dumps([_stream_object(stream) for stream in streams], ensure_ascii=False))
    elif streams:
        _print_table(streams)
    else:
        typer.echo("No sessions yet.")


@app.command()
def show(
    context: typer.Context,
    session_id: Annotated[str, typer.Argument(help="OCID of the session.", metavar="ID")],
    home: HomeFolder = None,
    stream: Annotated[
        int | None,
        typer.Option(help="Only this stream of the session.", min=1, show_default="all"),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="What to print.")] = Format.TEXT,
) -> None:
    """Print the transcript of a session.

    For example:

    - stapes sessions show ocid1.aispeechrealtimesession.oc1..aaaa --format vtt
    """
    with open_own(home or context.obj, with_keys=False) as own:
        streams = own.store.streams(limit=10_000, session_id=session_id)
        known = [summary.stream for summary in streams]
        finals = own.store.finals(session_id, stream)
    if not known:
        raise StoreError(f"there is no session {session_id} in this home; see `stapes sessions`")
    if stream is not None and stream not in known:
        raise StoreError(f"session {session_id} has streams 1 to {max(known)}, and no {stream}")
    if format_.is_subtitles and stream is None and len(known) > 1:
        raise StoreError(
            f"session {session_id} has {len(known)} streams, each with a timeline of its own; "
            "choose one with --stream"
        )
    typer.echo(_transcript(session_id, finals, format_), nl=False)


def _transcript(session_id: str, finals: Sequence[FinalHeard], format_: Format) -> str:
    by_stream = [(n, list(of)) for n, of in groupby(finals, attrgetter("stream"))]
    if format_ is Format.JSON:
        streams = [{"stream": number, **to_object(of)} for number, of in by_stream]
        return json.dumps({"sessionId": session_id, "streams": streams}, ensure_ascii=False) + "\n"
    if format_.is_subtitles or len(by_stream) == 1:
        return render(format_, finals)
    return "".join(f"== stream {number}\n{render(format_, of)}" for number, of in by_stream)


def _stream_object(stream: StreamSummary) -> dict[str, Any]:
    return {
        "sessionId": stream.session_id,
        "stream": stream.stream,
        "compartmentId": stream.compartment_id,
        "userId": stream.user_id,
        "timeOpened": stream.opened_at.isoformat(),
        "timeClosed": stream.closed_at.isoformat() if stream.closed_at else None,
        "reason": stream.reason,
        "audioInMs": stream.audio_ms,
        "finals": stream.finals,
        "words": stream.words,
        "freeformTags": stream.freeform_tags,
    }


def _print_table(streams: Sequence[StreamSummary]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("opened (UTC)", "ended by"):
        table.add_column(heading, no_wrap=True)
    for heading in ("audio s", "finals", "words", "stream"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("session", no_wrap=True)
    for stream in streams:
        table.add_row(
            f"{stream.opened_at:%Y-%m-%d %H:%M:%S}",
            stream.reason or "-",
            f"{stream.audio_ms / 1000:.1f}",
            str(stream.finals),
            str(stream.words),
            str(stream.stream),
            stream.session_id,
        )
    print_table(table)

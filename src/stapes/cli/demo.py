"""``stapes demo``: the whole path, from nothing to words."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from stapes.errors import ClientError

if TYPE_CHECKING:
    from stapes.cli.listening import Transcript
    from stapes.cli.measures import Stopwatch
    from stapes.client.files import Source
    from stapes.client.profile import Server

FINAL_SILENCE_MS = 700
SILENCE_AFTER_MS = 1_000
"""The sample ends soon after its last word; a final that silence settles needs some more."""


def demo(
    fast: Annotated[
        bool, typer.Option("--fast", help="Send faster than real time; no delays are measured.")
    ] = False,
) -> None:
    """Watch speech become text: a server, a token, a bundled sample, captions.

    Everything happens in a temporary folder and on loopback, and is gone afterwards. The
    exit code is 0 when words came.

    For example:

    - stapes demo
    - stapes demo --fast
    """
    from stapes.cli.own_server import own_server
    from stapes.client.profile import Server

    typer.echo("Starting a server in a temporary home …")
    began = time.monotonic()
    with own_server() as own:
        typer.echo(f"It listens on {own.url} (after {time.monotonic() - began:.1f} s).")
        if hint := _advice(own.url):
            typer.echo(hint)
        server = Server(own.url, own.profile, own.profile.compartment)
        _show(server, fast=fast)


def _advice(url: str) -> str | None:
    """What the server would say on how to hear better."""
    import httpx

    from stapes.models.catalogue import advice, read_catalogue

    with httpx.Client(trust_env=False) as client:
        ready = client.get(f"{url}/ready").json()
    return advice((share["engine"] for share in ready["models"]), read_catalogue())


def _show(server: Server, *, fast: bool) -> None:
    from stapes.cli.captions import LineCaptions, LiveCaptions
    from stapes.cli.listening import listen, mint
    from stapes.cli.measures import Stopwatch
    from stapes.client.files import file_source
    from stapes.samples import load

    sample = load("demo")
    token = mint(server)
    typer.echo(f"Its endpoint minted a token for the session {token.session_id}.")
    source = _with_silence(file_source(sample.path))
    seconds = source.duration_s or 0
    pace = "faster than" if fast else "in"
    typer.echo(f"Streaming {seconds:.0f} s of speech {pace} real time:\n")
    live = sys.stderr.isatty()
    captions = (
        LiveCaptions(source.duration_s, finals=True)
        if live
        else LineCaptions(finals=True, partials=True)
    )
    watch = Stopwatch(captions)
    parameters = {"finalSilenceThresholdInMs": str(FINAL_SILENCE_MS)}
    heard = asyncio.run(listen(server, token, source, parameters, watch, fast=fast))
    if not heard.finals:
        raise ClientError("the server heard no words in the sample")
    _report(sample.text, heard, None if fast else watch)


def _with_silence(source: Source) -> Source:
    from stapes.client.files import CHUNK_BYTES, CHUNK_MS

    def chunks() -> Iterator[bytes]:
        yield from source.chunks()
        for _ in range(SILENCE_AFTER_MS // CHUNK_MS):
            yield bytes(CHUNK_BYTES)

    longer_s = (source.duration_s or 0) + SILENCE_AFTER_MS / 1000
    return replace(source, duration_s=longer_s, chunks=chunks)


def _report(spoken: str, heard: Transcript, watch: Stopwatch | None) -> None:
    from stapes.cli.measures import as_text, count_word_errors

    text = as_text(heard.finals)
    errors = count_word_errors(spoken, text)
    typer.echo(f"\nHeard:   {text}")
    typer.echo(f"Spoken:  {spoken}")
    typer.echo(
        f"Word error rate: {errors.rate:.0%} ({errors.errors} errors in {errors.words} words)"
    )
    if watch is not None:
        _report_delays(watch)
    typer.echo(
        "\nHow to go on:\n"
        "  stapes transcribe FILE     transcribe audio of your own\n"
        "  stapes transcribe --mic    or what you say\n"
        "  stapes init; stapes serve  set up a server that stays\n"
        "  stapes token               mint a token there"
    )


def _report_delays(watch: Stopwatch) -> None:
    partial_s, final_s = watch.first_partial_s(), watch.final_s(FINAL_SILENCE_MS)
    if partial_s is not None:
        typer.echo(
            f"First partial:   {partial_s:.2f} s after the beginning of the first word was sent"
        )
    if final_s is not None:
        beyond_s = final_s - FINAL_SILENCE_MS / 1000
        typer.echo(
            f"Finals:          {final_s:.2f} s after the end of the speech was sent (median); "
            f"{beyond_s:.2f} s\n                 beyond the {FINAL_SILENCE_MS} ms of silence "
            "that settle a final"
        )

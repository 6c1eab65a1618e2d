"""Take one source through a server: mint a token, stream, gather the finals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from stapes.cli.captions import Captions
from stapes.client.connecting import connect
from stapes.client.files import RATE, Reader, Source, paced
from stapes.client.profile import Server
from stapes.client.results import Final
from stapes.client.session import Session
from stapes.client.tokens import mint_token
from stapes.errors import AudioError
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails, RealtimeSessionToken


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one source; empty finals are left out."""

    name: str
    session_id: str
    duration_ms: int
    finals: tuple[Final, ...]


def mint(server: Server) -> RealtimeSessionToken:
    """A token for one session. Raises what `stapes.client.tokens.mint_token` does."""
    details = CreateRealtimeSessionTokenDetails(compartment_id=server.compartment_id)
    return mint_token(server.url, server.profile, details)


async def listen(
    server: Server,
    token: RealtimeSessionToken,
    source: Source,
    parameters: Mapping[str, str],
    captions: Captions,
    *,
    fast: bool,
) -> Transcript:
    """Stream ``source`` to its end and wait for the final that covers all of it.

    Cuts are mended; a token that has expired meanwhile is replaced. Raises `ClientError` for what
    the server does, and `AudioError` when the source breaks off; what was heard until then has
    been shown to ``captions``.
    """

    async def renew() -> RealtimeSessionToken:
        return await asyncio.to_thread(mint, server)

    asked = {"encoding": f"audio/raw;rate={RATE}", **parameters}
    with captions:
        async with connect(
            server.url, token=token, token_callback=renew, parameters=asked
        ) as session:
            sending = asyncio.create_task(_send(session, source, captions, fast=fast))
            try:
                async for result in session:
                    captions.heard(result)
                duration_ms = await sending
            finally:
                await _cancel(sending)
    return Transcript(source.name, session.session_id, duration_ms, session.finals)


async def _send(session: Session, source: Source, captions: Captions, *, fast: bool) -> int:
    """Send all of ``source`` and finish. Returns its length, ms."""
    sent_bytes = 0
    reader = Reader(source.chunks())
    try:
        with _stopped_by_interrupt(reader, source):
            async for chunk in reader if fast else paced(reader):
                await session.send(chunk)
                if not source.is_live:
                    await session.drain()
                sent_bytes += len(chunk)
                captions.sent(sent_bytes * 1000 // (2 * RATE))
    except AudioError:
        # The source broke off: what was heard until then is worth having.
        await session.finish()
        raise
    await session.finish()
    return sent_bytes * 1000 // (2 * RATE)


@contextmanager
def _stopped_by_interrupt(reader: Reader, source: Source) -> Iterator[None]:
    """For a source without an end, the first Ctrl-C is its end; the second one is ours."""
    if not source.is_live:
        yield
        return
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        reader.stop()

    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _cancel(task: asyncio.Task[int]) -> None:
    """End the task; what it failed with, the session has told already."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

"""Take one source through a server: mint a token, stream, gather the finals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from stapes.cli.captions import Captions
from stapes.client.files import RATE, Reader, Source, paced
from stapes.client.profile import Server
from stapes.client.stream import Result, Stream, open_stream
from stapes.client.tokens import mint_token
from stapes.errors import ClientError
from stapes.protocol.resources import CreateRealtimeSessionTokenDetails, RealtimeSessionToken


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one source; empty finals are left out."""

    name: str
    session_id: str
    duration_ms: int
    finals: tuple[Result, ...]


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

    Raises `ClientError` for what the server does, and `AudioError` when the source breaks off;
    what was heard until then has been shown to ``captions``.
    """
    asked = {"encoding": f"audio/raw;rate={RATE}", "isAckEnabled": "true", **parameters}
    with captions:
        async with open_stream(
            server.url, token.token, compartment_id=token.compartment_id, parameters=asked
        ) as stream:
            sending = asyncio.create_task(_send(stream, source, captions, fast=fast))
            try:
                finals = [final async for final in _finals(stream, captions)]
                duration_ms = await sending
            finally:
                await _cancel(sending)
    return Transcript(source.name, stream.session_id, duration_ms, tuple(finals))


async def _finals(stream: Stream, captions: Captions) -> AsyncIterator[Result]:
    """The finals with words, up to the empty one that `Stream.finish` asks for."""
    async for result in stream:
        captions.heard(result)
        if result.is_final and not result.text:
            return
        if result.is_final:
            yield result
    raise ClientError("the server closed the stream before it had answered")


async def _send(stream: Stream, source: Source, captions: Captions, *, fast: bool) -> int:
    """Send all of ``source`` and finish. Returns its length, ms."""
    sent_bytes = 0
    reader = Reader(source.chunks())
    try:
        with _stopped_by_interrupt(reader, source):
            async for chunk in reader if fast else paced(reader):
                await stream.send(chunk)
                sent_bytes += len(chunk)
                captions.sent(sent_bytes * 1000 // (2 * RATE))
    except Exception:
        # The source broke off: what was heard until then is worth having.
        await stream.finish()
        raise
    await stream.finish()
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
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

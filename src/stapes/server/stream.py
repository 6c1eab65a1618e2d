"""The websocket route and the pump: all the asyncio there is around a session.

Socket, clock, recogniser and server post events to one inbox; one loop per session takes them
through `stapes.protocol.session.step` and performs the effects. Nothing else touches a session.
How a socket comes to its stream is in `stapes.server.opening`, what a socket is in
`stapes.server.connection`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import assert_never

import structlog
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from stapes.errors import (
    ApiError,
    GoingAwayError,
    InternalServerError,
    SlowReaderError,
    StapesError,
)
from stapes.protocol import session as machine
from stapes.protocol.effects import (
    AskPeer,
    Authenticate,
    Close,
    Effect,
    FeedRecogniser,
    Finish,
    FlushRecogniser,
    PauseReading,
    ResumeReading,
    SaveFinal,
    SavePoint,
    Send,
    TakeRecogniser,
)
from stapes.protocol.events import (
    AudioArrived,
    Checkpoint,
    Event,
    PeerClosed,
    RecogniserRefused,
    RecogniserTaken,
    Resumed,
    StopRequested,
    TextArrived,
    TimeElapsed,
)
from stapes.protocol.extension import SUBPROTOCOL
from stapes.protocol.messages import ErrorMessage, Result
from stapes.protocol.params import Params
from stapes.protocol.state import Phase
from stapes.server.accounting import StreamAccount
from stapes.server.connection import Connection
from stapes.server.deployment import Deployment
from stapes.server.opening import Opening, rules_of
from stapes.server.outbox import Message
from stapes.workers.replaying import Ear

log = structlog.get_logger("stapes.stream")

TICK_S = 0.1
MOST_EVENTS_WAITING = 4096


async def transcribe(websocket: WebSocket) -> None:
    """``/ws/transcribe/stream``: accept any upgrade, browsers cannot read a refused one."""
    await Pump(websocket, websocket.app.state.deployment).run()


route = WebSocketRoute("/ws/transcribe/stream", transcribe)


class Pump:
    """One session: on one socket, or with the extension on one after another."""

    def __init__(self, websocket: WebSocket, deployment: Deployment) -> None:
        self.ended, self.parted = asyncio.Event(), asyncio.Event()
        self._websocket = websocket
        self._settings = deployment.settings
        self._inbox: asyncio.Queue[Event] = asyncio.Queue(MOST_EVENTS_WAITING)
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._connection: Connection | None = None
        self._session = machine.start(
            query=websocket.scope["query_string"].decode("latin-1"),
            content_type=websocket.headers.get("content-type"),
            now_ms=_now_ms(),
            rules=rules_of(self._settings),
            is_extended=SUBPROTOCOL in websocket.scope["subprotocols"],
        )
        self._opening = Opening(deployment, websocket, self, is_extended=self._session.is_extended)
        self._account: StreamAccount | None = None
        self._ear: Ear | None = None
        self._ticked_at = time.monotonic()

    async def run(self) -> None:
        """Serve the socket to its end. Every way out drains, saves and accounts."""
        try:
            self._begin()
            chosen = SUBPROTOCOL if self._session.is_extended else None
            await self._websocket.accept(subprotocol=chosen)
            self._connection = self._connect(self._websocket)
            await self._serve()
        except Exception:  # a mistake of ours: the peer is told, the others go on
            log.exception("pump failed", session=self._session.session_id)
            self._say_failed()
            if self._account is not None and self._session.phase is not Phase.CLOSED:
                session = self._session
                self._account.close("failed", session.audio_ms, session.speech_ms)
        finally:
            self._let_go()
            await self._part()
        if self._opening.heir is not None:
            heir, last_result = self._opening.heir
            await heir.adopt(self._websocket, last_result)

    async def _part(self) -> None:
        """Wait until the peer has been told all."""
        try:
            if self._connection is not None:
                await self._connection.finish()
        finally:
            self._opening.leave()
            self.parted.set()

    async def adopt(self, websocket: WebSocket, last_result: int) -> None:
        """Go on with the session on another socket; returns when that is done with."""
        if self.ended.is_set():
            await self._refuse(websocket, GoingAwayError())
            return
        if self._connection is not None:
            self._connection.abandon()
        self._connection = connection = self._connect(websocket)
        self.post(Resumed(last_result))
        await connection.left.wait()
        await connection.finish()

    async def _refuse(self, websocket: WebSocket, error: ApiError) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # it may have left meanwhile
            await websocket.send_text(_error_message(self._session.session_id, error))
            await websocket.close(error.close_code)

    def _begin(self) -> None:
        try:
            self._opening.begin()
        except ApiError as error:
            self.stop(error)
        if (offered := self._opening.offered_token()) is not None:
            self.post(offered)

    async def _serve(self) -> None:
        try:
            while self._session.phase is not Phase.CLOSED:
                await self._take(await self._next())
        finally:
            assert self._connection is not None
            await self._connection.stop_reading()

    def _connect(self, websocket: WebSocket) -> Connection:
        send_timeout_s = self._settings.send_timeout_s
        connection = Connection(
            websocket, self._inbox, self._may_read, send_timeout_s, self._sending_failed
        )
        connection.read()
        return connection

    # What the server asks of a live session, and tells it

    @property
    def stream(self) -> int | None:
        """The number of its stream, once it has one."""
        return self._account.stream if self._account is not None else None

    @property
    def is_resumable(self) -> bool:
        """Whether its peer could go on with its stream on another socket."""
        return self._session.is_extended and self._session.phase is Phase.STREAMING

    async def is_answering(self, timeout_s: float) -> bool:
        """Whether the peer answers a ping, and was not told to go on elsewhere."""
        if self._connection is None or self._session.is_away or self._session.is_leaving:
            return False
        return await self._connection.is_answering(timeout_s)

    def lose(self) -> None:
        """The socket is not answering: wait for the peer on another one."""
        self.post(PeerClosed(is_lost=True))

    def stop(self, error: ApiError) -> None:
        """End the session from outside; the peer is told ``error``."""
        self.post(StopRequested(error))

    def post(self, event: Event) -> None:
        """Post from the recogniser or the server: bounded by the audio fed ahead."""
        self._inbox.put_nowait(event)

    # The inbox

    async def _next(self) -> Event:
        wait_s = self._ticked_at + TICK_S - time.monotonic()
        with suppress(TimeoutError):
            if wait_s > 0:
                async with asyncio.timeout(wait_s):
                    event = await self._inbox.get()
                if isinstance(event, TextArrived | AudioArrived) and self._connection is not None:
                    self._connection.note_taken()
                return event
        self._ticked_at = time.monotonic()
        if self._account is not None:
            self._account.meter(self._session.audio_ms, self._session.speech_ms)
        return TimeElapsed()

    async def _take(self, event: Event) -> None:
        """One event through the session, and whatever its effects bring about at once."""
        events = deque([event])
        while events:
            self._session, effects = machine.step(self._session, events.popleft(), _now_ms())
            for effect in effects:
                answer = await self._perform_safely(effect)
                if answer is not None:
                    events.append(answer)

    # Effects

    async def _perform_safely(self, effect: Effect) -> Event | None:
        try:
            return await self._perform(effect)
        except StapesError as error:
            log.error("session failed", session=self._session.session_id, cause=str(error))
            return StopRequested(InternalServerError(str(error)))

    async def _perform(self, effect: Effect) -> Event | None:  # noqa: C901, PLR0912 - a case an effect
        match effect:
            case Send(message):
                is_partial = isinstance(message, Result) and not message.transcriptions[0].is_final
                self._send({"type": "websocket.send", "text": message.encode()}, is_partial)
            case Close(code):
                self._send({"type": "websocket.close", "code": code})
            case Authenticate(message):
                return await self._opening.authenticate(message)
            case TakeRecogniser(params, checkpoint):
                return await self._take_recogniser(params, checkpoint)
            case FeedRecogniser(audio):
                assert self._ear is not None
                self._ear.feed(audio)
            case FlushRecogniser():
                assert self._ear is not None
                self._ear.flush()
            case AskPeer():
                if self._connection is not None:
                    self._connection.ask()
            case PauseReading():
                self._may_read.clear()
            case ResumeReading():
                self._may_read.set()
            case SaveFinal() | SavePoint():
                assert self._account is not None
                self._account.save(effect)
            case Finish(ending, audio_ms, speech_ms):
                if self._account is not None:  # else it was never served: nothing to account for
                    self._account.close(ending, audio_ms, speech_ms)
            case _:
                assert_never(effect)
        return None

    async def _take_recogniser(self, params: Params, checkpoint: Checkpoint | None) -> Event:
        try:
            account, ear = await self._opening.take_recogniser(params, checkpoint, self.post)
        except ApiError as error:
            log.info("no recogniser", session=self._session.session_id, cause=str(error))
            return RecogniserRefused(error)
        self._account, self._ear = account, ear
        account.begin()
        return RecogniserTaken(*self._opening.spent)

    def _send(self, message: Message, is_partial: bool = False) -> None:
        """Have a message sent, unless the peer is away: a final when the store has it."""
        if self._connection is not None and not self._session.is_away:
            told = self._account.written if self._account and not is_partial else None
            self._connection.send(message, is_partial=is_partial, written=told)

    def _sending_failed(self, connection: Connection, unread: list[Message]) -> None:
        """The peer is gone or reads nothing: one that cannot come back is left all it was told."""
        if unread and not self._session.is_extended:
            error = SlowReaderError()
            texts = [each["text"] for each in unread if "text" in each]
            last = _error_message(self._session.session_id, error)
            connection.say_farewell([*texts, last], error.close_code)
        else:
            connection.drop()
        self.post(PeerClosed(is_lost=True))

    def _say_failed(self) -> None:
        error = InternalServerError()
        text = _error_message(self._session.session_id, error)
        self._send({"type": "websocket.send", "text": text})
        self._send({"type": "websocket.close", "code": error.close_code})

    def _let_go(self) -> None:
        if self._ear is not None:
            self._ear.release()
            self._ear = None
        self._opening.close()
        if self._connection is not None:
            self._connection.left.set()
        self.ended.set()


def _error_message(session_id: str | None, error: ApiError) -> str:
    text = f"{error.code}: {error.public}"
    return ErrorMessage(session_id=session_id, code=error.status, message=text).encode()


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000

"""The websocket route and the pump: all the asyncio there is around a session.

Socket, clock, recogniser and server post events to one inbox; one loop per session takes them
through `stapes.protocol.session.step` and performs the effects. Nothing else touches a session.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

import structlog
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from stapes.engines.hearing import ListenerParams
from stapes.errors import (
    ApiError,
    GoingAwayError,
    InternalServerError,
    InvalidParameterError,
    NotAuthenticatedError,
    NotAuthorizedOrNotFoundError,
    QuotaError,
    ServiceUnavailableError,
    SessionLiveElsewhereError,
    SlowReaderError,
    StapesError,
    StoreError,
    TokenClaimError,
)
from stapes.protocol import session as machine
from stapes.protocol.events import (
    AudioArrived,
    Authenticate,
    Authenticated,
    AuthenticationRefused,
    Checkpoint,
    Close,
    DrainRequested,
    Effect,
    Event,
    FeedRecogniser,
    Finish,
    FlushRecogniser,
    Moved,
    PauseReading,
    PeerClosed,
    RecogniserRefused,
    RecogniserTaken,
    Resumed,
    ResumeReading,
    SaveFinal,
    SavePoint,
    Send,
    StopRequested,
    TakeRecogniser,
    TextArrived,
    TimeElapsed,
    TokenOffered,
)
from stapes.protocol.extension import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from stapes.protocol.messages import (
    Authentication,
    CredentialsAuthentication,
    ErrorMessage,
    Result,
    TokenAuthentication,
)
from stapes.protocol.params import Params
from stapes.protocol.state import Phase, Rules
from stapes.server.accounting import (
    ENCODING_NAMES,
    StreamAccount,
    described,
    hearing_params,
    open_account,
    unrecordable,
)
from stapes.server.authentication import grant_for_credentials, grant_for_token
from stapes.server.deployment import Deployment
from stapes.server.live import PING_TIMEOUT_S
from stapes.server.outbox import Message, Outbox
from stapes.server.resuming import Continued, Wish, parse_wish, take_over
from stapes.server.transport import FAREWELL, PING
from stapes.settings import Settings
from stapes.store.port import SessionCreated
from stapes.tokens.grant import Grant
from stapes.workers.replaying import Ear

log = structlog.get_logger("stapes.stream")

TICK_S = 0.1
MOST_FRAMES_WAITING = 4
MOST_EVENTS_WAITING = 4096


async def transcribe(websocket: WebSocket) -> None:
    """``/ws/transcribe/stream``: accept any upgrade, browsers cannot read a refused one."""
    await Pump(websocket, websocket.app.state.deployment).run()


route = WebSocketRoute("/ws/transcribe/stream", transcribe)


LOST = frozenset({1006, 1011})
"""Close codes of a connection that broke, or whose peer answers no ping (RFC 6455 section 7.4)."""


class Pump:
    """One session: on one socket, or with the extension on one after another."""

    def __init__(self, websocket: WebSocket, deployment: Deployment) -> None:
        self.ended = asyncio.Event()
        self._websocket = websocket
        self._outbox: Outbox | None = None
        self._left = asyncio.Event()  # set when the socket is done with
        self._reading: asyncio.Task[None] | None = None
        self._heir: tuple[Pump, int] | None = None
        self._deployment = deployment
        self._settings = deployment.settings
        self._inbox: asyncio.Queue[Event] = asyncio.Queue(MOST_EVENTS_WAITING)
        self._places = asyncio.Semaphore(MOST_FRAMES_WAITING)
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._session = machine.start(
            query=websocket.scope["query_string"].decode("latin-1"),
            content_type=websocket.headers.get("content-type"),
            now_ms=_now_ms(),
            rules=_rules(self._settings),
            is_extended=SUBPROTOCOL in websocket.scope["subprotocols"],
        )
        self._address = websocket.client.host if websocket.client else ""
        self._is_waiting = False
        self._grant: Grant | None = None
        self._account: StreamAccount | None = None
        self._continued: Continued | None = None
        self._ear: Ear | None = None
        self._ticked_at = time.monotonic()

    async def run(self) -> None:
        """Serve the socket to its end. Every way out drains, saves and accounts."""
        self._deployment.live.enter(self)
        try:
            chosen = SUBPROTOCOL if self._session.is_extended else None
            await self._websocket.accept(subprotocol=chosen)
            self._outbox = self._open_outbox(self._websocket)
            self._wait_to_authenticate()
            self._take_offered_token()
            await self._serve()
        except Exception:  # a mistake of ours: the peer is told, the others go on
            log.exception("pump failed", session=self._session.session_id)
            self._say_failed()
        finally:
            self._let_go()
        if self._outbox is not None:
            await self._outbox.finish()
        if self._heir is not None:
            heir, last_result = self._heir
            await heir.adopt(self._websocket, last_result)

    async def adopt(self, websocket: WebSocket, last_result: int) -> None:
        """Go on with the session on another socket; returns when that is done with."""
        if self.ended.is_set():
            await websocket.close(GoingAwayError.close_code)
            return
        self._left.set()
        self._websocket, self._left = websocket, asyncio.Event()
        if self._outbox is not None:
            self._outbox.abandon()
        self._outbox = outbox = self._open_outbox(websocket)
        left = self._left
        self._read_from(websocket)
        self._post(Resumed(last_result))
        await left.wait()
        await outbox.finish()

    def lose(self) -> None:
        """The socket is not answering: wait for the peer on another one."""
        self._post(PeerClosed(is_lost=True))

    @property
    def may_be_resumed(self) -> bool:
        """Whether a peer that was lost can go on with the session."""
        return self._session.is_extended and self._session.phase is Phase.STREAMING

    @property
    def resumable_stream(self) -> int | None:
        """The number of its stream, when that could be continued elsewhere."""
        is_served = self._account is not None and self.may_be_resumed
        return self._account.stream if self._account is not None and is_served else None

    @property
    def is_away(self) -> bool:
        """Whether the session waits for its peer."""
        return self._session.is_away

    def _wait_to_authenticate(self) -> None:
        """Count the socket among those that have not authenticated; refuse one too many."""
        self._is_waiting = True
        try:
            self._deployment.quotas.enter(self._address)
        except QuotaError as error:
            self.stop(error)
        if self._deployment.draining:
            self.stop(ServiceUnavailableError("draining", public="The server is stopping."))

    def _take_offered_token(self) -> None:
        """A token that came as a subprotocol, from a client of the extension."""
        for offered in self._websocket.scope["subprotocols"] if self._session.is_extended else ():
            if offered.startswith(TOKEN_SUBPROTOCOL):
                self._post(TokenOffered(offered.removeprefix(TOKEN_SUBPROTOCOL)))
                return

    async def _serve(self) -> None:
        self._read_from(self._websocket)
        try:
            while self._session.phase is not Phase.CLOSED:
                await self._take(await self._next())
        finally:
            await self._stop_reading()

    def _read_from(self, websocket: WebSocket) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._places = asyncio.Semaphore(MOST_FRAMES_WAITING)
        assert self._outbox is not None
        reading = self._read(websocket, self._outbox, self._places)
        self._reading = asyncio.create_task(reading)

    async def _stop_reading(self) -> None:
        assert self._reading is not None
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    def post(self, event: DrainRequested | Moved) -> None:
        """Tell the session what the server is about to do."""
        self._post(event)

    def stop(self, error: ApiError) -> None:
        """End the session from outside; the peer is told ``error``."""
        self._post(StopRequested(error))

    async def is_answering(self, timeout_s: float) -> bool:
        """Whether the peer answers a ping."""
        ping = self._websocket.scope["extensions"].get(PING)
        return ping is not None and await ping(timeout_s)

    # The inbox

    async def _read(self, websocket: WebSocket, outbox: Outbox, places: asyncio.Semaphore) -> None:
        while True:
            await self._may_read.wait()
            await places.acquire()
            await outbox.has_room.wait()
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                await self._inbox.put(PeerClosed(is_lost=message.get("code") in LOST))
                return
            audio = message.get("bytes")
            event = TextArrived(message["text"]) if audio is None else AudioArrived(audio)
            await self._inbox.put(event)

    def _post(self, event: Event) -> None:
        """Post from the recogniser or the server: bounded by the audio fed ahead."""
        self._inbox.put_nowait(event)

    async def _next(self) -> Event:
        wait_s = self._ticked_at + TICK_S - time.monotonic()
        with suppress(TimeoutError):
            if wait_s > 0:
                async with asyncio.timeout(wait_s):
                    event = await self._inbox.get()
                if isinstance(event, TextArrived | AudioArrived):
                    self._places.release()
                return event
        self._ticked_at = time.monotonic()
        if self._account is not None:
            self._account.meter(machine.audio_ms(self._session), self._session.speech_ms)
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

    async def _perform(self, effect: Effect) -> Event | None:  # noqa: C901 - one case an effect
        match effect:
            case Send(message):
                is_partial = isinstance(message, Result) and not message.transcriptions[0].is_final
                self._send({"type": "websocket.send", "text": message.encode()}, is_partial)
            case Close(code):
                self._send({"type": "websocket.close", "code": code})
            case Authenticate(message):
                return await self._authenticate(message)
            case TakeRecogniser(params, checkpoint):
                return await self._take_recogniser(params, checkpoint)
            case FeedRecogniser(audio):
                self._held_ear.feed(audio)
            case FlushRecogniser():
                self._held_ear.flush()
            case PauseReading():
                self._may_read.clear()
            case ResumeReading():
                self._may_read.set()
            case SaveFinal() | SavePoint():
                self._held_account.save(effect)
            case Finish(ending, audio_ms, speech_ms):
                if self._account is not None:  # else it was never served: nothing to account for
                    self._account.close(ending, audio_ms, speech_ms)
            case _:
                assert_never(effect)
        return None

    def _send(self, message: Message, is_partial: bool = False) -> None:
        """Have a message sent, unless the peer is away: a final when the store has it."""
        if self._outbox is not None and not self._session.is_away:
            told = self._account.written if self._account and not is_partial else None
            self._outbox.put(message, is_partial=is_partial, written=told)

    def _open_outbox(self, websocket: WebSocket) -> Outbox:
        def failed(unread: list[Message]) -> None:
            if unread and not self._session.is_extended:
                self._say_farewell(websocket, unread)
            self._post(PeerClosed(is_lost=True))

        # The state checks of the socket's send() have no use here.
        return Outbox(websocket._send, self._settings.send_timeout_s, failed)

    def _say_farewell(self, websocket: WebSocket, unread: list[Message]) -> None:
        """The peer reads nothing and cannot come back: leave it all that it was to be told."""
        error = SlowReaderError()
        text = _error_message(self._session.session_id, error)
        texts = [each["text"] for each in unread if "text" in each]
        websocket.scope["extensions"][FAREWELL]([*texts, text], error.close_code)

    def _say_failed(self) -> None:
        error = InternalServerError()
        text = _error_message(self._session.session_id, error)
        self._send({"type": "websocket.send", "text": text})
        self._send({"type": "websocket.close", "code": error.close_code})

    async def _authenticate(self, message: Authentication | TokenOffered) -> Event:
        quotas, live = self._deployment.quotas, self._deployment.live
        try:
            quotas.check_failures(self._address)
            wish = parse_wish(self._session.query) if self._session.is_extended else None
            grant = self._verify(message, wish)
            if wish is not None and await self._bequeath(grant, wish):
                return Moved()
            await live.claim(grant, self)
            self._grant = grant
            quotas.check_live(grant, live.count)
            self._deployment.known.revocations.check(grant)  # again: it may have taken a while
            if wish is not None:
                self._continued = await take_over(self._deployment, grant, wish)
            elif isinstance(message, CredentialsAuthentication):
                self._record_session(grant)
        except ApiError as error:
            if isinstance(error, NotAuthenticatedError):
                quotas.note_failure(self._address)
            log.info("refused", code=error.code, cause=error.detail or error.public)
            return AuthenticationRefused(error)
        self._stop_waiting()
        limits = grant.limits
        return Authenticated(
            grant.session_id,
            _ms(limits.max_session_s) if limits else None,
            _ms(limits.max_audio_s) if limits else None,
            expires_at=grant.expires_at,
            limits=limits.to_claim() if limits else {},
            past=self._continued.past if self._continued else None,
        )

    async def _bequeath(self, grant: Grant, wish: Wish) -> bool:
        """Leave the socket to the session that it wants to go on with, when that waits here.

        Raises `SessionLiveElsewhereError` when its peer is still there.
        """
        held = self._deployment.live.find(wish.session_id)
        if held is None:
            return False
        other, owner = held
        if _who(grant) != _who(owner):
            raise NotAuthorizedOrNotFoundError("the stream is another's")
        if not (isinstance(other, Pump) and other.may_be_resumed):
            raise SessionLiveElsewhereError()
        if not other.is_away:
            if await other.is_answering(PING_TIMEOUT_S):
                raise SessionLiveElsewhereError()
            other.lose()
        self._heir = (other, wish.last_result)
        return True

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._deployment.quotas.leave(self._address)

    def _verify(self, message: Authentication | TokenOffered, wish: Wish | None) -> Grant:
        now = datetime.now(UTC)
        if isinstance(message, TokenAuthentication | TokenOffered):
            named = message.compartment_id if isinstance(message, TokenAuthentication) else None
            # A stream in progress may outlive its token, and its peer goes on with the same one.
            late_s = self._settings.longest_session_s if wish else 0
            grant = grant_for_token(self._deployment, message.token, named, now, late_s)
            if wish is not None and grant.session_id != wish.session_id:
                raise TokenClaimError("the token is for another session")
        else:
            grant = grant_for_credentials(
                self._deployment, message.headers, message.compartment_id, now
            )
            if wish is not None:
                grant = replace(grant, session_id=wish.session_id)
        origin = self._websocket.headers.get("origin", "")
        if grant.limits and grant.limits.origin and grant.limits.origin != origin.lower():
            raise TokenClaimError("the token is for another origin")
        return grant

    def _record_session(self, grant: Grant) -> None:
        """A token's session was recorded when it was minted; this one begins here."""
        try:
            self._deployment.writer.put(
                SessionCreated(
                    session_id=grant.session_id,
                    tenancy_id=grant.tenancy_id,
                    compartment_id=grant.compartment_id,
                    user_id=grant.user_id,
                    kid=None,
                    issued_at=grant.issued_at,
                    expires_at=grant.expires_at,
                    claims=None,
                    server_id=self._deployment.server_id,
                )
            )
        except StoreError as error:
            raise unrecordable(error) from error

    async def _take_recogniser(self, params: Params, checkpoint: Checkpoint | None) -> Event:
        assert self._grant is not None
        account = None
        try:
            self._check_limits(params)
            account = await self._open_account(self._grant, params)
            self._ear = await self._deployment.pool.take(
                _listener_params(params), self._post, checkpoint
            )
        except ApiError as error:
            log.info("no recogniser", session=self._session.session_id, cause=str(error))
            if account is not None:
                await account.withdraw()
            return RecogniserRefused(error)
        self._account = account
        account.begin()
        return RecogniserTaken()

    async def _open_account(self, grant: Grant, params: Params) -> StreamAccount:
        if self._continued is None:
            is_resumable = self._session.is_extended
            return await open_account(self._deployment, grant, params, is_resumable=is_resumable)
        if described(params) != self._continued.opened.params:
            raise InvalidParameterError("The parameters are not those of the stream to resume.")
        return self._continued.account

    @property
    def _held_ear(self) -> Ear:
        assert self._ear is not None
        return self._ear

    @property
    def _held_account(self) -> StreamAccount:
        assert self._account is not None
        return self._account

    def _check_limits(self, params: Params) -> None:
        """A holder cannot widen what its token allows."""
        limits = self._grant.limits if self._grant else None
        if limits is None:
            return
        if limits.language_code and limits.language_code.lower() != params.language.lower():
            raise TokenClaimError("the token is for another language")
        if limits.model_type and limits.model_type != params.model_type:
            raise TokenClaimError("the token is for another model type")

    def _let_go(self) -> None:
        self._stop_waiting()
        if self._ear is not None:
            self._ear.release()
            self._ear = None
        session_id = self._grant.session_id if self._grant else None
        self._deployment.live.leave(self, session_id)
        self._left.set()
        self.ended.set()


def _error_message(session_id: str | None, error: ApiError) -> str:
    text = f"{error.code}: {error.public}"
    return ErrorMessage(session_id=session_id, code=error.status, message=text).encode()


def _who(grant: Grant) -> tuple[str, str, str]:
    return grant.tenancy_id, grant.compartment_id, grant.user_id


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _listener_params(params: Params) -> ListenerParams:
    return ListenerParams(
        encoding=ENCODING_NAMES[params.encoding],
        hearing=hearing_params(params),
        partial_silence_ms=params.partial_silence_ms,
        final_silence_ms=params.final_silence_ms,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        authentication_timeout_ms=int(settings.authentication_timeout_s * 1000),
        idle_timeout_ms=int(settings.idle_timeout_s * 1000),
        longest_session_ms=int(settings.longest_session_s * 1000),
        drain_timeout_ms=int(settings.drain_timeout_s * 1000),
        longest_text_bytes=settings.longest_text_frame_bytes,
        longest_audio_bytes=settings.longest_audio_frame_bytes,
        unheard_audio_ms=int(settings.unheard_audio_s * 1000),
        resume_window_ms=int(settings.resume_window_s * 1000),
    )

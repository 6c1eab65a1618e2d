"""How a socket comes to its stream: who its peer is, which stream it means, and a recogniser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from starlette.websockets import WebSocket

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import HearingParams
from stapes.errors import (
    ApiError,
    InvalidParameterError,
    NotAuthenticatedError,
    NotAuthorizedOrNotFoundError,
    ServiceUnavailableError,
    SessionLiveElsewhereError,
    StoreError,
    TokenClaimError,
)
from stapes.protocol.events import (
    Authenticated,
    AuthenticationRefused,
    Checkpoint,
    Event,
    Moved,
    TokenOffered,
)
from stapes.protocol.extension import TOKEN_SUBPROTOCOL
from stapes.protocol.messages import (
    Authentication,
    CredentialsAuthentication,
    TokenAuthentication,
)
from stapes.protocol.params import Params, is_language
from stapes.protocol.state import Rules
from stapes.server.accounting import (
    ENCODING_NAMES,
    StreamAccount,
    described,
    open_account,
    unrecordable,
)
from stapes.server.authentication import grant_for_credentials, grant_for_token
from stapes.server.deployment import Deployment
from stapes.server.live import PING_TIMEOUT_S, LiveSession
from stapes.server.phrases import hearing_for
from stapes.server.resuming import Continued, Wish, give_back, parse_wish, take_over
from stapes.server.spending import Spent, spent_before
from stapes.settings import Settings
from stapes.store.records import SessionCreated
from stapes.tokens.grant import Grant
from stapes.workers.replaying import Ear

log = structlog.get_logger("stapes.stream")


class Opening:
    """What happens between the upgrade of a socket and its stream.

    Attributes:
        grant: what its peer may do, once that is known.
        heir: the session that waits here for this socket, and the last final its peer has.
        spent: what earlier streams of its session used of the token's limits.
    """

    def __init__(
        self,
        deployment: Deployment,
        websocket: WebSocket,
        session: LiveSession,
        *,
        is_extended: bool,
    ) -> None:
        self.grant: Grant | None = None
        self.heir: tuple[LiveSession, int] | None = None
        self.spent = Spent()
        self._deployment = deployment
        self._websocket = websocket
        self._session = session
        self._is_extended = is_extended
        self._address = websocket.client.host if websocket.client else ""
        self._is_waiting = False
        self._continued: Continued | None = None

    def begin(self) -> None:
        """Count the socket among those that have not authenticated, until `close`.

        Raises `QuotaError` when it is one too many, `ServiceUnavailableError` while draining.
        """
        self._deployment.live.enter(self._session)
        self._is_waiting = True
        self._deployment.quotas.enter(self._address)
        if self._deployment.draining:
            raise ServiceUnavailableError("draining", public="The server is stopping.")

    def close(self) -> None:
        """The session is over, or was never one."""
        self._stop_waiting()
        if self._continued is not None:
            give_back(self._deployment, self._continued)
        if self.grant is not None:
            self._deployment.live.release(self._session, self.grant.session_id)

    def leave(self) -> None:
        """The peer has been told all."""
        self._deployment.live.leave(self._session)

    def offered_token(self) -> TokenOffered | None:
        """A token that came as a subprotocol, from a client of the extension."""
        for offered in self._websocket.scope["subprotocols"] if self._is_extended else ():
            if offered.startswith(TOKEN_SUBPROTOCOL):
                return TokenOffered(offered.removeprefix(TOKEN_SUBPROTOCOL))
        return None

    async def authenticate(self, message: Authentication | TokenOffered) -> Event:
        """Who the peer is and which session it means: that becomes live here.

        `Moved` when that session waits here already: it is the ``heir`` of the socket.
        """
        quotas, live = self._deployment.quotas, self._deployment.live
        try:
            quotas.check_failures(self._address)
            wish = parse_wish(_query(self._websocket)) if self._is_extended else None
            grant = self._verify(message, wish)
            if wish is not None and await self._bequeath(grant, wish):
                return Moved()
            await live.claim(grant, self._session)
            self.grant = grant
            if wish is None:  # a stream that goes on was let in when it began
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
        return self._authenticated(grant)

    async def take_recogniser(
        self, params: Params, checkpoint: Checkpoint | None, on_event: Callable[[Event], None]
    ) -> tuple[StreamAccount, Ear]:
        """Claim the stream, and get something that hears it. Raises `ApiError`."""
        assert self.grant is not None
        account = None
        try:
            self._check_limits(self.grant, params)
            pool, home = self._deployment.pool, self._deployment.home
            hearing = await hearing_for(pool, home.path, params)
            account = await self._open_account(self.grant, params)
            self.spent = await spent_before(self._deployment, self.grant, account.stream)
            ear = await pool.take(_listener_params(params, hearing), on_event, checkpoint)
        except ApiError:
            if account is not None and self._continued is None:
                await account.withdraw()
            raise
        self._continued = None  # it is gone on with
        return account, ear

    def _authenticated(self, grant: Grant) -> Authenticated:
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
        if not other.is_resumable or await other.is_answering(PING_TIMEOUT_S):
            raise SessionLiveElsewhereError()
        other.lose()
        self.heir = (other, wish.last_result)
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
            late_s = self._deployment.settings.longest_session_s if wish else 0
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

    async def _open_account(self, grant: Grant, params: Params) -> StreamAccount:
        if self._continued is None:
            is_resumable = self._is_extended
            return await open_account(self._deployment, grant, params, is_resumable=is_resumable)
        if described(params) != self._continued.opened.params:
            raise InvalidParameterError("The parameters are not those of the stream to resume.")
        return self._continued.account

    def _check_limits(self, grant: Grant, params: Params) -> None:
        """A holder cannot widen what its token allows."""
        limits = grant.limits
        if limits is None:
            return
        if limits.language_code and not is_language(limits.language_code, params):
            raise TokenClaimError("the token is for another language")
        if limits.model_type and limits.model_type != params.model_type:
            raise TokenClaimError("the token is for another model type")


def rules_of(settings: Settings) -> Rules:
    """What the settings say of every session."""
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


def _query(websocket: WebSocket) -> str:
    text: str = websocket.scope["query_string"].decode("latin-1")
    return text


def _who(grant: Grant) -> tuple[str, str, str]:
    return grant.tenancy_id, grant.compartment_id, grant.user_id


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _listener_params(params: Params, hearing: HearingParams) -> ListenerParams:
    return ListenerParams(
        encoding=ENCODING_NAMES[params.encoding],
        hearing=hearing,
        partial_silence_ms=params.partial_silence_ms,
        final_silence_ms=params.final_silence_ms,
        punctuates=params.punctuation == "AUTO",
    )

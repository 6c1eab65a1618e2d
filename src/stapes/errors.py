"""The whole error tree.

Every error that can reach a peer carries its OCI code word, its HTTP status (which is also the
``code`` of a websocket ``ERROR`` message), the close code that follows that message, and whether
trying again can help. The rim translates in two places only: ``server/refusals.py`` to an HTTP
answer, ``protocol/ending.py`` to ``ERROR`` and a close frame.

::

    StapesError
    ├── ApiError                                 told to the peer, by its public sentence only
    │   ├── CannotParseRequestError         400  CannotParseRequest
    │   ├── MissingParameterError           400  MissingParameter, names the field
    │   ├── InvalidParameterError           400  InvalidParameter, names the field
    │   ├── NotAuthenticatedError           401  NotAuthenticated, one public sentence for all
    │   │   ├── AuthenticationTimeoutError       no authentication message in time
    │   │   ├── AuthenticationExpectedError      something else came first
    │   │   ├── BearerKeyError                   a bearer key that is not known, or not in use
    │   │   ├── SignatureError                   an OCI request signature that does not verify
    │   │   │   ├── MalformedSignatureError
    │   │   │   ├── UnknownKeyError
    │   │   │   ├── ClockSkewError
    │   │   │   ├── DigestMismatchError
    │   │   │   ├── SignatureMismatchError
    │   │   │   └── SignatureTargetError         signed for another service's path or method
    │   │   └── TokenError                       a session token that does not verify
    │   │       ├── TokenMalformedError
    │   │       ├── TokenAlgorithmError
    │   │       ├── TokenKeyError
    │   │       ├── TokenSignatureError
    │   │       ├── TokenClaimError              missing or wrong claim
    │   │       ├── TokenExpiredError
    │   │       ├── TokenNotYetValidError
    │   │       ├── TokenCompartmentError
    │   │       ├── TokenUsedError               served its one opening
    │   │       └── TokenRevokedError            taken back
    │   ├── NotAuthorizedOrNotFoundError    404  NotAuthorizedOrNotFound
    │   ├── NotFoundError                   404  NotFound
    │   ├── MethodNotAllowedError           405  MethodNotAllowed
    │   ├── SessionIdleError                408  RequestTimeout
    │   ├── SlowReaderError                 408  RequestTimeout
    │   ├── InvalidatedRetryTokenError      409  InvalidatedRetryToken
    │   ├── SessionLiveElsewhereError       409  IncorrectState
    │   ├── SessionOpenError                409  IncorrectState, the session has to end first
    │   ├── PayloadTooLargeError            413  PayloadTooLarge
    │   ├── SessionLimitError               429  TooManyRequests, a limit of the session was reached
    │   ├── QuotaError                      429  TooManyRequests, with the time to wait
    │   │   ├── LiveSessionsError                of a tenancy, compartment or user
    │   │   ├── TokenRateError                   tokens a minute of a user
    │   │   ├── FailedAuthenticationsError       of an address
    │   │   └── UnauthenticatedSocketsError      of an address, or of all
    │   ├── InternalServerError             500  InternalServerError
    │   ├── ServiceUnavailableError         503  ServiceUnavailable, not ready or no capacity
    │   └── GoingAwayError                  503  ServiceUnavailable, the server is stopping
    ├── EngineError                              an engine could not be loaded or failed
    ├── ModelError                               a model cannot be pulled, read, verified or removed
    │   └── HubUnreachableError                  the hub of the models gave no answer
    ├── StoreError                               the database could not be opened or written
    │   └── RecordRefusedError                   a record that can never be written
    ├── IdentityError                            a change of who may do what, refused
    │   ├── UnknownIdentityError                 nothing is named so
    │   ├── NameRefusedError                     a name that nothing may have
    │   ├── NameTakenError                       a name or key that something else has
    │   ├── IdentityInUseError                   something else has to be removed first
    │   ├── CircularMoveError                    a compartment under itself
    │   └── LastManagerError                     nobody could manage the tenancy any more
    ├── KeyFileError                             a key file that cannot be read, used or made
    ├── ReceiptError                             a usage receipt that does not verify
    ├── HomeError                                the home folder is missing, incomplete or unsafe
    ├── AudioError                               audio that cannot be read or decoded
    ├── MeasuringError                           a measurement that cannot be made
    └── ClientError                              our own client: server away or refused
        ├── ServerUnreachableError
        ├── ServerRefusedError
        ├── TokenCallbackError               what fetches tokens failed
        ├── ConnectionLostError              a session that could not be taken up again
        └── BufferOverflowError              more audio than is kept while the server is away
"""

from __future__ import annotations

from typing import ClassVar


class StapesError(Exception):
    """Root of every error that Stapes raises on purpose. ``str()`` is for the log and the shell."""


class ApiError(StapesError):
    """An error that is told to the peer.

    Attributes:
        public: the sentence the peer may read; never holds a cause, key or token.
        detail: the cause, for the log alone.
    """

    code: ClassVar[str] = "InternalServerError"
    status: ClassVar[int] = 500
    close_code: ClassVar[int] = 1008
    retryable: ClassVar[bool] = False
    sentence: ClassVar[str] = "An internal error occurred."

    def __init__(self, detail: str = "", *, public: str | None = None) -> None:
        self.public = self.sentence if public is None else public
        self.detail = detail
        super().__init__(detail or self.public)


class CannotParseRequestError(ApiError):
    """The body is not a JSON object, or a text frame is not the JSON it has to be."""

    code, status, sentence = "CannotParseRequest", 400, "The request could not be parsed as JSON."


class _NamedParameterError(ApiError):
    """Tells the peer which parameter is at fault; each error has a sentence of its own."""

    sentence = "Names the parameter and what is allowed."

    def __init__(self, public: str) -> None:
        super().__init__(public, public=public)


class MissingParameterError(_NamedParameterError):
    """A required field is missing; the sentence names it."""

    code, status = "MissingParameter", 400


class InvalidParameterError(_NamedParameterError):
    """A field has a wrong type, length or value; the sentence names it and what is allowed."""

    code, status = "InvalidParameter", 400


class NotAuthenticatedError(ApiError):
    """Authentication is missing or wrong. The peer reads one sentence whatever the reason."""

    code, status = "NotAuthenticated", 401
    sentence = "The required information to complete authentication was missing or not correct."


class AuthenticationTimeoutError(NotAuthenticatedError):
    """No authentication message came in time."""


class AuthenticationExpectedError(NotAuthenticatedError):
    """Audio or another message came before the authentication message."""


class SignatureError(NotAuthenticatedError):
    """An OCI request signature that does not verify."""


class MalformedSignatureError(SignatureError):
    """The Authorization value cannot be parsed, or lacks a header that has to be signed."""


class UnknownKeyError(SignatureError):
    """The keyId names no API key of this server, or a disabled one."""


class ClockSkewError(SignatureError):
    """The signed date is more than five minutes off."""


class DigestMismatchError(SignatureError):
    """The body is not the one whose digest was signed."""


class SignatureMismatchError(SignatureError):
    """The signature does not verify with the key."""


class SignatureTargetError(SignatureError):
    """The signature was made for another method or path."""


class TokenError(NotAuthenticatedError):
    """A session token that does not verify."""


class TokenMalformedError(TokenError):
    """Not a JWT, or one over the size limit."""


class TokenAlgorithmError(TokenError):
    """Its header names another algorithm than the one in the settings."""


class TokenKeyError(TokenError):
    """Its header names no key of this server."""


class TokenSignatureError(TokenError):
    """Its signature does not verify."""


class TokenClaimError(TokenError):
    """A claim is missing or wrong."""


class TokenExpiredError(TokenError):
    """Past its ``exp``."""


class TokenNotYetValidError(TokenError):
    """Before its ``nbf``."""


class TokenCompartmentError(TokenError):
    """The message names another compartment than the token."""


class TokenUsedError(TokenError):
    """Single-use, and it served its one opening."""


class TokenRevokedError(TokenError):
    """Taken back, by its session, its user or a tag."""


class BearerKeyError(NotAuthenticatedError):
    """A bearer key that is not known, disabled or expired."""


class NotAuthorizedOrNotFoundError(ApiError):
    """The resource does not exist or the caller has no grant for it: the peer cannot tell which."""

    code, status = "NotAuthorizedOrNotFound", 404
    sentence = "Authorization failed or the requested resource was not found."


class NotFoundError(ApiError):
    """No operation at this path."""

    code, status, sentence = "NotFound", 404, "There is no such operation."


class MethodNotAllowedError(ApiError):
    """The path exists, with another method."""

    code, status = "MethodNotAllowed", 405
    sentence = "The method is not allowed for this path."


class SessionIdleError(ApiError):
    """No audio for longer than the idle limit."""

    code, status = "RequestTimeout", 408
    sentence = "No audio was received for longer than the idle limit."


class SlowReaderError(ApiError):
    """The peer has read nothing of what it was sent for longer than is waited."""

    code, status = "RequestTimeout", 408
    sentence = "The results were not read for longer than is waited."


class InvalidatedRetryTokenError(ApiError):
    """The retry token was used before with another body."""

    code, status = "InvalidatedRetryToken", 409
    sentence = "The retry token was already used for a different request."


class SessionLiveElsewhereError(ApiError):
    """Another socket of this session is live."""

    code, status = "IncorrectState", 409
    sentence = "The session is already open on another connection."


class SessionOpenError(ApiError):
    """What is asked for can only be had of a session that has no open stream."""

    code, status = "IncorrectState", 409
    sentence = "The session is live; ask again when it has ended."


class PayloadTooLargeError(ApiError):
    """A body or frame over its limit."""

    code, status, close_code = "PayloadTooLarge", 413, 1009
    sentence = "The payload is larger than allowed."


class SessionLimitError(ApiError):
    """The session has lasted as long as it may."""

    code, status = "TooManyRequests", 429
    sentence = "The session reached its limit."


class QuotaError(ApiError):
    """Somebody has as much as they may. ``retry_after_s`` is when trying again can help."""

    code, status, retryable = "TooManyRequests", 429, True

    def __init__(self, detail: str = "", *, retry_after_s: int = 5) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class LiveSessionsError(QuotaError):
    """As many sessions are live as the tenancy, compartment or user may have."""

    sentence = "As many sessions are live as are allowed; try again when one has ended."


class TokenRateError(QuotaError):
    """More tokens in a minute than the user may mint."""

    sentence = "More tokens were asked for than are allowed in a minute; try again later."


class FailedAuthenticationsError(QuotaError):
    """Too many failed authentications from the address."""

    sentence = "Authentication failed too often from this address; try again later."


class UnauthenticatedSocketsError(QuotaError):
    """Too many sockets that have not authenticated, from the address or in all."""

    sentence = "Too many connections have not authenticated yet; try again later."


class InternalServerError(ApiError):
    """Our fault; the cause is in the log only."""

    code, status, close_code, retryable = "InternalServerError", 500, 1011, True


class ServiceUnavailableError(ApiError):
    """No capacity for another stream, or the service is not ready."""

    code, status, close_code, retryable = "ServiceUnavailable", 503, 1013, True
    sentence = "The service has no capacity for another stream right now; try again later."


class GoingAwayError(ApiError):
    """The server is stopping."""

    code, status, close_code, retryable = "ServiceUnavailable", 503, 1001, True
    sentence = "The server is stopping."


class EngineError(StapesError):
    """An engine could not be loaded, or failed while it decoded."""


class ModelError(StapesError):
    """A model, or what is written of one, cannot be pulled, read, verified or removed."""


class HubUnreachableError(ModelError):
    """The hub that models are pulled from gave no answer."""


class StoreError(StapesError):
    """The database could not be opened, migrated or written."""


class RecordRefusedError(StoreError):
    """A record cannot be kept, however often it is tried: it breaks a rule of the data.

    A second token, stream, final or signing key of the same number; a final or an end of a stream
    that was never opened; an identity whose tenancy or user does not exist; a value that is no
    text, number, JSON or aware time where one belongs.
    """


class IdentityError(StapesError):
    """A change of tenancies, compartments, users, groups, keys or policies that a rule refuses."""


class UnknownIdentityError(IdentityError):
    """Nothing in the tenancy has that name or OCID."""


class NameRefusedError(IdentityError):
    """The name is too long, or has a character that policy statements cannot spell."""


class NameTakenError(IdentityError):
    """A sibling has the name, in whatever case, or the key is there already."""


class IdentityInUseError(IdentityError):
    """Something hangs on it; the sentence names what has to be removed first."""


class CircularMoveError(IdentityError):
    """A compartment cannot be moved under itself."""


class LastManagerError(IdentityError):
    """After the change nobody could manage the tenancy any more."""


class KeyFileError(StapesError):
    """A key file that cannot be read or made, or holds no public RSA key that is long enough."""


class ReceiptError(StapesError):
    """A usage receipt that was changed, does not add up, or is signed by nobody known."""


class HomeError(StapesError):
    """The home folder is missing, incomplete, or readable by others."""


class AudioError(StapesError):
    """Audio that cannot be read or decoded."""


class MeasuringError(StapesError):
    """A measurement that cannot be made: no manifest, nothing heard, an extra that is missing."""


class ClientError(StapesError):
    """Something our own client could not do."""


class ServerUnreachableError(ClientError):
    """No server answers at the URL."""


class ServerRefusedError(ClientError):
    """The server answered with an error; ``code`` and ``status`` are its own."""

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


class TokenCallbackError(ClientError):
    """What fetches tokens failed; its own error is the cause."""


class ConnectionLostError(ClientError):
    """The connection broke and the session could not go on; the sentence says what is lost."""


class BufferOverflowError(ClientError):
    """The server is away and no more audio is kept until it is back; this audio was not taken."""

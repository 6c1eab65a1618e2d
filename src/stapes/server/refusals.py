"""Errors become HTTP answers here, and every answer gets its ``opc-request-id``.

The body of an error is ``{"code", "message"}`` as OCI's API errors have it. Causes go to the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stapes.errors import (
    ApiError,
    CannotParseRequestError,
    InternalServerError,
    InvalidParameterError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    QuotaError,
)

REQUEST_ID = "opc-request-id"
_REQUEST_ID = REQUEST_ID.encode()
LONGEST_CLIENT_ID = 128
LONGEST_LOGGED_PATH = 200
RETRY_AFTER_S = 5
_WAITING_HELPS = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

log = structlog.get_logger(__name__)


def new_id() -> str:
    """32 upper-case hexadecimal digits, as OCI writes request ids."""
    return os.urandom(16).hex().upper()


def request_id(sent: str | None) -> str:
    """``<client>/<ours>/<hop>`` when the client sent an id, ours alone otherwise.

    Of what the client sent, only printable ASCII without spaces is repeated, 128 characters of it.
    """
    if sent is None:
        return new_id()
    client = "".join(c for c in sent if "!" <= c <= "~")[:LONGEST_CLIENT_ID]
    return f"{client}/{new_id()}/{new_id()}" if client else new_id()


def refusal(error: ApiError) -> JSONResponse:
    """The HTTP answer that tells a peer of an error."""
    wait_s = error.retry_after_s if isinstance(error, QuotaError) else RETRY_AFTER_S
    waiting = {"retry-after": str(wait_s)} if error.status in _WAITING_HELPS else {}
    return JSONResponse(
        {"code": error.code, "message": error.public}, status_code=error.status, headers=waiting
    )


def in_our_words(exc: Exception) -> ApiError:
    """The error to tell a peer of, from one of ours or one of the framework's."""
    match exc:
        case ApiError():
            return exc
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return NotFoundError()
        case HTTPException(status_code=HTTPStatus.METHOD_NOT_ALLOWED):
            return MethodNotAllowedError()
        case HTTPException(status_code=HTTPStatus.BAD_REQUEST):
            return CannotParseRequestError(str(exc.detail))
        case RequestValidationError():
            names = ", ".join(sorted({str(fault["loc"][-1]) for fault in exc.errors()}))
            return InvalidParameterError(f"Not a valid value: {names}.")
        case _:
            return InternalServerError(type(exc).__name__)


def install(app: FastAPI, *, longest_body_bytes: int) -> None:
    """Make every HTTP answer of ``app`` one that this module describes."""

    async def tell(request: Request, exc: Exception) -> JSONResponse:
        if request.scope["type"] != "http":
            raise exc  # a socket tells its own errors
        response = _logged(request.scope, in_our_words(exc))
        if isinstance(exc, HTTPException):
            response.headers.update(exc.headers or {})  # allow, with 405
        return response

    for error in (ApiError, HTTPException, RequestValidationError):
        app.add_exception_handler(error, tell)
    app.add_middleware(Answers, longest_body_bytes=longest_body_bytes)


def _logged(scope: Scope, error: ApiError) -> JSONResponse:
    """The answer to an error, its cause kept for the line that `Answers` logs."""
    scope["state"]["refusal"] = _for_the_log(error)
    return refusal(error)


def _for_the_log(error: ApiError) -> dict[str, Any]:
    return {"code": error.code, "cause": error.detail or type(error).__name__}


def _log_request(  # noqa: PLR0917
    log: Any,
    own_id: str,
    method: str,
    path: str,
    status: int,
    began: float,
    refused: dict[str, Any],
) -> None:
    """One line for a request; never its query, headers or body."""
    log.info(
        "request",
        id=own_id,
        method=method,
        path=path[:LONGEST_LOGGED_PATH],
        status=status,
        ms=round((time.perf_counter() - began) * 1000, 1),
        **refused,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to a request. Names of headers are in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def answered(
    method: str, path: str, sent_id: str | None, operation: Callable[[], Answer], log: Any = log
) -> Answer:
    """What ``operation`` answers, or raises, as `Answers` would let it out. Never raises.

    ``log`` may be `log` bound once for many requests, which spares each of them that.
    """
    began = time.perf_counter()
    own_id = request_id(sent_id)
    refused: dict[str, Any] = {}
    try:
        answer = operation()
    except Exception as exc:
        error = exc if isinstance(exc, ApiError) else InternalServerError(type(exc).__name__)
        if error is not exc:
            log.exception("request_failed", id=own_id, path=path[:LONGEST_LOGGED_PATH])
        refused = _for_the_log(error)
        response = refusal(error)
        answer = Answer(response.status_code, response.raw_headers, bytes(response.body))
    answer.headers.append((_REQUEST_ID, own_id.encode("ascii")))
    _log_request(log, own_id, method, path, answer.status, began, refused)
    return answer


class Answers:
    """ASGI middleware around every HTTP request; a websocket passes through untouched.

    Adds ``opc-request-id``, refuses bodies over the limit (by ``content-length`` before anything
    is read, and by count while it is), answers 500 to what nobody caught, and logs one line
    without the query string.
    """

    def __init__(self, app: ASGIApp, longest_body_bytes: int) -> None:
        self._app = app
        self._longest_body_bytes = longest_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI 3)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        try:
            _refuse_long_body(scope, self._longest_body_bytes)
            await self._app(scope, _counted(receive, self._longest_body_bytes), answer.send)
        except ClientDisconnect:
            answer.status = 499  # for the log: the peer left, nobody reads an answer
        except ApiError as error:
            await answer.refuse(error)
        except Exception as exc:
            log.exception("request_failed", id=answer.id, path=scope["path"][:LONGEST_LOGGED_PATH])
            await answer.refuse(InternalServerError(type(exc).__name__))
        finally:
            answer.log()


class _Answer:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.id = request_id(Headers(scope=scope).get(REQUEST_ID))
        self.status = 0
        self._began = time.perf_counter()
        self._scope = scope
        self._send = send
        scope.setdefault("state", {})[REQUEST_ID] = self.id

    async def send(self, message: Message) -> None:
        """Pass a message on, with the request id in the head."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self.id
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error, unless an answer has begun: then the connection just ends."""
        if self.status:
            raise error
        response = _logged(self._scope, error)
        await response(self._scope, _nothing, self.send)

    def log(self) -> None:
        """One line for this request; never its query, headers or body."""
        scope = self._scope
        refused: dict[str, Any] = scope["state"].get("refusal", {})
        _log_request(
            log, self.id, scope["method"], scope["path"], self.status, self._began, refused
        )


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _refuse_long_body(scope: Scope, longest_bytes: int) -> None:
    declared = Headers(scope=scope).get("content-length", "0")
    if declared.isdecimal() and int(declared) > longest_bytes:
        raise PayloadTooLargeError(f"content-length {declared}")


def _counted(receive: Receive, longest_bytes: int) -> Receive:
    """``receive`` that raises `PayloadTooLargeError` once the body is over the limit."""
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > longest_bytes:
            raise PayloadTooLargeError(f"more than {longest_bytes} bytes")
        return message

    return counted

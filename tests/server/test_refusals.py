"""Errors as HTTP answers, and the head of every answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Message
from structlog.testing import capture_logs

from stapes import errors
from stapes.errors import ApiError
from stapes.server.refusals import install, refusal, request_id

HEX = "[0-9A-F]{32}"


def leaves(error: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    yield error
    for child in error.__subclasses__():
        yield from leaves(child)


@pytest.mark.parametrize("error", list(leaves()), ids=lambda error: error.__name__)
def test_every_error_is_told_by_code_and_public_sentence_only(error: type[ApiError]) -> None:
    """What is for the log never gets into the body."""
    made = error("cause")
    answer = refusal(made)

    assert answer.status_code == error.status
    assert made.public.encode() in bytes(answer.body)
    assert (b"cause" in bytes(answer.body)) == (made.public == "cause")
    assert ("retry-after" in answer.headers) == (error.status in {429, 503})


def test_request_id_is_ours_alone_when_none_came() -> None:
    """32 upper-case hexadecimal digits."""
    assert re.fullmatch(HEX, request_id(None))
    assert re.fullmatch(HEX, request_id(" \x00é"))


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("6E16E4EC997843938AF6F646AFEB7F9A", "6E16E4EC997843938AF6F646AFEB7F9A"),
        ("EBCBFEE1E66B-11F1-A88E-3FE470D0AC09", "EBCBFEE1E66B-11F1-A88E-3FE470D0AC09"),
        ("a b\r\nc: d\té\x7f", "abc:d"),
        ("x" * 500, "x" * 128),
    ],
)
def test_client_request_id_leads_sanitised_and_shortened(sent: str, kept: str) -> None:
    """Only printable ASCII without spaces is repeated, and not endlessly."""
    assert re.fullmatch(f"{re.escape(kept)}/{HEX}/{HEX}", request_id(sent))


router = APIRouter()


@router.post("/length")
async def length(request: Request) -> int:
    return len(await request.body())


@router.get("/number")
async def number(n: int) -> int:
    return n


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError("secret")


@router.get("/breaks")
async def breaks() -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("secret")

    return StreamingResponse(pieces())


@router.get("/teapot")
async def teapot() -> None:
    raise HTTPException(418)


@router.get("/malformed")
async def malformed() -> None:
    raise HTTPException(400, "cause")


@router.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    raise errors.NotAuthenticatedError


def application() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(router)
    install(app, longest_body_bytes=10)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NotFound"),
        ("PUT", "/length", 405, "MethodNotAllowed"),
        ("GET", "/number?n=x", 400, "InvalidParameter"),
        ("GET", "/malformed", 400, "CannotParseRequest"),
        ("GET", "/broken", 500, "InternalServerError"),
        ("GET", "/teapot", 500, "InternalServerError"),
    ],
)
async def test_framework_errors_are_told_as_ours(
    client: httpx.AsyncClient, method: str, target: str, status: int, code: str
) -> None:
    """One shape for all, and the request id on each."""
    answer = await client.request(method, target, headers={"opc-request-id": "mine"})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "message"}
    assert answer.headers["opc-request-id"].startswith("mine/")
    assert "secret" not in answer.text
    assert "cause" not in answer.text


async def test_405_says_what_is_allowed(client: httpx.AsyncClient) -> None:
    """RFC 9110 section 15.5.6."""
    assert (await client.put("/length")).headers["allow"] == "POST"


async def test_invalid_parameter_is_named(client: httpx.AsyncClient) -> None:
    """By its name on the wire."""
    assert "n." in (await client.get("/number?n=x")).json()["message"]


async def test_body_at_the_limit_is_read(client: httpx.AsyncClient) -> None:
    """Ten bytes are allowed here."""
    assert (await client.post("/length", content=b"x" * 10)).json() == 10


async def test_body_over_the_limit_is_refused_before_it_is_read() -> None:
    """The declared length is enough to refuse."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing may be read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/length",
        "raw_path": b"/length",
        "query_string": b"",
        "headers": [(b"content-length", b"11")],
    }
    await application()(scope, receive, send)

    assert sent[0]["status"] == 413


async def test_body_without_a_length_is_counted(client: httpx.AsyncClient) -> None:
    """The count stops at the limit, not at the end of the body."""
    pulled = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(100):
            pulled += 1
            yield b"xxxx"

    answer = await client.post("/length", content=pieces())

    assert (answer.status_code, answer.json()["code"]) == (413, "PayloadTooLarge")
    assert pulled < 10


async def test_answer_that_breaks_midway_is_cut_off(client: httpx.AsyncClient) -> None:
    """It cannot be taken back, and must not look complete."""
    with pytest.raises(errors.InternalServerError):
        await client.get("/breaks")


async def test_websocket_passes_through_untouched() -> None:
    """Its errors are for the socket's own code."""
    scope = {
        "type": "websocket",
        "path": "/socket",
        "raw_path": b"/socket",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
    }

    async def never(*_: object) -> Message:
        return await asyncio.Future()

    with pytest.raises(errors.NotAuthenticatedError):
        await application()(scope, never, never)  # type: ignore[arg-type]


async def test_log_has_the_path_and_the_cause_but_no_query(client: httpx.AsyncClient) -> None:
    """One line a request; queries and headers can hold secrets."""
    with capture_logs() as lines:
        await client.get("/malformed?token=secret", headers={"authorization": "secret"})

    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["path"], line["status"], line["code"]) == ("/malformed", 400, "CannotParseRequest")
    assert line["cause"] == "cause"
    assert "secret" not in repr(lines)


async def test_peer_that_leaves_is_no_fault() -> None:
    """Nobody is left to answer, and nothing is logged as an error."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/length",
        "raw_path": b"/length",
        "query_string": b"",
        "headers": [],
    }

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        raise AssertionError("nobody listens")

    with capture_logs() as lines:
        await application()(scope, receive, send)

    assert [(line["log_level"], line["status"]) for line in lines] == [("info", 499)]

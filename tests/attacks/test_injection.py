"""Text that is SQL, a line of a log, or a terminal's command, in every field that takes text."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import structlog

from stapes.server import logs
from stapes.store.port import SessionFilter
from tests.attacks.people import NO_TLS, Someone, ask, minted_by, someone
from tests.attacks.processes import Pair
from tests.attacks.requests import PATH, send
from tests.attacks.sockets import NOT_AUTHENTICATED, OPENED, presenting, say
from tests.waiting import wait_until

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE sessions; --",
    '"; DROP TABLE streams; --',
    "x') ; DELETE FROM audit ; --",
    "' UNION SELECT sha256 FROM bearer_keys --",
    "\\'; SELECT 1; --",
    "%' OR name LIKE '%",
    "%s %(id)s {id} :id ?1 $1 ${id}",
    "0x27204f52",
]
LOG = [
    '\r\n{"event": "forged", "level": "info"}',
    '\n{"event":"forged"}\n',
    '", "event": "forged", "x": "',
    "\x1b[2J\x1b[1;31mforged\x1b]0;forged\x07",
    "\0forged",
    "\u2028forged\u2029\x85\x0b\x0c",
    "\u202eforged",
    "${jndi:ldap://127.0.0.1:9/forged}",
    "%(message)s %n {0}",
]
TEXTS = [*SQL, *LOG]

one_is_enough = pytest.mark.parametrize("pair", ["sqlite"], indirect=True)
"""Where nothing that was sent reaches the database, it does not matter which one it is."""


@pytest.fixture(scope="module")
def who(pair: Pair) -> Someone:
    return someone(pair.home, pair.store)


@pytest.fixture(scope="module", autouse=True)
def _unharmed(pair: Pair, who: Someone) -> Iterator[None]:
    """The store has all that it had, and every line of the logs is one object."""
    before = pair.store.directory()
    yield
    after = pair.store.directory()
    for it in fields(before):
        assert getattr(before, it.name).items() <= getattr(after, it.name).items()
    for server in pair.both:
        for line in server.lines():
            assert line["event"] != "forged"
            assert line["level"] in {"info", "warning"}
    assert ask(pair.second.url, who).status_code in {200, 429}


def sessions(pair: Pair, user_id: str) -> dict[str, Any]:
    chosen = SessionFilter(user_id=user_id)
    found = pair.store.sessions(chosen, datetime.now(UTC), limit=1000)
    return {it.session_id: it for it in found}


def test_injection_by_tags(pair: Pair) -> None:
    """Values of tags are kept as they came, to the sign, and mean nothing."""
    teller = someone(pair.home, pair.store)
    told = {
        minted_by(pair.first.url, teller, freeformTags={"k": text}).session_id: text
        for text in TEXTS
    }
    typed = {
        minted_by(pair.first.url, teller, definedTags={"n": {"k": text}}).session_id: text
        for text in TEXTS[:3]
    }
    _wait_for(pair, teller, len(told) + len(typed))
    kept = sessions(pair, teller.user.id)
    assert {id_: kept[id_].freeform_tags for id_ in told} == {
        id_: {"k": text} for id_, text in told.items()
    }
    assert {id_: kept[id_].defined_tags for id_ in typed} == {
        id_: {"n": {"k": text}} for id_, text in typed.items()
    }


def _wait_for(pair: Pair, who: Someone, number: int) -> None:
    """Records are written behind the answers."""
    wait_until(lambda: len(sessions(pair, who.user.id)) >= number)


@pytest.mark.parametrize("text", [text for text in TEXTS if " " in text or not text.isprintable()])
@one_is_enough
def test_injection_by_names_of_tags(pair: Pair, who: Someone, text: str) -> None:
    """A key with blanks or control signs is 400; the answer spells it out."""
    for tags in (
        {"freeformTags": {text: "v"}},
        {"definedTags": {text: {"k": "v"}}},
        {"definedTags": {"n": {text: "v"}}},
        {"definedTags": {"stapes": {text: True}}},
    ):
        answer = ask(pair.first.url, who, **tags)
        assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


@pytest.mark.parametrize("text", TEXTS)
@one_is_enough
def test_injection_by_compartment(pair: Pair, who: Someone, text: str) -> None:
    """No compartment has such a name, and none is found by it."""
    for compartment_id in (text, who.compartment.id + text):
        answer = ask(pair.first.url, who, compartment_id)
        assert (answer.status_code, answer.json()["code"]) == (404, "NotAuthorizedOrNotFound")


@pytest.mark.parametrize("text", TEXTS)
@one_is_enough
def test_injection_by_headers(pair: Pair, who: Someone, text: str) -> None:
    """Request id, user agent, retry token: what HTTP lets through is text and no more."""
    line = "".join(sign for sign in text if sign not in "\r\n")
    body = b'{"compartmentId": "x"}'
    for name in ("opc-request-id", "opc-retry-token", "user-agent", "opc-client-info", "referer"):
        length = ("content-length", str(len(body)))
        reply = send(pair.first, [*who.headers.items(), length, (name, line)], body)
        assert reply.status in {400, 404}
        told = reply.headers["opc-request-id"]
        assert told.isascii()
        assert told.isprintable()
        assert " " not in told


def test_injection_by_retry_token(pair: Pair) -> None:
    """Each names its own request: none of them is another's answer."""
    retrier = someone(pair.home, pair.store)
    minted_by(pair.first.url, retrier)
    tokens = [text for text in SQL if len(text) <= 64]
    ids = {ask(pair.first.url, retrier, retry_token=text).json()["sessionId"] for text in tokens}
    assert len(ids) == len(tokens)
    again = {ask(pair.first.url, retrier, retry_token=text).json()["sessionId"] for text in tokens}
    assert again == ids


@pytest.mark.parametrize("text", TEXTS)
@one_is_enough
def test_injection_by_path_and_query(pair: Pair, text: str) -> None:
    """An id in a path, and a value of a query, are not taken for anything but themselves."""
    spelt = quote(text, safe="")
    with httpx.Client(trust_env=False, verify=NO_TLS) as client:
        for path in (f"/{spelt}", f"/20220101/realtimeSessions/{spelt}", f"{PATH}/{spelt}"):
            assert client.get(pair.first.url + path).status_code in {401, 404}
        for query in (f"compartmentId={spelt}", f"limit={spelt}", f"page={spelt}", spelt):
            assert client.get(f"{pair.first.url}/health?{query}").status_code == 200
            url = f"{pair.first.url}/20220101/realtimeSessions?{query}"
            assert client.get(url).status_code in {401, 404}


@pytest.mark.parametrize("text", TEXTS)
@one_is_enough
async def test_injection_by_the_first_message(pair: Pair, text: str) -> None:
    """Every field of both kinds of authentication, the names of headers among them."""
    url, signed = pair.first.ws_url, {"authorization": text, "uri": text, "date": text}
    keyed = f'Signature version="1",keyId="a/{text}/b",algorithm="rsa-sha256",headers="date"'
    for message in (
        text,
        presenting(text, text),
        {**presenting("x", "x"), "authenticationType": text},
        {"authenticationType": "CREDENTIALS", "compartmentId": text, "headers": signed},
        {"authenticationType": "CREDENTIALS", "compartmentId": "x", "headers": {text: text}},
        {
            "authenticationType": "CREDENTIALS",
            "compartmentId": "x",
            "headers": {**signed, "uri": "ws://x/", "authorization": keyed},
        },
        {text: text},
    ):
        assert await say(url, message) == NOT_AUTHENTICATED


@pytest.mark.parametrize("text", TEXTS)
@one_is_enough
async def test_injection_by_the_query_of_a_socket(pair: Pair, text: str) -> None:
    """A parameter that is known is refused by its value, one that is not is ignored."""
    opener = someone(pair.home, pair.store)
    token = minted_by(pair.first.url, opener)
    message = presenting(token.token, token.compartment_id)
    for name in ("languageCode", "encoding", "modelType", "punctuation"):
        answer = await say(pair.first.ws_url, message, f"{name}={quote(text)}")
        assert answer == (400, 1008)
    assert await say(pair.first.ws_url, message, f"{quote(text)}={quote(text)}") == OPENED


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", LOG)
def test_injection_into_a_terminal(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Where people read the log, nothing steers what they see."""
    kept = structlog.get_config()
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    try:
        renderer = logs._rendering(terminal=True)
        structlog.configure(
            processors=renderer, logger_factory=structlog.PrintLoggerFactory(terminal)
        )
        structlog.get_logger().info("request", path=f"/{text.replace(' ', '')}", cause=text)
    finally:
        structlog.configure(**kept)
    (line,) = terminal.getvalue().splitlines()
    plain = line
    for colour in ("0", "1", "2", "22", "30", "31", "32", "33", "34", "35", "36", "37"):
        plain = plain.replace(f"\x1b[{colour}m", "")
    assert plain.isprintable()


def test_injected_path_is_in_the_log_as_text(pair: Pair) -> None:
    """Each as the value of a line that has a level, a time and an event of ours."""
    with httpx.Client(trust_env=False, verify=NO_TLS) as client:
        for text in LOG:
            client.get(f"{pair.first.url}/{quote(text, safe='')}")
    lines = {line.get("path"): line for line in pair.first.lines()}
    assert {lines[f"/{text}"]["event"] for text in LOG} == {"request"}

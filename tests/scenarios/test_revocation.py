"""Taking tokens back: live sockets end, new ones are refused, what was heard is kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner
from websockets.exceptions import ConnectionClosed

from stapes import RealtimeSessionToken
from stapes.accounts.audit import check
from stapes.cli import app
from stapes.client.profile import load_private_key, read_profile
from stapes.signing.signer import sign_credentials
from stapes.store.port import SessionFilter
from stapes.store.records import SessionCreated
from tests.scenarios.rest import SESSIONS, Rest, administrator
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from tests.conftest import Served

Mint = Callable[..., RealtimeSessionToken]
ANY, NOW = SessionFilter(), datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def server(start_server: Any) -> Served:
    """A server of the test's own: revoking a user takes back what other tests hold."""
    started: Served = start_server()
    return started


@pytest.fixture
def rest(server: Served) -> Iterator[Rest]:
    with administrator(server) as rest:
        yield rest


def by_session(rest: Rest, token: RealtimeSessionToken) -> Any:
    return rest.post(f"{SESSIONS}/{token.session_id}/actions/revoke")


def by_user(rest: Rest, _token: RealtimeSessionToken) -> Any:
    return rest.post(f"{SESSIONS}/actions/revokeByUser", {"userId": rest.served.home.user_id})


def by_tag(rest: Rest, _token: RealtimeSessionToken) -> Any:
    return rest.post(f"{SESSIONS}/actions/revokeByTag", {"key": "room", "value": "4"})


def run_cli(rest: Rest, *arguments: str) -> Any:
    outcome = CliRunner().invoke(
        app, ["revoke", *arguments, "--home", str(rest.served.home.path)], catch_exceptions=False
    )
    assert outcome.exit_code == 0, outcome.output
    assert "Took back 1 session that" in outcome.output


def by_cli_session(rest: Rest, token: RealtimeSessionToken) -> Any:
    run_cli(rest, token.session_id)


def by_cli_user(rest: Rest, _token: RealtimeSessionToken) -> Any:
    run_cli(rest, "--user", "administrator")


WAYS = [by_session, by_user, by_tag, by_cli_session, by_cli_user]


async def close_after(peer: Any, act: Callable[[], Any]) -> tuple[int, int | None]:
    """How the peer was closed once ``act`` began."""
    reading = asyncio.create_task(peer.read_to_close())
    await asyncio.to_thread(act)
    closed: tuple[int, int | None] = await reading
    return closed


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_live_socket_is_closed_and_what_was_heard_is_kept(
    rest: Rest, mint: Mint, peer: Any, speech: bytes, way: Any
) -> None:
    """ERROR 401, close 1008; the finals before and the words that were pending are there."""
    server = rest.served
    token = mint(server, freeform_tags={"room": "4"})
    async with peer(server.ws_url) as client:
        await client.authenticate(token)
        first = await client.hear(speech)
        await client.send_audio(speech)
        assert await close_after(client, lambda: way(rest, token)) == (401, 1008)
    heard = rest.get(f"{SESSIONS}/{token.session_id}/transcript")
    texts = [final["transcription"] for final in heard["streams"][0]["transcriptions"]]
    assert " ".join(texts).startswith(first)
    assert len(texts) > 1, "the words after the last final are kept too"
    shown = rest.get(f"{SESSIONS}/{token.session_id}")
    assert shown["lifecycleState"] == "REVOKED"
    assert shown["streams"][0]["endedBy"] == "revoked"
    assert shown["streams"][0]["audioInMs"] == 2 * len(speech) // 32


@pytest.mark.parametrize("way", [*WAYS[:3]], ids=lambda way: way.__name__)
async def test_a_new_socket_is_refused_at_once(rest: Rest, mint: Mint, peer: Any, way: Any) -> None:
    """Also for a token that was minted a moment before it was taken back; and after a restart."""
    server = rest.served
    token = mint(server, freeform_tags={"room": "4"})
    assert way(rest, token) == {"sessionCount": 1, "liveSessionCount": 0}
    async with peer(server.ws_url) as client:
        assert (await client.authenticate(token))["code"] == 401
        assert await client.read_to_close() == (0, 1008)


async def test_what_was_taken_back_stays_so_after_a_restart(
    start_server: Any, mint: Mint, peer: Any
) -> None:
    """By session, by user and by tag."""
    first = start_server()
    with administrator(first) as rest:
        tokens = [mint(first, freeform_tags={"room": room}) for room in ("4", "5")]
        by_session(rest, tokens[1])
        by_tag(rest, tokens[0])
        tokens.append(mint(first))
        by_user(rest, tokens[2])
    first.stop()
    second = start_server()
    for token in tokens:
        async with peer(second.ws_url) as client:
            assert (await client.authenticate(token))["code"] == 401
    async with peer(second.ws_url) as client:
        assert (await client.authenticate(mint(second)))["event"] == "CONNECT"


async def test_a_token_minted_after_its_user_was_revoked_works_at_once(
    rest: Rest, mint: Mint, peer: Any
) -> None:
    """In the very same second too."""
    server = rest.served
    for _ in range(3):
        old = mint(server)
        by_user(rest, old)
        new = mint(server)
        async with peer(server.ws_url) as client:
            assert (await client.authenticate(new))["event"] == "CONNECT"
        async with peer(server.ws_url) as client:
            assert (await client.authenticate(old))["code"] == 401


@pytest.mark.parametrize("way", ["session", "user"])
async def test_a_session_of_credentials_is_closed_too(rest: Rest, peer: Any, way: str) -> None:
    """It has no token; its session and its user are revoked all the same."""
    server = rest.served
    profile = read_profile(server.home.config_file)
    headers = sign_credentials(
        server.ws_url, profile.key_id, load_private_key(profile), datetime.now(UTC)
    )
    async with peer(server.ws_url) as client:
        await client.send_json(
            authenticationType="CREDENTIALS",
            compartmentId=server.home.compartment_id,
            headers=headers,
        )
        session_id = (await client.read())["sessionId"]
        target, body = (f"/{session_id}/actions/revoke", None)
        if way == "user":
            target, body = ("/actions/revokeByUser", {"userId": server.home.user_id})
        answers: list[Any] = []
        closed = await close_after(
            client, lambda: answers.append(rest.post(SESSIONS + target, body))
        )
    assert closed == (401, 1008)
    assert answers == [{"sessionCount": 1, "liveSessionCount": 1}]


async def test_a_client_that_goes_on_streaming_is_closed_all_the_same(
    rest: Rest, mint: Mint, peer: Any, speech: bytes
) -> None:
    """It never stops sending, and hears of it."""
    token = mint(rest.served)
    begun = asyncio.Event()

    async def stream(client: Any) -> None:
        with suppress(ConnectionClosed):
            while True:
                await client.send_audio(speech)
                begun.set()

    async with peer(rest.served.ws_url) as client:
        await client.authenticate(token)
        streaming = asyncio.create_task(stream(client))
        await begun.wait()
        assert await close_after(client, lambda: by_session(rest, token)) == (401, 1008)
        await streaming


async def test_the_farewell_does_not_wait_for_words_that_are_late(
    start_server: Any, mint: Mint, peer: Any, speech: bytes
) -> None:
    """A recogniser that is behind: the peer is closed, and its words come later."""
    server = start_server(engine="pocketsphinx", unheard_audio_s=120, worker_timeout_s=600)
    token = mint(server)
    with administrator(server) as rest:
        async with peer(server.ws_url, "isAckEnabled=true") as client:
            await client.authenticate(token)
            (pid,) = server.deployment.pool.busy_pids
            os.kill(pid, signal.SIGSTOP)
            sending = asyncio.create_task(client.send_audio(speech * 2))
            taken = 0
            while taken < 2 * len(speech):
                message = await client.read()
                taken += message["details"]["length"] if message["event"] == "ACKAUDIO" else 0
            await sending
            closed = await close_after(client, lambda: by_session(rest, token))
            assert server.deployment.pool.live == 1, "it is still being heard"
            os.kill(pid, signal.SIGCONT)
        assert closed == (401, 1008)
        await until(lambda: not server.deployment.pool.live)
        shown = rest.get(f"{SESSIONS}/{token.session_id}")["streams"][0]
        assert shown["endedBy"] == "revoked"
        assert shown["audioInMs"] == 2 * len(speech) // 32
        heard = rest.get(f"{SESSIONS}/{token.session_id}/transcript")["streams"][0]
        words = [word for final in heard["transcriptions"] for word in final["words"]]
        assert len(words) > 10, "of twice ten words"


@pytest.mark.parametrize("way", WAYS[:3], ids=lambda way: way.__name__)
async def test_another_server_of_the_database_heeds_it(
    start_server: Any, mint: Mint, peer: Any, way: Any
) -> None:
    """It closes its live socket, and refuses a new one."""
    here, there = start_server(), start_server()
    token = mint(there, freeform_tags={"room": "4"})
    await until(lambda: len(here.deployment.store.sessions(ANY, NOW, limit=1)) == 1)
    with administrator(here) as rest:
        async with peer(there.ws_url) as client:
            await client.authenticate(token)
            assert await close_after(client, lambda: way(rest, token)) == (401, 1008)
        async with peer(there.ws_url) as client:
            assert (await client.authenticate(token))["code"] == 401


async def test_other_sessions_go_on(rest: Rest, mint: Mint, peer: Any, speech: bytes) -> None:
    """Of another id, and of another tag."""
    server = rest.served
    async with peer(server.ws_url) as other, peer(server.ws_url) as client:
        await other.authenticate(mint(server, freeform_tags={"room": "5"}))
        token = mint(server, freeform_tags={"room": "4"})
        await client.authenticate(token)
        await close_after(client, lambda: by_tag(rest, token))
        assert await other.hear(speech)


async def test_a_tag_is_looked_for_once_more(rest: Rest, mint: Mint) -> None:
    """A token that another server minted before comes into the store a moment later."""
    server = rest.served
    late = mint(server, freeform_tags={"room": "4"})
    deployment = server.deployment
    deployment.writer.flush(PATIENCE_S)
    now = datetime.now(UTC)
    seen = rest.get(f"{SESSIONS}/{late.session_id}")
    other = SessionCreated(
        session_id=late.session_id[:-4] + "aaaa",
        tenancy_id=server.home.tenancy_id,
        compartment_id=seen["compartmentId"],
        user_id=seen["userId"],
        kid="k",
        issued_at=now,
        expires_at=datetime.fromisoformat(seen["timeExpires"]),
        claims={},
        freeform_tags={"room": "4"},
    )
    assert by_tag(rest, late)["sessionCount"] == 1
    after = replace(other, session_id=late.session_id[:-4] + "bbbb", issued_at=datetime.now(UTC))
    deployment.store.write([other, after])
    state = f"{SESSIONS}/{other.session_id}"
    await until(lambda: rest.get(state)["lifecycleState"] == "REVOKED")
    assert rest.get(f"{SESSIONS}/{after.session_id}")["lifecycleState"] == "ISSUED"


async def test_asking_again_takes_nothing_more_back(rest: Rest, mint: Mint) -> None:
    """The answer says so, with the same status."""
    token = mint(rest.served, freeform_tags={"room": "4"})
    assert by_session(rest, token)["sessionCount"] == 1
    for way in (by_session, by_tag, by_user):
        assert way(rest, token) == {"sessionCount": 0, "liveSessionCount": 0}


async def test_what_was_taken_back_is_in_the_audit_log(rest: Rest, mint: Mint) -> None:
    """Who, what and when, in a chain that verifies."""
    token = mint(rest.served, freeform_tags={"room": "4"})
    for way in (by_tag, by_session, by_user):
        way(rest, token)
    rows = rest.served.deployment.store.audit()
    assert check(rows).fault is None
    found = [(row.action, row.actor, row.subject) for row in rows if "revoked" in row.action]
    me = rest.served.home.user_id
    assert found == [
        ("tag.revoked", me, "room"),
        ("session.revoked", me, token.session_id),
        ("user.revoked", me, me),
    ]

"""Any peer at the socket of a served instance, in any order: what holds afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from random import Random
from typing import Any

import psutil
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bench.socket_peer import BINARY, PING, TEXT, Peer, fragments, frame
from bench.socket_script import BAD_AUTHENTICATIONS, FINAL, QUERY, SIZES, TEXTS, Credentials
from stapes.cli.own_server import OwnServer
from stapes.client.profile import read_profile
from tests.waiting import until, wait_until


class AnyPeer(RuleBasedStateMachine):
    """One connection, driven frame by frame; the server outlives them all."""

    server: Any
    credentials: Credentials
    loop: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        super().__init__()
        self.peer: Peer | None = None
        self.is_in = False
        self.requests = 0
        self.random = Random(0)

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def send(self, data: bytes) -> None:
        assert self.peer is not None
        self.wait(self.peer.send(data))

    @initialize(is_good=st.booleans(), bad=st.sampled_from(BAD_AUTHENTICATIONS))
    def begins(self, is_good: bool, bad: bytes) -> None:
        self.peer = self.wait(Peer.connect(self.server.url, QUERY))
        message = self.credentials.pick(Random(1)) if is_good else bad
        self.send(frame(TEXT, message))
        self.wait(self.peer.until(1, "CONNECT", "ERROR"))
        self.is_in = self.peer.said["CONNECT"] == 1
        assert self.is_in == is_good

    @rule(size=st.sampled_from(SIZES), is_cut=st.booleans())
    def sends_audio(self, size: int, is_cut: bool) -> None:
        audio = bytes(size)
        if is_cut:
            self.send(b"".join(fragments(self.random, BINARY, audio)))
        else:
            self.send(frame(BINARY, audio))

    @rule(text=st.sampled_from(TEXTS))
    def sends_a_text_that_means_nothing(self, text: bytes) -> None:
        self.send(frame(TEXT, text))

    @rule()
    def asks_for_a_final(self) -> None:
        self.send(frame(TEXT, FINAL))
        self.requests += self.is_in

    @rule(payload=st.binary(max_size=125))
    def pings(self, payload: bytes) -> None:
        self.send(frame(PING, payload))

    @rule(count=st.integers(2, 100))
    def floods(self, count: int) -> None:
        self.send(frame(BINARY, bytes(320)) * count)

    @precondition(lambda self: self.is_in)
    @rule()
    def is_answered(self) -> None:
        """Every request has exactly one final; there is too little audio for any other."""
        assert self.peer is not None
        self.wait(self.peer.until(self.requests, "final"))
        if not self.peer.ended.is_set():
            assert self.peer.said["final"] == self.requests

    @rule(is_rude=st.booleans())
    def half_closes_or_vanishes(self, is_rude: bool) -> None:
        assert self.peer is not None
        if is_rude:
            self.wait(self.peer.leave(rudely=True))
        else:
            self.peer.half_close()
        self.is_in = False

    def teardown(self) -> None:
        if self.peer is not None:
            assert self.peer.said["close"] <= 1
            self.wait(self.peer.leave())
        self.wait(self._settled())

    async def _settled(self) -> None:
        """Nothing is held for a peer that is gone, and a normal stream is served."""
        deployment = self.server.deployment
        await until(lambda: not deployment.pool.live and not len(deployment.live))
        peer = await Peer.connect(self.server.url, QUERY)
        try:
            await peer.send(frame(TEXT, self.credentials.pick(Random(1))))
            await peer.until(1, "CONNECT", "ERROR")
            await peer.send(frame(BINARY, bytes(3200)))
            await peer.send(frame(TEXT, FINAL))
            await peer.until(1, "final")
            assert (peer.said["CONNECT"], peer.said["final"]) == (1, 1)
        finally:
            await peer.leave()


def test_any_peer(served: Any) -> None:
    """Whatever a peer does, the server goes on and holds nothing more than before."""
    profile = read_profile(served.home.config_file)
    signer = OwnServer(served.url, profile, served.home.config_file, 0, served.home.path)
    process = psutil.Process()
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        AnyPeer.server, AnyPeer.loop = served, loop
        AnyPeer.credentials = Credentials(signer)
        machine = AnyPeer.TestCase
        machine.settings = settings(
            max_examples=60,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        machine().runTest()
        before = process.num_fds()
        machine().runTest()
        wait_until(lambda: process.num_fds() <= before + 2)

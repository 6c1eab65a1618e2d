"""Random peers at the socket: every request is answered, and nothing is left behind.

``scripts/bench socket-fuzz [--scripts N] [--seconds S] [--seed SEED] [--json]``. A server with the
scripted engine meets N peers (10,000), 16 at a time, for at most S seconds (900). Each follows a
script of its own: good and bad authentication, frames of odd sizes and in fragments, text, requests
for finals, pings, pauses in reading, and one of many ways to end. The seed, which is printed, makes
the same scripts again.

A peer that keeps to the protocol has to get one CONNECT or ERROR for its authentication, an
acknowledgement for each frame, a pong for each ping and one final for each request. Afterwards the
server must have logged no failure, hold no session, process or file descriptor more than before,
and serve an ordinary stream.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import Any

import httpx
import psutil
from rich.table import Table

from bench.both_ways import as_server
from bench.harness import Bar, Report
from bench.socket_peer import Silence
from bench.socket_script import Credentials, follow_script
from stapes.cli.own_server import OwnServer, own_server
from stapes.measuring.clips import bundled
from stapes.measuring.playing import play, text_of

AT_ONCE = 16
WARMING = 3000
"""Peers before the file descriptors are counted: by then each thread has its database open."""
SETTLE_S = 20.0
MOST_FDS_MORE = 2


def run(arguments: Sequence[str]) -> Report:
    """Meet the peers, then see what is left of them."""
    asked = _parse(arguments)
    os.environ |= {"STAPES_ENGINE": "scripted", "STAPES_AUTHENTICATION_TIMEOUT_S": "5"}
    with own_server() as server:
        credentials = Credentials(server)
        asyncio.run(_meet(server, credentials, "warm", WARMING, asked.seconds))
        before = _settled(server, None)
        began_at = time.monotonic()
        met, faults = asyncio.run(
            _meet(server, credentials, str(asked.seed), asked.scripts, asked.seconds)
        )
        took_s = time.monotonic() - began_at
        after = _settled(server, before)
        played = play(as_server(server), bundled()[0].pcm(), {}, fast=True)
        text = text_of(asyncio.run(played))
        failures = _failures(server.log.read_text(encoding="utf-8"))
    figures = {
        "seed": asked.seed,
        "scripts": sum(met.values()),
        "seconds": round(took_s, 1),
        "by_end": dict(sorted(met.items())),
        "faults": faults[:20],
        "failures": failures[:5],
    }
    bars = [
        Bar.at_most("scripts with a fault", len(faults), 0),
        Bar.at_most("failures in the log", len(failures), 0),
        Bar.at_most("sessions left", after.live, 0),
        Bar.at_most("processes more", after.processes - before.processes, 0),
        Bar.at_most("file descriptors more", after.fds - before.fds, MOST_FDS_MORE),
        Bar.at_least("words heard afterwards", len(text.split()), 1),
    ]
    return Report("socket-fuzz", figures, bars, _table(figures))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench socket-fuzz", description=__doc__)
    parser.add_argument("--scripts", type=int, default=10_000, help="how many peers")
    parser.add_argument("--seconds", type=float, default=900, help="no new peers after this long")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    return parser.parse_args(arguments)


async def _meet(
    server: OwnServer, credentials: Credentials, seed: str, count: int, seconds: float
) -> tuple[Counter[str], list[str]]:
    """Peers by what they were, and what was wrong with which."""
    numbers = iter(range(count))
    met: Counter[str] = Counter()
    faults: list[str] = []
    deadline = time.monotonic() + seconds

    async def follow() -> None:
        for number in numbers:
            if time.monotonic() > deadline:
                return
            try:
                met[await follow_script(server, credentials, Random(f"{seed}/{number}"))] += 1
            except (Silence, AssertionError, OSError, ValueError) as fault:
                met["fault"] += 1
                faults.append(f"script {number}: {type(fault).__name__} {fault}")

    await asyncio.gather(*(follow() for _ in range(AT_ONCE)))
    return met, faults


@dataclass(frozen=True, slots=True)
class Held:
    """What a server holds: live sessions, processes, file descriptors of all of them."""

    live: int
    processes: int
    fds: int


def _settled(server: OwnServer, before: Held | None) -> Held:
    """What the server holds once nothing changes for a second, or no more than ``before``."""
    deadline = time.monotonic() + SETTLE_S
    last = _held(server)
    while time.monotonic() < deadline:
        time.sleep(1)
        held = _held(server)
        is_still = held == last and held.live == 0
        if is_still and (before is None or held.fds <= before.fds + MOST_FDS_MORE):
            return held
        last = held
    return last


def _held(server: OwnServer) -> Held:
    ready = httpx.get(f"{server.url}/ready", trust_env=False).json()
    root = psutil.Process(server.pid)
    tree = [root, *root.children(recursive=True)]
    return Held(ready["streams"]["live"], len(tree), sum(each.num_fds() for each in tree))


def _failures(log: str) -> list[str]:
    signs = ("Traceback", "pump failed", "session failed", "recogniser failed", '"level": "error"')
    return [line[:2000] for line in log.splitlines() if any(sign in line for sign in signs)]


def _table(figures: dict[str, Any]) -> Table:
    title = f"{figures['scripts']} scripts in {figures['seconds']} s, seed {figures['seed']}"
    table = Table("peer", "scripts", title=title)
    for end, count in figures["by_end"].items():
        table.add_row(end, str(count))
    for fault in (*figures["faults"], *figures["failures"]):
        table.add_row("FAULT", fault)
    return table

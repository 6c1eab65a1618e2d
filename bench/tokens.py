"""Tokens minted a second through the HTTP endpoint on one core, beside the bare cryptography."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from rich.table import Table

from bench.harness import Bar, Report, cpu_s
from stapes import CreateRealtimeSessionTokenDetails
from stapes.cli.own_server import OwnServer, own_server
from stapes.client.profile import load_private_key
from stapes.client.urls import token_url
from stapes.server.home import open_home
from stapes.signing.signer import sign_request
from stapes.store.port import SessionFilter
from stapes.store.sql import open_store

LEAST_A_SECOND = 2500
LEAST_SHARE = 0.20
MOST_P99_MS = 20
SIGNED = 256
MAIN, BESIDE = "main", "beside"
SETTINGS = {
    "STAPES_ENGINE": "scripted",
    "STAPES_TOKENS_PER_MINUTE_PER_USER": "0",
}


def run(arguments: Sequence[str]) -> Report:
    """Mint as fast as it goes, then at half of that; count the rows."""
    asked = _parse(arguments)
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, SETTINGS))
        server = stack.enter_context(own_server())
        core = max(os.sched_getaffinity(0))
        _pin(server.pid, core)
        others = sorted(os.sched_getaffinity(0) - {core}) or [core]
        load = _Load(server, _signed(server), others)
        load.ask(connections=asked.connections, seconds=2)  # warm
        rounds = [_round(server, load, core, asked) for _ in range(asked.rounds)]
        half = statistics.median(each["a_second"] for each in rounds) / 2
        steady = load.ask(connections=asked.connections, seconds=asked.seconds, rate=half)
        rows = _rows(server)
    return _report(rounds, steady, half, rows, load.answers)


def _round(
    server: OwnServer, load: _Load, core: int, asked: argparse.Namespace
) -> dict[str, float]:
    """The endpoint, and the bare cryptography before and after it, on the same core."""
    before = _on_core(core, _bare_cryptography)
    at_first = _spent_s(server.pid)
    got = load.ask(connections=asked.connections, seconds=asked.seconds)
    at_last = _spent_s(server.pid)
    ceiling = (before + _on_core(core, _bare_cryptography)) / 2
    spent_s = {name: at_last[name] - at_first.get(name, 0.0) for name in at_last}
    a_second = got["answers"] / got["seconds"]
    ms = {name: 1000 * spent / got["answers"] for name, spent in spent_s.items()}
    return {
        "a_second": a_second,
        "ceiling": ceiling,
        "share": a_second / ceiling,
        "cpu_ms": sum(ms.values()),
        "cpu_ms_requests": ms[MAIN],
        "cpu_ms_records": ms[BESIDE],
        "busy": sum(spent_s.values()) / got["seconds"],
    }


def _spent_s(pid: int) -> dict[str, float]:
    """CPU seconds of the thread that answers requests, and of all beside it: the records'."""
    whole = cpu_s(pid)
    fields = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="ascii").split()
    main = int(fields[0]) / 1e9
    return {MAIN: main, BESIDE: whole - main}


class _Load:
    """Requests to one server, from a process on other cores."""

    def __init__(self, server: OwnServer, requests: list[bytes], cores: list[int]) -> None:
        self.answers = 0
        self._parts = urlsplit(server.url)
        self._requests = [b64encode(request).decode() for request in requests]
        self._cores = cores

    def ask(self, *, connections: int, seconds: float, rate: float = 0) -> dict[str, Any]:
        """See `bench.token_peer.ask_for`."""
        asked = {
            "host": self._parts.hostname,
            "port": self._parts.port,
            "requests": self._requests,
            "connections": connections,
            "seconds": seconds,
            "rate": rate,
        }
        done = subprocess.run(
            [sys.executable, "-m", "bench.token_peer"],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            check=True,
            timeout=seconds + 60,
            preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
        )
        got: dict[str, Any] = json.loads(done.stdout)
        if got["refused"]:
            raise RuntimeError(f"{got['refused']} requests were refused; see the server's log")
        self.answers += got["answers"]
        return got


def _signed(server: OwnServer) -> list[bytes]:
    """Requests as bytes, each with a body and a signature of its own."""
    url, key = urlsplit(token_url(server.url)), load_private_key(server.profile)
    now = datetime.now(UTC)
    signed = []
    for number in range(SIGNED):
        details = CreateRealtimeSessionTokenDetails(
            compartment_id=server.profile.compartment, freeform_tags={"number": str(number)}
        )
        body = details.to_json().encode()
        headers = {"accept": "application/json", "content-type": "application/json"}
        made = sign_request(
            "POST", url.path, url.netloc, headers, body, server.profile.key_id, key, now
        )
        lines = [f"POST {url.path} HTTP/1.1", *(f"{name}: {made[name]}" for name in made)]
        signed.append("\r\n".join([*lines, "", ""]).encode() + body)
    return signed


def _bare_cryptography(seconds: float = 1.0) -> float:
    """RSA-2048 verifications with an Ed25519 signature each, a second."""
    rsa = generate_private_key(public_exponent=65537, key_size=2048)
    text = b"x" * 300
    signature = rsa.sign(text, PKCS1v15(), SHA256())
    public, signer = rsa.public_key(), Ed25519PrivateKey.generate()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(50):
            public.verify(signature, text, PKCS1v15(), SHA256())
            signer.sign(text)
        count += 50
    return count / (time.perf_counter() - begin)


def _on_core(core: int, measure: Callable[[], float]) -> float:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        return measure()
    finally:
        os.sched_setaffinity(0, before)


def _pin(pid: int, core: int) -> None:
    """Every thread of a process to one core; those it starts later inherit that."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def _rows(server: OwnServer) -> int:
    """How many sessions the store has, once everything is written."""
    store = open_store(open_home(server.config_file.parent.parent).database)
    try:
        time.sleep(1)
        rows = store.sessions(SessionFilter(), datetime.now(UTC), limit=10_000_000)
        return len(rows)
    finally:
        store.close()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench tokens", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="of each round")
    parser.add_argument("--rounds", type=int, default=5, help="the median counts")
    parser.add_argument("--connections", type=int, default=32)
    return parser.parse_args(arguments)


def _report(
    rounds: list[dict[str, float]], steady: dict[str, Any], half: float, rows: int, answers: int
) -> Report:
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    latencies = steady["latencies_ms"]
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    figures = {
        **{name: round(value, 3) for name, value in medians.items()},
        "half_load": round(half),
        "p50_ms": p50,
        "p99_ms": p99,
        "answers": answers,
        "rows": rows,
    }
    bars = [
        Bar.at_least("tokens a second", medians["a_second"], LEAST_A_SECOND),
        Bar.at_least("share of the bare cryptography", medians["share"], LEAST_SHARE),
        Bar.at_most("p99 at half load, ms", p99, MOST_P99_MS),
        Bar.at_most("answers without a row", answers - rows, 0),
    ]
    table = Table("figure", "value", title=f"medians of {len(rounds)} rounds")
    for name, value in figures.items():
        table.add_row(name, str(value))
    return Report("tokens", figures, bars, table)

"""A worker killed under the official Python client: are its finals those of a whole run?

``scripts/bench worker-kill [--sessions N] [--pocketsphinx N] [--lanes N] [--seed N] [--json]``.
The unmodified client, no extension, sends bundled speech four times as fast as it is spoken. At a
random moment of each session the process that hears it is ended by kill -9. Its finals (text, and
the times of each word) are compared with those of a session whose worker lived.

``--sessions`` with the scripted engine, which counts audio, so that anything lost or doubled shows;
``--pocketsphinx`` with that one. Each of the ``--lanes`` is a server with one session at a
time, so that it is the session's own worker that dies.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import oci
from oci.ai_speech.models import RealtimeParameters
from oci_ai_speech_realtime import RealtimeSpeechClient, RealtimeSpeechClientListener
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.harness import Bar, Report
from stapes.measuring.clips import bundled
from stapes.server import logs
from tests.conftest import Served, running_server

CHUNK_BYTES = 3072
PACE = 4
PATIENCE_S = 120
PAUSE = np.zeros(16000, np.int16)

Shown = tuple[str, tuple[tuple[str, int, int], ...]]


@dataclass
class Session(RealtimeSpeechClientListener):  # type: ignore[misc]
    """What the client reports."""

    connected: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    finals: list[Shown] = field(default_factory=list)
    errors: list[Any] = field(default_factory=list)
    is_done: bool = False

    def on_connect(self) -> None:
        """The socket is open."""

    def on_connect_message(self, connectmessage: dict[str, Any]) -> None:
        """CONNECT."""
        self.connected.set()

    def on_ack_message(self, ackmessage: dict[str, Any]) -> None:
        """ACKAUDIO."""

    def on_result(self, result: dict[str, Any]) -> None:
        """RESULT: an empty final is the answer to the last request."""
        shown = result["transcriptions"][0]
        if not shown["isFinal"]:
            return
        if shown["transcription"]:
            self.finals.append((shown["transcription"], _times(shown)))
        elif self.is_done:
            self.finished.set()

    def on_error(self, error: dict[str, Any]) -> None:
        """ERROR."""
        self.errors.append(error)
        self.connected.set()
        self.finished.set()

    def on_network_event(self, message: Any) -> None:
        """Never called by this client."""

    def on_close(self, error_code: int, error_message: str) -> None:
        """The socket is closed."""
        self.finished.set()


def _times(shown: dict[str, Any]) -> tuple[tuple[str, int, int], ...]:
    return tuple(
        (token["token"], token["startTimeInMs"], token["endTimeInMs"]) for token in shown["tokens"]
    )


def run(arguments: Sequence[str]) -> Report:
    """Play every session, and show those that differ."""
    parser = argparse.ArgumentParser(prog="scripts/bench worker-kill", description=__doc__)
    parser.add_argument("--sessions", type=int, default=80)
    parser.add_argument("--pocketsphinx", type=int, default=20)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    logs.configure("critical")  # that workers end is what this is about
    random = Random(asked.seed)
    began = time.monotonic()
    figures: dict[str, Any] = {"seed": asked.seed}
    lines: list[str] = []
    total = equal = 0
    for engine, count in (("scripted", asked.sessions), ("pocketsphinx", asked.pocketsphinx)):
        outcome = _play_all(engine, count, asked.lanes, random)
        figures[engine] = {"sessions": count, "kills": outcome.kills, "equal": outcome.equal}
        total, equal = total + count, equal + outcome.equal
        lines += [f"{engine}: {line}" for line in outcome.differing]
    figures["seconds"] = round(time.monotonic() - began, 1)
    return _report(figures, lines, equal, total)


def _report(figures: dict[str, Any], differing: list[str], equal: int, total: int) -> Report:
    table = Table(title="Sessions whose worker was killed")
    for column in ("engine", "sessions", "kills", "equal finals"):
        table.add_column(column, justify="left" if column == "engine" else "right")
    for engine in ("scripted", "pocketsphinx"):
        found = figures[engine]
        table.add_row(engine, *(str(found[name]) for name in ("sessions", "kills", "equal")))
    for line in differing:
        print(line)
    return Report("worker-kill", figures, [Bar.at_least("equal finals", equal, total)], table)


@dataclass
class Outcome:
    """What came of the sessions of one engine."""

    kills: int = 0
    equal: int = 0
    differing: list[str] = field(default_factory=list)


def _play_all(engine: str, count: int, lanes: int, random: Random) -> Outcome:
    moments = [random.random() for _ in range(count)]
    outcome = Outcome()
    with ExitStack() as stack:
        servers = [stack.enter_context(_server(engine)) for _ in range(lanes)]
        asyncio.run(_play_lanes(servers, moments, outcome, engine))
    return outcome


@contextmanager
def _server(engine: str) -> Iterator[Served]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder) / "home", engine=engine, streams=2) as server,
    ):
        yield server


async def _play_lanes(
    servers: list[Served], moments: list[float], outcome: Outcome, engine: str
) -> None:
    clips = [clip.pcm() for clip in bundled()]
    speech = np.concatenate([part for clip in clips for part in (clip, PAUSE)]).tobytes()
    expected = (await _play(servers[0], speech, None, outcome)).finals
    waiting = deque(enumerate(moments))
    progress = Progress(console=Console(stderr=True))
    task = progress.add_task(engine, total=len(moments))

    async def lane(server: Served) -> None:
        while waiting:
            number, moment = waiting.popleft()
            session = await _play(server, speech, moment, outcome)
            progress.advance(task)
            if session.finals == expected and expected and not session.errors:
                outcome.equal += 1
                continue
            said = [text for text, _ in session.finals]
            outcome.differing.append(f"{number} at {moment:.3f}: {said} {session.errors}")

    with progress:
        await asyncio.gather(*map(lane, servers))


async def _play(server: Served, speech: bytes, moment: float | None, outcome: Outcome) -> Session:
    """A session of the client; at this share of its audio a busy worker is killed."""
    session = Session()
    client = _client(server, session)
    connecting = asyncio.create_task(client.connect())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await session.connected.wait()
            kill_at = None if moment is None else int(moment * len(speech))
            for start in range(0, len(speech), CHUNK_BYTES):
                if kill_at is not None and start >= kill_at:
                    outcome.kills += _kill(server)
                    kill_at = None
                await client.send_data(speech[start : start + CHUNK_BYTES])
                await asyncio.sleep(CHUNK_BYTES / 32000 / PACE)
            session.is_done = True
            for _ in range(2):
                await client.request_final_result()
            await session.finished.wait()
    except TimeoutError:
        session.errors.append("timed out")
    finally:
        client.close()
        await connecting
    return session


def _kill(server: Served) -> int:
    """End the worker that hears the one session of the server; how many that were."""
    busy = server.deployment.pool.busy_pids
    if not busy:
        return 0
    os.kill(busy[0], signal.SIGKILL)
    return 1


def _client(server: Served, session: Session) -> Any:
    chosen = RealtimeParameters()
    chosen.encoding = "audio/raw;rate=16000"
    chosen.language_code = "en-US"
    chosen.model_domain = RealtimeParameters.MODEL_DOMAIN_GENERIC
    chosen.model_type = "ORACLE"
    chosen.final_silence_threshold_in_ms = 500
    chosen.should_ignore_invalid_customizations = False
    return RealtimeSpeechClient(
        config=oci.config.from_file(str(server.home.config_file)),
        realtime_speech_parameters=chosen,
        listener=session,
        service_endpoint=server.url.replace("http", "ws", 1),
        compartment_id=server.home.compartment_id,
    )

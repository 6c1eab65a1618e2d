"""A server that is killed: what a client has read is kept, and no process is left behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from stapes import RealtimeSessionToken
from stapes.server.home import Home
from stapes.server.new_home import create_home
from stapes.store.sql import open_store
from tests.waiting import is_running, until


class Killable(NamedTuple):
    """A server in a process of its own."""

    process: subprocess.Popen[str]
    home: Home
    url: str

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/ws/transcribe/stream"


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Killable]:
    home, _ = create_home(tmp_path / "home", datetime.now(UTC))
    command = [sys.executable, "-m", "stapes", "serve", "--home", str(home.path), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--engine", "scripted"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = iter(process.stdout)
        url = next(found[0] for line in said if (found := re.search(r"http://[\d.]+:\d+", line)))
        yield Killable(process, home, url)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def kept(killable: Killable, session_id: str) -> list[str]:
    """The finals that another process reads."""
    with closing(open_store(killable.home.database)) as store:
        return [final.text for final in store.finals(session_id)]


async def test_a_final_that_was_read_survives_kill_9(
    killable: Killable,
    mint: Callable[..., RealtimeSessionToken],
    peer: Any,
    speech: bytes,
) -> None:
    """Once it is in the database; the workers end with the server."""
    token = mint(killable)
    async with peer(killable.ws_url) as client:
        await client.authenticate(token)
        text = await client.hear(speech)
        await until(lambda: kept(killable, token.session_id) == [text])
        workers = psutil.Process(killable.process.pid).children(recursive=True)
        killable.process.send_signal(signal.SIGKILL)
        killable.process.wait()
    assert workers
    await until(lambda: not any(is_running(worker.pid) for worker in workers))
    assert kept(killable, token.session_id) == [text]

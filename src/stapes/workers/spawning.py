"""The template process as the server sees it: started once, asked for workers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from stapes.errors import EngineError

log = structlog.get_logger("stapes.workers")

FORK_TIMEOUT_S = 10.0

ENVIRONMENT = {
    **{"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    **{"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"},
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Of the process that hears: one thread, a model is what is in its folder and nothing else, and
nobody is told of it. What it loads lies in large pages, where the kernel gives them to who asks: a
search that jumps about in a model then waits less for the page table."""


class Template:
    """The template process, from the server's side."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket) -> None:
        self.process = process
        self._control = control
        self._lines: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._turn = asyncio.Lock()

    @classmethod
    async def start(
        cls, engine: str, model: Path | None = None, punctuators: Sequence[Path] = ()
    ) -> Template:
        """Start the process; `read` its "ready" before anything else."""
        what = [engine, str(model or ""), *map(str, punctuators)]
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stapes.workers.template", str(theirs.fileno()), *what),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        template = cls(process, ours.dup())
        ours.setblocking(False)
        template._lines, template._writer = await asyncio.open_unix_connection(sock=ours)
        return template

    async def read(self, wanted: str) -> dict[str, Any]:
        """The next answer that holds ``wanted``. Raises `EngineError`."""
        while line := await self._lines.readline():
            answer: dict[str, Any] = json.loads(line)
            if wanted in answer:
                return answer
            if "failed" in answer:
                raise EngineError(answer["failed"])
            log.warning("worker ended", **answer)
        raise EngineError("the engine's process ended")

    async def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its process id and our end of its socket."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            async with self._turn, asyncio.timeout(FORK_TIMEOUT_S):
                with theirs:
                    socket.send_fds(self._control, [b"F"], [theirs.fileno()])
                answer = await self.read("forked")
        except BaseException:
            ours.close()
            raise
        return answer["forked"], ours

    async def close(self) -> None:
        """End the process, by ending its socket, and wait for it."""
        self._control.close()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        await self.process.wait()


def _environment() -> dict[str, str]:
    """Ours, with one thread for each library, and without secrets.

    A worker's native code reads what strangers send; it needs no master key.
    """
    ours = {name: value for name, value in os.environ.items() if not name.endswith("_MASTER_KEY")}
    return {**ours, **ENVIRONMENT}

"""Waiting for what has to happen. A machine may be slow: no test measures how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psutil

PATIENCE_S = 60
"""After this, what has to happen is taken not to happen at all."""

POLL_S = 0.01


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended, and only waits to be asked how, does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def until(is_so: Callable[[], bool]) -> None:
    """Let others run until it is so. Raises `TimeoutError`."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(POLL_S)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Block until it is so. Raises `TimeoutError`."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(POLL_S)

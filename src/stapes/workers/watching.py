"""Which worker processes cannot go on: they say nothing, or take ever more memory."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stapes.audio.segments import SegmentRules
from stapes.engines.port import Capabilities
from stapes.workers.links import Link

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker process may take.

    Attributes:
        silent_s: longest time without a word while it has something to hear.
        memory_mb: growth of its resident memory since it was forked; where there is no ``/proc``
            nobody looks.
    """

    silent_s: float = 20.0
    memory_mb: int = 4096

    @property
    def interval_s(self) -> float:
        """How often to look."""
        return min(1.0, self.silent_s / 4)

    def fitting(self, engine: Capabilities) -> Bounds:
        """With the time for the longest segment, where an engine hears segments in one piece."""
        if engine.streaming:
            return self
        longest_s = SegmentRules().longest_ms / 1000 * engine.real_time_factor
        return replace(self, silent_s=max(self.silent_s, longest_s))

    def trouble(self, link: Link) -> str | None:
        """Why a worker has to be ended; None: it is well."""
        if link.silent_s > self.silent_s:
            return f"it said nothing for {link.silent_s:.1f} s"
        grown = resident_bytes(link.pid) - link.resident_bytes
        if grown > self.memory_mb * MEGABYTE:
            return f"its memory grew by {grown // MEGABYTE} MB"
        return None


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when that cannot be known (proc(5), ``statm``)."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def kill(link: Link) -> None:
    """End a worker at once. While its socket is open the process id is its own."""
    with suppress(ProcessLookupError):
        os.kill(link.pid, signal.SIGKILL)

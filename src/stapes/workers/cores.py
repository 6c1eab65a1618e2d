"""How many cores there are to hear with."""

from __future__ import annotations

import os


def cores() -> int:
    """The cores that this process may run on, where the system tells: else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

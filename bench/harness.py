"""The frame of every benchmark: figures, bars that must be met, and what the machine was.

A benchmark is a module ``bench/NAME.py`` with a one-line docstring and a function
``run(arguments: Sequence[str]) -> Report``. CPU and memory are read for a whole process tree,
since recognisers live in processes of their own.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from stapes.workers.cores import cores


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that has to be met. ``ok`` says whether it was."""

    name: str
    value: float
    limit: float
    ok: bool

    @classmethod
    def at_most(cls, name: str, value: float, limit: float) -> Bar:
        """A bar that is met by ``limit`` or less."""
        return cls(name, value, limit, value <= limit)

    @classmethod
    def at_least(cls, name: str, value: float, limit: float) -> Bar:
        """A bar that is met by ``limit`` or more."""
        return cls(name, value, limit, value >= limit)


@dataclass(frozen=True, slots=True)
class Report:
    """What one run of a benchmark found. ``figures`` is JSON; ``table`` is for people."""

    name: str
    figures: Mapping[str, Any]
    bars: Sequence[Bar] = ()
    table: Table = field(default_factory=Table)

    @property
    def ok(self) -> bool:
        """Whether every bar is met."""
        return all(bar.ok for bar in self.bars)

    def to_json(self) -> str:
        """One line of JSON. Raises `ValueError` for a figure that is not finite."""
        bars = [asdict(bar) for bar in self.bars]
        body = {"name": self.name, "machine": machine(), "figures": self.figures, "bars": bars}
        return json.dumps(body, allow_nan=False)


def publish(report: Report, *, as_json: bool, console: Console) -> int:
    """Print the report, the JSON object (when asked for) last; return the exit code."""
    console.print(report.table)
    if report.bars:
        console.print(_bars_table(report.bars))
    console.print("on {cpu}, {cores} cores, Python {python}".format(**machine()), style="dim")
    if as_json:
        console.file.write(report.to_json() + "\n")
    return 0 if report.ok else 1


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"cpu": _cpu_model(), "cores": cores(), "python": platform.python_version()}


def median(measure: Callable[[], float], *, runs: int = 3) -> float:
    """The median of ``runs`` calls: one disturbed run does not move it."""
    return statistics.median(measure() for _ in range(runs))


def cpu_s(pid: int | None = None) -> float:
    """CPU seconds (user and system) that a process and all its descendants have used so far.

    A child that has ended counts once its parent has waited for it. The figure only grows while
    the tree stands, so the cost of something is the difference of two calls around it.
    """
    return sum(_cpu_times_s(process) for process in _tree(pid))


def pss_mb(pid: int | None = None) -> float:
    """Proportional set size of a process and its descendants, MB: shared pages count once.

    Raises `OSError` where ``/proc`` has no ``smaps_rollup`` (not Linux).
    """
    return sum(_pss_kb(process.pid) for process in _tree(pid)) / 1024


def _tree(pid: int | None) -> Iterator[psutil.Process]:
    root = psutil.Process(pid)
    yield root
    yield from root.children(recursive=True)


def _cpu_times_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # it ended since it was listed; its parent counts it then
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        if not psutil.pid_exists(pid):  # it ended since it was listed
            return 0
        raise
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _bars_table(bars: Sequence[Bar]) -> Table:
    table = Table("bar", "value", "limit", "met")
    for bar in bars:
        table.add_row(bar.name, f"{bar.value:g}", f"{bar.limit:g}", "yes" if bar.ok else "NO")
    return table

"""The frame of the benchmarks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table

from bench.__main__ import benchmarks, main
from bench.harness import Bar, Report, cpu_s, machine, median, pss_mb, publish

BURN = "import time\nwhile time.process_time() < 0.3: pass"
HOLD = "import sys; held = bytearray({size}); print('ready', flush=True); sys.stdin.read()"


def published(report: Report, *, as_json: bool) -> tuple[int, str]:
    out = io.StringIO()
    code = publish(report, as_json=as_json, console=Console(file=out, width=60))
    return code, out.getvalue()


@pytest.mark.parametrize(("value", "ok"), [(1.14, True), (1.15, True), (1.16, False)])
def test_an_upper_bar_is_met_up_to_and_at_its_limit(value: float, ok: bool) -> None:
    """A bar of at most 1.15 is met by 1.15 and not by 1.16."""
    assert Bar.at_most("ratio", value, 1.15).ok is ok


@pytest.mark.parametrize(("value", "ok"), [(9, False), (10, True), (11, True)])
def test_a_lower_bar_is_met_from_its_limit_on(value: float, ok: bool) -> None:
    """A bar of at least 10 is met by 10 and not by 9."""
    assert Bar.at_least("streams", value, 10).ok is ok


def test_a_report_without_bars_succeeds() -> None:
    """Nothing to meet means exit code 0."""
    code, _ = published(Report("plain", {"a": 1}), as_json=False)
    assert code == 0


def test_one_missed_bar_of_two_fails_the_run() -> None:
    """Exit code is 1 when any bar is not met, and the table says which."""
    bars = [Bar.at_most("light", 1, 2), Bar.at_most("heavy", 3, 2)]
    code, text = published(Report("two", {}, bars), as_json=False)
    assert code == 1
    assert [("NO" in line) for line in text.splitlines() if "light" in line or "heavy" in line] == [
        False,
        True,
    ]


def test_json_is_one_object_on_the_last_line_after_the_table() -> None:
    """The last line is the object, unwrapped however wide, and the table comes before it."""
    table = Table("set", "wer")
    table.add_row("ljspeech", "28.1")
    figures = {f"figure {n}": n / 7 for n in range(30)}
    report = Report("wer", figures, [Bar.at_most("delta", 0.5, 1)], table)
    code, text = published(report, as_json=True)
    *before, last = text.splitlines()
    assert code == 0
    assert any("ljspeech" in line for line in before)
    assert json.loads(last) == {
        "name": "wer",
        "machine": machine(),
        "figures": figures,
        "bars": [{"name": "delta", "value": 0.5, "limit": 1, "ok": True}],
    }


def test_a_figure_that_is_not_finite_is_refused() -> None:
    """NaN is no JSON, so a report that holds it cannot be printed as JSON."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        Report("bad", {"ratio": float("nan")}).to_json()


def test_the_machine_is_named() -> None:
    """Processor, cores and Python version are all there."""
    found = machine()
    assert found["cpu"]
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")


def test_the_median_ignores_one_disturbed_run() -> None:
    """Of 1, 100 and 2 the median is 2."""
    values = iter([1.0, 100.0, 2.0])
    assert median(lambda: next(values)) == 2.0


def test_cpu_of_a_child_that_has_ended_is_counted() -> None:
    """A child that burnt 0.3 s of CPU before it ended adds that much to its parent's tree."""
    before = cpu_s()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert cpu_s() - before >= 0.28


def test_cpu_of_a_running_child_is_counted() -> None:
    """A child that is still there adds what it has used so far."""
    script = f"{BURN}\nprint('ready', flush=True)\nimport sys; sys.stdin.read()"
    pipe = subprocess.PIPE
    before = cpu_s()
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        own = cpu_s(child.pid)
        total = cpu_s() - before
        child.communicate()
    assert own >= 0.28
    assert total >= own - 0.02


def test_memory_of_a_child_is_counted() -> None:
    """A child that holds 64 MB more than another weighs about 64 MB more; only Linux tells."""
    if sys.platform != "linux":
        with pytest.raises(OSError, match="smaps_rollup"):
            pss_mb()
        return
    weights = []
    for size in (0, 64 << 20):
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLD.format(size=size)]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as child:
            assert child.stdout is not None
            child.stdout.readline()
            weights.append(pss_mb(child.pid))
            child.communicate()
    assert weights[1] - weights[0] == pytest.approx(64, abs=8)


def test_without_a_name_the_benchmarks_are_listed() -> None:
    """Every benchmark is listed with the first line of its docstring."""
    out = io.StringIO()
    assert main([], Console(file=out, width=200)) == 0
    for name, line in benchmarks().items():
        assert line, f"the module of {name} has no docstring"
        assert "_" not in name
        assert f"{name} " in out.getvalue()
        assert line in out.getvalue()


def test_an_unknown_name_is_told() -> None:
    """An unknown benchmark is exit code 2 and names itself."""
    out = io.StringIO()
    assert main(["nonesuch", "--json"], Console(file=out)) == 2
    assert "nonesuch" in out.getvalue()

"""Figures of a measurement, drawn into a PNG or SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stapes.errors import MeasuringError
from stapes.measuring.capacity import LATEST_MS, Step
from stapes.measuring.delays import Delays
from stapes.measuring.scoring import WordErrorRate, missing

ENDINGS = (".png", ".svg")


def check_plot(path: Path | None) -> None:
    """Raises `MeasuringError` when a plot could not be drawn later: before anything is measured."""
    if path is not None:
        _figure(path)


def draw_word_errors(
    path: Path, rates: Mapping[str, Mapping[str, WordErrorRate]], title: str
) -> None:
    """A bar a set with its interval, beside each other for each way of hearing."""
    figure, axes = _figure(path)
    ways = list(next(iter(rates.values())))
    for place, way in enumerate(ways):
        found = [each[way] for each in rates.values()]
        values = np.array([each.percent for each in found])
        spread = [
            np.maximum(values - [each.low for each in found], 0),
            np.maximum([each.high for each in found] - values, 0),
        ]
        at = np.arange(len(found)) + (place - (len(ways) - 1) / 2) * 0.8 / len(ways)
        axes.bar(at, values, 0.8 / len(ways), yerr=spread, capsize=4, label=way)
    axes.set_xticks(np.arange(len(rates)), list(rates))
    axes.set_ylabel("word error rate, %")
    axes.set_ylim(
        0, max(1.0, *(1.1 * rate.high for each in rates.values() for rate in each.values()))
    )
    axes.legend()
    _save(figure, axes, path, title)


def draw_delays(path: Path, found: Delays, title: str) -> None:
    """The share of results that had come by a delay."""
    figure, axes = _figure(path)
    for name, values in {
        "first partial after the first word began": found.first_partial_ms,
        "final beyond the threshold": found.final_ms,
    }.items():
        if values:
            axes.step(
                np.sort(values), np.arange(1, len(values) + 1) / len(values) * 100, label=name
            )
    axes.set_xlabel("ms")
    axes.set_ylabel("share of clips, %")
    axes.legend()
    _save(figure, axes, path, title)


def draw_capacity(path: Path, steps: Sequence[Step], title: str) -> None:
    """The 95th percentile of late finals by the number of streams."""
    figure, axes = _figure(path)
    told = [each for each in steps if each.p95_ms is not None]
    axes.plot([each.streams for each in told], [each.p95_ms for each in told], marker="o")
    axes.axhline(LATEST_MS, linestyle="--", color="grey")
    axes.set_xlabel("streams at once")
    axes.set_ylabel("final beyond the threshold, p95, ms")
    _save(figure, axes, path, title)


def _figure(path: Path) -> tuple[Any, Any]:
    if path.suffix.lower() not in ENDINGS:
        raise MeasuringError(f"a plot is {' or '.join(ENDINGS)}, not {path.name}")
    if not path.parent.is_dir():
        raise MeasuringError(f"there is no folder {path.parent} for the plot")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing("plots", "matplotlib") from None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, axes: Any, path: Path, title: str) -> None:
    axes.set_title(title)
    figure.savefig(path, dpi=144)

"""What a worker may take."""

from __future__ import annotations

from dataclasses import replace

from stapes.engines.registry import load_engine
from stapes.workers.watching import Bounds


def test_an_engine_of_whole_segments_has_the_time_for_the_longest() -> None:
    """A segment lasts 30 s at most; what hears while somebody speaks has to say something."""
    able = load_engine("scripted").capabilities
    slow = replace(able, streaming=False, real_time_factor=2.0)
    assert Bounds(20.0).fitting(slow).silent_s == 60.0
    assert Bounds(90.0).fitting(slow).silent_s == 90.0
    assert Bounds(20.0).fitting(replace(slow, real_time_factor=0.1)).silent_s == 20.0
    assert Bounds(2.0).fitting(replace(slow, streaming=True)).silent_s == 2.0

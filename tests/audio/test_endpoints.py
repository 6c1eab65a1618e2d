"""When words may be shown and when an utterance is over."""

from __future__ import annotations

import pytest

from stapes.audio.endpoints import Endpointer


@pytest.mark.parametrize(
    ("final_ms", "hangover_ms"),
    [(0, 152), (200, 152), (500, 250), (1000, 500), (2000, 1000), (5000, 1000)],
)
def test_hangover(final_ms: int, hangover_ms: int) -> None:
    """A segment ends at half the final threshold, within 152 to 1000 ms."""
    assert Endpointer(0, final_ms).hangover_ms == hangover_ms


@pytest.mark.parametrize(
    ("partial_ms", "final_ms", "silence_ms", "due"),
    [
        (0, 2000, 0, True),
        (500, 2000, 499, False),
        (500, 2000, 500, True),
        (2000, 2000, 2000, False),
        (2000, 500, 2000, False),
        (0, 0, 100, False),
    ],
)
def test_partial(partial_ms: int, final_ms: int, silence_ms: int, due: bool) -> None:
    """Partials wait for their silence, and at or above the final threshold there are none."""
    assert Endpointer(partial_ms, final_ms).partial_due(silence_ms) is due


@pytest.mark.parametrize(
    ("final_ms", "silence_ms", "length_ms", "due"),
    [
        (2000, 1951, 9000, False),
        (2000, 1952, 9000, True),
        (0, 151, 9000, False),
        (0, 152, 9000, True),
        (2000, 0, 59_999, False),
        (2000, 0, 60_000, True),
    ],
)
def test_final(final_ms: int, silence_ms: int, length_ms: int, due: bool) -> None:
    """An utterance is over after its silence, 200 ms at the least, or after 60 s.

    The detector notices the silence 32 ms late, and tells it in windows of 32 ms.
    """
    assert Endpointer(0, final_ms).final_due(silence_ms, length_ms) is due

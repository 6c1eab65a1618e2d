"""Delays of partials and finals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stapes.client.results import Final, Partial
from stapes.measuring import capacity
from stapes.measuring.capacity import LATEST_MS, Step
from stapes.measuring.delays import Delays, as_figures, delays, joined, percentiles, revisions
from stapes.measuring.playing import Script, Shown, script, text_of
from stapes.protocol.words import Word


def shown(at_ms: int, text: str, end_ms: int, trailing_ms: int | None = None) -> Shown:
    words = tuple(Word(each, end_ms - 100, end_ms, 1.0) for each in text.split())
    is_final = trailing_ms is not None
    kind = Final if is_final else Partial
    result = kind(text, end_ms - 100, end_ms, trailing_ms or 0, 1.0, words)
    return Shown(at_ms / 1000, result)


TWO = Script(np.zeros(10_000 * 16, np.int16), ((500, 2000), (5000, 7000)))
HEARD = [
    shown(900, "a", 800),
    shown(1400, "a dog", 1300),
    shown(2800, "the dog", 1950, 800),
    shown(5400, "ran", 5300),
    shown(7900, "ran home", 6900, 840),
]


def test_delays_of_two_clips() -> None:
    """Partials count from the first word, finals from the threshold after the end of speech."""
    found = delays(TWO, HEARD, 700)
    assert found.first_partial_ms == (400.0, 400.0)
    assert found.final_ms == (100.0, 200.0)
    assert found.decided_ms == (50.0, 40.0)
    assert (found.missed, found.taken_back, found.words) == (0, 2, 4)


def test_a_threshold_of_nothing_is_200_ms() -> None:
    """So long it takes until silence is sure."""
    assert delays(TWO, HEARD, 0).final_ms == delays(TWO, HEARD, 200).final_ms == (600.0, 700.0)


def test_a_final_that_was_asked_for_is_none_of_silence() -> None:
    """One that covers all the audio came at its end; the clip has no final then."""
    found = delays(TWO, [*HEARD[:4], shown(10_100, "ran home", 6900, 3100)], 700)
    assert (found.final_ms, found.missed) == ((100.0,), 1)


def test_a_clip_that_was_not_heard() -> None:
    """It has no delays and counts as missed."""
    found = delays(TWO, HEARD[:3], 700)
    assert (len(found.first_partial_ms), len(found.final_ms), found.missed) == (1, 1, 1)


def test_a_final_is_no_partial() -> None:
    """Of an engine that has finals alone, no delay of partials can be told."""
    found = delays(TWO, [HEARD[2], HEARD[4]], 700)
    assert found.first_partial_ms == ()
    assert found.final_ms == (100.0, 200.0)
    assert as_figures(found)["without_partials"] == 2


def test_percentiles() -> None:
    """To whole ms; nothing has none."""
    assert percentiles(list(range(101))) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}


def test_figures() -> None:
    """Several plays are counted as one."""
    once = delays(TWO, HEARD, 700)
    figures = as_figures(joined([once, once]))
    assert figures["clips"] == 4
    assert figures["final_beyond_threshold_ms"] == {"p50": 150.0, "p95": 200.0, "p99": 200.0}
    assert figures["taken_back_per_100_words"] == 50.0
    assert revisions([]) == (0, 0)


def test_script() -> None:
    """Each clip ends with its speech, and silence follows it."""
    clip = np.concatenate([np.zeros(1600), np.full(3200, 9000), np.zeros(8000)]).astype(np.int16)
    played = script([clip, clip], 1000)
    assert played.spans_ms == ((600, 800), (1900, 2100))
    assert len(played.pcm) == 16 * (500 + 2 * (300 + 1000))
    for begin, end in played.spans_ms:
        assert played.pcm[begin * 16 : end * 16].all()
        assert not played.pcm[end * 16 : end * 16 + 16000].any()


def test_text_is_that_of_the_finals() -> None:
    """Partials do not count."""
    assert text_of(HEARD) == "the dog ran home"


def step(*final_ms: float, missed: int = 0, problem: str = "", streams: int = 2) -> Step:
    return Step(streams, Delays((), final_ms, (), missed, 0, 0), problem)


def test_a_step_keeps_up() -> None:
    """With every final, in time, of every stream."""
    assert step(100, LATEST_MS).kept_up
    assert not step(100, LATEST_MS + 100).kept_up
    assert not step(100, missed=1).kept_up
    assert not step(100, problem="refused").kept_up
    assert not step().kept_up


async def test_a_clip_that_nobody_can_hear_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one stream alone has no final of, more streams have none of either."""
    unheard = {1: 1, 2: 2, 3: 4}

    async def played(*asked: Any) -> Step:
        return step(100, missed=unheard[asked[-1]], streams=asked[-1])

    monkeypatch.setattr(capacity, "step", played)
    server: Any = None
    found = [each async for each in capacity.climb(server, TWO, {}, 700)]
    assert [(each.streams, each.missing, each.kept_up) for each in found] == [
        (1, 0, True),
        (2, 0, True),
        (3, 1, False),
    ]

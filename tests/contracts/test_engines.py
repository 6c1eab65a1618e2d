"""What every engine does, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from stapes import samples
from stapes.engines.port import BatchEngine, Engine, HearingParams, Pcm, Segment, Turn
from stapes.engines.registry import ENGINES, load_engine
from stapes.errors import EngineError

BLOCK_MS = 96
SEGMENT_S = 2
"""What is heard of the sample, so that slow engines are tested in no long time."""

GARBAGE = ("silence", "noise", "hum", "clipping", "alternating", "one sample", "constant")


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, model_folders: dict[str, Path]) -> Engine:
    return load_engine(request.param, model_folders.get(request.param))


@pytest.fixture(scope="module")
def speech(engine: Engine) -> Pcm:
    """Spoken digits at the rate that the engine takes."""
    pcm, rate_hz = soundfile.read(samples.load("digits").path, dtype="int16")
    loud = np.flatnonzero(np.abs(pcm) > 1000)[0]
    spoken = pcm[max(0, loud - rate_hz // 4) :][: SEGMENT_S * rate_hz]
    return np.asarray(soxr.resample(spoken, rate_hz, engine.capabilities.sample_rate_hz), np.int16)


def hear(engine: Engine, pieces: Sequence[Pcm]) -> list[Segment]:
    recogniser = engine.open(params(engine))
    try:
        heard = [segment for piece in pieces for segment in recogniser.accept(piece)]
        return [*heard, *recogniser.drain()]
    finally:
        recogniser.close()


def params(engine: Engine) -> HearingParams:
    able = engine.capabilities
    return HearingParams(able.languages[0], able.model_type, able.model_domains[0])


def blocks(engine: Engine, pcm: Pcm) -> list[Pcm]:
    block = BLOCK_MS * engine.capabilities.sample_rate_hz // 1000
    return [pcm[start : start + block] for start in range(0, len(pcm), block)]


def length_ms(engine: Engine, pcm: Pcm) -> int:
    return len(pcm) * 1000 // engine.capabilities.sample_rate_hz


def garbage(kind: str, engine: Engine) -> Pcm:
    rate_hz = engine.capabilities.sample_rate_hz
    count = rate_hz // 2
    random = np.random.default_rng(1)
    sounds = {
        "silence": np.zeros(count),
        "noise": random.integers(-32768, 32767, count),
        "hum": 8000 * np.sin(2 * np.pi * 50 * np.arange(count) / rate_hz),
        "clipping": np.clip(np.sin(np.arange(count) / 5) * 90000, -32768, 32767),
        "alternating": np.resize([-32768, 32767], count),
        "one sample": np.array([32767]),
        "constant": np.full(count, -32768),
    }
    return np.asarray(sounds[kind], np.int16)


def test_capabilities_make_sense(engine: Engine) -> None:
    """The figures that limits are computed from can be computed with."""
    found = engine.capabilities
    assert found.sample_rate_hz > 0
    assert found.streams_per_process >= 1
    assert found.real_time_factor > 0
    assert found.model_type in {"ORACLE", "WHISPER"}
    assert found.languages
    assert found.model_domains


def test_partials_then_one_final(engine: Engine, speech: Pcm) -> None:
    """Partials come when the engine says that it has them; one final with words comes last."""
    heard = hear(engine, blocks(engine, speech))
    partials = heard[:-1]
    assert [segment.is_final for segment in heard] == [False] * len(partials) + [True]
    assert bool(partials) == engine.capabilities.partials
    assert heard[-1].words


def test_partials_converge(engine: Engine, speech: Pcm) -> None:
    """The newest partial tells the first word of the final."""
    *partials, final = hear(engine, blocks(engine, speech))
    if partials:
        assert partials[-1].words[0].text == final.words[0].text


def test_no_two_partials_tell_the_same(engine: Engine, speech: Pcm) -> None:
    """A partial comes when the words have changed."""
    *partials, _ = hear(engine, blocks(engine, speech))
    texts = [tuple(word.text for word in segment.words) for segment in partials]
    assert all(before != after for before, after in pairwise(texts))


def test_words_lie_in_the_audio(engine: Engine, speech: Pcm) -> None:
    """Words follow one another within the audio so far, with confidences of 0 to 1."""
    recogniser = engine.open(params(engine))
    heard: list[Segment] = []
    for end, piece in enumerate(blocks(engine, speech), start=1):
        for segment in recogniser.accept(piece):
            assert all(word.end_ms <= end * BLOCK_MS for word in segment.words)
            heard.append(segment)
    heard += recogniser.drain()
    recogniser.close()
    for segment in heard:
        assert all(0 <= word.start_ms <= word.end_ms for word in segment.words)
        assert all(word.end_ms <= length_ms(engine, speech) for word in segment.words)
        assert all(before.end_ms <= after.start_ms for before, after in pairwise(segment.words))
        assert all(0 <= word.confidence <= 1 for word in segment.words)
        assert all(word.text.strip() == word.text != "" for word in segment.words)


def test_times_start_anew(engine: Engine, speech: Pcm) -> None:
    """Word times of the second segment count from its own first sample."""
    recogniser = engine.open(params(engine))
    for _ in range(2):
        *_, final = [*recogniser.accept(speech), *recogniser.drain()]
        assert final.words[0].start_ms < length_ms(engine, speech) / 2
        assert final.words[-1].end_ms <= length_ms(engine, speech)
    recogniser.close()


def test_pieces_of_any_size(engine: Engine, speech: Pcm) -> None:
    """A recogniser takes samples as they come: none, one, or all the rest."""
    cuts = np.cumsum([0, 1, 0, 7, 159, 161, 1000, 1])
    (*_, final) = hear(engine, np.split(speech, cuts))
    assert final.is_final
    assert final.words


def test_drain_without_audio(engine: Engine) -> None:
    """Without audio there is no final, and no samples are no audio."""
    assert hear(engine, []) == []
    assert hear(engine, [np.empty(0, np.int16)]) == []


def test_drain_empties(engine: Engine, speech: Pcm) -> None:
    """After a drain nothing is left for another one."""
    recogniser = engine.open(params(engine))
    recogniser.accept(speech)
    assert recogniser.drain()
    assert list(recogniser.drain()) == []
    recogniser.close()


def test_closed(engine: Engine, speech: Pcm) -> None:
    """A recogniser can be closed twice and takes nothing after that."""
    recogniser = engine.open(params(engine))
    recogniser.accept(speech[:1000])
    recogniser.close()
    recogniser.close()
    with pytest.raises(EngineError):
        recogniser.accept(speech)


def test_the_next_stream_hears_as_the_first(engine: Engine, speech: Pcm) -> None:
    """Nothing of a stream is left, even of one that was closed in the middle of a word."""
    first = hear(engine, [speech])
    broken = engine.open(params(engine))
    broken.accept(speech[: len(speech) // 3])
    broken.close()
    assert hear(engine, [speech]) == first


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage(engine: Engine, kind: str) -> None:
    """What is no speech gets one final with times in the audio, and the stream goes on after it."""
    pcm = garbage(kind, engine)
    recogniser = engine.open(params(engine))
    for _ in range(2):
        *_, final = [*recogniser.accept(pcm), *recogniser.drain()]
        assert final.is_final
        assert all(word.end_ms <= length_ms(engine, pcm) for word in final.words)
    recogniser.close()


def test_streams_do_not_mix(engine: Engine, speech: Pcm) -> None:
    """Streams of one process, together where the engine can, hear what each would alone."""
    most = min(3, engine.capabilities.streams_per_process)
    pieces = [blocks(engine, speech[start:]) for start in (0, 1234, 5000)[:most]]
    alone = [_in_turns(engine, [each])[0] for each in pieces]
    assert _in_turns(engine, pieces) == alone


def _in_turns(engine: Engine, pieces: Sequence[Sequence[Pcm]]) -> list[list[Segment]]:
    recognisers = [engine.open(params(engine)) for _ in pieces]
    heard: list[list[Segment]] = [[] for _ in pieces]
    for index in range(max(map(len, pieces))):
        turning = [stream for stream, each in enumerate(pieces) if index < len(each)]
        turns = [
            Turn(recognisers[stream], pieces[stream][index], index == len(pieces[stream]) - 1)
            for stream in turning
        ]
        for stream, answer in zip(turning, _answers(engine, turns), strict=True):
            heard[stream] += answer
    for recogniser in recognisers:
        recogniser.close()
    return heard


def _answers(engine: Engine, turns: Sequence[Turn]) -> Sequence[Sequence[Segment]]:
    if isinstance(engine, BatchEngine):
        return engine.take_together(turns)
    return [turn.take() for turn in turns]

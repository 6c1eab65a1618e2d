"""What every engine does, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stapes import samples
from stapes.engines.port import Engine, HearingParams, Pcm, Segment
from stapes.engines.registry import ENGINES, load_engine
from stapes.errors import EngineError

BLOCK = 1536


@pytest.fixture(scope="module", params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest, tiny_whisper: Path) -> Engine:
    return load_engine(request.param, {"whisper": tiny_whisper}.get(request.param))


@pytest.fixture(scope="module")
def speech() -> Pcm:
    pcm, _ = soundfile.read(samples.load("short").path, dtype="int16")
    return np.asarray(pcm, np.int16)


def hear(engine: Engine, pieces: Sequence[Pcm]) -> list[Segment]:
    recogniser = engine.open(HearingParams())
    try:
        heard = [segment for piece in pieces for segment in recogniser.accept(piece)]
        return [*heard, *recogniser.drain()]
    finally:
        recogniser.close()


def blocks(pcm: Pcm) -> list[Pcm]:
    return np.array_split(pcm, len(pcm) // BLOCK)


def test_capabilities(engine: Engine) -> None:
    """The figures that limits are computed from make sense."""
    found = engine.capabilities
    assert found.sample_rate_hz > 0
    assert found.streams_per_process >= 1
    assert found.real_time_factor > 0
    assert found.languages


def test_partials_then_one_final(engine: Engine, speech: Pcm) -> None:
    """Speech gives one final with words, and partials before it where the engine has any."""
    heard = hear(engine, blocks(speech))
    assert [segment.is_final for segment in heard] == [False] * (len(heard) - 1) + [True]
    assert (len(heard) > 2) is engine.capabilities.partials
    assert heard[-1].words


def test_streams_do_not_mix(engine: Engine, speech: Pcm) -> None:
    """What is heard in a stream does not depend on another that ran before or runs beside it."""
    alone = [hear(engine, blocks(each)) for each in (speech, speech[::-1])]
    assert [hear(engine, blocks(each)) for each in (speech[::-1], speech)] == alone[::-1]
    if engine.capabilities.streams_per_process == 1:
        return
    streams = [engine.open(HearingParams()) for _ in alone]
    together: list[list[Segment]] = [[], []]
    for pieces in zip(blocks(speech), blocks(speech[::-1]), strict=True):
        for heard, stream, piece in zip(together, streams, pieces, strict=True):
            heard.extend(stream.accept(piece))
    for heard, stream in zip(together, streams, strict=True):
        heard.extend(stream.drain())
        stream.close()
    assert together == alone


@pytest.mark.parametrize("kind", ["silence", "noise", "hum", "clipping", "one sample"])
def test_whatever_comes(engine: Engine, kind: str) -> None:
    """What is no speech breaks nothing, and the stream goes on after it."""
    recogniser = engine.open(HearingParams())
    pcm = garbage(kind)
    for _ in range(2):
        heard = [*recogniser.accept(pcm), *recogniser.drain()]
        assert [each.is_final for each in heard][-1:] in ([], [True])
        assert all(word.end_ms <= len(pcm) / 16 for each in heard for word in each.words)
    recogniser.close()


def garbage(kind: str) -> Pcm:
    times = np.arange(24000) / 16000
    wave = {
        "silence": np.zeros(24000),
        "noise": np.random.default_rng(0).normal(0, 3000, 24000),
        "hum": 8000 * np.sin(2 * np.pi * 50 * times),
        "clipping": 32767 * np.sign(np.sin(2 * np.pi * 440 * times)),
        "one sample": np.full(1, 1000.0),
    }
    return wave[kind].astype(np.int16)


def test_words_lie_in_the_audio(engine: Engine, speech: Pcm) -> None:
    """Words follow one another within the audio, with confidences of 0 to 1."""
    length_ms = len(speech) * 1000 // engine.capabilities.sample_rate_hz
    for segment in hear(engine, blocks(speech)):
        assert all(0 <= word.start_ms <= word.end_ms <= length_ms for word in segment.words)
        assert all(before.end_ms <= after.start_ms for before, after in pairwise(segment.words))
        assert all(0 <= word.confidence <= 1 for word in segment.words)


def test_times_start_anew(engine: Engine, speech: Pcm) -> None:
    """Word times of the second segment count from its own first sample."""
    recogniser = engine.open(HearingParams())
    length_ms = len(speech) * 1000 // engine.capabilities.sample_rate_hz
    for _ in range(2):
        recogniser.accept(speech)
        (final,) = recogniser.drain()
        assert final.words[0].start_ms < length_ms / 2
        assert final.words[-1].end_ms <= length_ms
    recogniser.close()


def test_drain_without_audio(engine: Engine) -> None:
    """Without audio there is no final, and no samples are no audio."""
    assert hear(engine, []) == []
    assert hear(engine, [np.empty(0, np.int16)]) == []


def test_closed(engine: Engine, speech: Pcm) -> None:
    """A recogniser can be closed twice and takes nothing after that."""
    recogniser = engine.open(HearingParams())
    recogniser.accept(speech[:BLOCK])
    recogniser.close()
    recogniser.close()
    with pytest.raises(EngineError):
        recogniser.accept(speech)

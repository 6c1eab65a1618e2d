"""PocketSphinx behind the port."""

from __future__ import annotations

import json
import math
from contextlib import closing

import numpy as np
import pytest

from stapes.engines.pocketsphinx import (
    PRIME_SAMPLES,
    USUAL_MEANS,
    CepstralMean,
    PocketSphinxEngine,
    survival,
)
from stapes.engines.port import HearingParams, Pcm, Recogniser, Segment
from stapes.errors import EngineError

BLOCK = 1536
MEANS = np.array(USUAL_MEANS)


def hear(engine: PocketSphinxEngine, speech: Pcm, spare_ms: int = 1000) -> list[Segment]:
    recogniser = engine.open(HearingParams(spare_ms=spare_ms))
    heard: list[Segment] = []
    for start in range(0, len(speech), BLOCK):
        heard += recogniser.accept(speech[start : start + BLOCK])
    heard += recogniser.drain()
    recogniser.close()
    return heard


def words_of(segment: Segment) -> list[str]:
    return [word.text for word in segment.words]


def is_priming(recogniser: Recogniser) -> bool:
    """Whether the mean counts as not yet known."""
    return bool(json.loads(recogniser.learnt())["is_priming"])


def test_words_are_plain(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """No filler, sentence mark or number of a pronunciation is left in the words."""
    words = [word for segment in hear(pocketsphinx, speech) for word in segment.words]
    assert words
    assert all(word.text.replace("'", "").replace(".", "").isalpha() for word in words)


def test_confidences_are_probabilities(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """A final word's confidence is its own; those of a partial are at most the surest one's."""
    *partials, final = hear(pocketsphinx, speech)
    assert len({word.confidence for word in final.words}) > 1
    newest = [segment.words[-1].confidence for segment in partials]
    assert max(newest) <= survival(10_000)


def test_survival_grows() -> None:
    """The longer ago a word of a partial ended, the likelier it stays."""
    chances = [survival(ms) for ms in range(0, 5000, 10)]
    assert chances == sorted(chances)
    assert 0 < chances[0] < chances[-1] < 1


def test_streams_are_strangers(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """A stream is heard the same whatever the one before it was."""
    first = hear(pocketsphinx, speech)
    hear(pocketsphinx, (speech // 8).astype(np.int16)[::-1].copy())
    assert hear(pocketsphinx, speech) == first


def test_spare_time(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """A first segment is decoded once more when, at the usual cost, the spare time allows it."""
    cost = pocketsphinx.capabilities.real_time_factor
    needed_ms = math.ceil(len(speech) / 16 * cost)
    assert len(speech) < PRIME_SAMPLES
    in_a_hurry = hear(pocketsphinx, speech, spare_ms=1)
    with_time = hear(pocketsphinx, speech, spare_ms=needed_ms)
    assert in_a_hurry[:-1] == with_time[:-1]
    assert in_a_hurry[-1] != with_time[-1]
    assert hear(pocketsphinx, speech, spare_ms=needed_ms - 1) == in_a_hurry


def test_no_spare_time(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """A final that is due at once is searched for once, whatever came before and comes after."""
    at_once = hear(pocketsphinx, speech, spare_ms=0)
    in_a_hurry = hear(pocketsphinx, speech, spare_ms=1)
    assert words_of(at_once[-1]) == words_of(in_a_hurry[-1])
    assert at_once[-1] != in_a_hurry[-1]
    assert hear(pocketsphinx, speech, spare_ms=0) == at_once
    assert hear(pocketsphinx, speech, spare_ms=1) == in_a_hurry


@pytest.mark.parametrize("level", [0, 1500])
def test_the_mean_is_known_in_speech(
    pocketsphinx: PocketSphinxEngine, speech: Pcm, level: int
) -> None:
    """The second pass waits for a block that is no pause: there, a final may soon be due."""
    spoken = np.resize(speech[8000:48000], PRIME_SAMPLES - BLOCK)
    pause, loud = np.zeros(BLOCK, np.int16), np.full(BLOCK, 32767, np.int16)
    pause[::2] = level  # a tenth of the loudest sample is 1,603
    found = []
    with closing(pocketsphinx.open(HearingParams())) as recogniser:
        for pcm in (spoken, pause, pause, loud):
            recogniser.accept(pcm)
            found.append(is_priming(recogniser))
    assert found == [True, True, True, False]


def test_what_was_heard_counts_on(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """Too little in one segment to know the mean is enough together with the next one."""
    with closing(pocketsphinx.open(HearingParams(spare_ms=0))) as recogniser:
        recogniser.accept(np.resize(speech[8000:48000], PRIME_SAMPLES - BLOCK))
        recogniser.drain()
        assert is_priming(recogniser)
        recogniser.accept(speech[16000:32000])
        assert not is_priming(recogniser)


def test_silence_has_no_words(pocketsphinx: PocketSphinxEngine) -> None:
    """Digital silence ends in a final without words, and the mean stays finite."""
    (final,) = hear(pocketsphinx, np.zeros(16000, np.int16))
    assert final == Segment((), is_final=True)


def test_one_at_a_time(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """A second stream is refused while one is open, and served after it was left half-way."""
    recogniser = pocketsphinx.open(HearingParams())
    recogniser.accept(speech)
    with pytest.raises(EngineError, match="one stream"):
        pocketsphinx.open(HearingParams())
    recogniser.close()
    recogniser.close()
    assert hear(pocketsphinx, speech)[-1].is_final


def test_other_language(pocketsphinx: PocketSphinxEngine) -> None:
    """A language without a model is refused."""
    with pytest.raises(EngineError, match="fr-FR"):
        pocketsphinx.open(HearingParams(language="fr-FR"))


def report(mean: CepstralMean, frame: np.ndarray, frames: float) -> str:
    """What the decoder reports after so many equal frames: what was set weighs 500 frames."""
    values = (np.array(mean.values) * 500 + frame * frames) / (500 + frames)
    return ",".join(str(value) for value in values)


def test_mean_is_learnt() -> None:
    """The mean goes from the usual one to the stream's own within seconds."""
    mean, own, second = CepstralMean(), MEANS[0] + 5, np.ones(16000, np.int16)
    assert np.array_equal(mean.values, MEANS[0])
    distances = []
    for _ in range(10):
        mean.learn(report(mean, own, 100), second)
        distances.append(float(np.abs(np.array(mean.values) - own).max()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5


def test_mean_of_a_telephone() -> None:
    """A stream of telephone band starts from what is usual there."""
    mean = CepstralMean()
    mean.learn(report(mean, MEANS[1], 10), np.ones(1600, np.int16))
    assert np.allclose(mean.values, MEANS[1])


def test_mean_of_nothing() -> None:
    """Digital silence, which the decoder leaves out, teaches nothing."""
    mean = CepstralMean()
    mean.learn(report(mean, MEANS[1], 0), np.zeros(16000, np.int16))
    assert np.allclose(mean.values, MEANS[0])


def test_mean_follows_a_change() -> None:
    """After half a minute of another microphone its mean has the greater weight."""
    mean, second = CepstralMean(), np.ones(16000, np.int16)
    before, after = MEANS[0], MEANS[0] + 10
    for frame, seconds in ((before, 300), (after, 30)):
        for _ in range(seconds):
            mean.learn(report(mean, frame, 100), second)
    assert (np.array(mean.values) > before + 5).all()


def test_mean_as_text() -> None:
    """The decoder gets thirteen numbers with commas between."""
    assert [float(value) for value in str(CepstralMean()).split(",")] == MEANS[0].tolist()

"""PocketSphinx behind the port."""

from __future__ import annotations

import numpy as np
import pytest

from stapes.engines.pocketsphinx import USUAL_MEANS, CepstralMean, PocketSphinxEngine, survival
from stapes.engines.port import HearingParams, Pcm, Segment
from stapes.errors import EngineError

BLOCK = 1536


def hear(engine: PocketSphinxEngine, speech: Pcm) -> list[Segment]:
    recogniser = engine.open(HearingParams())
    heard: list[Segment] = []
    for start in range(0, len(speech), BLOCK):
        heard += recogniser.accept(speech[start : start + BLOCK])
    heard += recogniser.drain()
    recogniser.close()
    return heard


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
    values = (mean.values * 500 + frame * frames) / (500 + frames)
    return ",".join(str(value) for value in values)


def test_mean_is_learnt() -> None:
    """The mean goes from the usual one to the stream's own within seconds."""
    mean, own, second = CepstralMean(), USUAL_MEANS[0] + 5, np.ones(16000, np.int16)
    assert np.array_equal(mean.values, USUAL_MEANS[0])
    distances = []
    for _ in range(10):
        mean.learn(report(mean, own, 100), second)
        distances.append(float(np.abs(mean.values - own).max()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5


def test_mean_of_a_telephone() -> None:
    """A stream of telephone band starts from what is usual there."""
    mean = CepstralMean()
    mean.learn(report(mean, USUAL_MEANS[1], 10), np.ones(1600, np.int16))
    assert np.allclose(mean.values, USUAL_MEANS[1])


def test_mean_of_nothing() -> None:
    """Digital silence, which the decoder leaves out, teaches nothing."""
    mean = CepstralMean()
    mean.learn(report(mean, USUAL_MEANS[1], 0), np.zeros(16000, np.int16))
    assert np.allclose(mean.values, USUAL_MEANS[0])


def test_mean_follows_a_change() -> None:
    """After half a minute of another microphone its mean has the greater weight."""
    mean, second = CepstralMean(), np.ones(16000, np.int16)
    before, after = USUAL_MEANS[0], USUAL_MEANS[0] + 10
    for frame, seconds in ((before, 300), (after, 30)):
        for _ in range(seconds):
            mean.learn(report(mean, frame, 100), second)
    assert (mean.values > before + 5).all()


def test_mean_as_text() -> None:
    """The decoder gets thirteen numbers with commas between."""
    assert [float(value) for value in str(CepstralMean()).split(",")] == USUAL_MEANS[0].tolist()

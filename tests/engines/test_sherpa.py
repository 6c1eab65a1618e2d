"""Streaming models of sherpa-onnx."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stapes.engines.model_folder import RECORD
from stapes.engines.port import BatchEngine, HearingParams, Pcm
from stapes.engines.sherpa import SherpaEngine, _probabilities, _times_ms
from stapes.errors import EngineError
from stapes.protocol.words import Word
from tests.engines.models import DIGITS, TONES, Change, piece


@pytest.fixture(scope="module")
def digits() -> SherpaEngine:
    """The model of the tests, loaded once."""
    return SherpaEngine(DIGITS)


def test_capabilities(digits: SherpaEngine) -> None:
    """A CTC model gives times and no probabilities, and takes no phrases."""
    able = digits.capabilities
    assert (able.sample_rate_hz, able.languages) == (8000, ("en-US",))
    assert (able.word_times, able.confidence, able.bias_phrases) == (True, False, False)
    assert able.streams_per_process == 32
    assert isinstance(digits, BatchEngine)


def test_another_language_is_refused(digits: SherpaEngine) -> None:
    """Language tags know no case."""
    digits.open(HearingParams(language="EN-us")).close()
    with pytest.raises(EngineError, match="fr-FR"):
        digits.open(HearingParams(language="fr-FR"))


def test_phrases_it_cannot_use_are_passed_over(digits: SherpaEngine) -> None:
    """A CTC model hears as without them."""
    recogniser = digits.open(HearingParams(phrases=("seven eleven",)))
    assert recogniser.accept(np.zeros(8000, np.int16)) == ()


def test_a_stream_knows_nothing_of_the_segment_before(digits: SherpaEngine) -> None:
    """A segment hears the same, whatever came before its drain."""
    noise = np.random.default_rng(3).integers(-9000, 9000, 8000).astype(np.int16)
    recogniser = digits.open(HearingParams())
    recogniser.accept(noise)
    first = recogniser.drain()
    recogniser.accept(noise)
    assert recogniser.drain() == first


def test_capital_models_do_not_shout(changed: Change) -> None:
    """A vocabulary without small letters is written small."""
    folder = changed()
    tokens = (folder / "tokens.txt").read_text(encoding="utf-8")
    shouted = tokens.upper().replace("<BLK>", "<blk>")
    (folder / "tokens.txt").write_text(shouted, encoding="utf-8")
    assert SherpaEngine(folder).is_capital
    assert not SherpaEngine(DIGITS).is_capital


@pytest.mark.parametrize(
    "option", ['real_time_factor = "low"', "real_time_factor = 0", 'delay_ms = "some"']
)
def test_an_option_that_is_no_number_is_named(changed: Change, option: str) -> None:
    """Before a stream would come to grief of it."""
    name = option.partition(" ")[0]
    record = changed() / RECORD
    lines = record.read_text(encoding="utf-8").splitlines()
    rest = [line for line in lines if not line.startswith(name)]
    rest.insert(rest.index("[sherpa]") + 1, option)
    record.write_text("\n".join(rest), encoding="utf-8")
    with pytest.raises(EngineError, match=f"option {name}"):
        SherpaEngine(record.parent)


def test_times_of_tokens() -> None:
    """Less the model's delay; evenly spread where it has none."""
    timed = SimpleNamespace(tokens=["a", "b"], timestamps=[0.1, 0.5])
    assert _times_ms(timed, 200, 1000) == [0, 300]
    assert _times_ms(SimpleNamespace(tokens=["a", "b"], timestamps=[]), 200, 1000) == [0, 500]
    assert _times_ms(SimpleNamespace(tokens=[], timestamps=[]), 0, 1000) == []


def test_probabilities_of_tokens() -> None:
    """Of the model's logarithms; without them, a final is sure and the newest of a partial less."""
    scored = SimpleNamespace(tokens=["a", "b"], ys_probs=[0.0, -0.6931])
    assert _probabilities(scored, is_final=False) == pytest.approx([1.0, 0.5], abs=0.001)
    bare = SimpleNamespace(tokens=["a", "b"], ys_probs=[])
    assert _probabilities(bare, is_final=True) == [1.0, 1.0]
    assert _probabilities(bare, is_final=False) == [0.95, 0.6]
    assert _probabilities(SimpleNamespace(tokens=[], ys_probs=[]), is_final=False) == []


@pytest.fixture(scope="module")
def tones() -> SherpaEngine:
    """A transducer, loaded once."""
    return SherpaEngine(TONES)


def tone(hz: int, ms: int, loud: int = 8000) -> Pcm:
    """A tone between silences of 300 ms, at 16 kHz."""
    wave = np.sin(np.arange(16 * ms) * 2 * np.pi * hz / 16000) * loud
    silence = np.zeros(16 * 300)
    return np.concatenate((silence, wave, silence)).astype(np.int16)


def heard(engine: SherpaEngine, pcm: Pcm, *phrases: str) -> list[Word]:
    recogniser = engine.open(HearingParams(language="pt-BR", phrases=phrases))
    recogniser.accept(pcm)
    return list(recogniser.drain()[0].words)


def test_a_transducer_is_sure_of_its_words(tones: SherpaEngine) -> None:
    """It gives times and probabilities, of words of one token and of two."""
    low, high = heard(tones, np.concatenate((tone(500, 300), tone(3000, 300))))
    assert (low.text, high.text) == ("low", "high")
    assert abs(low.start_ms - 300) <= 40
    assert abs(high.start_ms - 1200) <= 40
    assert high.end_ms > high.start_ms + 80
    assert 0.5 < low.confidence < high.confidence < 1
    assert tones.capabilities.confidence


def test_the_louder_the_surer(tones: SherpaEngine) -> None:
    """The confidence of a word is the model's."""
    (quiet,), (loud,) = heard(tones, tone(500, 300, 600)), heard(tones, tone(500, 300, 20000))
    assert quiet.confidence < loud.confidence


def test_phrases_are_heard_rather(tones: SherpaEngine) -> None:
    """A tone that is too quiet for a word is one when it is looked for."""
    quiet = tone(500, 300, 200)
    assert heard(tones, quiet) == []
    assert [word.text for word in heard(tones, quiet, "low")] == ["low"]
    assert heard(tones, quiet, "high") == []


def test_the_vocabulary_may_be_that_of_a_sentencepiece_model(tmp_path: Path) -> None:
    """As good as one that was written out."""
    folder = tmp_path / "tones"
    shutil.copytree(TONES, folder)
    lines = (folder / "bpe.vocab").read_text(encoding="utf-8").splitlines()
    pieces = [(text, float(score)) for text, score in (line.split("\t") for line in lines)]
    (folder / "bpe.vocab").unlink()
    (folder / "bpe.model").write_bytes(b"".join(piece(*each) for each in pieces))
    record = (folder / RECORD).read_text()
    (folder / RECORD).write_text(record.replace("bpe.vocab", "bpe.model"))
    engine = SherpaEngine(folder)
    assert engine.capabilities.bias_phrases
    quiet = tone(500, 300, 200)
    assert heard(engine, quiet) == []
    assert [word.text for word in heard(engine, quiet, "Low")] == ["low"]


def test_phrases_that_cannot_be_spelt_are_passed_over(
    tones: SherpaEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    """The others stand, and none is written anywhere."""
    quiet = tone(500, 300, 200)
    (word,) = heard(tones, quiet, "geheim", "low", "l/o/w", "")
    assert word.text == "low"
    assert capfd.readouterr() == ("", "")

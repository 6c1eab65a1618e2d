"""Models that set marks, through sherpa-onnx."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stapes.engines.model_folder import RECORD
from stapes.engines.port import HearingParams
from stapes.engines.punctuator import SherpaPunctuator, write_as
from stapes.engines.sherpa import SherpaEngine
from stapes.errors import EngineError
from stapes.protocol.words import Word
from tests.engines.models import DIGITS, PUNCTUATION

SAID = "one two three four five six seven eight nine"


def words(text: str) -> list[Word]:
    """One for every 100 ms."""
    said = enumerate(text.split(" "))
    return [Word(word, 100 * at, 100 * at + 90, 0.5 + at / 100) for at, word in said]


def text(found: tuple[Word, ...]) -> str:
    return " ".join(word.text for word in found)


@pytest.fixture(scope="module")
def edge() -> SherpaPunctuator:
    """Marks and capitals."""
    return SherpaPunctuator(PUNCTUATION / "edge")


@pytest.fixture(scope="module")
def ct() -> SherpaPunctuator:
    """Marks of Chinese."""
    return SherpaPunctuator(PUNCTUATION / "ct")


def test_marks_and_capitals(edge: SherpaPunctuator) -> None:
    """Of each word by the model; all else of the words stays."""
    found = edge.punctuate(words(SAID))
    assert text(found) == "one two, three four. Five six, SEVEN eight? Nine"
    rest = [(word.start_ms, word.end_ms, word.confidence) for word in found]
    assert rest == [(word.start_ms, word.end_ms, word.confidence) for word in words(SAID)]


def test_a_model_without_capitals(ct: SherpaPunctuator) -> None:
    """Its sentences begin with one all the same, and Latin words have narrow marks."""
    assert text(ct.punctuate(words(SAID))) == "One two, three four. Five six, seven eight? Nine."
    assert text(ct.punctuate(words("一 二"))) == "一 二。"


@pytest.mark.parametrize("said", ["3.5 two", "o'clock two", "café two", "a.m. two"])
def test_words_that_the_model_does_not_know(
    edge: SherpaPunctuator, ct: SherpaPunctuator, said: str
) -> None:
    """Stay what they are, whatever signs are in them."""
    for model in (edge, ct):
        first, second = model.punctuate(words(said))
        assert first.text.casefold() == said.removesuffix(" two").casefold()
        assert second.text in {"two,", "two."}  # no sentence begins behind a word's own mark


def test_many_words(edge: SherpaPunctuator) -> None:
    """More than the model sees at a time."""
    found = edge.punctuate(words(" ".join([SAID] * 60)))
    assert text(found) == " ".join(["one two, three four. Five six, SEVEN eight? Nine"] * 60)


def test_nothing_to_mark(edge: SherpaPunctuator) -> None:
    """No words, and a word that is longer than the model takes."""
    assert edge.punctuate([]) == ()
    assert text(edge.punctuate(words("two " + 61 * "x"))) == "two " + 61 * "x"


@given(st.lists(st.text(max_size=70), max_size=8))
def test_no_word_is_lost(edge: SherpaPunctuator, ct: SherpaPunctuator, said: list[str]) -> None:
    """Whatever an engine says: as many words, at the same times, of the same signs."""
    given_words = [Word(each, 10 * at, 10 * at + 5, 0.5) for at, each in enumerate(said)]
    for model in (edge, ct):
        found = model.punctuate(given_words)
        assert [word.start_ms for word in found] == [word.start_ms for word in given_words]
        for before, after in zip(given_words, found, strict=True):
            assert after.text.casefold().startswith(before.text.casefold())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("One, two.", "One, two."),
        ("one two", "one two"),
        ("O ne。二、 t wo。", None),
        ("o n e。two", "one. two"),
        ("one 。two", None),
        ("one", None),
        ("one two three", None),
        ("two one", None),
    ],
)
def test_only_the_same_words_are_taken(written: str, expected: str | None) -> None:
    """With more, fewer or others, what was heard stands."""
    found = write_as(words("one two"), written)
    assert (None if found is None else text(found)) == expected


def test_what_it_fits(edge: SherpaPunctuator) -> None:
    """Its model type, domain and languages."""
    assert edge.fits(HearingParams("en-us"))
    assert not edge.fits(HearingParams("fr-FR"))
    assert not edge.fits(HearingParams("en-US", "WHISPER"))
    assert not edge.fits(HearingParams("en-US", model_domain="MEDICAL"))


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    """With a sentence, not with the end of the process."""
    folder = tmp_path / "edge"
    shutil.copytree(PUNCTUATION / "edge", folder)
    shutil.copy(DIGITS / "model.onnx", folder)
    with pytest.raises(EngineError, match="no field COMMA"):
        SherpaPunctuator(folder)
    (folder / "model.onnx").write_bytes(b"nonsense")
    with pytest.raises(EngineError, match="could not be loaded"):
        SherpaPunctuator(folder)
    with pytest.raises(EngineError, match="for hearing, not for punctuation"):
        SherpaPunctuator(DIGITS)
    with pytest.raises(EngineError, match="for punctuation, not for hearing"):
        SherpaEngine(PUNCTUATION / "edge")
    record = (PUNCTUATION / "edge" / RECORD).read_text()
    (folder / RECORD).write_text(record.replace('role = "punctuation"\n', ""))
    with pytest.raises(EngineError, match="no sample_rate_hz"):
        SherpaEngine(folder)

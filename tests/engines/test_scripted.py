"""The engine that counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stapes.engines.port import HearingParams, Segment
from stapes.engines.scripted import ScriptedEngine, read_capabilities
from stapes.errors import EngineError
from stapes.protocol.words import Word

SECOND = np.zeros(16000, np.int16)


def test_one_word_for_every_piece() -> None:
    """A second of speech is three words of 320 ms, the newest of a partial less sure."""
    partial = ScriptedEngine().open(HearingParams()).accept(SECOND)
    words = (Word("zero", 0, 320, 0.9), Word("one", 320, 640, 0.9), Word("two", 640, 960, 0.5))
    assert list(partial) == [Segment(words, is_final=False)]


def test_counts_on() -> None:
    """The next segment goes on counting, with times from its own start."""
    recogniser = ScriptedEngine().open(HearingParams())
    recogniser.accept(SECOND)
    recogniser.drain()
    recogniser.accept(SECOND[:5120])
    assert list(recogniser.drain()) == [Segment((Word("three", 0, 320, 0.9),), is_final=True)]


def test_words_of_any_length() -> None:
    """The length of a word is the engine's parameter."""
    recogniser = ScriptedEngine(word_ms=100).open(HearingParams())
    recogniser.accept(SECOND)
    (final,) = recogniser.drain()
    assert [word.text for word in final.words][-1] == "nine"


def test_closed() -> None:
    """A closed recogniser refuses audio."""
    recogniser = ScriptedEngine().open(HearingParams())
    recogniser.close()
    with pytest.raises(EngineError):
        recogniser.accept(SECOND)


def test_stands_in_for_the_model_of_a_record(tmp_path: Path) -> None:
    """It serves what the record says; without one it is an error."""
    with pytest.raises(EngineError, match="no model"):
        read_capabilities(tmp_path)
    (tmp_path / "stapes-model.toml").write_text(
        'engine = "scripted"\nmodel_type = "WHISPER"\nlanguages = ["de"]\ndomains = ["GENERIC"]\n'
        "sample_rate_hz = 16000\n"
    )
    able = ScriptedEngine(able=read_capabilities(tmp_path)).capabilities
    assert (able.name, able.model_type, able.languages) == ("scripted", "WHISPER", ("de",))

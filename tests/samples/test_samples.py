"""The bundled speech."""

from __future__ import annotations

import wave

import pytest

from stapes import samples
from stapes.errors import AudioError


@pytest.mark.parametrize("name", ["demo", "short", "digits"])
def test_a_sample_is_16_khz_mono_16_bit(name: str) -> None:
    """The format is the one that every engine takes as it is."""
    with wave.open(str(samples.load(name).path)) as reader:
        assert reader.getparams()[:3] == (1, 2, 16000)


@pytest.mark.parametrize("name", ["demo", "short", "digits"])
def test_a_sample_begins_and_pauses_with_silence_as_it_says(name: str) -> None:
    """The first ``lead_ms`` are zeros, and speech follows."""
    sample = samples.load(name)
    with wave.open(str(sample.path)) as reader:
        lead = reader.readframes(16 * sample.lead_ms)
        rest = reader.readframes(reader.getnframes())
    assert sample.lead_ms >= 300
    assert not any(lead)
    assert any(rest)


def test_the_text_is_all_that_is_spoken() -> None:
    """The demo's text is its three sentences, joined by spaces."""
    demo = samples.load("demo")
    assert len(demo.sentences) == 3
    assert demo.text.startswith("Tomorrow it will be warm and sunny")
    assert demo.text.endswith(" the company.")


def test_every_file_is_listed_and_every_listed_file_is_there() -> None:
    """The WAV files of the folder are those of samples.json."""
    listed = {sample.path for sample in samples.load_all().values()}
    assert set(samples.FOLDER.glob("*.wav")) == listed


def test_the_samples_are_small() -> None:
    """Together they stay below 1 MB, since they travel in the wheel."""
    assert sum(sample.path.stat().st_size for sample in samples.load_all().values()) < 1_000_000


def test_an_unknown_sample_is_told_with_those_there_are() -> None:
    """The error names the samples that exist."""
    with pytest.raises(AudioError, match="demo, digits, short"):
        samples.load("nonesuch")

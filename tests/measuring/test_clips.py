"""Clips, manifests, and where speech is in them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stapes.errors import AudioError, MeasuringError
from stapes.measuring.clips import Clip, bundled, read_manifest, sets, speech_span_ms, spread


def manifest(folder: Path, *rows: object) -> Path:
    path = folder / "speech.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_manifest(tmp_path: Path) -> None:
    """Audio lies beside the manifest; the first folder is the set unless a row names one."""
    path = manifest(
        tmp_path,
        {"audio": "a/1.wav", "text": "one"},
        {"audio": "2.wav", "text": "two"},
        {"file": "a/3.wav", "transcript": "three", "set": "mine", "language": "en-GB"},
        {"audio": "a/4.wav", "text": "vier", "language": "de"},
    )
    assert read_manifest(path, "en-US") == [
        Clip(tmp_path / "a/1.wav", "one", "a"),
        Clip(tmp_path / "2.wav", "two", "speech"),
        Clip(tmp_path / "a/3.wav", "three", "mine"),
    ]


def test_any_language(tmp_path: Path) -> None:
    """One that is to be found out can be any."""
    path = manifest(
        tmp_path,
        {"audio": "1.wav", "text": "eins", "language": "de"},
        {"audio": "2.wav", "text": "one", "language": "en"},
    )
    assert [clip.text for clip in read_manifest(path, "auto")] == ["eins", "one"]


def test_nothing_may_be_spoken(tmp_path: Path) -> None:
    """Then every word that is heard is one too many."""
    (clip,) = read_manifest(manifest(tmp_path, {"audio": "noise.wav", "text": ""}))
    assert clip.text == ""


@pytest.mark.parametrize(
    "row",
    [
        *({"audio": "1.wav"}, {"text": "one"}, ["1.wav", "one"]),
        *({"audio": "", "text": "one"}, {"audio": "1.wav", "text": None}, {"audio": 1, "text": ""}),
    ],
)
def test_row_that_is_none(tmp_path: Path, row: object) -> None:
    """The line that is wrong is named."""
    path = manifest(tmp_path, {"audio": "1.wav", "text": "one"}, row)
    with pytest.raises(MeasuringError, match="line 2"):
        read_manifest(path)


def test_manifest_that_is_not_there(tmp_path: Path) -> None:
    """Nor is one without a clip of the language of use."""
    with pytest.raises(MeasuringError, match=r"no\.jsonl"):
        read_manifest(tmp_path / "no.jsonl")
    with pytest.raises(MeasuringError, match="no clip in fr"):
        read_manifest(manifest(tmp_path, {"audio": "1", "text": "one", "language": "en"}), "fr")


def test_file_that_is_no_audio(tmp_path: Path) -> None:
    """It is named."""
    (tmp_path / "x.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"x\.wav"):
        Clip(tmp_path / "x.wav", "", "").pcm()


def test_bundled_samples_can_be_read() -> None:
    """All of them, at 16 kHz, with some seconds of sound."""
    assert sets(bundled()) == ["bundled"]
    assert all(len(clip.pcm()) > 16000 for clip in bundled())


def test_clips_are_spread_over_their_set() -> None:
    """Two of six are the first and the fourth; sets do not share a limit."""
    clips = [Clip(Path(str(n)), "", name) for name in "ab" for n in range(6)]
    assert [clip.path.name for clip in spread(clips, 2)] == ["0", "3", "0", "3"]
    assert spread(clips, None) == clips
    assert [len(spread(clips, most)) for most in range(1, 8)] == [2, 4, 6, 8, 10, 12, 12]
    assert len(spread([Clip(Path(str(n)), "", "a") for n in range(9)], 7)) == 7


def test_span_of_speech() -> None:
    """Loudness tells the first and the last frame; much quieter noise around it does not count."""
    noise = np.random.default_rng(1).integers(-20, 20, 16000).astype(np.int16)
    noise[4000:12000] += 8000
    assert speech_span_ms(noise) == (250, 750)
    assert speech_span_ms(np.zeros(1600, np.int16)) == (0, 100)
    assert speech_span_ms(np.zeros(0, np.int16)) == (0, 0)

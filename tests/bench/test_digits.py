"""What the benchmark of digits makes of its recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.digits import ENCODING, WORDS, Recording, make_strings, mu_law, read_recordings, sounding
from stapes.audio.encodings import Decoder, parse_encoding


def tone(ms: int) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (np.sin(np.arange(8 * ms)) * 8000).astype(np.int16)


def test_mu_law_is_what_the_decoder_takes_back() -> None:
    """Every sample comes back as the nearest one that there is."""
    decoder = Decoder(parse_encoding(ENCODING))
    there_are = decoder.decode(bytes(range(256))).astype(int)
    samples = np.arange(-32768, 32768, 97).astype(np.int16)
    off = np.abs(decoder.decode(mu_law(samples)).astype(int) - samples)
    assert np.all(off == np.abs(there_are - samples[:, None]).min(axis=1))


def test_where_it_sounds() -> None:
    """What is more than 30 dB below the loudest is cut off at both ends."""
    quiet = np.full(800, 3, np.int16)
    assert len(sounding(np.concatenate((quiet, tone(100), quiet)))) == 800


def test_the_times_of_strings() -> None:
    """Each word of a string lies where its recording does."""
    recordings = [Recording(digit, "somebody", tone(200 + 10 * digit)) for digit in range(10)]
    for spoken in make_strings(recordings, np.random.default_rng(1))[:5]:
        for word in spoken.words:
            sound = spoken.pcm[word.start_ms * 8 : word.end_ms * 8]
            assert len(sound) == 8 * (200 + 10 * WORDS.index(word.text))
            assert np.abs(sound[:80]).max() > 1000
            assert not spoken.pcm[word.end_ms * 8 : word.end_ms * 8 + 200].any()


def test_the_recordings_of_a_manifest(tmp_path: Path) -> None:
    """Are those of the digits that have the numbers asked for."""
    (tmp_path / "fsdd").mkdir()
    names = ["fsdd/3_ann_0.wav", "fsdd/3_ann_5.wav", "other/3_ann_1.wav"]
    for name in names[:2]:
        soundfile.write(tmp_path / name, tone(100), 8000)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps({"file": name}) + "\n" for name in names))
    (found,) = read_recordings(manifest, range(5))
    assert (found.digit, found.speaker) == (3, "ann")
    manifest.write_text("")
    with pytest.raises(SystemExit):
        read_recordings(manifest, range(5))

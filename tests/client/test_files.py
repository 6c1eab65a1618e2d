"""Audio of any kind becomes chunks of 16 kHz, mono, s16le."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stapes.client.files import (
    CHUNK_BYTES,
    RATE,
    Reader,
    bytes_source,
    file_source,
    microphone_source,
    paced,
    raw_source,
)
from stapes.errors import AudioError


def _tone(rate: int, seconds: float, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def _pcm(chunks: Iterator[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(chunks), dtype="<i2")


def test_native_audio_passes_unchanged(tmp_path: Path) -> None:
    """16 kHz, mono, 16 bit comes out to the bit, the extremes of the range too."""
    samples = np.random.default_rng(1).integers(-32768, 32768, 5000, dtype=np.int16)
    samples[:2] = -32768, 32767
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="PCM_16")
    source = file_source(tmp_path / "a.wav")
    assert source.duration_s == pytest.approx(5000 / RATE)
    chunks = list(source.chunks())
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES] * 3 + [400]
    np.testing.assert_array_equal(_pcm(iter(chunks)), samples)


def test_source_can_be_read_again(tmp_path: Path) -> None:
    """Every call of ``chunks`` begins at the beginning."""
    soundfile.write(tmp_path / "a.wav", _tone(RATE, 0.25), RATE)
    source = file_source(tmp_path / "a.wav")
    assert list(source.chunks()) == list(source.chunks())


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_other_rates_and_containers_are_resampled(
    tmp_path: Path, rate: int, extension: str
) -> None:
    """A tone keeps its length (but for what a lossy codec pads), loudness and pitch."""
    stereo = np.stack([_tone(rate, 1.0), _tone(rate, 1.0)], axis=1)
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, stereo, rate)
    pcm = _pcm(file_source(path).chunks()) / 32768
    assert len(pcm) / RATE == pytest.approx(1.0, abs=0.08 if extension == "mp3" else 0.002)
    middle = pcm[4000:12000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    assert np.argmax(np.abs(np.fft.rfft(middle))) * RATE / 8000 == pytest.approx(440, abs=2)


def test_stereo_is_mixed(tmp_path: Path) -> None:
    """Opposite channels cancel, which no choice of one channel does."""
    tone = _tone(RATE, 0.2)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, -tone], axis=1), RATE)
    assert not _pcm(file_source(tmp_path / "a.wav").chunks()).any()


def test_container_in_memory_is_read(tmp_path: Path) -> None:
    """As when it comes from standard input."""
    soundfile.write(tmp_path / "a.flac", _tone(RATE, 0.3), RATE)
    source = bytes_source((tmp_path / "a.flac").read_bytes(), "standard input")
    assert source.duration_s == pytest.approx(0.3)
    assert len(_pcm(source.chunks())) == pytest.approx(0.3 * RATE)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """Missing, a folder, a text, and one that headerless audio might be in."""
    (tmp_path / "a.txt").write_text("no audio")
    (tmp_path / "a.raw").write_bytes(bytes(100))
    for path, reason in [
        (tmp_path / "none.wav", "there is no such file"),
        (tmp_path, "it is a folder"),
        (tmp_path / "a.txt", "libsndfile"),
        (tmp_path / "a.raw", "libsndfile"),
    ]:
        with pytest.raises(AudioError, match=rf"cannot read {path}: .*{reason}"):
            file_source(path)
    with pytest.raises(AudioError, match=r"cannot read standard input: .*libsndfile"):
        bytes_source(b"", "standard input")


def test_raw_audio_is_taken_as_it_comes() -> None:
    """A pipe that gives odd numbers of bytes loses no sample."""
    samples = np.arange(-4000, 4000, dtype="<i2")
    content = samples.tobytes()
    reading, writing = os.pipe()
    with open(reading, "rb") as stream:  # noqa: PTH123 - a descriptor
        with open(writing, "wb", buffering=0) as other:  # noqa: PTH123
            for start in range(0, len(content), 777):
                other.write(content[start : start + 777])
        source = raw_source(stream, RATE, "standard input")
        assert source.is_live
        np.testing.assert_array_equal(_pcm(source.chunks()), samples)


def test_missing_sounddevice_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The microphone is an extra; who has not got it is told which."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"pip install 'stapes\[mic\]'"):
        microphone_source()


async def test_chunks_are_read_ahead_by_so_many_at_most() -> None:
    """The thread waits for its reader rather than fill the memory."""
    given: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            given.append(number)
            yield bytes([number])

    reader = aiter(Reader(chunks(), ahead=3))
    got = [await anext(reader) for _ in range(10)]
    assert got == [bytes([number]) for number in range(10)]
    assert len(given) <= 10 + 3 + 1
    assert [chunk async for chunk in reader] == [bytes([number]) for number in range(10, 100)]


async def test_error_of_the_source_reaches_the_reader() -> None:
    """After the chunks that came before it."""

    def chunks() -> Iterator[bytes]:
        yield b"a"
        raise AudioError("broken off")

    reader = aiter(Reader(chunks()))
    assert await anext(reader) == b"a"
    with pytest.raises(AudioError, match="broken off"):
        await anext(reader)


async def test_stopped_reader_ends_after_the_chunks_that_are_ready() -> None:
    """Even when the source never gives another one."""
    released = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"a"
        released.wait()

    reader = Reader(chunks())
    got = []
    async for chunk in reader:
        got.append(chunk)
        reader.stop()
    released.set()
    assert got == [b"a"]


def test_a_read_that_never_returns_does_not_hold_up_the_end() -> None:
    """The loop ends while the thread still waits for its pipe."""
    released = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"a"
        released.wait()
        yield b"b"

    async def take_one() -> bytes:
        return await anext(aiter(Reader(chunks())))

    assert asyncio.run(take_one()) == b"a"
    released.set()
    for thread in threading.enumerate():
        if thread.name == "audio":
            thread.join(60)
            assert not thread.is_alive()


async def test_pacing_waits_until_a_chunk_would_have_been_spoken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunk by chunk, and by the time that each one lasts."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(CHUNK_BYTES)
        yield bytes(CHUNK_BYTES // 2)

    assert [len(chunk) async for chunk in paced(chunks())] == [CHUNK_BYTES] * 3 + [CHUNK_BYTES // 2]
    assert waits == pytest.approx([0.1, 0.2, 0.3, 0.35], abs=0.05)

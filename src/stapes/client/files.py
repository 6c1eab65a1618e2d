"""Audio of any kind as the service takes it: chunks of 100 ms, 16 kHz, mono, s16le.

Sources are read synchronously; a `Reader` lets an event loop take part, and `paced` holds
chunks back to the speed at which they would be spoken.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from stapes.audio.encodings import Pcm
from stapes.audio.resampling import Resampler
from stapes.errors import AudioError

RATE = 16_000
CHUNK_MS = 100
CHUNK_BYTES = RATE * CHUNK_MS // 1000 * 2
_HINT = "WAV, FLAC, OGG, MP3 and what else libsndfile reads will do"


@dataclass(frozen=True, slots=True)
class Source:
    """Something to transcribe.

    Attributes:
        name: what people call it: a path, ``standard input``, ``microphone``.
        duration_s: its length when that is known beforehand.
        chunks: gives its audio from the beginning: `CHUNK_BYTES` each, the last one may be
            shorter; may raise `AudioError` on the way.
        is_live: whether it goes on until somebody stops it.
    """

    name: str
    duration_s: float | None
    chunks: Callable[[], Iterator[bytes]]
    is_live: bool = False


def file_source(path: Path) -> Source:
    """A file that libsndfile reads. Raises `AudioError`, naming it, when it is not one."""
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "there is no such file"
        raise AudioError(f"cannot read {path}: {reason}")
    return Source(str(path), _duration_s(path, str(path)), lambda: _decode(path, str(path)))


def bytes_source(content: bytes, name: str) -> Source:
    """A whole file that is already in memory. Raises `AudioError` as `file_source` does."""
    duration_s = _duration_s(BytesIO(content), name)
    return Source(name, duration_s, lambda: _decode(BytesIO(content), name))


def raw_source(stream: BinaryIO, rate: int, name: str) -> Source:
    """Raw s16le mono audio of ``rate`` Hz, as it comes; ``stream`` must have a file number."""

    def blocks() -> Iterator[Pcm]:
        odd = b""
        # Straight from the descriptor: what has come is sent on, and no lock of a buffered
        # reader is held by a waiting thread when the interpreter ends.
        while read := os.read(stream.fileno(), rate // 10 * 2):
            whole = odd + read
            cut = len(whole) // 2 * 2
            odd = whole[cut:]
            yield np.frombuffer(whole[:cut], dtype="<i2").astype(np.int16)

    return Source(name, None, lambda: _chunked(_resampled(blocks(), rate)), is_live=True)


def microphone_source() -> Source:
    """The default microphone. Raises `AudioError` when the extra ``mic`` is not installed."""
    try:
        import sounddevice
    except ImportError:
        raise AudioError(
            "the microphone needs the package sounddevice: pip install 'stapes[mic]'"
        ) from None
    except OSError as error:  # the PortAudio library is missing
        raise AudioError(f"the microphone cannot be used: {error}") from error

    def chunks() -> Iterator[bytes]:
        frames = CHUNK_BYTES // 2
        try:
            with sounddevice.RawInputStream(
                samplerate=RATE, channels=1, dtype="int16", blocksize=frames
            ) as microphone:
                while True:
                    yield bytes(microphone.read(frames)[0])
        except sounddevice.PortAudioError as error:
            raise AudioError(f"the microphone cannot be used: {error}") from error

    return Source("microphone", None, chunks, is_live=True)


def _duration_s(file: Path | BytesIO, name: str) -> float | None:
    try:
        info = soundfile.info(file)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless .raw
        raise _unreadable(name, error) from error
    # Containers that do not know their length say so with an impossibly large one.
    return float(info.duration) if 0 < info.frames < 2**62 else None


def _decode(file: Path | BytesIO, name: str) -> Iterator[bytes]:
    try:
        with soundfile.SoundFile(file) as opened:
            # It seeks to where it is after every read of a file that can be sought in, and
            # libsndfile's MP3 decoder gives silence for a while after that.
            opened.seekable = lambda: False
            yield from _chunked(_resampled(_mono(opened), opened.samplerate))
    except soundfile.SoundFileError as error:
        raise _unreadable(name, error) from error


def _mono(opened: soundfile.SoundFile) -> Iterator[Pcm]:
    frames = max(1, opened.samplerate // 10)
    while len(block := opened.read(frames, dtype="float32", always_2d=True)):
        mixed = np.rint(block.mean(axis=1, dtype=np.float32) * 32768)
        yield np.clip(mixed, -32768, 32767).astype(np.int16)


def _unreadable(name: str, error: Exception) -> AudioError:
    reason = getattr(error, "error_string", "") or str(error)
    return AudioError(f"cannot read {name}: {reason.rstrip('.')}; {_HINT}")


def _resampled(blocks: Iterator[Pcm], rate: int) -> Iterator[Pcm]:
    resampler = Resampler(rate, RATE)
    for block in blocks:
        yield resampler.resample(block)
    yield resampler.flush()


def _chunked(blocks: Iterator[Pcm]) -> Iterator[bytes]:
    waiting = bytearray()
    for block in blocks:
        waiting += block.astype("<i2").tobytes()
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


class Reader:
    """Chunks, read by a daemon thread that keeps some of them ready. Iterate over it once.

    A read that never returns (a pipe, a terminal) thus neither blocks the loop nor its end.
    """

    def __init__(self, chunks: Iterator[bytes], ahead: int = 20) -> None:
        """``ahead`` is how many chunks are kept ready at most."""
        self._chunks = chunks
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(ahead)
        self._left = threading.Event()

    def stop(self) -> None:
        """Let the iteration end after the chunks that are ready. From the loop's thread."""
        self._ready.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks. Raises what reading them raises, in its place."""
        threading.Thread(target=self._read, name="audio", daemon=True).start()
        try:
            while (item := await self._ready.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                self._room.release()
                yield item
        finally:
            self._left.set()
            self._room.release()

    def _read(self) -> None:
        try:
            for chunk in self._chunks:
                self._room.acquire()
                if self._left.is_set():
                    return
                self._put(chunk)
            self._put(None)
        except Exception as error:  # raised again where the chunks are awaited
            self._put(error)

    def _put(self, item: bytes | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop has ended: nobody listens
            self._loop.call_soon_threadsafe(self._ready.put_nowait, item)


async def paced(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """``chunks`` no sooner than a speaker would have finished them."""
    loop = asyncio.get_running_loop()
    start, spoken_s = loop.time(), 0.0
    async for chunk in chunks:
        spoken_s += len(chunk) / (2 * RATE)
        await asyncio.sleep(max(0.0, start + spoken_s - loop.time()))
        yield chunk

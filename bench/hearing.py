"""What benchmarks of hearing share: audio with its text, and the two ways to have it heard.

*Direct* is PocketSphinx as a script would call it: a fresh decoder, the whole file at once. *The
service* is a server in processes of its own, one session a file, over a websocket.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from stapes import connect, samples
from stapes.audio.encodings import Pcm
from stapes.cli.own_server import OwnServer

RATE_HZ = 16000
CHUNK_BYTES = 3200


@dataclass(frozen=True, slots=True)
class Clip:
    """A file with what is spoken in it. ``set`` names the corpus it belongs to."""

    path: Path
    text: str
    set: str

    def pcm(self) -> Pcm:
        """Its samples at 16 kHz, mono, shape ``(n,)``."""
        read, rate = soundfile.read(self.path, dtype="float32", always_2d=True)
        wide = soxr.resample(read.mean(axis=1), rate, RATE_HZ, quality="HQ")
        pcm: Pcm = (np.clip(wide, -1, 1) * 32767).astype(np.int16)
        return pcm


def bundled() -> list[Clip]:
    """The samples that come with Stapes."""
    return [Clip(each.path, each.text, "bundled") for each in samples.load_all().values()]


def read_manifest(path: Path, language: str = "en") -> list[Clip]:
    """The clips of a manifest: one JSON object a line with file, transcript and language."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [
        Clip(path.parent / row["file"], row["transcript"], Path(row["file"]).parts[0])
        for row in rows
        if row["language"] == language
    ]


def sets(clips: Iterable[Clip]) -> list[str]:
    """The names of the sets among ``clips``."""
    return sorted({clip.set for clip in clips})


def spread(clips: Sequence[Clip], most: int | None) -> list[Clip]:
    """At most ``most`` clips of each set, evenly spread; all of them when there is no limit."""
    return [clip for name in sets(clips) for clip in _spread(clips, name, most)]


def _spread(clips: Sequence[Clip], name: str, most: int | None) -> list[Clip]:
    chosen = [clip for clip in clips if clip.set == name]
    step = max(1, len(chosen) / most) if most else 1
    return [chosen[int(index * step)] for index in range(int(len(chosen) / step))]


# Direct


@cache
def _decoder(**search: int) -> Any:
    from pocketsphinx import Decoder

    return Decoder(samprate=RATE_HZ, cmn="batch", loglevel="FATAL", **search)


def hear_directly(pcm: Pcm, **search: int) -> tuple[str, float]:
    """Text, and the CPU seconds it took, of one call on the whole audio.

    ``search``: limits of the decoder's search; its presets when there are none.
    """
    decoder = _decoder(**search)
    began = time.process_time()
    decoder.start_utt()
    decoder.process_raw(pcm.tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return (found.hypstr if found else ""), time.process_time() - began


def _hear_clip(clip: Clip) -> str:
    return hear_directly(clip.pcm())[0]


def texts_heard_directly(clips: Sequence[Clip], processes: int) -> Iterator[str]:
    """The text of each clip in order, each by a decoder that has heard nothing else.

    The decoder is loaded before the fork, and every process hears one clip: it finds the decoder
    as it was loaded.
    """
    _decoder()
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        yield from pool.imap(_hear_clip, clips, chunksize=1)


# Through the service


async def hear_through_service(server: OwnServer, pcm: Pcm, **parameters: str) -> str:
    """The finals of one session over the whole audio, joined; sent as fast as it is taken."""
    audio = pcm.tobytes()
    async with connect(server.url, profile=server.profile, parameters=parameters) as session:
        for start in range(0, len(audio), CHUNK_BYTES):
            await session.send(audio[start : start + CHUNK_BYTES])
        await session.finalize()
        return session.transcript

"""What benchmarks of hearing share: PocketSphinx as a script would call it, beside the service.

*Direct* is a fresh decoder that is given the whole file at once. *The service* is a server in
processes of its own, one session a file, over a websocket, sent as fast as it is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress, track

from stapes.audio.encodings import Pcm
from stapes.cli.own_server import OwnServer
from stapes.client.profile import Server
from stapes.measuring.clips import RATE_HZ, Clip, bundled, read_manifest, spread
from stapes.measuring.playing import play, text_of
from stapes.measuring.scoring import Scored, score


def parse(name: str, about: str | None, arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments that benchmarks of hearing have in common."""
    parser = argparse.ArgumentParser(f"scripts/bench {name}", description=about)
    parser.add_argument("--manifest", type=Path, help="clips with their texts, JSON lines")
    parser.add_argument("--clips", type=int, help="at most this many clips of each set")
    parser.add_argument("--processes", type=int, default=2, help="clips heard at a time")
    return parser.parse_args(arguments)


def chosen_clips(asked: argparse.Namespace) -> list[Clip]:
    """The clips that the arguments ask for; the bundled samples without a manifest."""
    return spread(read_manifest(asked.manifest) if asked.manifest else bundled(), asked.clips)


def as_server(own: OwnServer) -> Server:
    """A server for the occasion, as the measurements take it."""
    return Server(own.url, own.profile, own.profile.compartment)


def long_audio(clips: Sequence[Clip], seconds: float) -> Pcm:
    """Clips joined, again and again, until they last ``seconds``."""
    taken: list[Pcm] = []
    for clip in cycle(clips):
        taken.append(clip.pcm())
        if sum(map(len, taken)) >= seconds * RATE_HZ:
            break
    return np.concatenate(taken)


def score_both(
    own: OwnServer, clips: Sequence[Clip], processes: int
) -> tuple[list[Scored], list[Scored]]:
    """Every clip, scored as heard directly and as heard through the service."""
    found = track(texts_heard_directly(clips, processes), "direct", total=len(clips))
    direct = list(found)
    service = asyncio.run(_hear_all(as_server(own), clips, processes))
    return _scored(clips, direct), _scored(clips, service)


def _scored(clips: Sequence[Clip], heard: Sequence[str]) -> list[Scored]:
    return [score(clip.text, text) for clip, text in zip(clips, heard, strict=True)]


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


async def _hear_all(server: Server, clips: Sequence[Clip], at_once: int) -> list[str]:
    places = asyncio.Semaphore(at_once)
    with Progress() as progress:
        task = progress.add_task("service", total=len(clips))

        async def hear(clip: Clip) -> str:
            async with places:
                text = text_of(await play(server, clip.pcm(), {}, fast=True))
                progress.advance(task)
                return text

        return list(await asyncio.gather(*(hear(clip) for clip in clips)))

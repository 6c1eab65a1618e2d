"""CPU and memory of the service beside those of PocketSphinx called directly, on the same audio.

``scripts/bench engine [--manifest FILE] [--seconds N] [--json]``. The audio is speech of at least
``--seconds`` (120), put together of the bundled samples or of a manifest's clips.

* direct: one call on the whole audio, in a process of its own that has loaded already; once as
  PocketSphinx is preset, and once with the tighter limits of search that the service's engine has.
* service: all processes of a server (socket, workers, resampling, voice activity, partials every
  100 ms, store), which has loaded already, while one session takes the audio.
* voice activity: Silero alone on the same audio, in a process of its own. Its share is taken from
  the service's before the ratio.

Direct calls and service run at the same time, so that whatever else the machine does slows them
alike, and the medians of three rounds are compared. Memory is the
proportional set size of all processes of the server, while 1 and while 4 sessions are at the end
of the same audio.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from bench.both_ways import as_server, hear_directly, long_audio
from bench.harness import Bar, Report, cpu_s, pss_mb
from stapes import Session, connect
from stapes.audio.encodings import Pcm
from stapes.cli.own_server import OwnServer, own_server
from stapes.engines.pocketsphinx import SEARCH
from stapes.measuring.clips import RATE_HZ, bundled, read_manifest
from stapes.measuring.playing import play

ROUNDS = 3
STREAMS = 4
CHUNK_BYTES = 3200
HIGHEST_RATIO = 1.15
MOST_MB_PER_STREAM = 30.0
SETTLE_S = 1.5  # a worker that ended is counted once its parent has waited for it


def run(arguments: Sequence[str]) -> Report:
    """Measure in rounds; compare medians."""
    asked = _parse(arguments)
    clips = read_manifest(asked.manifest) if asked.manifest else bundled()
    pcm = long_audio(clips, asked.seconds)
    os.environ["STAPES_STREAMS"] = str(STREAMS)
    with own_server() as server:
        rounds = [cpu_round(server, pcm) for _ in range(ROUNDS)]
        memory_mb = asyncio.run(_memory(server, pcm))
    return _report(len(pcm) / RATE_HZ, rounds, memory_mb)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench engine", description=__doc__)
    parser.add_argument("--manifest", type=Path, help="clips with their texts, JSON lines")
    parser.add_argument("--seconds", type=float, default=120, help="least length of the audio")
    return parser.parse_args(arguments)


def cpu_round(server: OwnServer, pcm: Pcm) -> dict[str, float]:
    """CPU seconds of direct calls, service and voice activity, on the same audio.

    ``preset`` is the direct call as PocketSphinx is, ``direct`` that within the service's limits
    of search. They and the service are heard at the same time: their ratio is what is asked for,
    and a core that is busy with something else, too, or is clocked down makes each dearer.
    """
    before = cpu_s(server.pid)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        direct = pool.apply_async(_direct_cpu_s, (pcm,))
        preset = pool.apply_async(_preset_cpu_s, (pcm,))
        asyncio.run(play(as_server(server), pcm, {}, fast=True))
        time.sleep(SETTLE_S)
        service = cpu_s(server.pid) - before
        called = {"preset": preset.get(), "direct": direct.get()}
    return {**called, "service": service, "vad": _in_own_process(_vad_cpu_s, pcm)}


def ratios(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The service without voice activity to each direct call, by its name; medians."""
    return {
        name: round(
            statistics.median((each["service"] - each["vad"]) / each[name] for each in rounds), 3
        )
        for name in ("preset", "direct")
    }


def _in_own_process(measure: Callable[[Pcm], float], pcm: Pcm) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (pcm,))


def _direct_cpu_s(pcm: Pcm) -> float:
    hear_directly(pcm[:RATE_HZ], **SEARCH)  # loads
    return hear_directly(pcm, **SEARCH)[1]


def _preset_cpu_s(pcm: Pcm) -> float:
    hear_directly(pcm[:RATE_HZ])  # loads
    return hear_directly(pcm)[1]


def _vad_cpu_s(pcm: Pcm) -> float:
    from stapes.engines.silero import SileroVoiceActivity

    activity = SileroVoiceActivity()
    windows = [
        (pcm[start : start + 512] / 32768).astype(np.float32)
        for start in range(0, len(pcm) - 511, 512)
    ]
    activity(windows[0])  # loads
    began = time.process_time()
    for window in windows:
        activity(window)
    return time.process_time() - began


async def _memory(server: OwnServer, pcm: Pcm) -> dict[int, float]:
    """PSS in MB by the number of sessions that have heard the audio and are still open."""
    found = {}
    async with AsyncExitStack() as stack:
        for count in range(1, STREAMS + 1):
            session = await stack.enter_async_context(connect(server.url, profile=server.profile))
            await _hear_and_stay(session, pcm.tobytes())
            found[count] = pss_mb(server.pid)
    return found


async def _hear_and_stay(session: Session, audio: bytes) -> None:
    for start in range(0, len(audio), CHUNK_BYTES):
        await session.send(audio[start : start + CHUNK_BYTES])
    await session.finalize()


def _report(
    audio_s: float, rounds: Sequence[dict[str, float]], memory_mb: dict[int, float]
) -> Report:
    cpu = {name: statistics.median(each[name] for each in rounds) / audio_s for name in rounds[0]}
    ratio = ratios(rounds)
    per_stream = (memory_mb[STREAMS] - memory_mb[1]) / (STREAMS - 1)
    figures: dict[str, Any] = {
        "audio_s": round(audio_s, 1),
        "direct_cpu_s_per_audio_s": round(cpu["direct"], 4),
        "direct_preset_cpu_s_per_audio_s": round(cpu["preset"], 4),
        "service_cpu_s_per_audio_s": round(cpu["service"], 4),
        "vad_cpu_s_per_audio_s": round(cpu["vad"], 4),
        "ratio_without_vad": ratio["direct"],
        "ratio_without_vad_to_preset": ratio["preset"],
        "pss_mb_by_streams": {str(count): round(mb, 1) for count, mb in memory_mb.items()},
        "pss_mb_per_further_stream": round(per_stream, 1),
    }
    bars = [
        Bar.at_most("service without voice activity / direct", ratio["preset"], HIGHEST_RATIO),
        Bar.at_most("PSS per further stream, MB", round(per_stream, 1), MOST_MB_PER_STREAM),
    ]
    return Report("engine", figures, bars, _table(figures))


def _table(figures: dict[str, Any]) -> Table:
    table = Table("figure", "value", title=f"{figures['audio_s']} s of audio, one session")
    rows = {
        "PocketSphinx direct, CPU s per audio s": "direct_preset_cpu_s_per_audio_s",
        "  with the service's limits of search": "direct_cpu_s_per_audio_s",
        "whole service, CPU s per audio s": "service_cpu_s_per_audio_s",
        "  of it voice activity (Silero)": "vad_cpu_s_per_audio_s",
        "ratio without voice activity": "ratio_without_vad_to_preset",
        "  at equal limits of search": "ratio_without_vad",
    }
    for title, name in rows.items():
        table.add_row(title, f"{figures[name]:.3f}")
    for count, mb in figures["pss_mb_by_streams"].items():
        table.add_row(f"PSS of all processes, {count} streams, MB", f"{mb:.1f}")
    return table

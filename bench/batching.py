"""What many streams in one worker cost beside one stream: the batches of the sherpa engine.

``scripts/bench batching [--model FOLDER] [--seconds N] [--json]``. ``FOLDER`` holds the model
(``tests/fixtures/digits``). Each of N streams hears speech of its own, ``--seconds`` (30) of it:
the bundled samples, begun elsewhere by each stream.

* worker: CPU of one worker process that hears N streams at a time, with their voice activity,
  for each second of audio of each stream.
* engine: the same for the engine alone, called in this process with N turns at a time.

What each stream hears has to be what it hears alone, word for word, time for time.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from rich.table import Table

from bench.harness import Bar, Report, cpu_s
from bench.hearing import RATE_HZ, bundled
from stapes.audio.encodings import Pcm
from stapes.engines.hearing import BLOCK_SAMPLES, ListenerParams
from stapes.engines.port import HearingParams, Segment, Turn
from stapes.engines.sherpa import SherpaEngine
from stapes.protocol.events import Event, UtteranceArrived
from stapes.protocol.words import Word
from stapes.workers.pool import Pool

MODEL = Path(__file__).parent.parent / "tests" / "fixtures" / "digits"
COUNTS = (1, 2, 4, 8, 16, 32)
ROUNDS = 3
PIECE_S = 0.1
PARAMS = ListenerParams("audio/raw;rate=16000", HearingParams(), 0, 1000)

Heard = list[tuple[Word, ...]]


@dataclass(frozen=True, slots=True)
class Run:
    """CPU seconds for a second of audio of a stream, and what each stream heard."""

    cpu: float
    heard: list[Heard]


def run(arguments: Sequence[str]) -> Report:
    """Measure each number of streams in turn, and all again; compare medians."""
    asked = _parse(arguments)
    audio = [_audio(asked.seconds, stream) for stream in range(max(COUNTS))]
    alone = asyncio.run(_alone(asked.model, audio))
    workers: dict[int, list[Run]] = {count: [] for count in COUNTS}
    engines: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(ROUNDS):
        for count in COUNTS:
            workers[count].append(asyncio.run(_in_a_worker(asked.model, audio[:count])))
            engines[count].append(_by_the_engine(asked.model, audio[:count]))
    return _report(alone, workers, engines, asked.seconds)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench batching", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of a streaming model")
    parser.add_argument("--seconds", type=float, default=30, help="audio of each stream")
    return parser.parse_args(arguments)


def _audio(seconds: float, stream: int) -> Pcm:
    whole = np.concatenate([clip.pcm() for clip in bundled()])
    begun = np.roll(whole, -stream * len(whole) // max(COUNTS))
    return np.resize(begun, int(seconds * RATE_HZ))


async def _alone(model: Path, audio: Sequence[Pcm]) -> list[Heard]:
    """What each stream hears when no other is there."""
    pool = await Pool.start("sherpa", model=model, streams=1, warm=1)
    try:
        return [await _hear(pool, each) for each in audio]
    finally:
        await pool.close()


async def _in_a_worker(model: Path, audio: Sequence[Pcm]) -> Run:
    pool = await Pool.start("sherpa", model=model, streams=max(COUNTS), warm=1)
    try:
        _, worker = pool.worker_pids
        before = cpu_s(worker)
        heard = await asyncio.gather(*(_hear(pool, each) for each in audio))
        assert len(pool.worker_pids) == 2, "the model's real-time factor asks for more workers"
        return Run((cpu_s(worker) - before) / (sum(map(len, audio)) / RATE_HZ), heard)
    finally:
        await pool.close()


async def _hear(pool: Pool, pcm: Pcm) -> Heard:
    """Words of the utterances of one stream, fed as fast as it is taken in."""
    answered = asyncio.Event()
    heard: Heard = []

    def post(event: Event) -> None:
        if isinstance(event, UtteranceArrived):
            heard.append(event.heard.words)
            if event.is_answer:
                answered.set()

    ear = await pool.take(PARAMS, post)
    piece = int(PIECE_S * RATE_HZ)
    for start in range(0, len(pcm), piece):
        ear.feed(pcm[start : start + piece].tobytes())
        await asyncio.sleep(0)
    ear.flush()
    await answered.wait()
    ear.release()
    return heard


def _by_the_engine(model: Path, audio: Sequence[Pcm]) -> float:
    engine = SherpaEngine(model)
    rate_hz = engine.capabilities.sample_rate_hz
    speech = [soxr.resample(pcm, RATE_HZ, rate_hz) for pcm in audio]
    recognisers = [engine.open(HearingParams()) for _ in speech]
    block = BLOCK_SAMPLES * rate_hz // RATE_HZ
    began = time.process_time()
    for start in range(0, len(speech[0]), block):
        ends = start // block % 20 == 19
        turns = [
            Turn(recogniser, pcm[start : start + block], ends)
            for recogniser, pcm in zip(recognisers, speech, strict=True)
        ]
        _: Sequence[Sequence[Segment]] = engine.take_together(turns)
    return (time.process_time() - began) / (sum(map(len, audio)) / RATE_HZ)


def _report(
    alone: Sequence[Heard],
    workers: dict[int, list[Run]],
    engines: dict[int, list[float]],
    seconds: float,
) -> Report:
    worker = {count: statistics.median(run.cpu for run in runs) for count, runs in workers.items()}
    engine = {count: statistics.median(values) for count, values in engines.items()}
    same = all(
        heard == alone[index]
        for runs in workers.values()
        for run in runs
        for index, heard in enumerate(run.heard)
    )
    table = Table(
        *("streams", "worker, CPU s per audio s", "to one", "engine alone", "to one"),
        title=f"one worker process, {seconds:g} s of speech a stream",
    )
    figures: dict[str, Any] = {"identical": same, "words": sum(len(w) for h in alone for w in h)}
    bars = [Bar.at_least("what is heard is what one alone hears", float(same), 1.0)]
    for count in COUNTS:
        ratios = worker[count] / worker[1], engine[count] / engine[1]
        figures[str(count)] = {
            "worker_cpu_s_per_audio_s": round(worker[count], 5),
            "worker_ratio": round(ratios[0], 3),
            "engine_cpu_s_per_audio_s": round(engine[count], 5),
            "engine_ratio": round(ratios[1], 3),
        }
        shown = (worker[count], ratios[0], engine[count], ratios[1])
        table.add_row(str(count), *(f"{value:.4f}" for value in shown))
        if count > 1:
            bars.append(Bar.at_most(f"{count} streams to {count} times one", ratios[0], 0.99))
    return Report("batching", figures, bars, table)

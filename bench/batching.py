"""What many streams in one worker cost beside one stream: the batches of the sherpa engine.

``scripts/bench batching [--model FOLDER] [--seconds N] [--json]``. ``FOLDER`` holds the model
(``tests/fixtures/digits``). 32 streams hear speech of their own, ``--seconds`` (20) of it: the
bundled samples, begun elsewhere by each stream. They come N at a time, so that every N hears the
same audio, and N = 1 is one stream after the other.

* worker: CPU of the one worker process, voice activity and all, for a second of a stream's audio.
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
from stapes.audio.encodings import Pcm
from stapes.engines.hearing import BLOCK_SAMPLES, ListenerParams
from stapes.engines.port import HearingParams, Turn
from stapes.engines.sherpa import SherpaEngine
from stapes.measuring.clips import RATE_HZ, bundled
from stapes.protocol.events import Event, UtteranceArrived
from stapes.protocol.words import Word
from stapes.workers.pool import Pool

MODEL = Path(__file__).parent.parent / "tests" / "fixtures" / "digits"
COUNTS = (1, 2, 4, 8, 16, 32)
ROUNDS = 3
PIECE_S = 0.1
BLOCKS_OF_A_SEGMENT = 20  # about two seconds
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
    workers: dict[int, list[Run]] = {count: [] for count in COUNTS}
    engines: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(ROUNDS):
        for count in COUNTS:
            workers[count].append(asyncio.run(_in_a_worker(asked.model, audio, count)))
            engines[count].append(_by_the_engine(asked.model, audio, count))
    return _report(workers, engines, asked.seconds)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench batching", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of a streaming model")
    parser.add_argument("--seconds", type=float, default=20, help="audio of each stream")
    return parser.parse_args(arguments)


def _audio(seconds: float, stream: int) -> Pcm:
    whole = np.concatenate([clip.pcm() for clip in bundled()])
    begun = np.roll(whole, -stream * len(whole) // max(COUNTS))
    return np.resize(begun, int(seconds * RATE_HZ))


async def _in_a_worker(model: Path, audio: Sequence[Pcm], count: int) -> Run:
    pool = await Pool.start("sherpa", model=model, streams=count, warm=1)
    try:
        _, worker = pool.worker_pids
        before = cpu_s(worker)
        heard: list[Heard] = []
        for group in batched(audio, count):
            heard += await asyncio.gather(*(_hear(pool, each) for each in group))
        assert len(pool.worker_pids) == 2, "the model's real-time factor asks for more workers"
        return Run((cpu_s(worker) - before) / (sum(map(len, audio)) / RATE_HZ), heard)
    finally:
        await pool.close()


def batched(audio: Sequence[Pcm], count: int) -> list[Sequence[Pcm]]:
    """Groups of ``count``."""
    return [audio[start : start + count] for start in range(0, len(audio), count)]


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


def _by_the_engine(model: Path, audio: Sequence[Pcm], count: int) -> float:
    engine = SherpaEngine(model)
    rate_hz = engine.capabilities.sample_rate_hz
    speech = [soxr.resample(pcm, RATE_HZ, rate_hz) for pcm in audio]
    began = time.process_time()
    for group in batched(speech, count):
        _take_turns(engine, group, BLOCK_SAMPLES * rate_hz // RATE_HZ)
    return (time.process_time() - began) / (sum(map(len, audio)) / RATE_HZ)


def _take_turns(engine: SherpaEngine, speech: Sequence[Pcm], block: int) -> None:
    recognisers = [engine.open(HearingParams()) for _ in speech]
    for start in range(0, len(speech[0]), block):
        ends = start // block % BLOCKS_OF_A_SEGMENT == 0
        engine.take_together(
            [
                Turn(recogniser, pcm[start : start + block], ends)
                for recogniser, pcm in zip(recognisers, speech, strict=True)
            ]
        )


def _report(
    workers: dict[int, list[Run]], engines: dict[int, list[float]], seconds: float
) -> Report:
    worker = {count: statistics.median(run.cpu for run in runs) for count, runs in workers.items()}
    engine = {count: statistics.median(values) for count, values in engines.items()}
    alone = workers[1][0].heard
    same = all(run.heard == alone for runs in workers.values() for run in runs)
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

"""Spoken digits through the websocket at 8 kHz µ-law: how many are right, and when they were said.

``scripts/bench digits --manifest FILE [--model FOLDER] [--recordings FROM TO] [--json]``. The
manifest lists recordings of the Free Spoken Digit Dataset (``…/DIGIT_SPEAKER_INDEX.wav``), of which
0 to 4 of each digit and speaker are heard: the model of ``tests/fixtures/digits`` has not been
trained on them, nor chosen by them. A model is chosen by others, as 5 to 9.

* isolated: a session for each recording, between silences; right is what is that digit alone.
* strings: sessions of three to seven recordings of one speaker, cut to where they sound, with
  pauses of 30 to 500 ms; right is what has these digits and no other. Of those strings, a word is
  in time when it begins and ends within 150 ms of where it does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from rich.table import Table

from bench.harness import Bar, Report
from stapes import connect
from stapes.audio.encodings import Decoder, Pcm, parse_encoding
from stapes.cli.own_server import OwnServer, own_server
from stapes.protocol.words import Word

MODEL = Path(__file__).parent.parent / "tests" / "fixtures" / "digits"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ENCODING = "audio/raw;rate=8000;codec=mulaw"
RATE_HZ = 8000
SAMPLES_PER_MS = RATE_HZ // 1000
TEST_INDICES = (0, 4)
STRINGS = 120
SILENCE_MS = (600, 1200)
AT_ONCE = 8

LOWEST_RIGHT = 0.97
LOWEST_STRINGS_RIGHT = 0.95
LOWEST_IN_TIME = 0.99
MOST_OFF_MS = 150.0


@dataclass(frozen=True, slots=True)
class Recording:
    """One digit of one speaker."""

    digit: int
    speaker: str
    pcm: Pcm


@dataclass(frozen=True, slots=True)
class Spoken:
    """Audio with the words in it; where the times are not known they are 0."""

    pcm: Pcm
    words: tuple[Word, ...]


def run(arguments: Sequence[str]) -> Report:
    """Hear each recording, then strings of them."""
    asked = _parse(arguments)
    first, last = asked.recordings
    recordings = read_recordings(asked.manifest, range(first, last + 1))
    isolated = [_isolated(recording) for recording in recordings]
    strings = make_strings(recordings, np.random.default_rng(7))
    os.environ.update({"STAPES_ENGINE": "sherpa", "STAPES_MODEL": str(asked.model)})
    with own_server() as server:
        heard = asyncio.run(_hear_all(server, [*isolated, *strings]))
    return _report(isolated, heard[: len(isolated)], strings, heard[len(isolated) :])


def read_recordings(manifest: Path, indices: Collection[int]) -> list[Recording]:
    """The recordings of the manifest with these numbers."""
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line]
    paths = [manifest.parent / row["file"] for row in rows if row["file"].startswith("fsdd/")]
    found = []
    for path in paths:
        digit, speaker, index = path.stem.split("_")
        if int(index) in indices:
            pcm, rate_hz = soundfile.read(path, dtype="int16")
            assert rate_hz == RATE_HZ
            found.append(Recording(int(digit), speaker, pcm))
    if not found:
        raise SystemExit("the manifest has no spoken digits")
    return found


def make_strings(recordings: Sequence[Recording], random: np.random.Generator) -> list[Spoken]:
    """Digits of one speaker after another, with the times of each."""
    speakers = sorted({recording.speaker for recording in recordings})
    strings = []
    for index in range(STRINGS):
        speaker = speakers[index % len(speakers)]
        choice = [recording for recording in recordings if recording.speaker == speaker]
        picks = random.integers(len(choice), size=random.integers(3, 8))
        strings.append(_joined([choice[pick] for pick in picks], random))
    return strings


def _joined(recordings: Sequence[Recording], random: np.random.Generator) -> Spoken:
    parts, at, words = [_silence(SILENCE_MS[0])], SILENCE_MS[0], []
    for recording in recordings:
        pcm = sounding(recording.pcm)
        pause_ms = int(random.uniform(30, 500))
        length_ms = len(pcm) // SAMPLES_PER_MS
        words.append(Word(WORDS[recording.digit], at, at + length_ms, 1.0))
        parts += [pcm, _silence(pause_ms)]
        at += length_ms + pause_ms
    return Spoken(np.concatenate((*parts, _silence(SILENCE_MS[1]))), tuple(words))


def sounding(pcm: Pcm) -> Pcm:
    """From the first to the last 10 ms that are within 30 dB of the loudest ones."""
    frame = RATE_HZ // 100
    frames = pcm[: len(pcm) // frame * frame].reshape(-1, frame).astype(np.float64)
    energy = (frames**2).mean(axis=1)
    loud = np.flatnonzero(energy > energy.max() / 1000)
    return pcm[loud[0] * frame : (loud[-1] + 1) * frame]


def _isolated(recording: Recording) -> Spoken:
    before, after = map(_silence, SILENCE_MS)
    word = Word(WORDS[recording.digit], 0, 0, 1.0)
    return Spoken(np.concatenate((before, recording.pcm, after)), (word,))


def _silence(ms: int) -> Pcm:
    return np.zeros(ms * SAMPLES_PER_MS, np.int16)


def mu_law(pcm: Pcm) -> bytes:
    """The code whose sample is nearest, for each sample."""
    samples = Decoder(parse_encoding(ENCODING)).decode(bytes(range(256))).astype(np.int32)
    order = np.argsort(samples, kind="stable")
    edges = (samples[order][1:] + samples[order][:-1]) // 2
    return order.astype(np.uint8)[np.searchsorted(edges, pcm)].tobytes()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/bench digits", description=__doc__)
    parser.add_argument("--manifest", type=Path, required=True, help="the recordings, JSON lines")
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the model")
    parser.add_argument(
        "--recordings",
        type=int,
        nargs=2,
        default=TEST_INDICES,
        metavar=("FROM", "TO"),
        help="numbers of the recordings that are heard, of each digit and speaker",
    )
    return parser.parse_args(arguments)


async def _hear_all(server: OwnServer, spoken: Iterable[Spoken]) -> list[list[Word]]:
    places = asyncio.Semaphore(AT_ONCE)

    async def hear(each: Spoken) -> list[Word]:
        async with places:
            return await _hear(server, mu_law(each.pcm))

    return list(await asyncio.gather(*map(hear, spoken)))


async def _hear(server: OwnServer, audio: bytes) -> list[Word]:
    """The words of one session's finals."""
    async with connect(
        server.url, profile=server.profile, parameters={"encoding": ENCODING}
    ) as session:
        for start in range(0, len(audio), RATE_HZ // 10):
            await session.send(audio[start : start + RATE_HZ // 10])
        await session.finalize()
        return [word for final in session.finals for word in final.words]


def _report(
    isolated: Sequence[Spoken],
    heard: Sequence[Sequence[Word]],
    strings: Sequence[Spoken],
    heard_strings: Sequence[Sequence[Word]],
) -> Report:
    right = _share(map(_same_texts, isolated, heard))
    right_strings = _share(map(_same_texts, strings, heard_strings))
    words = sum(len(each.words) for each in strings)
    off = [
        max(abs(found.start_ms - said.start_ms), abs(found.end_ms - said.end_ms))
        for each, hypothesis in zip(strings, heard_strings, strict=True)
        if _same_texts(each, hypothesis)
        for said, found in zip(each.words, hypothesis, strict=True)
    ]
    in_time = _share(ms <= MOST_OFF_MS for ms in off)
    figures = {
        "isolated": len(isolated),
        "isolated_right": right,
        "strings": len(strings),
        "digits_in_strings": words,
        "strings_right": right_strings,
        "words_in_time": in_time,
        "off_ms_p50": float(np.percentile(off, 50)),
        "off_ms_p95": float(np.percentile(off, 95)),
        "off_ms_max": float(max(off)),
    }
    bars = [
        Bar.at_least("isolated digits right", right, LOWEST_RIGHT),
        Bar.at_least("strings with all their digits", right_strings, LOWEST_STRINGS_RIGHT),
        Bar.at_least("of their words, those in time", in_time, LOWEST_IN_TIME),
    ]
    table = Table("figure", "value", title="digits at 8 kHz µ-law, through the websocket")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), f"{value:g}")
    return Report("digits", figures, bars, table)


def _same_texts(spoken: Spoken, heard: Sequence[Word]) -> bool:
    return [word.text for word in spoken.words] == [word.text for word in heard]


def _share(rights: Iterable[bool]) -> float:
    counted = list(rights)
    return round(sum(counted) / max(1, len(counted)), 4)

"""Speech with its text, to measure with: the bundled samples, or the files of a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from stapes import samples
from stapes.audio.encodings import Pcm
from stapes.errors import AudioError, MeasuringError

RATE_HZ = 16000
FRAME_SAMPLES = RATE_HZ // 100
ANY = "auto"
LOUD_DB = 35.0
"""A frame that is quieter than the loudest one by more than this is no speech."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A file with what is spoken in it. ``set`` names the corpus it belongs to."""

    path: Path
    text: str
    set: str

    def pcm(self) -> Pcm:
        """Its samples at 16 kHz, mono, shape ``(n,)``. Raises `AudioError`."""
        try:
            read, rate = soundfile.read(self.path, dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            raise AudioError(f"cannot read {self.path}: {error}") from error
        wide = soxr.resample(read.mean(axis=1), rate, RATE_HZ, quality="HQ")
        pcm: Pcm = (np.clip(wide, -1, 1) * 32767).astype(np.int16)
        return pcm


def bundled() -> list[Clip]:
    """The samples that come with Stapes."""
    return [Clip(each.path, each.text, "bundled") for each in samples.load_all().values()]


def read_manifest(path: Path, language: str = "en") -> list[Clip]:
    """The clips of a manifest that are in ``language``, or do not say in which.

    A manifest has one JSON object a line: ``audio`` (or ``file``; relative to the manifest),
    ``text`` (or ``transcript``), and if need be ``set`` (else the first folder of the path) and
    ``language``. With the language ``auto``, all of them. Raises `MeasuringError`, naming the
    line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise MeasuringError(f"cannot read {path}: {error}") from error
    rows = [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    spoken = language.partition("-")[0]
    clips = [_clip(path, row) for row in rows if spoken == ANY or _language(row) in {"", spoken}]
    if not clips:
        raise MeasuringError(f"{path} has no clip in {language}")
    return clips


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    given = dict(row) if isinstance(row, dict) else {}
    audio, text = _first(given, "audio", "file"), _first(given, "text", "transcript")
    if not audio or text is None:
        raise MeasuringError(f"{path}, line {number}: no JSON object with audio and text")
    return {**given, "audio": audio, "text": text}


def _first(row: dict[str, Any], *names: str) -> str | None:
    """The first of these fields that is a text; an empty one is."""
    return next((row[name] for name in names if isinstance(row.get(name), str)), None)


def _language(row: dict[str, Any]) -> str:
    return str(row.get("language", "")).partition("-")[0]


def _clip(path: Path, row: dict[str, Any]) -> Clip:
    file = Path(row["audio"])
    folder = file.parts[0] if len(file.parts) > 1 and not file.is_absolute() else path.stem
    return Clip(path.parent / file, row["text"], str(row.get("set") or folder))


def sets(clips: Iterable[Clip]) -> list[str]:
    """The names of the sets among ``clips``."""
    return sorted({clip.set for clip in clips})


def spread(clips: Sequence[Clip], most: int | None) -> list[Clip]:
    """At most ``most`` clips of each set, evenly spread; all of them when there is no limit."""
    return [clip for name in sets(clips) for clip in _spread(clips, name, most)]


def _spread(clips: Sequence[Clip], name: str, most: int | None) -> list[Clip]:
    chosen = [clip for clip in clips if clip.set == name]
    count = min(most or len(chosen), len(chosen))
    return [chosen[index * len(chosen) // count] for index in range(count)]


def speech_span_ms(pcm: Pcm) -> tuple[int, int]:
    """Where the first and the last loud frame of 10 ms begin and end, ms.

    Told by loudness alone, so that it does not depend on what is measured with it. What is not
    there to be told, in digital silence, spans all of it.
    """
    frames = len(pcm) // FRAME_SAMPLES
    framed = pcm[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES).astype(np.float64)
    power = (framed**2).mean(axis=1)
    loudest = power.max(initial=0.0)
    loud = np.flatnonzero(power > loudest * 10 ** (-LOUD_DB / 10))
    if not len(loud):
        return 0, frames * 10
    return int(loud[0]) * 10, (int(loud[-1]) + 1) * 10

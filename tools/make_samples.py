#!/usr/bin/env python3
"""Makes the WAV files of ``src/stapes/samples`` again from ``samples.json``.

Needs ``flite`` on the PATH (Debian: ``apt install flite``) and nothing else. Each sentence is one
call of ``flite -voice VOICE -t SENTENCE -o PART.wav``; silence is put before, between and after.
The same flite makes the same bytes.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "src" / "stapes" / "samples"
SAMPLE_RATE_HZ = 16000


def silence(ms: int) -> bytes:
    """Zeros, 16-bit mono."""
    return bytes(2 * SAMPLE_RATE_HZ * ms // 1000)


def speech(voice: str, sentence: str) -> bytes:
    """What flite says, 16-bit mono at 16 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.wav"
        subprocess.run(["flite", "-voice", voice, "-t", sentence, "-o", str(part)], check=True)
        with wave.open(str(part)) as reader:
            if reader.getparams()[:3] != (1, 2, SAMPLE_RATE_HZ):
                raise SystemExit(f"flite's voice {voice} does not speak 16-bit mono at 16 kHz")
            pcm: bytes = reader.readframes(reader.getnframes())
            return pcm


def make(sample: dict[str, Any]) -> Path:
    """Write one sample's WAV; return its path."""
    parts = [speech(sample["voice"], sentence) for sentence in sample["sentences"]]
    pcm = silence(sample["lead_ms"]) + silence(sample["pause_ms"]).join(parts)
    path: Path = FOLDER / f"{sample['name']}.wav"
    with wave.open(str(path), "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE_HZ)
        writer.writeframes(pcm + silence(sample["tail_ms"]))
    return path


def main() -> None:
    """Make every sample."""
    for sample in json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))["samples"]:
        path = make(sample)
        print(f"{path.name}: {path.stat().st_size / 2 / SAMPLE_RATE_HZ:.1f} s")


if __name__ == "__main__":
    main()

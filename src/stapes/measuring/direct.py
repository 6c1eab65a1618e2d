"""An engine called directly: a whole file at once, in this process, without a service around it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from stapes.audio.encodings import Pcm
from stapes.audio.resampling import Resampler
from stapes.engines.port import Engine, HearingParams
from stapes.measuring.clips import RATE_HZ


@dataclass(frozen=True, slots=True)
class Heard:
    """Text, and the CPU seconds that it took."""

    text: str
    cpu_s: float


def hear(engine: Engine, pcm: Pcm, params: HearingParams) -> Heard:
    """What ``engine`` hears in 16 kHz audio. Raises `EngineError`."""
    recogniser = engine.open(params)
    began = time.process_time()
    resampler = Resampler(RATE_HZ, engine.capabilities.sample_rate_hz)
    try:
        heard = np.concatenate([resampler.resample(pcm), resampler.flush()])
        segments = [*recogniser.accept(heard), *recogniser.drain()]
    finally:
        recogniser.close()
    words = [word.text for segment in segments if segment.is_final for word in segment.words]
    return Heard(" ".join(words), time.process_time() - began)

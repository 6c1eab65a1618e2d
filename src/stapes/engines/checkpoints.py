"""What a listener knows between two utterances, as bytes: small, versioned, no code in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from stapes.audio.encodings import Pcm
from stapes.audio.segments import BetweenSegments
from stapes.errors import EngineError

VERSION = 1


@dataclass(frozen=True, slots=True)
class ListenerState:
    """All that the audio so far has left behind.

    Attributes:
        engine: name of the engine; what it has ``learnt`` is of use to no other.
        decoded_samples: at the stream's own rate.
        speech_samples: at 16 kHz.
        half: of a sample, at the end of the audio.
        resampling: samples that are inside the resampler.
        segments: what the segmenter knows.
    """

    engine: str
    learnt: bytes
    decoded_samples: int
    speech_samples: int
    half: bytes
    resampling: Pcm
    segments: BetweenSegments

    def encode(self) -> bytes:
        """A line of JSON with the figures, then the samples and the rest as they are."""
        segments = self.segments
        parts = [self.learnt, self.half, self.resampling.tobytes(), segments.waiting.tobytes()]
        parts += [segments.memory.tobytes(), *(piece.tobytes() for piece in segments.pre_roll)]
        counts = (self.decoded_samples, self.speech_samples, segments.through_sample)
        head = {
            "version": VERSION,
            "engine": self.engine,
            "counts": counts,
            "bytes": [len(part) for part in parts],
        }
        return b"".join((json.dumps(head).encode(), b"\n", *parts))


def decode_state(data: bytes) -> ListenerState:
    """The state that was encoded. Raises `EngineError` when this version did not make it."""
    line, _, rest = data.partition(b"\n")
    try:
        head = json.loads(line)
        decoded, speech, through = head["counts"]
        ends = accumulate(head["bytes"], initial=0)
        learnt, half, *arrays = [rest[start:end] for start, end in pairwise(ends)]
        resampling, waiting, memory, *pre_roll = arrays
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(f"the checkpoint cannot be read: {error!r}") from error
    if head["version"] != VERSION:
        raise EngineError(f"the checkpoint is of version {head['version']}, not {VERSION}")
    segments = BetweenSegments(
        through,
        _samples(waiting),
        tuple(_samples(piece) for piece in pre_roll),
        np.frombuffer(memory, np.float32),
    )
    return ListenerState(
        head["engine"], learnt, decoded, speech, half, _samples(resampling), segments
    )


def _samples(data: bytes) -> Pcm:
    return np.frombuffer(data, np.int16)

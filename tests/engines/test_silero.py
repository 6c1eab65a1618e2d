"""Silero voice activity detection."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stapes.audio.segments import WINDOW_SAMPLES, Look
from stapes.engines.port import Pcm
from stapes.engines.silero import (
    MOST_TOGETHER,
    SileroVoiceActivity,
    judge_together,
    load_session,
    most_together,
)

SILENCE = np.zeros(WINDOW_SAMPLES, np.float32)


def probabilities(speech: Pcm) -> list[float]:
    detector = SileroVoiceActivity()
    whole = len(speech) // WINDOW_SAMPLES * WINDOW_SAMPLES
    windows = (speech[:whole].astype(np.float32) / np.float32(32768)).reshape(-1, WINDOW_SAMPLES)
    return [detector(window) for window in windows]


def test_speech_and_silence(speech: Pcm) -> None:
    """Speech is likelier than not in speech, and unlikely in silence."""
    assert max(probabilities(speech)) > 0.9
    assert SileroVoiceActivity()(SILENCE) < 0.1


def test_streams_share_no_state(speech: Pcm) -> None:
    """A stream is judged alike whether or not another one is judged at the same time."""
    alone, other = probabilities(speech), SileroVoiceActivity()
    detector = SileroVoiceActivity()
    for index, expected in enumerate(alone):
        window = speech[index * WINDOW_SAMPLES : (index + 1) * WINDOW_SAMPLES]
        assert detector(window.astype(np.float32) / np.float32(32768)) == expected
        other(SILENCE)


@pytest.mark.parametrize("count", [1, 2, 5, MOST_TOGETHER + 3])
def test_streams_are_judged_together_as_alone(speech: Pcm, count: int) -> None:
    """To the last bit, whatever their number, and what they remember of it too."""
    windows = (speech[: 40 * WINDOW_SAMPLES].astype(np.float32) / 32768).reshape(40, -1)
    alone = [SileroVoiceActivity() for _ in range(count)]
    together = [SileroVoiceActivity() for _ in range(count)]
    for turn in range(20):
        heard = [windows[turn + stream] for stream in range(count)]
        looks = [Look(voice, window) for voice, window in zip(together, heard, strict=True)]
        expected = [voice(window) for voice, window in zip(alone, heard, strict=True)]
        assert judge_together(looks) == expected
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.memory, other.memory)


def test_no_more_are_judged_together_than_is_exact() -> None:
    """This machine has been tried out; one stream at a time is always exact."""
    assert 1 <= most_together() <= MOST_TOGETHER


def test_one_session() -> None:
    """A process has one session, whoever asks."""
    assert load_session() is load_session()


def test_fork(speech: Pcm) -> None:
    """A session that was made and used before a fork judges the same in the child."""
    expected = probabilities(speech)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(probabilities, [speech, speech]) == [expected, expected]


def test_nothing_reports_to_anybody(tmp_path: Path) -> None:
    """Loaded and used, it has started no thread (they would not outlive a fork) and left no file.

    ONNX Runtime from 1.29 on does both for its telemetry.
    """
    script = (
        "import numpy, psutil\n"
        "from stapes.engines.silero import SileroVoiceActivity\n"
        "SileroVoiceActivity()(numpy.zeros(512, numpy.float32))\n"
        "print(psutil.Process().num_threads())"
    )
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    environment = {**os.environ, **quiet, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    assert list(tmp_path.iterdir()) == []

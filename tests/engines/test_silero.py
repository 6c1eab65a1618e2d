"""Silero voice activity detection."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from stapes.audio.segments import WINDOW_SAMPLES
from stapes.engines.port import Pcm
from stapes.engines.silero import SileroVoiceActivity, load_session

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

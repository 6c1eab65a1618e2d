"""Silero voice activity detection."""

from __future__ import annotations

import multiprocessing

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

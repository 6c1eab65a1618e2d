"""What server and workers say to each other, cut in any way."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stapes.engines.hearing import ListenerParams
from stapes.engines.port import HearingParams
from stapes.protocol.events import Checkpoint
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.words import Word
from stapes.workers.frames import (
    FrameReader,
    Kind,
    Report,
    decode_opening,
    decode_report,
    encode,
    encode_opening,
    encode_report,
)

FRAMES = st.lists(
    st.tuples(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.binary(max_size=300)),
    max_size=6,
)


@given(FRAMES, st.integers(1, 50))
def test_frames_come_out_as_they_went_in(frames: list[tuple[Kind, int, bytes]], piece: int) -> None:
    """However the bytes are cut on their way."""
    data = b"".join(encode(*frame) for frame in frames)
    reader = FrameReader()
    read = [
        frame
        for start in range(0, len(data), piece)
        for frame in reader.feed(data[start : start + piece])
    ]
    assert read == frames


def test_parameters_and_reports_survive() -> None:
    """Both kinds of what was heard, and the account of the audio."""
    params = ListenerParams("audio/raw;rate=8000", HearingParams("en-US"), 100, 2000)
    checkpoint = Checkpoint(12, b"\0\xff")
    assert decode_opening(encode_opening(params)) == (params, None)
    assert decode_opening(encode_opening(params, checkpoint)) == (params, checkpoint)
    words = (Word("naïve", 10, 20, 0.25),)
    items = (PartialHeard(words, 5), UtteranceHeard(words, 300, 10, 20, 320))
    report = Report(items, is_answer=True, audio_bytes=640, speech_ms=20, is_pending=False)
    assert decode_report(encode_report(report)) == report
    report = replace(report, checkpoint=checkpoint)
    assert decode_report(encode_report(report)) == report

"""One stream's whole ear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stapes.engines.hearing import Listener, ListenerParams
from stapes.engines.pocketsphinx import PocketSphinxEngine
from stapes.engines.port import HearingParams, Pcm
from stapes.engines.scripted import ScriptedEngine
from stapes.errors import InvalidParameterError
from stapes.protocol.heard import Heard, PartialHeard, UtteranceHeard
from stapes.protocol.words import Word

WIDE = "audio/raw;rate=16000"
NARROW = "audio/raw;rate=8000"
PUNCTUATES = replace(ScriptedEngine().capabilities, punctuation=True)


def loud(window: NDArray[np.float32], /) -> float:
    """Whatever is loud is speech."""
    return float(np.abs(window).max() > 0.1)


def audio(*parts: tuple[str, int], rate_hz: int = 16000) -> bytes:
    """A constant where a part says speech, zeros where it says silence; lengths in ms."""
    levels = {"speech": 10000, "silence": 0}
    pieces = [np.full(ms * rate_hz // 1000, levels[kind], np.int16) for kind, ms in parts]
    return np.concatenate(pieces).tobytes()


def listener(
    *, encoding: str = WIDE, partial_ms: int = 0, final_ms: int = 2000, word_ms: int = 320
) -> Listener:
    params = ListenerParams(encoding, HearingParams(), partial_ms, final_ms)
    return Listener(ScriptedEngine(word_ms), params, loud)


def hear(ear: Listener, data: bytes, cuts: list[int] | None = None) -> list[Heard]:
    edges = sorted({0, len(data), *(cuts or range(0, len(data), 3200))})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    return [item for piece in pieces for item in ear.accept(piece)]


def text(item: Heard) -> str:
    return " ".join(word.text for word in item.words)


def finals(heard: list[Heard]) -> list[UtteranceHeard]:
    return [item for item in heard if isinstance(item, UtteranceHeard)]


def test_an_utterance() -> None:
    """Partials grow word by word; the final comes after 2 s of silence and covers the stream."""
    ear = listener()
    heard = hear(ear, audio(("silence", 1024), ("speech", 1024), ("silence", 3008)))
    *partials, final = heard
    assert all(isinstance(item, PartialHeard) for item in partials)
    assert [text(item) for item in partials][:3] == ["zero", "zero one", "zero one two"]
    assert isinstance(final, UtteranceHeard)
    assert final.through_ms == 2048 + 1952  # the first window's end after 2 s
    assert final.start_ms == final.words[0].start_ms == 1024 - 480  # the pre-roll
    assert final.end_ms == final.words[-1].end_ms
    assert final.trailing_silence_ms == final.through_ms - final.end_ms
    assert not ear.pending


class Full:
    """Sets a full stop behind every word that it is shown."""

    def fits(self, hearing: HearingParams) -> bool:
        return hearing.language == "en-US"

    def punctuate(self, words: Sequence[Word]) -> tuple[Word, ...]:
        return tuple(replace(word, text=f"{word.text}.") for word in words)


@pytest.mark.parametrize(
    ("language", "asked", "engine", "has_marks"),
    [
        ("en-US", True, ScriptedEngine(), True),
        ("en-US", False, ScriptedEngine(), False),
        ("fr-FR", True, ScriptedEngine(), False),
        ("en-US", True, ScriptedEngine(able=PUNCTUATES), False),
    ],
)
def test_marks_are_set_in_finals_alone(
    language: str, asked: bool, engine: ScriptedEngine, has_marks: bool
) -> None:
    """Where they are asked for, something knows the language, and the engine sets none itself."""
    params = ListenerParams(WIDE, HearingParams(language), 0, 2000, punctuates=asked)
    ear = Listener(engine, params, loud, punctuators=[Full()])
    *partials, final = hear(ear, audio(("speech", 1024), ("silence", 3008)))
    assert {"." in text(item) for item in partials} == {False}
    assert [word.text.endswith(".") for word in final.words] == [has_marks] * len(final.words)
    times = [(word.start_ms, word.end_ms) for word in partials[-1].words]
    assert [(word.start_ms, word.end_ms) for word in final.words][: len(times)] == times


def test_after_a_long_silence() -> None:
    """Silence before an utterance does not count against it, however long it was."""
    parts = (("silence", 9000), ("speech", 1024), ("silence", 2500))
    heard = hear(listener(), audio(*parts, *parts))
    assert [len(final.words) for final in finals(heard)] == [8, 8]


def test_speaking_and_pending() -> None:
    """The ear is pending from the begin of speech to the final, and speaking until the hangover."""
    ear = listener()
    assert (ear.speaking, ear.pending) == (False, False)
    hear(ear, audio(("speech", 1024)))
    assert (ear.speaking, ear.pending) == (True, True)
    hear(ear, audio(("silence", 1500)))
    assert (ear.speaking, ear.pending) == (False, True)
    hear(ear, audio(("silence", 700)))
    assert (ear.speaking, ear.pending) == (False, False)
    assert ear.heard_ms == 3224
    assert ear.speech_ms == 1024 + 1024


def test_segments_of_an_utterance() -> None:
    """A pause shorter than the final threshold leaves one utterance, its words in order."""
    ear = listener(final_ms=3000)
    heard = hear(ear, audio(("speech", 640), ("silence", 2000), ("speech", 640), ("silence", 3100)))
    (final,) = finals(heard)
    assert text(final).split() == [
        *("zero", "one", "two", "three", "four"),
        *("five", "six", "seven", "eight", "nine", "zero"),
    ]
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(final.words))


@pytest.mark.parametrize(("final_ms", "after_ms"), [(0, 160), (200, 160), (500, 480), (5000, 4960)])
def test_final_thresholds(final_ms: int, after_ms: int) -> None:
    """A final comes with the window that is nearest to its silence; 0 means 200 ms.

    One window of the silence has been taken for speech by then.
    """
    heard = hear(listener(final_ms=final_ms), audio(("speech", 1024), ("silence", 6000)))
    assert [final.through_ms for final in finals(heard)] == [1024 + after_ms]


def test_partials_after_silence() -> None:
    """With a partial threshold there is one partial, once that much silence is there."""
    heard = hear(listener(partial_ms=500), audio(("speech", 1024), ("silence", 3000)))
    first = heard[0]
    assert isinstance(first, PartialHeard)
    assert first.silence_ms == 512


def test_no_partials() -> None:
    """At the final threshold and above there are no partials."""
    heard = hear(listener(partial_ms=2000), audio(("speech", 2048), ("silence", 3000)))
    assert len(heard) == len(finals(heard)) == 1


def test_partials_change() -> None:
    """A partial is told only when its text differs from the one before."""
    heard = hear(listener(), audio(("speech", 9000), ("silence", 3000)))
    partials = [text(item) for item in heard if isinstance(item, PartialHeard)]
    assert all(before != after for before, after in pairwise(partials))


def test_a_minute_of_speech() -> None:
    """Speech without a pause is cut into utterances of 60 s, and no word is lost at the cut."""
    ear = listener()
    heard = finals(hear(ear, audio(("speech", 64_000)))) + finals(ear.flush())
    assert [final.through_ms for final in heard] == [60_000, 64_000]
    assert sum(len(final.words) for final in heard) == sum(
        length // 320 for length in (30_016, 29_984, 4000)
    )


def test_speech_without_words() -> None:
    """Noise that gives no words makes no final by silence."""
    ear = listener(word_ms=5000)
    assert hear(ear, audio(("speech", 320), ("silence", 3000))) == []
    assert not ear.pending


def test_flush_with_nothing_pending() -> None:
    """A flush is answered even when there is nothing to say: no words, at the stream's time."""
    ear = listener()
    assert ear.flush() == [UtteranceHeard((), 0, 0, 0, 0)]
    hear(ear, audio(("silence", 1000)))
    assert ear.flush() == [UtteranceHeard((), 0, 1000, 1000, 1000)]


def test_flush_in_speech() -> None:
    """A flush ends the utterance at once; the timeline goes on after it."""
    ear = listener()
    hear(ear, audio(("speech", 1000)))
    (first,) = ear.flush()
    assert (text(first), isinstance(first, UtteranceHeard)) == ("zero one two", True)
    assert not ear.pending
    hear(ear, audio(("speech", 1000)))
    (second,) = finals(ear.flush())
    assert text(second) == "three four five"
    assert 1000 <= second.start_ms <= second.end_ms <= second.through_ms == 2000


def test_flush_covers_what_the_resampler_holds() -> None:
    """At 8 kHz too, a flush covers the last sample."""
    ear = listener(encoding=NARROW, word_ms=100)
    hear(ear, audio(("speech", 1000), rate_hz=8000))
    (final,) = finals(ear.flush())
    assert (len(final.words), final.through_ms) == (10, 1000)


@pytest.mark.parametrize("codec", ["mulaw", "alaw"])
def test_codecs(codec: str) -> None:
    """G.711 is heard: loud bytes are speech."""
    ear = listener(encoding=f"{NARROW};codec={codec}")
    ear.accept(bytes([0x80, 0x00] * 8000) if codec == "mulaw" else bytes([0xAA, 0x2A] * 8000))
    assert ear.heard_ms == 2000


def test_unknown_encoding() -> None:
    """An encoding that is not of the wire is refused."""
    with pytest.raises(InvalidParameterError):
        listener(encoding="audio/mp3")


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(("speech", "silence")), st.integers(1, 3000)), min_size=1),
    st.lists(st.integers(1, 200_000), min_size=1, max_size=8),
    st.sampled_from((WIDE, NARROW)),
)
def test_any_cut(parts: list[tuple[str, int]], cuts: list[int], encoding: str) -> None:
    """What is heard does not depend on how the audio was cut, and its times lie in the audio."""
    data = audio(*parts)
    ears = [listener(encoding=encoding, final_ms=500) for _ in range(2)]
    whole = hear(ears[0], data, [len(data)]) + ears[0].flush()
    cut = hear(ears[1], data, [edge for edge in cuts if edge < len(data)] or None)
    assert cut + ears[1].flush() == whole
    words = [word for final in finals(whole) for word in final.words]
    times = [time for word in words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times)
    assert not times or times[-1] <= ears[0].heard_ms


def test_speech_is_heard(pocketsphinx: PocketSphinxEngine, speech: Pcm) -> None:
    """Real speech through the real ear: the sample's words, the same however it is cut."""
    heard = []
    for step in (len(speech) * 2, 641):
        ear = Listener(pocketsphinx, ListenerParams(WIDE, HearingParams(), 0, 2000))
        data = speech.tobytes()
        heard.append(hear(ear, data, list(range(step, len(data), step)) or [len(data)]))
        heard[-1] += ear.flush()
        ear.close()
    assert heard[0] == heard[1]
    assert text(heard[0][-1]) == "we will meet again on monday morning at nine o'clock"

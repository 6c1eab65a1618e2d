"""A listener that goes on from a checkpoint of another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from stapes import samples
from stapes.audio.encodings import ALAW, MULAW, Pcm
from stapes.engines.checkpoints import VERSION
from stapes.engines.hearing import Listener, ListenerParams
from stapes.engines.pocketsphinx import PocketSphinxEngine, PocketSphinxRecogniser
from stapes.engines.port import Engine, HearingParams
from stapes.engines.scripted import ScriptedEngine
from stapes.engines.sherpa import SherpaEngine
from stapes.engines.whisper import WhisperEngine
from stapes.errors import EngineError
from stapes.protocol.events import Checkpoint
from stapes.protocol.heard import UtteranceHeard
from tests.engines.models import DIGITS

WIDE = "audio/raw;rate=16000"
NARROW = "audio/raw;rate=8000"
ENCODINGS = (WIDE, NARROW, f"{NARROW};codec=mulaw", f"{NARROW};codec=alaw")
MOST_STATE_BYTES = 64 * 1024
SLICE_BYTES = 6400

Piece = tuple[str, float, float, float]
"""Sample, where it begins and how long it is (shares of 4 s), silence after it (s)."""

PIECES = st.lists(
    st.tuples(
        st.sampled_from(("digits", "short")),
        st.floats(0, 1),
        st.floats(0.1, 1),
        st.floats(0, 1.5),
    ),
    min_size=2,
    max_size=5,
)


@dataclass
class Heard:
    """What one listener said: its utterances, and the checkpoint behind each of some."""

    utterances: list[UtteranceHeard]
    checkpoints: list[tuple[int, Checkpoint]]  # how many utterances are before it


@cache
def recording(name: str) -> Pcm:
    pcm, _ = soundfile.read(samples.load(name).path, dtype="int16")
    return np.asarray(pcm, np.int16)


def joined(pieces: Sequence[Piece]) -> Pcm:
    parts = []
    for name, begin, length, silence_s in pieces:
        start = int(begin * 2 * 16000)
        parts.append(recording(name)[start : start + int(length * 4 * 16000)])
        parts.append(np.zeros(int(silence_s * 16000), np.int16))
    return np.concatenate(parts)


def encoded(pcm: Pcm, encoding: str) -> bytes:
    if encoding == WIDE:
        return pcm.tobytes()
    narrow = pcm[::2]
    for codec, table in (("mulaw", MULAW), ("alaw", ALAW)):
        if codec in encoding:
            order = np.argsort(table, kind="stable")
            at = np.searchsorted(table[order], narrow).clip(0, 255)
            return bytes(order[at].astype(np.uint8))
    return narrow.tobytes()


def cut(audio: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """The audio in pieces of these sizes over and over, none larger than a worker takes."""
    at = turn = 0
    while at < len(audio):
        size = min(sizes[turn % len(sizes)], SLICE_BYTES)
        yield audio[at : at + size]
        at, turn = at + size, turn + 1


def hear(listener: Listener, pieces: Iterator[bytes]) -> Heard:
    heard = Heard([], [])
    for count, piece in enumerate(pieces, start=1):
        items = listener.accept(piece)
        ended = [item for item in items if isinstance(item, UtteranceHeard)]
        heard.utterances += ended
        if ended or (count % 7 == 0 and not listener.pending):
            heard.checkpoints.append((len(heard.utterances), listener.checkpoint()))
    heard.utterances += [item for item in listener.flush() if isinstance(item, UtteranceHeard)]
    listener.close()
    return heard


def check(
    engine: Engine,
    encoding: str,
    audio: bytes,
    final_ms: int,
    sizes: Sequence[int],
    other_sizes: Sequence[int],
) -> int:
    """Restore at every checkpoint; each goes on as the first did. How many there were."""
    able = engine.capabilities
    hearing = HearingParams(able.languages[0], able.model_type, able.model_domains[0])
    params = ListenerParams(encoding, hearing, 0, final_ms)
    whole = hear(Listener(engine, params), cut(audio, sizes))
    for before, checkpoint in whole.checkpoints:
        assert len(checkpoint.state) < MOST_STATE_BYTES
        rest = audio[checkpoint.audio_bytes :]
        again = hear(Listener(engine, params, checkpoint=checkpoint), cut(rest, other_sizes))
        assert again.utterances == whole.utterances[before:]
    return len(whole.checkpoints)


SIZES = st.lists(st.integers(1, 2 * SLICE_BYTES).map(abs), min_size=1, max_size=4).filter(
    lambda sizes: sum(sizes) > 400 * len(sizes)
)
FINALS_MS = st.sampled_from((0, 300, 700))


@settings(max_examples=25, deadline=None)
@given(PIECES, st.sampled_from(ENCODINGS), FINALS_MS, SIZES, SIZES)
def test_scripted(
    pieces: list[Piece], encoding: str, final_ms: int, sizes: list[int], others: list[int]
) -> None:
    """Whatever is said, however it is cut: the same words, times and confidences follow."""
    check(ScriptedEngine(), encoding, encoded(joined(pieces), encoding), final_ms, sizes, others)


@pytest.fixture(scope="module")
def sherpa() -> SherpaEngine:
    return SherpaEngine(DIGITS)


@settings(max_examples=10, deadline=None)
@given(PIECES, st.sampled_from(ENCODINGS), FINALS_MS, SIZES, SIZES)
def test_sherpa(
    sherpa: SherpaEngine,
    pieces: list[Piece],
    encoding: str,
    final_ms: int,
    sizes: list[int],
    others: list[int],
) -> None:
    """Each segment is a stream of its own to the model."""
    check(sherpa, encoding, encoded(joined(pieces), encoding), final_ms, sizes, others)


@pytest.mark.parametrize(("encoding", "final_ms"), [(WIDE, 300), (ENCODINGS[2], 700)])
def test_pocketsphinx(encoding: str, final_ms: int) -> None:
    """The mean of the cepstra goes on as it was, before it counts as known and after."""
    pieces = [
        ("short", 0.2, 0.4, 0.8),
        ("digits", 0.1, 0.7, 0.8),
        ("short", 0.0, 0.8, 0.4),
        ("digits", 0.5, 0.5, 0.9),
    ]
    audio = encoded(joined(pieces), encoding)
    engine = _Apart()
    assert check(engine, encoding, audio, final_ms, [SLICE_BYTES], [1111, 3200]) >= 3


class _Apart(PocketSphinxEngine):
    """Opens each recogniser in a decoder of its own, as each worker has one."""

    def open(self, params: HearingParams, learnt: bytes = b"") -> PocketSphinxRecogniser:
        return PocketSphinxEngine().open(params, learnt)


def test_whisper(tiny_whisper: Path) -> None:
    """The language that was last detected is known again."""
    engine = WhisperEngine(tiny_whisper)
    recogniser = engine.open(HearingParams("auto", "WHISPER"), b"uk")
    assert recogniser.learnt() == b"uk"


@dataclass
class Asked:
    """What a listener says when it is asked for finals at some bytes, as a worker asks it."""

    utterances: list[UtteranceHeard]
    checkpoints: list[tuple[int, int, Checkpoint]]  # utterances and requests that are before it

    def hear(self, listener: Listener, audio: bytes, begin: int, asked: Sequence[int]) -> Asked:
        """Listen from a byte on; a request for a final is at the very end, too."""
        at = begin
        for answered, end in enumerate((*asked, len(audio))):
            for piece in cut(audio[at:end], [SLICE_BYTES]):
                self._note(listener, listener.accept(piece), answered)
            self._note(listener, listener.flush(), answered + 1)
            at = end
        listener.close()
        return self

    def _note(self, listener: Listener, items: Sequence[object], answered: int) -> None:
        ended = [item for item in items if isinstance(item, UtteranceHeard)]
        self.utterances += ended
        if ended:
            self.checkpoints.append((len(self.utterances), answered, listener.checkpoint()))


@pytest.mark.parametrize(
    ("engine", "encoding"),
    [*(("scripted", each) for each in ENCODINGS), ("pocketsphinx", ENCODINGS[2])],
)
def test_a_request_for_a_final_leaves_a_checkpoint(engine: str, encoding: str) -> None:
    """In the middle of a word, a window or a silence: the same follows it as would have."""
    pieces = [("short", 0.2, 0.9, 0.9), ("digits", 0.1, 0.9, 1.3), ("short", 0.5, 0.4, 0.2)]
    audio = encoded(joined(pieces), encoding)
    asked = [int(len(audio) * share) // 2 * 2 for share in (0.11, 0.12, 0.43, 0.5, 0.77)]
    params = ListenerParams(encoding, HearingParams(), 0, 700)
    used = _Apart() if engine == "pocketsphinx" else ScriptedEngine()
    whole = Asked([], []).hear(Listener(used, params), audio, 0, asked)
    assert len(whole.checkpoints) > len(asked)
    for before, answered, checkpoint in whole.checkpoints[:-1]:
        again = Listener(used, params, checkpoint=checkpoint)
        rest = Asked([], []).hear(again, audio, checkpoint.audio_bytes, asked[answered:])
        assert rest.utterances == whole.utterances[before:]


def test_unbroken_speech_leaves_checkpoints() -> None:
    """An utterance that is cut at its longest has one behind it, though speech goes on at once."""
    engine, params = ScriptedEngine(), ListenerParams(WIDE, HearingParams(), 0, 5000)
    audio = np.full(16000 * 130, 8000, np.int16).tobytes()

    def listener(checkpoint: Checkpoint | None = None) -> Listener:
        return Listener(engine, params, lambda _window: 1.0, checkpoint)

    whole = hear(listener(), cut(audio, [SLICE_BYTES - 2]))
    assert len(whole.utterances) == 3
    assert [before for before, _ in whole.checkpoints] == [1, 2]
    for before, checkpoint in whole.checkpoints:
        rest = cut(audio[checkpoint.audio_bytes :], [320])
        assert hear(listener(checkpoint), rest).utterances == whole.utterances[before:]


def test_where_the_last_checkpoint_is() -> None:
    """Here while nothing is pending; else where the utterance before ended."""
    listener = Listener(ScriptedEngine(), ListenerParams(WIDE, HearingParams(), 0, 700))
    listener.accept(bytes(3200))
    assert listener.checkpoint_byte == listener.checkpoint().audio_bytes == 3200
    while not listener.pending:
        listener.accept(recording("digits")[16000:19200].tobytes())
    assert listener.checkpoint_byte == listener.checkpoint().audio_bytes == 3200


def test_half_a_sample_is_kept() -> None:
    """It waits for its other half in the next listener."""
    engine, params = ScriptedEngine(), ListenerParams(WIDE, HearingParams(), 0, 700)
    audio = bytes(1001) + joined([("digits", 0, 1, 0.5)]).tobytes()
    first = Listener(engine, params)
    first.accept(audio[:1001])
    rest = Listener(engine, params, checkpoint=first.checkpoint())
    expected = hear(Listener(engine, params), cut(audio, [3200])).utterances
    assert hear(rest, cut(audio[1001:], [777])).utterances == expected


def test_of_another_engine() -> None:
    """What was learnt is of no use; the timeline goes on all the same."""
    listener = Listener(ScriptedEngine(), ListenerParams(WIDE, HearingParams(), 0, 700))
    listener.accept(bytes(32000))
    params = ListenerParams(WIDE, HearingParams(), 0, 700)
    other = Listener(PocketSphinxEngine(), params, checkpoint=listener.checkpoint())
    assert other.heard_ms == 1000
    other.close()


@pytest.mark.parametrize("state", [b"nonsense", b'{"version":1}\n', b"[]\n", b"\xff\n"])
def test_what_is_no_state(state: bytes) -> None:
    """It is refused, not guessed at."""
    params = ListenerParams(WIDE, HearingParams(), 0, 700)
    with pytest.raises(EngineError, match="checkpoint"):
        Listener(ScriptedEngine(), params, checkpoint=Checkpoint(0, state))


def test_a_state_of_another_version() -> None:
    """It is refused with both versions."""
    params = ListenerParams(WIDE, HearingParams(), 0, 700)
    made = Listener(ScriptedEngine(), params).checkpoint()
    state = made.state.replace(b'"version": 1', b'"version": 99', 1)
    with pytest.raises(EngineError, match=f"version 99, not {VERSION}"):
        Listener(ScriptedEngine(), params, checkpoint=Checkpoint(0, state))

"""Whisper, with models of random weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from faster_whisper import WhisperModel

from stapes.engines import whisper_model
from stapes.engines.hearing import Listener, ListenerParams
from stapes.engines.port import HearingParams, Pcm
from stapes.engines.whisper import CUT_FROM_SAMPLES, WINDOW_SAMPLES, WhisperEngine
from stapes.errors import EngineError
from stapes.protocol.heard import UtteranceHeard
from stapes.protocol.params import WHISPER_LANGUAGES
from stapes.protocol.words import Word
from tools import make_tiny_whisper
from tools.make_tiny_whisper import BYTES, PROMPT, WORDS


@pytest.fixture(scope="module")
def engine(tiny_whisper: Path) -> WhisperEngine:
    return WhisperEngine(tiny_whisper)


def words(engine: WhisperEngine, pcm: Pcm, language: str = "en") -> tuple[Word, ...]:
    recogniser = engine.open(HearingParams(language, "WHISPER"))
    assert recogniser.accept(pcm) == ()
    (final,) = recogniser.drain()
    return final.words


def test_what_it_says_of_itself(engine: WhisperEngine) -> None:
    """Finals only, punctuated, in the languages of the wire and in any that it detects."""
    found = engine.capabilities
    assert not found.streaming
    assert not found.partials
    assert found.punctuation
    assert found.languages == WHISPER_LANGUAGES


def test_words(engine: WhisperEngine, speech: Pcm) -> None:
    """Words have times, confidences and the marks that follow them."""
    heard = words(engine, speech)
    assert len(heard) >= 8
    assert any(word.text.endswith(",") for word in heard)
    assert all(word.text.strip(",.").isalpha() for word in heard)
    assert heard != words(engine, speech[:16000])


def test_language(engine: WhisperEngine, speech: Pcm) -> None:
    """A locale stands for its language, and ``auto`` for the one that is spoken."""
    assert words(engine, speech, "auto") == words(engine, speech, "en-GB") == words(engine, speech)
    with pytest.raises(EngineError, match="xx"):
        engine.open(HearingParams("xx", "WHISPER"))


def test_every_language_can_be_asked_for(engine: WhisperEngine, speech: Pcm) -> None:
    """Javanese too, for which the models have another code."""
    assert words(engine, speech, "jv")


def test_a_model_of_english_alone(tmp_path: Path) -> None:
    """It does not say that it could tell which language is spoken."""
    model = WhisperEngine(make_tiny_whisper.make(tmp_path / "model", knows_languages=False))
    assert model.capabilities.languages == ("en",)
    with pytest.raises(EngineError, match="auto"):
        model.open(HearingParams("auto", "WHISPER"))


def test_streams_side_by_side(engine: WhisperEngine, speech: Pcm) -> None:
    """Two recognisers of one model hear what each would hear alone."""
    first, second = (engine.open(HearingParams("en", "WHISPER")) for _ in range(2))
    for one, other in zip(np.split(speech, 20), np.split(speech[::-1], 20), strict=True):
        first.accept(one)
        second.accept(other)
    finals = [final.words for each in (first, second) for final in each.drain()]
    assert finals == [words(engine, speech), words(engine, speech[::-1])]
    assert finals[0] != finals[1]


def test_longer_than_a_window(engine: WhisperEngine, speech: Pcm) -> None:
    """A segment of any length is heard in windows, and the times are those of the segment."""
    long = np.tile(speech, 2 * WINDOW_SAMPLES // len(speech) + 1)
    recogniser = engine.open(HearingParams("en", "WHISPER"))
    for piece in np.array_split(long, 500):
        recogniser.accept(piece)
    (final,) = recogniser.drain()
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(final.words))
    assert final.words[0].start_ms < 5000
    assert len(long) / 16 - 10_000 < final.words[-1].end_ms <= len(long) / 16


def test_a_window_is_cut_where_it_is_quiet(
    engine: WhisperEngine, speech: Pcm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sample is lost, none is heard twice, and the cut is in the pause."""
    heard: list[Pcm] = []

    def hear(_model: object, pcm: Pcm, _language: str) -> list[Word]:
        heard.append(pcm)
        return []

    monkeypatch.setattr(whisper_model.LoadedWhisper, "hear", hear)
    loud = np.tile(speech, WINDOW_SAMPLES // len(speech) + 2)[: WINDOW_SAMPLES + 512]
    loud = np.where(np.abs(loud) < 100, 100, loud).astype(np.int16)
    pause = CUT_FROM_SAMPLES + 32000
    loud[pause : pause + 3200] = 0
    words(engine, loud)
    first, second = heard
    assert pause <= len(first) <= pause + 3200
    assert np.array_equal(np.concatenate((first, second)), loud)


def test_nothing_is_heard_in_nothing(engine: WhisperEngine) -> None:
    """Digital silence, with and without a bit of dither, is not even decoded."""
    dither = np.random.default_rng(0).integers(-8, 8, 32000).astype(np.int16)
    assert words(engine, np.zeros(32000, np.int16)) == words(engine, dither) == ()


NOISES = {
    "noise": np.random.default_rng(0).normal(0, 2000, 48000).astype(np.int16),
    "hum": (4000 * np.sin(np.arange(48000) * 2 * np.pi * 50 / 16000)).astype(np.int16),
}


def test_an_ended_segment_is_no_partial(engine: WhisperEngine, speech: Pcm) -> None:
    """Its words are known before the utterance is over, and wait for the final."""
    params = ListenerParams("audio/raw;rate=16000", HearingParams("en", "WHISPER"), 0, 2000)
    listener = Listener(engine, params)
    audio = np.concatenate((speech, np.zeros(48000, np.int16)))
    heard = [each for piece in np.split(audio, 20) for each in listener.accept(piece.tobytes())]
    (final,) = heard
    assert isinstance(final, UtteranceHeard)
    assert final.words


@pytest.mark.parametrize("kind", sorted(NOISES))
def test_the_ear_keeps_noises_from_it(engine: WhisperEngine, kind: str) -> None:
    """Of what is no speech nothing reaches the model, which would say something of it."""
    assert words(engine, NOISES[kind])
    params = ListenerParams("audio/raw;rate=16000", HearingParams("auto", "WHISPER"), 0, 500)
    listener = Listener(engine, params)
    assert listener.accept(NOISES[kind].tobytes()) == []
    (final,) = listener.flush()
    assert (final.words, listener.speech_ms) == ((), 0)


@pytest.mark.parametrize("kind", sorted(NOISES))
@pytest.mark.parametrize(
    ("fault", "is_faulty"),
    [
        ({}, False),
        ({"sharpness": 0.05}, True),
        ({"sharpness": 0.5, "hears_speech": False}, True),
        ({"loops": True, "says": {PROMPT: WORDS[7]}}, True),
    ],
    ids=["none", "unsure", "no speech", "loop"],
)
def test_what_was_made_up_is_not_passed_on(
    tmp_path: Path, kind: str, fault: dict[str, object], is_faulty: bool
) -> None:
    """Of a model that guesses, hears no speech or says one word for ever, nothing is believed."""
    model = WhisperEngine(make_tiny_whisper.make(tmp_path / "model", **fault))  # type: ignore[arg-type]
    assert (words(model, NOISES[kind]) == ()) is is_faulty


def test_marks_alone(tmp_path: Path, speech: Pcm) -> None:
    """A model that says nothing but marks breaks nothing."""
    says = {PROMPT: BYTES.index(".")}
    model = WhisperEngine(make_tiny_whisper.make(tmp_path / "model", loops=True, says=says))
    assert all(word.start_ms <= word.end_ms for word in words(model, speech))


@pytest.mark.parametrize("name", whisper_model.FILES)
def test_an_incomplete_folder(tiny_whisper: Path, tmp_path: Path, name: str) -> None:
    """It is named, and nothing is fetched in its place."""
    for file in tiny_whisper.iterdir():
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(EngineError, match=name):
        WhisperEngine(tmp_path)


def test_a_broken_model(tiny_whisper: Path, tmp_path: Path) -> None:
    """It cannot be loaded, and the error says which."""
    for file in tiny_whisper.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:1000])
    with pytest.raises(EngineError, match=str(tmp_path)):
        WhisperEngine(tmp_path)


def test_fork(tiny_whisper: Path, speech: Pcm) -> None:
    """An engine that was made before a fork hears the same in the child as in the parent."""
    engine = WhisperEngine(tiny_whisper)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os.write(writing, repr(words(engine, speech)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == repr(words(engine, speech))
    assert os.waitpid(child, 0)[1] == 0


def test_no_network(tiny_whisper: Path) -> None:
    """From import to words no socket is opened and no name is looked up."""
    script = (
        "import sys, numpy\n"
        "events = []\n"
        "sys.addaudithook(lambda name, _: events.append(name) if 'socket.' in name else None)\n"
        "from pathlib import Path\n"
        "from stapes.engines.port import HearingParams\n"
        "from stapes.engines.whisper import WhisperEngine\n"
        f"recogniser = WhisperEngine(Path({str(tiny_whisper)!r})).open(HearingParams('auto'))\n"
        "recogniser.accept(numpy.arange(16000, dtype=numpy.int16))\n"
        "assert recogniser.drain()[0].words\n"
        "print([name for name in events if name in ('socket.connect', 'socket.getaddrinfo')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unclear_language(tiny_whisper: Path, tmp_path: Path, speech: Pcm) -> None:
    """It does not count; one that is clear does."""
    unsure = make_tiny_whisper.make(tmp_path / "model", sharpness=0.05)
    assert whisper_model.LoadedWhisper(unsure).detect(speech) is None
    assert whisper_model.LoadedWhisper(tiny_whisper).detect(speech) == "en"


def test_one_encoding(tiny_whisper: Path, speech: Pcm, monkeypatch: pytest.MonkeyPatch) -> None:
    """To detect the language costs no encoding beside that of the first window."""
    encoded: list[object] = []
    plain = WhisperModel.encode

    def encode(model: WhisperModel, features: object) -> object:
        encoded.append(features)
        return plain(model, features)

    monkeypatch.setattr(WhisperModel, "encode", encode)
    model = whisper_model.LoadedWhisper(tiny_whisper)
    model.hear(speech, "en")
    windows = len(encoded)
    encoded.clear()
    model = whisper_model.LoadedWhisper(tiny_whisper)
    model.detect(speech)
    model.hear(speech, "en")
    assert len(encoded) == windows

"""PocketSphinx behind the engine port: English, live, with no download.

The decoder takes about 125 MB; loaded once before a fork, its pages are shared. It decodes with
the interpreter lock held and keeps one utterance at a time, so a process serves one stream.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from stapes.engines.port import Capabilities, HearingParams, Pcm, Segment
from stapes.errors import EngineError
from stapes.protocol.words import Word

RATE_HZ = 16000
FRAME_MS = 10
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000

PRIME_SAMPLES = 4 * RATE_HZ
"""Speech after which the cepstral mean of a stream is taken as known."""

PAUSE_SHARE = 0.1
"""Of the loudest sample: what stays below it is taken for a pause."""

USUAL_MEANS = (
    (49.0, 0.0, 0.0, 6.0, -6.0, -2.0, -7.0, -2.0, -3.0, 0.0, 0.0, -1.0, 0.0),
    (47.0, 34.0, -33.0, 41.0, -16.0, -3.0, 14.0, -20.0, 19.0, -11.0, -3.0, 6.0, -14.0),
)
"""About the cepstral means of recordings of speech: of full band, and of telephone band."""

USUAL_FRAMES = 40
"""What the usual mean weighs against the frames of the stream."""

MOST_FRAMES = 3000
"""What the past weighs at most, so that a change of microphone is learnt."""

SEARCH = {"maxhmmpf": 7000, "maxwpf": 50}
"""Models and words searched in a frame at most; the presets are 30,000 and no limit. It saves a
third of the time, and the words are as good as with the presets (`scripts/bench hearing`)."""

ONE_PASS, TWO_PASSES = "one pass", "two passes"
"""Searches over the same model. The second pass takes about a twentieth of the length of a segment
when it ends, and of a hundred words it gets one more right."""

_SURVIVAL = (
    *((1500, 0.77), (700, 0.75), (500, 0.72), (400, 0.69)),
    *((300, 0.62), (200, 0.58), (150, 0.46), (0, 0.30)),
)  # behind at least so many ms: share of the words that stay
_FILLER = re.compile(r"[<\[+]")
_VARIANT = re.compile(r"\(\d+\)$")
_SET_FRAMES = 500  # what a mean that is set weighs against the frames that follow it

_CAPABILITIES = Capabilities(
    name="pocketsphinx",
    model_type="ORACLE",
    model_domains=("GENERIC",),
    languages=("en-US",),
    sample_rate_hz=RATE_HZ,
    streaming=True,
    partials=True,
    word_times=True,
    confidence=True,
    punctuation=False,
    bias_phrases=False,
    streams_per_process=1,
    real_time_factor=0.35,
    holds_interpreter_lock=True,
)


class CepstralMean:
    """The mean of a stream's cepstra as known so far, measured by what the decoder reports.

    The decoder's own live mean starts from the built-in one with the weight of five seconds, and
    so stays wrong for long. What it reports is ``(set * 500 + sum of frames) / (500 + frames)``,
    out of which the frames' own sum can be had.
    """

    def __init__(self, frames: float = 0.0, total: Sequence[float] = (0.0,) * 13) -> None:
        self._frames = frames
        self._total = list(total)  # so few numbers are added sooner than arrays are made of them
        self.values = self._mixed()

    def __str__(self) -> str:
        """As the decoder takes it: the values with commas between."""
        return ",".join(f"{value:.5f}" for value in self.values)

    def learn(self, reported: str, pcm: Pcm) -> None:
        """Take in what the decoder reports after ``pcm``, when ``values`` were set before it."""
        frames = _sounding_frames(pcm)
        fade = min(1.0, MOST_FRAMES / (self._frames + frames + 1))
        means = map(float, reported.split(","))
        self._total = [
            (total + (mean * (_SET_FRAMES + frames) - value * _SET_FRAMES)) * fade
            for total, mean, value in zip(self._total, means, self.values, strict=True)
        ]
        self._frames = (self._frames + frames) * fade
        self.values = self._mixed()

    @property
    def known(self) -> tuple[float, list[float]]:
        """The frames that were counted, and their sum: what another one is made with."""
        return self._frames, self._total

    def _mixed(self) -> list[float]:
        weight = self._frames + USUAL_FRAMES
        return [
            (total + usual * USUAL_FRAMES) / weight
            for total, usual in zip(self._total, self._usual(), strict=True)
        ]

    def _usual(self) -> Sequence[float]:
        """The usual mean that is nearer; the lowest cepstra tell the bands apart."""
        found = [total / max(self._frames, 1.0) for total in self._total[1:4]]

        def distance(usual: Sequence[float]) -> float:
            return sum(abs(one - other) for one, other in zip(usual[1:4], found, strict=True))

        return min(USUAL_MEANS, key=distance)


def _sounding_frames(pcm: Pcm) -> float:
    """Frames that count: the decoder leaves digital silence out of its mean."""
    frames = len(pcm) // FRAME_SAMPLES
    if frames == 0:
        return len(pcm) / FRAME_SAMPLES * bool(pcm.any())
    sounding = pcm[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES).any(axis=1)
    return len(pcm) / FRAME_SAMPLES * int(np.count_nonzero(sounding)) / frames


class PocketSphinxEngine:
    """The English model that comes with PocketSphinx, loaded once."""

    def __init__(self) -> None:
        """Load the model. Raises `EngineError`."""
        try:
            self._decoder = _load()
        except Exception as error:
            raise EngineError(f"PocketSphinx could not be loaded: {error}") from error
        self._open: PocketSphinxRecogniser | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""
        return _CAPABILITIES

    def open(self, params: HearingParams, learnt: bytes = b"") -> PocketSphinxRecogniser:
        """Open the recogniser of one stream. Raises `EngineError` while another one is open."""
        if params.language.casefold() not in {name.casefold() for name in _CAPABILITIES.languages}:
            raise EngineError(f"PocketSphinx has no model for {params.language}")
        if self._open is not None and not self._open.closed:
            raise EngineError("PocketSphinx serves one stream a process, and one is open")
        self._decoder.activate_search(TWO_PASSES if params.spare_ms else ONE_PASS)
        self._decoder.reinit_feat()  # nothing of the stream before stays in the front end
        self._open = PocketSphinxRecogniser(self._decoder, params.spare_ms, learnt)
        return self._open


def _load() -> Any:
    """The decoder with both searches over one language model.

    The search with two passes has to come last: each sets up what they share, and the second pass
    needs the features to be kept. A model that a search gives back is wrapped once more, and slow.
    """
    from pocketsphinx import Decoder, NGramModel, get_model_path

    decoder = Decoder(samprate=RATE_HZ, cmn="live", loglevel="FATAL", lm=None, **SEARCH)
    path = get_model_path("en-us/en-us.lm.bin")
    language_model = NGramModel(decoder.config, decoder.logmath, path)
    for name, has_two_passes in ((ONE_PASS, False), (TWO_PASSES, True)):
        decoder.config["fwdflat"] = has_two_passes
        decoder.add_lm(name, language_model)
    return decoder


class PocketSphinxRecogniser:
    """One stream's decoder.

    Recognition depends much on the mean of the cepstra that is taken off every frame, and the
    built-in one fits few microphones. So the mean of the stream is measured as it goes on, and
    until `PRIME_SAMPLES` of speech have been heard, a segment is decoded once more with the mean
    that was found by then: when that much is full, or when the segment ends before and there is
    time for it until its final is due. Where finals are due at once, there is no time for the
    second pass of the search either.
    """

    def __init__(self, decoder: Any, spare_ms: int, learnt: bytes = b"") -> None:
        self.closed = False
        self._spare_samples = int(spare_ms * RATE_HZ / 1000 / _CAPABILITIES.real_time_factor)
        self._decoder = decoder
        self._samples = 0
        self._held: list[Pcm] | None = []
        self._heard = 0
        self._mean = CepstralMean()
        if learnt:
            known = json.loads(learnt)
            self._mean = CepstralMean(*known["mean"])
            self._heard = known["heard"]
            self._held = [] if known["is_priming"] else None
        decoder.set_cmn(str(self._mean))
        self._text = ""

    def accept(self, pcm: Pcm) -> Sequence[Segment]:
        """Decode; a partial when its words changed. Raises `EngineError`."""
        if self.closed:
            raise EngineError("the recogniser is closed")
        if len(pcm) == 0:
            return ()
        if self._samples == 0:
            self._decoder.start_utt()
        self._samples += len(pcm)
        self._heard += len(pcm)
        self._decoder.process_raw(pcm.tobytes())
        self._adapt(pcm)
        if self._held is not None:
            self._held.append(pcm)
            if self._heard >= PRIME_SAMPLES and self._is_loud(pcm):
                self._prime()
                self._held = None
        return self._partial()

    def drain(self) -> Sequence[Segment]:
        """End the segment and return its final words."""
        if self._samples == 0:
            return ()
        if self._held is not None:
            if self._samples <= self._spare_samples:
                self._prime()
            self._held = []
        self._decoder.end_utt()
        words = self._words(final=True)
        # The front end tracks noise too. It begins anew with each segment, so that what `learnt`
        # tells is all there is to know of the past; that takes a tenth of a millisecond.
        self._decoder.reinit_feat()
        self._decoder.set_cmn(str(self._mean))
        self._samples = 0
        self._text = ""
        return (Segment(words, is_final=True),)

    def learnt(self) -> bytes:
        """The mean of the stream, how much speech it is of, and whether it counts as known."""
        is_priming = self._held is not None
        known = {"mean": self._mean.known, "heard": self._heard, "is_priming": is_priming}
        return json.dumps(known).encode()

    def close(self) -> None:
        """End the open utterance, so that the decoder is free for the next stream."""
        if not self.closed and self._samples:
            self._decoder.end_utt()
        self.closed = True

    def _is_loud(self, pcm: Pcm) -> bool:
        """Whether it is no pause: where speech may just have ended, nothing may take long."""
        loudest = max(_peak(held) for held in self._held or [pcm])
        return _peak(pcm) >= PAUSE_SHARE * loudest

    def _adapt(self, pcm: Pcm) -> None:
        self._mean.learn(self._decoder.get_cmn(True), pcm)
        self._decoder.set_cmn(str(self._mean))

    def _prime(self) -> None:
        """Decode the segment so far again, normalised with the mean of all speech so far."""
        audio = np.concatenate(self._held or [])
        self._decoder.end_utt()
        self._decoder.set_cmn(str(self._mean))
        self._decoder.start_utt()
        self._decoder.process_raw(audio.tobytes())
        self._decoder.set_cmn(str(self._mean))

    def _partial(self) -> Sequence[Segment]:
        found = self._decoder.hyp()  # much cheaper than its words, which change seldom
        text = found.hypstr if found else ""
        if text == self._text:
            return ()
        self._text = text
        return (Segment(self._words(final=False), is_final=False),)

    def _words(self, *, final: bool) -> tuple[Word, ...]:
        end_ms = self._samples * 1000 // RATE_HZ
        return tuple(
            _word(segment, end_ms, final)
            for segment in self._decoder.seg() or ()
            if not _FILLER.match(segment.word)
        )


def _peak(pcm: Pcm) -> int:
    return max(int(pcm.max()), -int(pcm.min()))


def _word(segment: Any, end_ms: int, final: bool) -> Word:
    start = min(segment.start_frame * FRAME_MS, end_ms)
    end = min((segment.end_frame + 1) * FRAME_MS, end_ms)
    text = _VARIANT.sub("", segment.word)
    if final:
        return Word(text, start, end, round(min(max(segment.prob, 0.0), 1.0), 3))
    return Word(text, start, end, survival(end_ms - end))


def survival(behind_ms: int) -> float:
    """Probability that a word of a partial is in the final, by how long before now it ended.

    Partials have no posteriors of their own. These are shares counted over read speech
    (LJ Speech and LibriSpeech test-other, each weighing the same).
    """
    return next(share for from_ms, share in _SURVIVAL if behind_ms >= from_ms)

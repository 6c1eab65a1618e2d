"""The session: every phase with every event, and the contract of the socket rule by rule."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import get_args

import pytest

from stapes.errors import (
    ApiError,
    AuthenticationTimeoutError,
    GoingAwayError,
    InternalServerError,
    ServiceUnavailableError,
    SessionIdleError,
    SessionLimitError,
    TokenExpiredError,
    TokenRevokedError,
)
from stapes.protocol.effects import (
    Authenticate,
    Close,
    Effect,
    FeedRecogniser,
    Finish,
    FlushRecogniser,
    PauseReading,
    ResumeReading,
    SaveFinal,
    Send,
    TakeRecogniser,
)
from stapes.protocol.events import (
    AudioArrived,
    AudioHeard,
    Authenticated,
    AuthenticationRefused,
    DrainRequested,
    Event,
    Moved,
    PartialArrived,
    PeerAnswered,
    PeerClosed,
    RecogniserFailed,
    RecogniserRefused,
    RecogniserTaken,
    Resumed,
    StopRequested,
    TextArrived,
    TimeElapsed,
    TokenOffered,
    UtteranceArrived,
)
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.messages import AckAudio, Connect, ErrorMessage, Result, Transcription
from stapes.protocol.session import TRANSITIONS, start, step
from stapes.protocol.state import Phase, Rules, Session
from stapes.protocol.words import Word

AUTHENTICATION = json.dumps(
    {"authenticationType": "TOKEN", "compartmentId": "c", "token": "header.claims.signature"}
)
FINAL = TextArrived('{"event":"SEND_FINAL_RESULT"}')
SECOND = b"\0" * 32_000  # of audio at 16 kHz


@dataclass
class Driven:
    """A session with its clock, and everything it wanted done."""

    session: Session
    now_ms: int = 0
    effects: list[Effect] = field(default_factory=list)

    def take(self, *events: Event, after_ms: int = 0) -> list[Effect]:
        """Take events; return their effects alone."""
        self.now_ms += after_ms
        begin = len(self.effects)
        for event in events:
            self.session, effects = step(self.session, event, self.now_ms)
            self.effects += effects
        return self.effects[begin:]


def opened(query: str = "", **rules: int) -> Driven:
    return Driven(start(query=query, content_type=None, now_ms=0, rules=Rules(**rules)))


def streaming(query: str = "", **rules: int) -> Driven:
    driven = opened(query, **rules)
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s"), RecogniserTaken())
    assert driven.session.phase is Phase.STREAMING
    driven.effects.clear()
    return driven


def partial(*texts: str, silence_ms: int = 0, confidence: float = 0.9) -> PartialArrived:
    words = tuple(
        Word(text, index * 100, index * 100 + 90, confidence) for index, text in enumerate(texts)
    )
    return PartialArrived(PartialHeard(words, silence_ms))


def utterance(*texts: str, is_answer: bool = False) -> UtteranceArrived:
    words = partial(*texts).heard.words
    end_ms = words[-1].end_ms if words else 700
    start_ms = words[0].start_ms if words else 700
    return UtteranceArrived(UtteranceHeard(words, 300, start_ms, end_ms, 1000), is_answer)


def shown(effects: list[Effect]) -> list[Transcription]:
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    return [message.transcriptions[0] for message in sent if isinstance(message, Result)]


def told(effects: list[Effect]) -> tuple[int, int] | None:
    """Code of the ERROR and of the close that directly follows it."""
    for effect, after in pairwise(effects):
        if isinstance(effect, Send) and isinstance(effect.message, ErrorMessage):
            assert isinstance(after, Close)
            return effect.message.code, after.code
    return None


SAMPLES: dict[type[Event], Event] = {
    TextArrived: TextArrived("x"),
    TokenOffered: TokenOffered("x"),
    AudioArrived: AudioArrived(b"\0\0"),
    PeerClosed: PeerClosed(),
    PeerAnswered: PeerAnswered(),
    Authenticated: Authenticated("s"),
    AuthenticationRefused: AuthenticationRefused(TokenExpiredError()),
    RecogniserTaken: RecogniserTaken(),
    RecogniserRefused: RecogniserRefused(ServiceUnavailableError()),
    RecogniserFailed: RecogniserFailed(InternalServerError()),
    PartialArrived: partial("a"),
    UtteranceArrived: utterance("a"),
    AudioHeard: AudioHeard(0, 0, is_pending=False),
    TimeElapsed: TimeElapsed(),
    StopRequested: StopRequested(GoingAwayError()),
    Resumed: Resumed(0),
    DrainRequested: DrainRequested(1000),
    Moved: Moved(),
}

STAYS = {  # what each event of SAMPLES makes of each phase; a pair that is missing is our mistake
    Phase.OPENED: {
        TextArrived: Phase.CLOSED,
        TokenOffered: Phase.AUTHENTICATING,
        AudioArrived: Phase.CLOSED,
        PeerClosed: Phase.CLOSED,
        TimeElapsed: Phase.OPENED,
        StopRequested: Phase.CLOSED,
        DrainRequested: Phase.OPENED,
    },
    Phase.AUTHENTICATING: {
        TextArrived: Phase.AUTHENTICATING,
        AudioArrived: Phase.AUTHENTICATING,
        PeerClosed: Phase.CLOSED,
        Authenticated: Phase.CONNECTING,
        AuthenticationRefused: Phase.CLOSED,
        TimeElapsed: Phase.AUTHENTICATING,
        StopRequested: Phase.CLOSED,
        DrainRequested: Phase.AUTHENTICATING,
        Moved: Phase.CLOSED,
    },
    Phase.CONNECTING: {
        TextArrived: Phase.CONNECTING,
        AudioArrived: Phase.CONNECTING,
        PeerClosed: Phase.CLOSED,
        RecogniserTaken: Phase.STREAMING,
        RecogniserRefused: Phase.CLOSED,
        RecogniserFailed: Phase.CLOSED,
        TimeElapsed: Phase.CONNECTING,
        StopRequested: Phase.CLOSED,
        DrainRequested: Phase.CONNECTING,
    },
    Phase.STREAMING: {
        TextArrived: Phase.STREAMING,
        AudioArrived: Phase.STREAMING,
        PeerClosed: Phase.DRAINING,
        PeerAnswered: Phase.STREAMING,
        RecogniserFailed: Phase.CLOSED,
        PartialArrived: Phase.STREAMING,
        UtteranceArrived: Phase.STREAMING,
        AudioHeard: Phase.STREAMING,
        TimeElapsed: Phase.STREAMING,
        StopRequested: Phase.DRAINING,
        Resumed: Phase.STREAMING,
        DrainRequested: Phase.STREAMING,
        Moved: Phase.CLOSED,
    },
    Phase.DRAINING: {
        TextArrived: Phase.DRAINING,
        AudioArrived: Phase.DRAINING,
        PeerClosed: Phase.DRAINING,
        PeerAnswered: Phase.DRAINING,
        RecogniserFailed: Phase.CLOSED,
        PartialArrived: Phase.DRAINING,
        UtteranceArrived: Phase.DRAINING,
        AudioHeard: Phase.DRAINING,
        TimeElapsed: Phase.DRAINING,
        StopRequested: Phase.DRAINING,
        Resumed: Phase.DRAINING,
        DrainRequested: Phase.DRAINING,
        Moved: Phase.CLOSED,
    },
    Phase.CLOSED: dict.fromkeys(SAMPLES, Phase.CLOSED),
}


def in_phase(phase: Phase) -> Session:
    driven = opened()
    events: dict[Phase, list[Event]] = {
        Phase.OPENED: [],
        Phase.AUTHENTICATING: [TextArrived(AUTHENTICATION)],
        Phase.CONNECTING: [TextArrived(AUTHENTICATION), Authenticated("s")],
        Phase.CLOSED: [PeerClosed()],
    }
    connected = [*events[Phase.CONNECTING], RecogniserTaken()]
    events |= {Phase.STREAMING: connected, Phase.DRAINING: [*connected, PeerClosed()]}
    driven.take(*events[phase])
    assert driven.session.phase is phase
    return driven.session


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_every_event_in_every_phase(phase: Phase, kind: type[Event]) -> None:
    """An event either leads where the table says, or is refused as a mistake of ours."""
    session = in_phase(phase)
    expected = STAYS[phase].get(kind)
    if expected is None:
        with pytest.raises(InternalServerError, match=kind.__name__):
            step(session, SAMPLES[kind], 0)
    else:
        assert step(session, SAMPLES[kind], 0)[0].phase is expected


def test_the_table_lists_exactly_these_pairs() -> None:
    """No transition is without a test, and every kind of event has a sample."""
    assert set(TRANSITIONS) == {(phase, kind) for phase in STAYS for kind in STAYS[phase]}
    assert set(SAMPLES) == set(get_args(Event))


# Authentication


def test_the_first_text_frame_is_verified_before_anything_else() -> None:
    """No recogniser is asked for until authentication has succeeded."""
    driven = opened()
    effects = driven.take(TextArrived(AUTHENTICATION))
    assert [type(effect) for effect in effects] == [Authenticate]
    assert [type(effect) for effect in driven.take(Authenticated("s"))] == [TakeRecogniser]


@pytest.mark.parametrize("event", [AudioArrived(b"\0\0"), FINAL, TextArrived("hello")])
def test_anything_before_authentication_is_401(event: Event) -> None:
    """ERROR 401, close 1008, and nothing is fed or taken."""
    effects = opened().take(event)
    assert told(effects) == (401, 1008)
    assert isinstance(effects[-1], Finish)


def test_the_authentication_message_has_ten_seconds() -> None:
    """Not a moment less, not much more."""
    driven = opened()
    assert driven.take(TimeElapsed(), after_ms=9_999) == []
    assert told(driven.take(TimeElapsed(), after_ms=1)) == (401, 1008)
    assert isinstance(driven.session.farewell, AuthenticationTimeoutError)


def test_refused_authentication_is_told_by_one_sentence() -> None:
    """The peer cannot tell an expired token from a forged one."""
    driven = opened()
    effects = driven.take(
        TextArrived(AUTHENTICATION), AuthenticationRefused(TokenExpiredError("secret cause"))
    )
    assert told(effects) == (401, 1008)
    assert "secret cause" not in str(effects)
    assert "NotAuthenticated: " in str(effects)


def test_a_parameter_error_is_told_after_authentication() -> None:
    """ERROR 400 names the parameter; the upgrade itself was accepted."""
    driven = opened("punctuation=true")
    effects = driven.take(TextArrived(AUTHENTICATION), Authenticated("s"))
    assert told(effects) == (400, 1008)
    assert "InvalidParameter: punctuation" in str(effects)
    assert not any(isinstance(effect, TakeRecogniser) for effect in effects)


def test_no_capacity_is_503_and_close_1013() -> None:
    """The peer may try again later."""
    driven = opened()
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s"))
    assert told(driven.take(RecogniserRefused(ServiceUnavailableError()))) == (503, 1013)


# Audio before CONNECT


def test_audio_between_authentication_and_connect_is_held_and_fed_in_order() -> None:
    """CONNECT comes first, then the acks of what was held."""
    driven = opened("isAckEnabled=true")
    driven.take(TextArrived(AUTHENTICATION), AudioArrived(b"\1\1"), Authenticated("s"))
    driven.take(AudioArrived(b"\2\2"), FINAL)
    effects = driven.take(RecogniserTaken())
    kinds = [type(e.message) if isinstance(e, Send) else type(e) for e in effects]
    fed = [FeedRecogniser, AckAudio]
    assert kinds == [Connect, *fed, *fed, FlushRecogniser]
    assert [e.audio for e in effects if isinstance(e, FeedRecogniser)] == [b"\1\1", b"\2\2"]


def test_two_seconds_of_held_audio_stop_the_reading_until_connect() -> None:
    """What comes ahead of CONNECT is bounded."""
    driven = opened()
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s"))
    assert driven.take(AudioArrived(SECOND)) == []
    assert driven.take(AudioArrived(SECOND)) == [PauseReading()]
    assert ResumeReading() in driven.take(RecogniserTaken())


# Streaming


def test_acks_count_frames_from_one_and_bytes_from_zero() -> None:
    """Offsets are those of the session's audio, in bytes."""
    driven = streaming("isAckEnabled=true")
    effects = driven.take(AudioArrived(b"\0" * 10), AudioArrived(b"\0" * 6), AudioArrived(b""))
    sent = [effect.message for effect in effects if isinstance(effect, Send)]
    details = [message.details for message in sent if isinstance(message, AckAudio)]
    assert [(d.number, d.offset, d.length) for d in details] == [(1, 0, 10), (2, 10, 6), (3, 16, 0)]


def test_without_acks_audio_is_fed_in_silence() -> None:
    """The default sends none."""
    assert streaming().take(AudioArrived(b"\0\0")) == [FeedRecogniser(b"\0\0")]


def test_other_texts_are_ignored() -> None:
    """Some clients send a configuration frame of their own."""
    assert streaming().take(TextArrived('{"sampleRate":16000}'), TextArrived("x")) == []


def test_partials_come_at_most_every_100_ms_and_only_when_the_text_changes() -> None:
    """One that comes too soon waits; a newer one takes its place."""
    driven = streaming()
    assert [t.transcription for t in shown(driven.take(partial("a"), after_ms=200))] == ["a"]
    assert driven.take(partial("a", "b"), after_ms=50) == []
    assert driven.take(partial("a", "c"), after_ms=20) == []
    assert driven.take(TimeElapsed(), after_ms=29) == []
    assert [t.transcription for t in shown(driven.take(TimeElapsed(), after_ms=1))] == ["a c"]
    assert driven.take(partial("a", "c"), after_ms=500) == []


def test_stabilisation_holds_back_unsure_words() -> None:
    """HIGH shows less than NONE of the same partial."""
    unsure = partial("a", "b", confidence=0.6)
    assert shown(streaming("stabilizePartialResults=HIGH").take(unsure, after_ms=200)) == []
    assert len(shown(streaming("stabilizePartialResults=LOW").take(unsure, after_ms=200))) == 1


def test_a_final_is_kept_and_sent_and_clears_the_partial() -> None:
    """The waiting partial of an utterance never comes after its final."""
    driven = streaming()
    driven.take(partial("a"), after_ms=200)
    driven.take(partial("a", "b"), after_ms=10)
    effects = driven.take(utterance("a", "b"))
    assert [type(effect) for effect in effects] == [SaveFinal, Send]
    assert [t.is_final for t in shown(effects)] == [True]
    assert driven.take(TimeElapsed(), after_ms=500) == []
    assert [t.transcription for t in shown(driven.take(partial("a")))] == ["a"]


def test_finals_are_numbered_without_gaps() -> None:
    """An empty answer is not kept and takes no number."""
    driven = streaming()
    driven.take(utterance("a"), FINAL, utterance(is_answer=True), utterance("b"))
    assert [e.number for e in driven.effects if isinstance(e, SaveFinal)] == [1, 2]


def test_every_request_for_a_final_gets_exactly_one() -> None:
    """Also with nothing pending: then text and tokens are empty."""
    driven = streaming()
    assert driven.take(FINAL, FINAL) == [FlushRecogniser(), FlushRecogniser()]
    first = driven.take(utterance("a", is_answer=True))
    second = driven.take(utterance(is_answer=True))
    assert [t.transcription for t in shown(first)] == ["a"]
    assert [(t.transcription, t.tokens, t.is_final) for t in shown(second)] == [("", (), True)]
    assert driven.session.phase is Phase.STREAMING


def test_a_final_by_silence_does_not_answer_a_request() -> None:
    """It was on its way when the request came: the answer still follows."""
    driven = streaming()
    driven.take(FINAL)
    assert len(shown(driven.take(utterance("a")))) == 1
    assert len(shown(driven.take(utterance(is_answer=True)))) == 1


# Back-pressure


def test_reading_stops_while_the_recogniser_is_behind() -> None:
    """Ten seconds ahead stop it; half of that lets it go on."""
    driven = streaming()
    assert driven.take(*[AudioArrived(SECOND)] * 9) == [FeedRecogniser(SECOND)] * 9
    assert driven.take(AudioArrived(SECOND)) == [FeedRecogniser(SECOND), PauseReading()]
    assert driven.take(AudioHeard(4 * len(SECOND), 0, is_pending=True)) == []
    assert driven.take(AudioHeard(len(SECOND), 0, is_pending=True)) == [ResumeReading()]


def test_a_flood_of_requests_stops_the_reading() -> None:
    """Open answers are bounded too."""
    driven = streaming()
    effects = driven.take(*[FINAL] * 32)
    assert effects.count(PauseReading()) == 1
    answers = driven.take(*[utterance(is_answer=True)] * 16)
    assert len(shown(answers)) == 16
    assert answers.count(ResumeReading()) == 1


# The wall clock


def test_missing_audio_counts_as_silence_by_the_wall_clock() -> None:
    """A client that stops sending gets its final after the threshold."""
    driven = streaming()
    size = len(SECOND)
    driven.take(AudioArrived(SECOND), AudioHeard(size, 900, is_pending=True))
    assert driven.take(TimeElapsed(), after_ms=1999) == []
    assert driven.take(TimeElapsed(), after_ms=1) == [FlushRecogniser()]
    assert driven.take(TimeElapsed(), after_ms=100) == []
    assert len(shown(driven.take(utterance("a", is_answer=True)))) == 1


def test_the_wall_clock_waits_for_the_recogniser_and_for_speech() -> None:
    """Audio that is not heard yet is no silence, and silence alone needs no final."""
    behind = streaming()
    behind.take(AudioArrived(SECOND), AudioHeard(10, 0, is_pending=True))
    assert behind.take(TimeElapsed(), after_ms=5000) == []
    silent = streaming()
    silent.take(AudioArrived(SECOND), AudioHeard(len(SECOND), 0, is_pending=False))
    assert silent.take(TimeElapsed(), after_ms=5000) == []


def test_a_flush_of_the_wall_clock_that_finds_nothing_sends_nothing() -> None:
    """Only a request is answered with an empty final."""
    driven = streaming("finalSilenceThresholdInMs=0")
    driven.take(AudioArrived(SECOND), AudioHeard(len(SECOND), 9, is_pending=True))
    assert driven.take(TimeElapsed(), after_ms=999) == []
    assert driven.take(TimeElapsed(), after_ms=1) == [FlushRecogniser()]
    assert driven.take(utterance(is_answer=True)) == []


# Ends


def test_on_close_by_the_peer_what_was_heard_is_kept() -> None:
    """The last words are recognised and saved although nobody reads them any more."""
    driven = streaming()
    driven.take(AudioArrived(SECOND))
    assert driven.take(PeerClosed()) == [PauseReading(), FlushRecogniser()]
    effects = driven.take(AudioHeard(0, 640, is_pending=False), utterance("a", is_answer=True))
    assert any(isinstance(effect, SaveFinal) for effect in effects)
    assert effects[-1] == Finish("peer", audio_ms=1000, speech_ms=640)
    assert told(effects) is None


def test_open_requests_are_answered_before_the_end() -> None:
    """Their finals come first, in order, then the close."""
    driven = streaming()
    driven.take(FINAL, StopRequested(GoingAwayError()))
    assert len(shown(driven.take(utterance("a", is_answer=True)))) == 1
    assert driven.session.phase is Phase.DRAINING
    effects = driven.take(utterance(is_answer=True))
    assert told(effects) == (503, 1001)
    assert shown(effects) == []


@pytest.mark.parametrize(
    ("rules", "after_ms", "answer", "ending"),
    [
        ({"idle_timeout_ms": 300_000}, 300_000, SessionIdleError, "idle"),
        ({"longest_session_ms": 60_000}, 60_000, SessionLimitError, "limit"),
    ],
)
def test_a_limit_sends_the_final_before_the_error(
    rules: dict[str, int], after_ms: int, answer: type[ApiError], ending: str
) -> None:
    """Idle for too long, open for too long."""
    driven = streaming("", **rules)
    assert driven.take(TimeElapsed(), after_ms=after_ms - 1) == []
    driven.take(TimeElapsed(), after_ms=1)
    effects = driven.take(utterance("a", is_answer=True))
    assert len(shown(effects)) == 1
    assert told(effects) == (answer.status, answer.close_code)
    assert answer.status in {408, 429}
    assert isinstance(effects[-1], Finish)
    assert effects[-1].ending == ending


def test_the_limits_of_a_token_end_the_session_too() -> None:
    """Longest time and most audio; the server's own limit stays the upper one."""
    driven = opened()
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s", 5000, 1500), RecogniserTaken())
    by_audio = Driven(driven.session)
    assert FlushRecogniser() not in by_audio.take(AudioArrived(SECOND))
    assert FlushRecogniser() in by_audio.take(AudioArrived(SECOND))
    driven.take(TimeElapsed(), after_ms=5000)
    assert driven.session.phase is Phase.DRAINING


def test_a_frame_is_cut_at_the_most_audio_of_a_token() -> None:
    """To the sample, acknowledged and fed alike."""
    driven = opened("isAckEnabled=true")
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s", None, 1500), RecogniserTaken())
    effects = driven.take(AudioArrived(SECOND * 10))
    (fed,) = [it for it in effects if isinstance(it, FeedRecogniser)]
    (sent,) = [it.message for it in effects if isinstance(it, Send)]
    assert isinstance(sent, AckAudio)
    assert len(fed.audio) == sent.details.length == len(SECOND) * 3 // 2
    assert (driven.session.audio_ms, driven.session.phase) == (1500, Phase.DRAINING)


@pytest.mark.parametrize(("earlier_ms", "left_ms"), [((500, 0), 5000), ((500, 4000), 1000)])
def test_what_earlier_streams_had_counts(earlier_ms: tuple[int, int], left_ms: int) -> None:
    """Audio and time of a token are those of all its session's streams."""
    driven = opened()
    driven.take(
        TextArrived(AUTHENTICATION), Authenticated("s", 5000, 1500), RecogniserTaken(*earlier_ms)
    )
    by_audio = Driven(driven.session)
    assert FlushRecogniser() in by_audio.take(AudioArrived(SECOND))
    assert FlushRecogniser() not in driven.take(TimeElapsed(), after_ms=left_ms - 1)
    assert FlushRecogniser() in driven.take(TimeElapsed(), after_ms=1)


@pytest.mark.parametrize(
    "event", [AudioArrived(b"\0" * (1024 * 1024 + 1)), TextArrived("x" * (64 * 1024 + 1))]
)
def test_an_oversized_frame_is_413_and_close_1009(event: Event) -> None:
    """Before CONNECT at once, after it when what was heard is out."""
    assert told(opened().take(event)) == (413, 1009)
    driven = streaming()
    assert driven.take(event) == [PauseReading(), FlushRecogniser()]
    assert told(driven.take(utterance("a", is_answer=True))) == (413, 1009)


def test_a_text_is_measured_in_bytes() -> None:
    """Characters outside ASCII take more than one."""
    assert told(opened().take(TextArrived("é" * 40_000))) == (413, 1009)


def test_a_broken_recogniser_is_our_fault() -> None:
    """ERROR 500, close 1011; the cause stays in the log."""
    effects = streaming().take(RecogniserFailed(InternalServerError("secret cause")))
    assert told(effects) == (500, 1011)
    assert "secret cause" not in str([effect for effect in effects if isinstance(effect, Send)])


def test_a_drain_that_hangs_ends_at_its_time() -> None:
    """The session counts as failed."""
    driven = streaming()
    driven.take(PeerClosed())
    assert driven.take(TimeElapsed(), after_ms=29_999) == []
    effects = driven.take(TimeElapsed(), after_ms=1)
    assert isinstance(effects[-1], Finish)
    assert effects[-1].ending == "failed"


def test_a_peer_that_leaves_while_draining_is_told_nothing() -> None:
    """There is nobody left to tell."""
    driven = streaming()
    driven.take(StopRequested(GoingAwayError()), PeerClosed())
    assert told(driven.take(utterance(is_answer=True))) is None


def test_a_revoked_peer_is_told_after_its_last_words() -> None:
    """The final first, then ERROR 401 and close 1008, when the words come in time."""
    driven = streaming()
    driven.take(AudioArrived(SECOND))
    assert driven.take(StopRequested(TokenRevokedError())) == [PauseReading(), FlushRecogniser()]
    assert driven.take(TimeElapsed(), after_ms=249) == []
    effects = driven.take(utterance("a", is_answer=True))
    assert [type(effect) for effect in effects] == [SaveFinal, Send, Send, Close, Finish]
    assert told(effects) == (401, 1008)
    assert effects[-1] == Finish("revoked", audio_ms=1000, speech_ms=0)


def test_a_revoked_peer_does_not_wait_for_last_words_that_are_late() -> None:
    """A quarter of a second, then it is told, once; the words are still kept."""
    driven = streaming()
    driven.take(AudioArrived(SECOND), StopRequested(TokenRevokedError()))
    effects = driven.take(TimeElapsed(), after_ms=250)
    assert told(effects) == (401, 1008)
    assert driven.session.phase is Phase.DRAINING
    assert driven.take(TimeElapsed(), AudioArrived(SECOND), PeerClosed(), after_ms=5000) == []
    effects = driven.take(utterance("a"), utterance("b", is_answer=True))
    assert [type(effect) for effect in effects] == [SaveFinal, SaveFinal, Finish]
    assert effects[-1] == Finish("revoked", audio_ms=1000, speech_ms=0)


def test_a_revoked_drain_that_hangs_ends_at_its_time() -> None:
    """The peer was told long before."""
    driven = streaming()
    driven.take(StopRequested(TokenRevokedError()))
    assert told(driven.take(TimeElapsed(), after_ms=250)) == (401, 1008)
    assert driven.take(TimeElapsed(), after_ms=29_749) == []
    assert driven.take(TimeElapsed(), after_ms=1) == [Finish("failed", audio_ms=0, speech_ms=0)]


def test_a_peer_that_is_revoked_while_it_drains_is_told_so() -> None:
    """It is not kept for the longest drain; one that has left stays gone."""
    limited = streaming("", longest_session_ms=60_000)
    limited.take(TimeElapsed(), after_ms=60_000)
    limited.take(TimeElapsed(), after_ms=5000)
    assert limited.take(StopRequested(TokenRevokedError())) == []
    assert told(limited.take(TimeElapsed(), after_ms=100)) == (401, 1008)
    gone = streaming()
    gone.take(PeerClosed(), StopRequested(TokenRevokedError()))
    effects = gone.take(TimeElapsed(), utterance(is_answer=True), after_ms=600)
    assert effects == [Finish("peer", audio_ms=0, speech_ms=0)]


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.AUTHENTICATING, Phase.CONNECTING])
def test_a_revoked_peer_that_is_not_connected_is_refused_at_once(phase: Phase) -> None:
    """There is nothing to recognise."""
    _, effects = step(in_phase(phase), StopRequested(TokenRevokedError()), 0)
    assert told(effects) == (401, 1008)
    assert effects[-1] == Finish("revoked", audio_ms=0, speech_ms=0)


def test_all_errors_have_a_code_that_clients_understand() -> None:
    """ERROR.code is an HTTP status and the message starts with OCI's code word."""
    for error in (GoingAwayError(), ServiceUnavailableError(), TokenExpiredError()):
        effects = streaming().take(RecogniserFailed(error))
        message = next(e.message for e in effects if isinstance(e, Send))
        assert isinstance(message, ErrorMessage)
        assert message.code == error.status
        assert message.message.startswith(f"{error.code}: ")
        assert message.session_id == "s"


def test_a_session_is_a_value() -> None:
    """A step leaves the session it was given as it was."""
    driven = streaming()
    before = replace(driven.session)
    step(driven.session, AudioArrived(b"\0\0"), 5)
    assert driven.session == before


def test_punctuation_is_that_of_the_query() -> None:
    """A partial has no end yet; the final is kept as it is sent."""
    driven = streaming("punctuation=AUTO")
    assert shown(driven.take(partial("are", "you"), after_ms=200))[0].transcription == "Are you"
    effects = driven.take(utterance("are", "you", "there"))
    assert shown(effects)[0].transcription == "Are you there?"
    (kept,) = (effect for effect in effects if isinstance(effect, SaveFinal))
    assert kept.transcription == shown(effects)[0]

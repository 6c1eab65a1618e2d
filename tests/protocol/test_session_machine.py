"""Any peer, any order: what holds of every session."""

from __future__ import annotations

import json

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stapes.errors import (
    GoingAwayError,
    InternalServerError,
    ServiceUnavailableError,
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
    Send,
    TakeRecogniser,
)
from stapes.protocol.ending import LONGEST_REVOKED_DRAIN_MS
from stapes.protocol.events import (
    AudioArrived,
    AudioHeard,
    Authenticated,
    AuthenticationRefused,
    Event,
    PartialArrived,
    PeerClosed,
    RecogniserFailed,
    RecogniserRefused,
    RecogniserTaken,
    StopRequested,
    TextArrived,
    TimeElapsed,
    UtteranceArrived,
)
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.messages import Connect, ErrorMessage, Result
from stapes.protocol.session import start, step
from stapes.protocol.state import Phase
from stapes.protocol.words import Word

AUTHENTICATION = json.dumps(
    {"authenticationType": "TOKEN", "compartmentId": "c", "token": "header.claims.signature"}
)
WORD = Word("word", 0, 100, 0.9)
QUERIES = st.sampled_from(["", "isAckEnabled=true", "finalSilenceThresholdInMs=0", "punctuation=x"])
TEXTS = st.one_of(
    st.just(AUTHENTICATION),
    st.just('{"event":"SEND_FINAL_RESULT"}'),
    st.text(max_size=20),
    st.just("x" * 70_000),
)


class AnyPeer(RuleBasedStateMachine):
    """Drives a session as socket, authenticator, recogniser and clock would."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = 0
        self.session = start(query="", content_type=None, now_ms=0)
        self.effects: list[Effect] = []
        self.asked: Authenticate | TakeRecogniser | None = None
        self.has_recogniser = False
        self.fed = self.taken_in = 0
        self.flushes = 0
        self.requests = 0
        self.reads = True
        self.revoked_ms: int | None = None
        self.has_left = False

    def take(self, event: Event) -> None:
        requested = (
            self.session.phase in {Phase.AUTHENTICATING, Phase.CONNECTING, Phase.STREAMING}
            and isinstance(event, TextArrived)
            and event.text == '{"event":"SEND_FINAL_RESULT"}'
        )
        self.requests += requested
        self.session, effects = step(self.session, event, self.now_ms)
        for effect in effects:
            self.perform(effect)

    def perform(self, effect: Effect) -> None:
        assert not any(isinstance(each, Finish) for each in self.effects), "after the last effect"
        self.effects.append(effect)
        match effect:
            case Authenticate() | TakeRecogniser():
                self.asked = effect
            case FeedRecogniser(audio):
                assert self.has_recogniser, "fed before authentication"
                self.fed += len(audio)
            case FlushRecogniser():
                assert self.has_recogniser
                self.flushes += 1
            case PauseReading():
                assert self.reads
                self.reads = False
            case ResumeReading():
                assert not self.reads
                self.reads = True
            case _:
                pass

    @initialize(query=QUERIES, has_begun=st.booleans())
    def begins(self, query: str, has_begun: bool) -> None:
        self.session = start(query=query, content_type=None, now_ms=0)
        if has_begun:
            self.take(TextArrived(AUTHENTICATION))
            self.is_verified(is_good=True)
            self.is_given_a_recogniser(is_free=True)

    # The peer

    @rule(text=TEXTS)
    def sends_text(self, text: str) -> None:
        self.take(TextArrived(text))

    @rule(size=st.sampled_from([0, 1, 640, 3200, 400_000, 1_100_000]))
    def sends_audio(self, size: int) -> None:
        self.take(AudioArrived(bytes(size)))

    @rule()
    def closes(self) -> None:
        self.has_left = True
        self.take(PeerClosed())

    # The server

    @precondition(lambda self: isinstance(self.asked, Authenticate))
    @rule(is_good=st.booleans())
    def is_verified(self, is_good: bool) -> None:
        if self.session.phase is Phase.AUTHENTICATING:
            refused = AuthenticationRefused(TokenExpiredError())
            self.asked = None
            self.take(Authenticated("s") if is_good else refused)

    @precondition(lambda self: isinstance(self.asked, TakeRecogniser))
    @rule(is_free=st.booleans())
    def is_given_a_recogniser(self, is_free: bool) -> None:
        if self.session.phase is Phase.CONNECTING:
            self.has_recogniser, self.asked = is_free, None
            self.take(
                RecogniserTaken() if is_free else RecogniserRefused(ServiceUnavailableError())
            )

    @precondition(lambda self: self.has_recogniser)
    @rule(data=st.data())
    def hears(self, data: st.DataObject) -> None:
        waiting = self.fed - self.taken_in
        heard = data.draw(st.integers(0, waiting))
        self.taken_in += heard
        if self.session.phase in {Phase.STREAMING, Phase.DRAINING, Phase.CLOSED}:
            self.take(PartialArrived(PartialHeard((WORD,), 0)))
            self.take(AudioHeard(heard, 0, is_pending=heard > 0))

    @precondition(lambda self: self.has_recogniser)
    @rule(has_words=st.booleans())
    def ends_an_utterance(self, has_words: bool) -> None:
        words = (WORD,) if has_words else ()
        is_answer = self.flushes > 0
        self.flushes -= is_answer
        self.taken_in = self.fed if is_answer else self.taken_in
        self.take(UtteranceArrived(UtteranceHeard(words, 0, 0, 100, 100), is_answer))

    @precondition(lambda self: self.has_recogniser)
    @rule()
    def breaks(self) -> None:
        self.take(RecogniserFailed(InternalServerError()))

    @rule()
    def stops(self) -> None:
        self.take(StopRequested(GoingAwayError()))

    @rule()
    def is_revoked(self) -> None:
        if self.revoked_ms is None:
            self.revoked_ms = self.now_ms
        self.take(StopRequested(TokenRevokedError()))

    @rule(ms=st.sampled_from([1, 99, 100, 249, 250, 2000, 31_000, 400_000]))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms
        self.take(TimeElapsed())

    # What always holds

    @invariant()
    def closes_once_and_says_why(self) -> None:
        closes = [index for index, each in enumerate(self.effects) if isinstance(each, Close)]
        assert len(closes) <= 1
        for index in closes:
            before = self.effects[index - 1]
            assert isinstance(before, Send)
            assert isinstance(before.message, ErrorMessage)

    @invariant()
    def nothing_is_sent_after_the_close(self) -> None:
        closed = next((i for i, each in enumerate(self.effects) if isinstance(each, Close)), None)
        assert closed is None or not any(isinstance(e, Send) for e in self.effects[closed + 1 :])

    @invariant()
    def a_revoked_peer_is_gone_in_time(self) -> None:
        if self.revoked_ms is None or self.now_ms - self.revoked_ms < LONGEST_REVOKED_DRAIN_MS:
            return
        assert self.has_left or any(isinstance(each, Close) for each in self.effects)

    @invariant()
    def nothing_is_shown_before_connect(self) -> None:
        sent = [each.message for each in self.effects if isinstance(each, Send)]
        results = [index for index, each in enumerate(sent) if isinstance(each, Result)]
        connects = [index for index, each in enumerate(sent) if isinstance(each, Connect)]
        assert len(connects) <= 1
        assert not results or connects[0] < results[0]

    @invariant()
    def an_ended_session_has_finished_once(self) -> None:
        finished = [each for each in self.effects if isinstance(each, Finish)]
        assert len(finished) == (self.session.phase is Phase.CLOSED)

    @invariant()
    def reading_and_state_agree(self) -> None:
        assert self.session.is_paused != self.reads

    @invariant()
    def empty_finals_answer_requests_only(self) -> None:
        sent = [each.message for each in self.effects if isinstance(each, Send)]
        shown = [each.transcriptions[0] for each in sent if isinstance(each, Result)]
        assert sum(each.is_final and not each.tokens for each in shown) <= self.requests


AnyPeer.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAnyPeer = AnyPeer.TestCase

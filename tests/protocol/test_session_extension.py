"""The extension: numbered finals, a peer that is lost and comes back, limits and moves foretold."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from stapes.errors import TokenRevokedError
from stapes.protocol.effects import (
    AskPeer,
    Close,
    Effect,
    Finish,
    FlushRecogniser,
    SaveFinal,
    SavePoint,
    Send,
    TakeRecogniser,
)
from stapes.protocol.events import (
    AudioArrived,
    AudioHeard,
    Authenticated,
    Checkpoint,
    DrainRequested,
    Event,
    Moved,
    PartialArrived,
    Past,
    PeerAnswered,
    PeerClosed,
    RecogniserTaken,
    Resumed,
    StopRequested,
    TextArrived,
    TimeElapsed,
    UtteranceArrived,
)
from stapes.protocol.heard import PartialHeard, UtteranceHeard
from stapes.protocol.session import start, step
from stapes.protocol.state import Phase, Rules, Session
from stapes.protocol.words import Word

AUTHENTICATION = json.dumps(
    {"authenticationType": "TOKEN", "compartmentId": "c", "token": "header.claims.signature"}
)
FINAL = TextArrived('{"event":"SEND_FINAL_RESULT"}')
SECOND = b"\0" * 32_000
LOST = PeerClosed(is_lost=True)
BACK = Resumed(0)


def utterance(text: str, through: int = 0, *, is_answer: bool = False) -> UtteranceArrived:
    words = tuple(Word(word, 0, 100, 1.0) for word in text.split())
    heard = UtteranceHeard(words, 0, 100, 500, through // 32)
    return UtteranceArrived(heard, is_answer, Checkpoint(through, b"state") if through else None)


@dataclass
class Driven:
    """A session with a clock, and all its effects."""

    session: Session
    now_ms: int = 0
    effects: list[Effect] = field(default_factory=list)

    def take(self, *events: Event) -> list[Effect]:
        made: list[Effect] = []
        for event in events:
            self.session, effects = step(self.session, event, self.now_ms)
            made += effects
        self.effects += made
        return made


def sent(effects: list[Effect]) -> list[dict[str, Any]]:
    return [json.loads(effect.message.encode()) for effect in effects if isinstance(effect, Send)]


def connected(*, is_extended: bool = True, **grant: Any) -> Driven:
    rules = Rules(resume_window_ms=120_000)
    session = start(query="", content_type=None, now_ms=0, rules=rules, is_extended=is_extended)
    driven = Driven(session)
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s", **grant), RecogniserTaken())
    return driven


def test_connect_says_from_where_and_within_what() -> None:
    """Everything a client needs to begin."""
    driven = connected(
        expires_at=datetime(2026, 11, 22, 12, tzinfo=UTC), limits={"single-use": True}
    )
    assert sent(driven.effects) == [
        {
            "event": "CONNECT",
            "sessionId": "s",
            "resumeFrom": 0,
            "resultsFrom": 1,
            "expiresAt": "2026-11-22T12:00:00Z",
            "limits": {"single-use": True},
        }
    ]


def test_without_the_extension_not_a_field_more_is_sent() -> None:
    """Some clients parse strictly."""
    driven = connected(is_extended=False, longest_session_ms=19_200)
    driven.now_ms = 1000
    driven.take(AudioArrived(SECOND), PartialArrived(PartialHeard((Word("a", 0, 9, 1.0),), 0)))
    driven.take(utterance("a b", 32_000), FINAL, utterance("", is_answer=True))
    driven.now_ms = 15_000
    driven.take(TimeElapsed(), DrainRequested(1000))
    connect, *results = sent(driven.effects)
    assert connect.keys() == {"event", "sessionId"}
    assert len(results) == 3
    assert {tuple(result) for result in results} == {("event", "sessionId", "transcriptions")}
    (saved,) = [effect for effect in driven.effects if isinstance(effect, SaveFinal)]
    assert saved.checkpoint is None


def test_finals_are_numbered_without_gaps() -> None:
    """A partial has the number of the final it leads to, an empty answer that of the last final."""
    driven = connected()
    driven.now_ms = 1000
    partial = PartialArrived(PartialHeard((Word("a", 0, 9, 1.0),), 0))
    made = driven.take(AudioArrived(SECOND), partial, utterance("a", 32_000))
    assert [it["number"] for it in sent(made)] == [1, 1]
    assert [it.get("throughByte") for it in sent(made)] == [None, 32_000]
    made = driven.take(FINAL, utterance("", is_answer=True))
    result, finalized = sent(made)
    assert (result["number"], result["throughByte"]) == (1, 32_000)
    assert finalized == {"event": "FINALIZED", "number": 1, "throughMs": 1000}
    made = driven.take(utterance("b", 48_000))
    assert [it["number"] for it in sent(made)] == [2]


def test_a_final_is_kept_with_what_continues_behind_it() -> None:
    """The last finals, the recogniser's state, and how much speech there was."""
    driven = connected()
    driven.take(AudioArrived(SECOND), utterance("a", 9_600))
    (saved,) = [it for it in driven.take(utterance("b", 19_200)) if isinstance(it, SaveFinal)]
    assert saved.checkpoint == Checkpoint(19_200, b"state")
    assert [(it.number, it.through_byte) for it in saved.finals] == [(1, 9_600), (2, 19_200)]


def silence(through: int) -> AudioHeard:
    """A second of it, with what the recogniser tells now and then."""
    return AudioHeard(len(SECOND), 0, is_pending=False, checkpoint=Checkpoint(through, b"silent"))


def points(effects: list[Effect]) -> list[SavePoint]:
    return [effect for effect in effects if isinstance(effect, SavePoint)]


def test_silence_is_kept_as_a_place_to_go_on_from() -> None:
    """Every ten seconds of it, behind the last final or the last such place; nothing is sent."""
    driven = connected()
    driven.take(AudioArrived(SECOND), utterance("a", 32_000))
    effects: list[Effect] = []
    for second in range(2, 33):
        effects += driven.take(AudioArrived(SECOND), silence(second * 32_000))
    made = points(effects)
    assert [it.checkpoint.audio_bytes // 32_000 for it in made] == [11, 21, 31]
    assert all(it.checkpoint.state == b"silent" for it in made)
    assert {(it.number, len(it.finals)) for it in made} == {(1, 1)}
    assert sent(effects) == []


def test_an_answer_without_words_is_such_a_place_too() -> None:
    """For a client that asks again and again while nothing is said."""
    driven = connected()
    for second in range(1, 24):
        driven.take(AudioArrived(SECOND), FINAL)
        driven.take(utterance("", second * 32_000, is_answer=True))
    assert [it.checkpoint.audio_bytes // 32_000 for it in points(driven.effects)] == [10, 20]
    assert {(it.number, it.finals) for it in points(driven.effects)} == {(0, ())}


def test_without_the_extension_no_place_is_kept() -> None:
    """Nobody could go on there."""
    driven = connected(is_extended=False)
    for second in range(1, 24):
        driven.take(AudioArrived(SECOND), silence(second * 32_000))
    assert points(driven.effects) == []


def test_a_stream_is_taken_up_behind_a_silence() -> None:
    """All that the client has to send is what follows."""
    checkpoint = Checkpoint(640_000, b"silent")
    past = Past((), 3, checkpoint, speech_ms=700, last_result=3)
    driven = Driven(start(query="", content_type=None, now_ms=0, is_extended=True))
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s", past=past))
    (connect,) = sent(driven.take(RecogniserTaken()))
    assert (connect["resumeFrom"], connect["resultsFrom"]) == (640_000, 4)
    driven.take(AudioArrived(SECOND), silence(672_000))
    assert points(driven.effects) == []


def test_a_stream_that_is_taken_up_is_as_old_as_it_was() -> None:
    """Its longest time does not begin anew."""
    past = Past((), 0, Checkpoint(0), speech_ms=0, last_result=0, age_ms=4000)
    driven = Driven(start(query="", content_type=None, now_ms=0, is_extended=True))
    driven.take(TextArrived(AUTHENTICATION), Authenticated("s", 5000, past=past), RecogniserTaken())
    driven.now_ms = 999
    assert FlushRecogniser() not in driven.take(TimeElapsed())
    driven.now_ms = 1000
    assert FlushRecogniser() in driven.take(TimeElapsed())


def test_a_lost_peer_is_waited_for_and_missing_audio_is_no_silence() -> None:
    """Neither the wall clock's silence nor the idle limit runs while nobody is there."""
    driven = connected()
    driven.take(AudioArrived(SECOND))
    driven.take(LOST)
    driven.now_ms = 119_999
    assert driven.take(TimeElapsed()) == []
    driven.now_ms = 120_000
    assert FlushRecogniser() in driven.take(TimeElapsed())
    assert driven.session.phase is Phase.DRAINING


def quiet() -> Driven:
    """A session in the midst of an utterance, whose audio stopped for long enough."""
    driven = connected()
    driven.take(AudioArrived(SECOND), AudioHeard(len(SECOND), 900, is_pending=True))
    driven.now_ms = 1_999
    assert driven.take(TimeElapsed()) == []
    driven.now_ms = 2_000
    assert driven.take(TimeElapsed()) == [AskPeer()]
    return driven


def test_missing_audio_is_silence_only_when_the_peer_says_that_it_sent_none() -> None:
    """It is asked once, and its answer comes behind what it had sent."""
    driven = quiet()
    driven.now_ms = 60_000
    assert driven.take(TimeElapsed()) == []
    assert driven.take(PeerAnswered()) == [FlushRecogniser()]
    assert driven.take(TimeElapsed(), PeerAnswered()) == []


def test_audio_that_was_held_up_on_its_way_is_no_silence() -> None:
    """It comes before the answer, which then says nothing; the peer is asked anew when it stops."""
    driven = quiet()
    driven.now_ms = 60_000
    driven.take(AudioArrived(SECOND), AudioHeard(len(SECOND), 900, is_pending=True))
    assert driven.take(PeerAnswered(), TimeElapsed()) == []
    driven.now_ms = 62_000
    assert driven.take(TimeElapsed()) == [AskPeer()]


def test_a_peer_that_was_asked_and_lost_is_asked_again_when_it_is_back() -> None:
    """The answer of the old socket never comes."""
    driven = quiet()
    driven.take(LOST, PeerAnswered(), BACK)
    driven.now_ms = 4_000
    assert driven.take(TimeElapsed()) == [AskPeer()]


def test_without_the_extension_a_lost_peer_ends_the_stream() -> None:
    """It could not come back."""
    driven = connected(is_extended=False)
    driven.take(LOST)
    assert driven.session.phase is Phase.DRAINING


def test_a_peer_that_closes_ends_the_stream() -> None:
    """It said goodbye: nothing is waited for."""
    driven = connected()
    driven.take(PeerClosed())
    assert driven.session.phase is Phase.DRAINING


def test_a_peer_that_is_back_gets_what_it_missed() -> None:
    """CONNECT first, then the finals behind the last one it has, each as it was sent."""
    driven = connected()
    driven.take(AudioArrived(SECOND), utterance("a", 9_600))
    driven.take(LOST, utterance("b", 19_200), utterance("c", 32_000))
    connect, *finals = sent(driven.take(Resumed(1)))
    assert (connect["resumeFrom"], connect["resultsFrom"]) == (32_000, 2)
    assert [(it["number"], it["throughByte"]) for it in finals] == [(2, 19_200), (3, 32_000)]
    assert [it["transcriptions"][0]["transcription"] for it in finals] == ["b", "c"]
    driven.now_ms = 500_000
    assert driven.session.phase is Phase.STREAMING
    assert not driven.session.is_away


def test_a_peer_that_comes_back_too_late_is_told() -> None:
    """The stream is ending; its last words are kept all the same."""
    driven = connected()
    driven.take(AudioArrived(SECOND), LOST)
    driven.now_ms = 200_000
    driven.take(TimeElapsed())
    made = driven.take(BACK, utterance("a", is_answer=True))
    assert [it["event"] for it in sent(made)] == ["CONNECT", "RESULT", "ERROR"]
    assert Close(1001) in made
    assert isinstance(made[-1], Finish)


def test_a_peer_that_comes_back_to_a_revoked_stream_reads_no_more_of_it() -> None:
    """It is told why; the last words are kept, and are nobody's to read."""
    driven = connected()
    driven.take(AudioArrived(SECOND), utterance("a", 9_600), LOST)
    driven.take(StopRequested(TokenRevokedError()))
    driven.now_ms = 1_000
    driven.take(TimeElapsed())
    made = driven.take(BACK, utterance("b", is_answer=True))
    assert [it.get("code") for it in sent(made)] == [401]
    assert Close(1008) in made
    assert any(isinstance(it, SaveFinal) for it in made)


@pytest.mark.parametrize(("left_s", "warned"), [(61, False), (60, True), (11, False), (10, True)])
def test_a_limit_is_foretold_twice(left_s: int, warned: bool) -> None:
    """A minute before, and ten seconds before."""
    driven = connected(longest_session_ms=300_000)
    driven.take(AudioArrived(b"\0\0"))
    if left_s < 60:
        driven.now_ms = 300_000 - 50_000
        driven.take(AudioArrived(b"\0\0"), TimeElapsed())
    driven.now_ms = 300_000 - left_s * 1000
    made = sent(driven.take(AudioArrived(b"\0\0"), TimeElapsed(), TimeElapsed()))
    told = [(it["code"], it["secondsLeft"]) for it in made if it["event"] == "WARNING"]
    assert told == ([(429, left_s)] if warned else [])


def test_a_peer_that_can_go_on_elsewhere_is_told_to() -> None:
    """When it then leaves, nothing is finished here: the next server takes up behind the final."""
    driven = connected()
    driven.take(AudioArrived(SECOND), utterance("a", 9_600), AudioArrived(SECOND))
    (goaway,) = sent(driven.take(DrainRequested(5000)))
    assert goaway == {"event": "GOAWAY", "reconnectWithinMs": 5000}
    assert driven.take(PeerClosed()) == [Finish("moved", 2000, 0)]


@pytest.mark.parametrize("event", [Moved(), DrainRequested(1000)])
def test_a_stream_without_its_peer_is_let_go_without_a_last_word(event: Event) -> None:
    """Another server has it, or the peer will find one."""
    driven = connected()
    driven.take(AudioArrived(SECOND), LOST)
    assert driven.take(event) == [Finish("moved", 1000, 0)]


def test_a_stream_is_taken_up_where_its_last_final_left_it() -> None:
    """Timeline, numbers and the recogniser go on; what was not final is asked for again."""
    before = connected()
    before.take(AudioArrived(SECOND), utterance("a", 9_600))
    (saved,) = [it for it in before.take(utterance("b", 19_200)) if isinstance(it, SaveFinal)]
    assert saved.checkpoint is not None
    past = Past(saved.finals, saved.number, saved.checkpoint, speech_ms=700, last_result=1)

    driven = Driven(start(query="", content_type=None, now_ms=0, is_extended=True))
    driven.take(TextArrived(AUTHENTICATION))
    (take,) = driven.take(Authenticated("s", past=past))
    assert isinstance(take, TakeRecogniser)
    assert take.checkpoint == saved.checkpoint
    connect, final = sent(driven.take(RecogniserTaken()))
    assert (connect["resumeFrom"], connect["resultsFrom"]) == (19_200, 2)
    assert final["number"] == 2
    made = driven.take(AudioArrived(SECOND), utterance("c", 64_000))
    assert sent(made)[-1]["number"] == 3
    assert driven.session.audio_bytes == 51_200


def test_an_answer_that_nobody_was_there_for_is_given_again() -> None:
    """It has no words, and still says that everything before it is accounted for."""
    driven = connected()
    driven.take(AudioArrived(SECOND), FINAL, LOST, utterance("", 32_000, is_answer=True))
    connect, answer, finalized = sent(driven.take(Resumed(0)))
    assert connect["resumeFrom"] == 32_000
    assert (answer["number"], answer["throughByte"]) == (0, 32_000)
    assert finalized["event"] == "FINALIZED"


def test_an_answer_that_may_have_been_lost_with_the_connection_is_given_again() -> None:
    """Whether it has words or not, in its place among the finals; until a later one has come."""
    driven = connected()
    driven.take(AudioArrived(SECOND), FINAL, utterance("a", 9_600, is_answer=True))
    driven.take(utterance("b", 19_200))
    told = [(it["event"], it.get("number")) for it in sent(driven.take(LOST, Resumed(0)))]
    assert told[1:] == [("RESULT", 1), ("FINALIZED", 1), ("RESULT", 2)]
    told = [(it["event"], it.get("number")) for it in sent(driven.take(LOST, Resumed(1)))]
    assert told[1:] == [("FINALIZED", 1), ("RESULT", 2)]
    assert len(sent(driven.take(LOST, Resumed(2)))) == 1

    driven.take(FINAL, utterance("", 28_800, is_answer=True), utterance("c", 32_000))
    made = sent(driven.take(LOST, Resumed(2)))
    assert [(it["event"], it.get("number")) for it in made[1:]] == [
        ("RESULT", 2),
        ("FINALIZED", 2),
        ("RESULT", 3),
    ]
    assert (made[1]["throughByte"], made[2]["throughMs"]) == (28_800, 900)
    assert len(sent(driven.take(LOST, Resumed(3)))) == 1


def test_finals_that_were_forgotten_are_counted_anew() -> None:
    """A client that has more finals than the store says from where it is told them again."""
    driven = connected()
    driven.take(AudioArrived(SECOND), utterance("a", 9_600), LOST)
    (connect,) = sent(driven.take(Resumed(5)))
    assert connect["resultsFrom"] == 2

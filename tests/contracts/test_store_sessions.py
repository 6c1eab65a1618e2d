"""What every store tells of sessions: which, in what state, page by page; and forgets of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stapes.store.port import Contest, SessionFilter, SessionState, SessionSummary, Store
from stapes.store.records import Record, Revoked
from tests.contracts.records import NOON, TOKEN, closed, final, opened, resumable, session

HOUR = timedelta(hours=1)
EVERY = SessionFilter()
SAMPLES: list[Record] = [
    session("issued"),
    session("live"),
    opened("live"),
    session("again"),
    opened("again"),
    replace(closed(), session_id="again"),
    opened("again", 2),
    session("closed"),
    opened("closed"),
    replace(closed(), session_id="closed"),
    session("expired", expires_at=NOON),
    session("revoked"),
    opened("revoked"),
    Revoked("tenancy", "session", "revoked", NOON),
]


def ids(store: Store, chosen: SessionFilter = EVERY, limit: int = 100) -> list[str]:
    return [it.session_id for it in store.sessions(chosen, NOON, limit=limit)]


def test_a_session_is_summed_up(store: Store) -> None:
    """A summary has who, when, its claims and tags, its state and how many streams it had."""
    store.write([TOKEN, opened(), closed(), opened(stream=2), closed(2)])
    assert store.sessions(EVERY, NOON, limit=10) == [
        SessionSummary(
            session_id="session",
            tenancy_id="tenancy",
            compartment_id="compartment",
            user_id="user",
            issued_at=NOON,
            expires_at=NOON + HOUR,
            revoked_at=None,
            state="CLOSED",
            streams=2,
            claims=TOKEN.claims,
            freeform_tags=TOKEN.freeform_tags,
            defined_tags=TOKEN.defined_tags,
        )
    ]


def test_a_session_of_credentials_has_no_token(store: Store) -> None:
    """Without a token there are no claims and no tags."""
    plain = replace(TOKEN, kid=None, claims=None, freeform_tags=None, defined_tags=None)
    store.write([plain])
    (found,) = store.sessions(EVERY, NOON, limit=10)
    assert (found.claims, found.freeform_tags, found.defined_tags) == (None, None, None)


STATES: list[tuple[SessionState, list[str]]] = [
    ("ISSUED", ["issued"]),
    ("LIVE", ["again", "live"]),
    ("CLOSED", ["closed"]),
    ("EXPIRED", ["expired"]),
    ("REVOKED", ["revoked"]),
]


@pytest.mark.parametrize(("state", "expected"), STATES)
def test_sessions_by_state(store: Store, state: SessionState, expected: list[str]) -> None:
    """Every session is in one state, at the moment that is asked about."""
    store.write(SAMPLES)
    assert ids(store, SessionFilter(state=state)) == expected
    found = store.sessions(EVERY, NOON, limit=100)
    assert [it.session_id for it in found if it.state == state] == expected


def test_a_session_expires_with_time(store: Store) -> None:
    """One that was never opened can be until its token expires, and one that was is not expired."""
    store.write([session("opened"), opened("opened"), session("unopened")])
    last = NOON + HOUR - timedelta(microseconds=1)
    assert [it.state for it in store.sessions(EVERY, last, limit=9)] == ["LIVE", "ISSUED"]
    assert [it.state for it in store.sessions(EVERY, NOON + HOUR, limit=9)] == ["LIVE", "EXPIRED"]


FILTERS = [
    (SessionFilter(), ["c", "a", "b", "d"]),
    (SessionFilter(compartment_ids=frozenset({"one"})), ["a", "b"]),
    (SessionFilter(compartment_ids=frozenset({"one", "two", "none"})), ["c", "a", "b"]),
    (SessionFilter(compartment_ids=frozenset()), []),
    (SessionFilter(tenancy_id="abroad"), ["d"]),
    (SessionFilter(tenancy_id="abroad", compartment_ids=frozenset({"one"})), []),
    (SessionFilter(user_id="me"), ["c", "a"]),
    (SessionFilter(user_id="me' OR ''='"), []),
    (SessionFilter(session_id="b"), ["b"]),
    (SessionFilter(session_id="x"), []),
    (SessionFilter(issued_from=NOON), ["c", "a", "b"]),
    (SessionFilter(issued_before=NOON), ["d"]),
    (SessionFilter(issued_from=NOON, issued_before=NOON + HOUR), ["a", "b"]),
    (SessionFilter(tag=("ward", "7")), ["a"]),
    (SessionFilter(tag=('"quoted" $.%', "a'b")), ["b"]),
    (SessionFilter(tag=("ward", "")), []),
    (SessionFilter(tag=("nothing", "7")), []),
    (SessionFilter(user_id="me", compartment_ids=frozenset({"one"}), tag=("ward", "7")), ["a"]),
    (SessionFilter(user_id="me", state="ISSUED", issued_before=NOON + HOUR), ["a"]),
]


@pytest.mark.parametrize(("chosen", "expected"), FILTERS)
def test_sessions_by_filter(store: Store, chosen: SessionFilter, expected: list[str]) -> None:
    """Filters take tenancy, compartments, user, id, tag and time, and hold together."""
    store.write(
        [
            session("b", compartment_id="one", freeform_tags={'"quoted" $.%': "a'b"}),
            session("a", compartment_id="one", user_id="me", freeform_tags={"ward": "7"}),
            session("c", compartment_id="two", user_id="me", issued_at=NOON + HOUR),
            session("d", tenancy_id="abroad", issued_at=NOON - HOUR, freeform_tags=None),
        ]
    )
    assert ids(store, chosen) == expected


@pytest.mark.parametrize("tag", [None, ("ward", "Ä 7")])
def test_sessions_come_page_by_page(store: Store, tag: tuple[str, str] | None) -> None:
    """Each page goes on behind the last session of the one before, also among equal times."""
    names = "abcdefg"
    times = [0, 0, 0, 1, 1, 2, 2]
    store.write(
        [session(name, issued_at=NOON + t * HOUR) for name, t in zip(names, times, strict=True)]
    )
    found = []
    after = None
    chosen = SessionFilter(tag=tag)
    while page := store.sessions(chosen, NOON, limit=2, after=after):
        found += [it.session_id for it in page]
        after = (page[-1].issued_at, page[-1].session_id)
        store.write([session(f"new {after[1]}", issued_at=NOON + 9 * HOUR)])
    assert found == ["f", "g", "d", "e", "a", "b", "c"]


def test_a_page_may_have_no_room(store: Store) -> None:
    """A limit of 0 gives nothing."""
    store.write([TOKEN])
    assert ids(store, limit=0) == []
    assert ids(store, SessionFilter(tag=("ward", "Ä 7")), limit=0) == []


def test_a_transcript_is_forgotten(store: Store) -> None:
    """All finals of a session go, and nothing else: its streams keep what they used."""
    store.write([opened(), final(1), final(2), opened(stream=2), final(1, stream=2), closed()])
    store.write([opened("other"), final(1, session_id="other")])
    assert store.forget_finals("session") == 3
    assert store.forget_finals("session") == 0
    assert store.finals("session") == []
    assert len(store.finals("other")) == 1
    (stream,) = [it for it in store.streams(session_id="session") if it.stream == 1]
    assert (stream.finals, stream.words, stream.audio_ms) == (0, 4, 5000)


def test_old_finals_are_forgotten(store: Store) -> None:
    """Those heard before a moment, whichever session they are of; the moment itself stays."""
    store.write([opened(), *(final(number) for number in (1, 2, 3))])
    store.write([opened("other"), final(1, session_id="other")])
    assert store.forget_finals_before(NOON + timedelta(seconds=2)) == 2
    assert [it.number for it in store.finals("session")] == [2, 3]
    assert store.finals("other") == []


def sent_of(store: Store, session_id: str, stream: int = 1) -> list[int] | None:
    """Numbers of the finals that the stream would be continued with; None when it cannot be."""
    found = store.continue_stream(session_id, "server", NOON - HOUR)
    assert not isinstance(found, Contest), "it is open on no other server"
    return None if found is None else [each["number"] for each in found[1].finals]


def test_a_transcript_is_forgotten_in_what_continues_its_stream(store: Store) -> None:
    """The stream goes on without it; what is heard later is kept again, and only that."""
    store.write([opened(), final(1), final(2), resumable(1, 2), opened("other")])
    store.write([final(1, session_id="other"), resumable(1, session_id="other")])
    store.forget_finals("session")
    assert sent_of(store, "session") == []
    store.write([final(3), resumable(1, 2, 3)])
    assert sent_of(store, "session") == [3]
    assert sent_of(store, "other") == [1]


def test_a_stream_that_ended_is_not_continued_when_its_transcript_is_forgotten(
    store: Store,
) -> None:
    """Nothing of what was heard stays."""
    store.write([opened(), final(1), resumable(1), replace(closed(), reason="moved")])
    store.write([opened("other"), final(1, session_id="other"), resumable(1, session_id="other")])
    store.forget_finals("session")
    assert sent_of(store, "session") is None
    assert sent_of(store, "other") == [1]


def test_old_finals_are_forgotten_in_what_continues_their_stream(store: Store) -> None:
    """Younger ones stay there; a stream that ended before that is not continued at all."""
    store.write([opened(), *(final(number) for number in (1, 2, 3)), resumable(1, 2, 3)])
    for name, ended_at in (("old", NOON - 2 * HOUR), ("new", NOON)):
        end = replace(closed(at=ended_at), session_id=name, reason="lost")
        store.write([opened(name), final(3, session_id=name)])
        store.write([resumable(3, session_id=name), end])
    store.forget_finals_before(NOON + timedelta(seconds=3))
    assert sent_of(store, "session") == [3]
    assert sent_of(store, "new") == [3]
    assert store.forget_points_before(NOON) == 0
    assert len(store.finals("old")) == 1


def test_what_old_streams_could_be_continued_with_is_forgotten(store: Store) -> None:
    """Of those that ended before a moment; their transcripts stay, and live streams go on."""
    for name, ended_at in (("old", NOON - HOUR), ("new", NOON)):
        end = replace(closed(at=ended_at), session_id=name, reason="lost")
        store.write([opened(name), final(session_id=name), resumable(1, session_id=name), end])
    store.write([opened("live"), final(session_id="live"), resumable(1, session_id="live")])
    assert store.forget_points_before(NOON) == 1
    assert [sent_of(store, name) for name in ("old", "new", "live")] == [None, [1], [1]]
    assert len(store.finals("old")) == 1


def test_finals_that_are_not_kept_do_not_continue_a_stream(store: Store) -> None:
    """They were forgotten, or never written."""
    store.write([opened(), final(2), resumable(1, 2)])
    assert sent_of(store, "session") == [2]


def test_more_finals_than_a_page_are_forgotten(store: Store) -> None:
    """However many there are."""
    store.write([opened(), *(final(number) for number in range(1, 1101))])
    assert store.forget_finals("session") == 1100
    assert store.finals("session") == []


def test_old_sessions_are_forgotten(store: Store) -> None:
    """Those that expired and whose streams all ended before a moment, with all that they had."""
    later = NOON + 3 * HOUR
    store.write([session("old"), opened("old"), final(session_id="old")])
    end = replace(closed(), session_id="old", reason="lost")
    store.write([resumable(1, session_id="old"), end, session("unopened")])
    store.write([session("live"), opened("live")])
    store.write([session("fresh", expires_at=later)])
    store.write([session("long"), opened("long"), opened("long", 2)])
    store.write([replace(closed(1), session_id="long")])
    store.write([replace(closed(2, at=later), session_id="long")])
    assert store.forget_sessions_before(later) == 2
    assert ids(store) == ["fresh", "live", "long"]
    assert store.finals("old") == []
    assert store.forget_points_before(later + HOUR) == 0
    assert {it.session_id for it in store.streams()} == {"live", "long"}
    assert store.forget_sessions_before(later) == 0


def test_more_sessions_than_a_page_are_forgotten(store: Store) -> None:
    """However many there are."""
    store.write([session(str(number)) for number in range(600)])
    assert store.forget_sessions_before(NOON + 2 * HOUR) == 600

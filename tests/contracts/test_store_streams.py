"""What every store does with streams: claims, ends, servers that live or die."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest

from stapes.errors import RecordRefusedError
from stapes.store.port import Contest, Store, Use
from stapes.store.records import StreamResumable
from tests.contracts.conftest import Opening
from tests.contracts.records import NOON, TOKEN, closed, final, metered, opened, session

SECOND = timedelta(seconds=1)
ANY = opened(stream=0)


def test_a_claim_numbers_the_streams_of_a_session(store: Store) -> None:
    """Numbers count from 1 within a session; a claim is a stream like any other."""
    assert [store.claim_stream(ANY) for _ in range(3)] == [1, 2, 3]
    assert store.claim_stream(opened("other", 0)) == 1
    assert [it.stream for it in store.streams(session_id="session")] == [3, 2, 1]
    store.write([final(stream=2), closed(2)])
    assert [it.reason for it in store.streams(session_id="session")] == [None, "peer", None]


def test_a_claim_continues_what_was_written(store: Store) -> None:
    """The next number is behind the last, however that one came."""
    store.write([opened(stream=7)])
    assert store.claim_stream(ANY) == 8


def test_only_the_first_claim_of_a_session_is_granted(store: Store) -> None:
    """A session that had a stream has no first one any more."""
    assert store.claim_stream(ANY, only_first=True) == 1
    assert store.claim_stream(ANY, only_first=True) is None
    assert store.claim_stream(opened("other", 0), only_first=True) == 1
    assert [it.stream for it in store.streams(session_id="session")] == [1]


def test_a_session_that_had_any_stream_has_no_first_one(store: Store) -> None:
    """It does not matter that the stream has ended."""
    store.write([opened(), closed()])
    assert store.claim_stream(ANY, only_first=True) is None


@pytest.mark.parametrize("only_first", [True, False])
def test_claims_at_the_same_instant(opening: Opening, only_first: bool) -> None:
    """Of claims on several servers at once one is the first, and no number comes twice."""
    servers = 4
    stores = [opening() for _ in range(servers)]
    barrier = Barrier(servers)

    def claim(store: Store) -> list[int | Contest | None]:
        numbers = []
        for attempt in range(5):
            barrier.wait(60)
            stream = opened(f"session {attempt}", 0)
            numbers.append(store.claim_stream(stream, only_first=only_first))
        return numbers

    with ThreadPoolExecutor(servers) as threads:
        found = list(threads.map(claim, stores))
    expected = [1, *[None] * (servers - 1)] if only_first else [1, 2, 3, 4]
    for numbers in zip(*found, strict=True):
        assert sorted(numbers, key=lambda it: it if isinstance(it, int) else 9) == expected


HELD = Contest("session", 1, "server", resumes=False)


def test_a_stream_is_not_claimed_while_another_server_has_one_open(store: Store) -> None:
    """What is open there comes back; when that has ended, or was won, the next one is claimed."""
    store.claim_stream(ANY)
    assert store.claim_stream(opened(server_id="b")) == HELD
    assert store.claim_stream(ANY) == 2, "a server settles its own sockets by itself"
    held = replace(HELD, stream=2)
    assert store.claim_stream(opened(server_id="b"), won=HELD) == held
    assert store.claim_stream(opened(server_id="b"), won=held) == 3
    store.write([closed(3)])
    assert store.claim_stream(ANY) == 4


def test_claims_of_several_servers_at_the_same_instant(opening: Opening) -> None:
    """One claims the stream, and the others are told which one it is."""
    servers = 4
    stores = dict(zip("abcd", (opening() for _ in range(servers)), strict=True))
    barrier = Barrier(servers)

    def claim(server_id: str) -> int | Contest | None:
        barrier.wait(20)
        return stores[server_id].claim_stream(opened(stream=0, server_id=server_id))

    with ThreadPoolExecutor(servers) as threads:
        found = dict(zip(stores, threads.map(claim, stores), strict=True))
    (winner,) = [server for server, it in found.items() if it == 1]
    told = [it for it in found.values() if it != 1]
    assert told == [Contest("session", 1, winner, resumes=False)] * (servers - 1)


def test_a_contest_waits_for_its_answer(store: Store) -> None:
    """The server that is asked sees it until it refuses."""
    store.claim_stream(ANY)
    assert store.contests("server") == []
    store.contest(HELD)
    store.contest(HELD)
    assert (store.contests("server"), store.contests("b")) == ([HELD], [])
    assert store.contest_result(HELD) is None
    store.refuse_contest(HELD)
    assert (store.contests("server"), store.contest_result(HELD)) == ([], False)


def test_a_contest_is_won_when_the_stream_is_let_go_of(store: Store) -> None:
    """It ended, was withdrawn, or is somebody else's; nothing is left to answer."""
    ways: list[Callable[[], object]] = [
        lambda: store.write([closed()]),
        lambda: store.withdraw_stream("session", 1),
        lambda: store.claim_stream(opened(server_id="c"), won=HELD),
    ]
    for let_go in ways:
        store.claim_stream(ANY)
        store.contest(HELD)
        let_go()
        assert store.contest_result(HELD) is True
        assert store.contests("server") == []
        for number in (1, 2):
            store.withdraw_stream("session", number)


def test_a_stream_is_not_continued_while_another_server_has_it_open(store: Store) -> None:
    """It is to be contested first, and then goes on."""
    store.claim_stream(ANY)
    store.write([StreamResumable("session", 1, 0, b"", [], 0, 0, 0, 0)])
    held = replace(HELD, resumes=True)
    since = NOON - 60 * SECOND
    assert store.continue_stream("session", "b", since) == held
    store.contest(held)
    taken = store.continue_stream("session", "b", since, won=held)
    assert isinstance(taken, tuple)
    assert (taken[0].server_id, store.contests("server")) == ("b", [])
    assert isinstance(store.continue_stream("session", "b", since), tuple), "it has it already"


def test_streams_that_go_on_elsewhere_are_known(store: Store) -> None:
    """Those that another server took over, and those whose session has a newer one there."""
    store.write([opened(stream=1), opened(stream=2, server_id="b"), opened("other", 1)])
    mine = [("session", 1), ("other", 1), ("session", 3)]
    assert store.taken_streams("server", mine) == [("session", 1)]
    assert store.taken_streams("b", [("session", 2)]) == []
    assert store.taken_streams("c", [("session", 2)]) == [("session", 2)]
    assert store.taken_streams("server", []) == []


def test_a_withdrawn_claim_was_never_made(store: Store) -> None:
    """The number is free again, also as the first; other streams stay."""
    store.claim_stream(ANY, only_first=True)
    store.withdraw_stream("session", 1)
    assert store.streams() == []
    assert store.claim_stream(ANY, only_first=True) == 1
    store.claim_stream(ANY)
    store.withdraw_stream("session", 2)
    store.withdraw_stream("other", 1)
    assert [it.stream for it in store.streams()] == [1]


def test_a_stream_that_was_heard_cannot_be_withdrawn(store: Store) -> None:
    """A transcript keeps its stream."""
    store.write([opened(), final()])
    with pytest.raises(RecordRefusedError):
        store.withdraw_stream("session", 1)
    assert len(store.streams()) == 1


def test_a_claim_forgets_a_withdrawn_one(store: Store) -> None:
    """What was metered of a withdrawn stream is not that of the next."""
    store.write([opened(), metered(), closed()])
    store.withdraw_stream("session", 1)
    store.claim_stream(ANY)
    (stream,) = store.streams()
    assert (stream.audio_ms, stream.closed_at) == (0, None)


def test_closed_streams_are_those_that_ended_in_a_span(store: Store) -> None:
    """The span's start counts in and its end does not; they come in the order of their ends."""
    store.write([TOKEN, *(opened(stream=number) for number in range(1, 7))])
    ends = [(1, -1), (2, 3), (3, 0), (4, 5), (5, 3)]
    store.write([closed(number, at=NOON + seconds * SECOND) for number, seconds in ends])
    start = NOON + timedelta(minutes=1)
    found = list(store.closed_streams(start, start + 5 * SECOND))
    assert [it.stream for it in found] == [3, 2, 5]
    assert [it.freeform_tags for it in found] == [{"ward": "Ä 7"}] * 3


def test_a_closed_stream_counts_where_it_last_ended(store: Store) -> None:
    """A stream that was continued is in the span of its last end alone."""
    store.write([opened(), closed()])
    store.write([closed(at=NOON + timedelta(hours=1), audio_ms=9000)])
    first, second = NOON, NOON + timedelta(hours=1)
    assert list(store.closed_streams(first, second)) == []
    (stream,) = store.closed_streams(second, second + timedelta(hours=1))
    assert stream.audio_ms == 9000


def test_closed_streams_need_not_be_read_to_the_end(store: Store) -> None:
    """Whoever stops in the middle leaves the store usable."""
    store.write([opened(), opened(stream=2), closed(1), closed(2)])
    for _ in range(30):
        assert next(store.closed_streams(NOON, NOON + timedelta(hours=1))).stream == 1
    store.write([opened(stream=3)])


def uses(store: Store, server_id: str = "server") -> list[Use]:
    found = store.uses_elsewhere(server_id, NOON - 10 * SECOND, NOON - 60 * SECOND)
    return sorted(found, key=lambda use: (use.compartment_id, use.live))


def test_live_streams_of_other_servers_are_counted(store: Store) -> None:
    """By tenancy, compartment and user; not one's own, and none that has ended."""
    store.write([opened(stream=1, server_id="b"), opened(stream=2, server_id="c")])
    store.write([opened(stream=3, server_id="b"), closed(3), opened(stream=4, server_id="server")])
    elsewhere = replace(opened(stream=5, server_id="b"), compartment_id="else")
    store.write([elsewhere])
    for server in ("server", "b", "c"):
        store.beat(server, NOON)
    assert uses(store) == [
        Use("tenancy", "compartment", "user", live=2),
        Use("tenancy", "else", "user", live=1),
    ]


def test_a_server_that_does_not_beat_is_not_counted(store: Store) -> None:
    """One that never beat, or no more; and counts again when it does."""
    store.write([opened(server_id="b"), opened(stream=2, server_id="never")])
    store.beat("b", NOON - 11 * SECOND)
    assert uses(store) == []
    store.beat("b", NOON - 10 * SECOND)
    assert uses(store) == [Use("tenancy", "compartment", "user", live=1)]


def test_tokens_that_others_minted_are_counted(store: Store) -> None:
    """Since a moment, which counts in; sessions of credentials are none.

    Also when the other has died since, and its streams were ended.
    """
    before = NOON - 61 * SECOND
    store.beat("b", NOON - 20 * SECOND)
    store.close_lost(NOON - 10 * SECOND)
    store.write(
        [
            session("1", server_id="b", issued_at=NOON - 60 * SECOND),
            session("2", server_id="b", issued_at=NOON),
            session("3", server_id="b", issued_at=before),
            session("4", server_id="server", issued_at=NOON),
            session("5", server_id="b", issued_at=NOON, kid=None, claims=None),
        ]
    )
    assert uses(store) == [Use("tenancy", "compartment", "user", minted=2)]


def test_streams_of_a_dead_server_are_ended(store: Store) -> None:
    """With what was last metered, at the moment that it says; others are left alone."""
    store.write([opened(server_id="dead"), metered(), opened(stream=2, server_id="dead")])
    store.write([opened(stream=3, server_id="b"), opened(stream=4, server_id="dead"), closed(4)])
    store.beat("dead", NOON - 11 * SECOND)
    store.beat("b", NOON)
    assert store.close_lost(NOON - 10 * SECOND) == 2
    found = {it.stream: it for it in store.streams()}
    assert [found[number].reason for number in (1, 2, 3, 4)] == ["lost", "lost", None, "peer"]
    assert found[1].closed_at == NOON + timedelta(milliseconds=2100)
    assert (found[1].audio_ms, found[1].speech_ms, found[1].words) == (2000, 1500, 3)
    assert found[2].closed_at == NOON
    assert store.close_lost(NOON - 10 * SECOND) == 0


def test_lost_streams_end_when_their_server_was_last_seen(store: Store) -> None:
    """However long they were on the way between servers: it is then that they wait from."""
    store.write([opened(server_id="dead"), metered()])
    store.beat("dead", NOON + 90 * SECOND)
    store.close_lost(NOON + 100 * SECOND)
    (stream,) = store.streams()
    assert stream.closed_at == NOON + 90 * SECOND


def test_a_server_does_not_end_what_another_has_taken_over(store: Store) -> None:
    """It stays open, with what continues it; the end of the one that has it counts."""
    store.claim_stream(ANY)
    store.write([StreamResumable("session", 1, 0, b"", [], 0, 0, 0, 0)])
    held = replace(HELD, resumes=True)
    assert store.continue_stream("session", "b", NOON, won=held)
    store.write([replace(closed(), server_id="server")])
    (stream,) = store.streams()
    assert (stream.closed_at, stream.audio_ms) == (None, 0)
    assert isinstance(store.continue_stream("session", "b", NOON), tuple), "it can go on"
    store.write([replace(closed(), server_id="b")])
    (stream,) = store.streams()
    assert (stream.reason, stream.audio_ms) == ("peer", 5000)


def test_streams_of_a_server_that_never_beat_are_ended(store: Store) -> None:
    """A server beats before it serves: one that is unknown is dead."""
    store.write([opened(server_id="")])
    assert store.close_lost(NOON) == 1


def test_a_server_taken_for_dead_may_still_end_its_streams(store: Store) -> None:
    """What the server itself says about the end is what counts."""
    store.write([opened(server_id="slow"), metered()])
    store.close_lost(NOON)
    store.beat("slow", NOON)
    store.write([closed()])
    assert [(it.reason, it.audio_ms) for it in store.streams()] == [("peer", 5000)]


def test_two_servers_find_the_same_dead_one(opening: Opening) -> None:
    """Each lost stream is ended once."""
    stores = [opening() for _ in range(3)]
    stores[0].write([opened(stream=number, server_id="dead") for number in range(1, 41)])
    with ThreadPoolExecutor(3) as threads:
        counts = list(threads.map(lambda store: store.close_lost(NOON), stores))
    assert sum(counts) == 40


def test_a_crowd_that_opens_at_once_is_let_in(store: Store) -> None:
    """Two hundred sessions in the same instant: each gets its stream, and none is turned away."""
    with ThreadPoolExecutor(16) as threads:
        crowd = [opened(f"session{number}", 0) for number in range(200)]
        assert set(threads.map(store.claim_stream, crowd)) == {1}

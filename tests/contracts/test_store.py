"""What every store does, whichever it is: identities, keys, tokens, streams, transcripts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from stapes.errors import RecordRefusedError
from stapes.identity.model import Directory, Tenancy, User
from stapes.store.port import SessionFilter, Store, StreamSummary, Versions
from stapes.store.records import Record
from stapes.tokens.revocations import Revocations
from tests.contracts.records import (
    API_KEY,
    BEARER_KEY,
    COMPARTMENT,
    GROUP,
    IDENTITIES,
    KEY,
    NOON,
    POLICY,
    TENANCY,
    TOKEN,
    USER,
    closed,
    final,
    metered,
    opened,
)


def test_a_new_store_is_empty(store: Store) -> None:
    """Every question to an empty store has an empty answer."""
    assert store.directory() == Directory()
    assert store.signing_keys() == []
    assert store.retried_since(NOON, most=9) == []
    assert store.streams() == []
    assert store.finals("session") == []
    assert store.versions() == Versions()
    assert store.revocations(NOON) == Revocations()
    assert list(store.closed_streams(NOON, NOON)) == []
    assert store.sessions(SessionFilter(), NOON, limit=10) == []
    assert store.uses_elsewhere("server", NOON, NOON) == []
    assert store.audit() == []


def test_writing_nothing_is_allowed(store: Store) -> None:
    """An empty batch changes nothing."""
    store.write([])
    assert store.directory() == Directory()


def test_the_directory_gives_back_every_identity(store: Store) -> None:
    """What was written is in the directory, by its key and equal."""
    store.write(IDENTITIES)
    assert store.directory() == Directory(
        tenancies={"tenancy": TENANCY},
        compartments={"compartment": COMPARTMENT},
        users={"user": USER},
        groups={"group": GROUP},
        policies={"policy": POLICY},
        api_keys={("user", "aa:bb"): API_KEY},
        bearer_keys={"bearer": BEARER_KEY},
    )


def test_a_directory_is_a_snapshot(store: Store) -> None:
    """A directory does not change with the store."""
    before = store.directory()
    store.write(IDENTITIES)
    assert before == Directory()


def test_identities_replace_by_key(store: Store) -> None:
    """Writing an identity again replaces the one with its key, whoever refers to it."""
    store.write(IDENTITIES)
    other_key = replace(API_KEY, fingerprint="cc:dd")
    changed: list[Record] = [
        replace(TENANCY, name="other"),
        replace(COMPARTMENT, name="other"),
        replace(USER, name="other"),
        replace(GROUP, user_ids=frozenset()),
        replace(POLICY, statements=(), bindings=()),
        replace(API_KEY, enabled=False),
        replace(BEARER_KEY, enabled=False, expires_at=None),
        other_key,
    ]
    store.write(changed)
    directory = store.directory()
    assert directory.tenancies == {"tenancy": Tenancy("tenancy", "other")}
    assert directory.compartments["compartment"].name == "other"
    assert directory.users == {"user": User("user", "other", "tenancy")}
    assert directory.groups["group"].user_ids == frozenset()
    assert directory.policies["policy"] == replace(POLICY, statements=(), bindings=())
    assert directory.bearer_keys["bearer"] == replace(BEARER_KEY, enabled=False, expires_at=None)
    assert directory.api_keys == {
        ("user", "aa:bb"): replace(API_KEY, enabled=False),
        ("user", "cc:dd"): other_key,
    }


@pytest.mark.parametrize("orphan", [COMPARTMENT, USER, GROUP, POLICY, API_KEY, BEARER_KEY])
def test_an_identity_of_nobody_is_refused(store: Store, orphan: Record) -> None:
    """An identity whose tenancy or user does not exist is refused."""
    with pytest.raises(RecordRefusedError):
        store.write([orphan])
    assert store.directory() == Directory()


def test_signing_keys_come_newest_first(store: Store) -> None:
    """Signing keys are ordered by the time they were added, whatever the order of writing."""
    newest = replace(KEY, kid="newest", added_at=NOON + timedelta(days=1))
    oldest = replace(KEY, kid="oldest", added_at=NOON - timedelta(days=1))
    store.write([KEY, newest, oldest])
    assert store.signing_keys() == [newest, KEY, oldest]


def test_a_token_comes_back_as_it_was_issued(store: Store) -> None:
    """Claims, tags and times survive, to the microsecond and in UTC."""
    store.write([TOKEN])
    (kept,) = store.retried_since(NOON, most=9)
    assert kept == TOKEN
    assert kept.issued_at.utcoffset() == timedelta(0)


def test_times_of_another_zone_are_the_same_instant(store: Store) -> None:
    """An aware time of any zone comes back as the same instant."""
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    store.write([replace(TOKEN, issued_at=tokyo)])
    assert [token.issued_at for token in store.retried_since(tokyo, most=9)] == [NOON]


def test_a_token_without_tags_has_none(store: Store) -> None:
    """Absent tags stay absent, and empty ones empty."""
    store.write([replace(TOKEN, freeform_tags=None, defined_tags={})])
    (kept,) = store.retried_since(NOON, most=9)
    assert (kept.freeform_tags, kept.defined_tags) == (None, {})


def test_retried_since_takes_in_its_moment_and_needs_a_retry_token(store: Store) -> None:
    """Only tokens with a retry token count, from the moment itself on, oldest first.

    When they are too many, the oldest are left out.
    """
    early = replace(TOKEN, session_id="early", issued_at=NOON - timedelta(microseconds=1))
    late = replace(TOKEN, session_id="late", issued_at=NOON + timedelta(hours=1))
    plain = replace(TOKEN, session_id="plain", retry_token=None, body_sha256=None)
    store.write([late, early, plain, TOKEN])
    for most, expected in ((9, ["session", "late"]), (1, ["late"]), (0, [])):
        assert [token.session_id for token in store.retried_since(NOON, most=most)] == expected


LIVE = StreamSummary(
    session_id="session",
    stream=1,
    tenancy_id="tenancy",
    compartment_id="compartment",
    user_id="user",
    engine="scripted",
    opened_at=NOON,
    closed_at=None,
    reason=None,
    audio_ms=0,
    speech_ms=0,
    wall_ms=0,
    words=0,
    finals=0,
)


def test_a_live_stream_is_listed_open(store: Store) -> None:
    """A stream that has not ended has no end, no reason and no amounts yet."""
    store.write([opened()])
    assert store.streams() == [LIVE]


def test_a_live_stream_has_what_was_last_metered(store: Store) -> None:
    """Amounts are those of the last metering, and the stream stays open."""
    store.write([opened(), metered(audio_ms=1000), opened(stream=2)])
    store.write([metered()])
    (summary,) = [it for it in store.streams() if it.stream == 1]
    assert summary == replace(LIVE, audio_ms=2000, speech_ms=1500, wall_ms=2100, words=3)


def test_an_ended_stream_is_summed_up(store: Store) -> None:
    """A summary has the end of the stream, its amounts, its finals and the token's tags."""
    store.write([TOKEN, opened(), final(1), metered(), final(2), closed(), opened(stream=2)])
    (summary,) = [it for it in store.streams() if it.stream == 1]
    assert summary == replace(
        LIVE,
        closed_at=NOON + timedelta(minutes=1),
        reason="peer",
        audio_ms=5000,
        speech_ms=3000,
        wall_ms=60_000,
        words=4,
        finals=2,
        freeform_tags={"ward": "Ä 7"},
    )


def test_amounts_may_be_larger_than_32_bits(store: Store) -> None:
    """Weeks of audio in ms are kept exactly."""
    store.write([opened(), closed(audio_ms=2**40)])
    assert [it.audio_ms for it in store.streams()] == [2**40]


def test_the_last_end_of_a_stream_counts(store: Store) -> None:
    """A stream that was continued may end again."""
    store.write([opened(), closed()])
    store.write([closed(audio_ms=9000)])
    assert [it.audio_ms for it in store.streams()] == [9000]


def test_streams_come_newest_first_and_limited(store: Store) -> None:
    """Streams are ordered by their opening; the limit cuts off the oldest."""
    later = NOON + timedelta(seconds=1)
    store.write([opened("b", 1), opened("a", 1), opened("a", 2), opened("c", 1, at=later)])
    order = [(it.session_id, it.stream) for it in store.streams()]
    assert order == [("c", 1), ("a", 2), ("a", 1), ("b", 1)]
    assert [it.session_id for it in store.streams(limit=2)] == ["c", "a"]
    assert store.streams(limit=0) == []


def test_streams_are_limited_to_fifty_unless_told(store: Store) -> None:
    """The list has a bound of its own."""
    store.write([opened(stream=number) for number in range(1, 61)])
    assert len(store.streams()) == 50
    assert len(store.streams(limit=60)) == 60


def test_streams_of_one_session(store: Store) -> None:
    """A session's streams can be asked for apart."""
    store.write([opened(), opened(stream=2), opened("other")])
    assert [it.stream for it in store.streams(session_id="session")] == [2, 1]
    assert store.streams(session_id="nobody") == []


def test_a_transcript_comes_back_in_order(store: Store) -> None:
    """Finals come by stream and number, with words as they were heard."""
    second = final(1, stream=2)
    elsewhere = final(1, session_id="other")
    store.write([opened(), opened(stream=2), opened("other")])
    store.write([second, final(2), elsewhere, final(10), final(1)])
    assert store.finals("session") == [final(1), final(2), final(10), second]
    assert store.finals("session", 2) == [second]
    assert store.finals("session", 3) == []


def test_a_final_may_be_empty(store: Store) -> None:
    """A final with no words is kept like any other."""
    silence = replace(final(), text="", words=())
    store.write([opened(), silence])
    assert store.finals("session") == [silence]
    assert [it.finals for it in store.streams()] == [1]


@pytest.mark.parametrize("record", [KEY, TOKEN, opened(stream=2), final()])
def test_what_happened_is_never_written_over(store: Store, record: Record) -> None:
    """A second token, stream, final or signing key with the key of the first is refused."""
    store.write([opened(), record])
    with pytest.raises(RecordRefusedError):
        store.write([record])


@pytest.mark.parametrize("record", [final(), metered(), closed()])
def test_a_stream_that_was_never_opened_has_no_finals_and_no_end(
    store: Store, record: Record
) -> None:
    """Finals and ends need their stream, and not just another one of the session."""
    store.write([opened(stream=2)])
    with pytest.raises(RecordRefusedError):
        store.write([record])
    assert store.finals("session") == []


def test_a_refused_record_takes_its_batch_with_it(store: Store) -> None:
    """Of a batch with a record that is refused nothing is written, before it or after."""
    store.write([opened(), final(1)])
    with pytest.raises(RecordRefusedError):
        store.write([TENANCY, final(2), final(1), final(3)])
    assert store.finals("session") == [final(1)]
    assert store.directory() == Directory()


def test_a_batch_is_written_in_its_order(store: Store) -> None:
    """A record may need one that came before it in the same batch, of whatever kind."""
    store.write([opened(), final(1), opened(stream=2), final(1, stream=2), closed(1), closed(2)])
    assert [it.finals for it in store.streams()] == [1, 1]


def test_check_writable_leaves_nothing_behind(store: Store) -> None:
    """Checking may be repeated and changes no answer."""
    store.check_writable()
    store.check_writable()
    assert store.directory() == Directory()


def test_a_store_may_be_closed_twice(store: Store) -> None:
    """Closing again is no error."""
    store.close()
    store.close()

"""What every store does with changes that servers must learn of: keys, identities, revocations."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stapes.errors import RecordRefusedError
from stapes.identity.model import Directory, Tenancy, User
from stapes.store.port import SessionFilter, Store
from stapes.store.records import Audited, IdentityRemoved, Record, Revoked, SigningKeyRetired
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
    session,
)

HOUR = timedelta(hours=1)
RETIRED = SigningKeyRetired("kid", NOON + HOUR)
REVOKED = Revoked("tenancy", "session", "session", NOON)
EVERY = SessionFilter()

CHANGES = [
    *((identity, "identities") for identity in IDENTITIES),
    (IdentityRemoved(API_KEY), "identities"),
    (IdentityRemoved(USER), "identities"),
    (replace(KEY, kid="another"), "keys"),
    (RETIRED, "keys"),
    (REVOKED, "revocations"),
    (session("another"), None),
    (opened(stream=2), None),
    (final(2), None),
    (metered(), None),
    (closed(), None),
    (Audited(NOON, "local:me", "token.minted", "session"), None),
]


@pytest.mark.parametrize(("record", "counted"), CHANGES)
def test_a_version_grows_with_what_it_counts(
    store: Store, record: Record, counted: str | None
) -> None:
    """A change makes its own number grow, and what happens makes none grow."""
    store.write([*IDENTITIES, KEY, TOKEN, opened(), final()])
    before = store.versions()
    store.write([record])
    after = store.versions()
    grown = {
        name
        for name in ("identities", "keys", "revocations")
        if getattr(after, name) > getattr(before, name)
    }
    assert grown == ({counted} if counted else set())


def test_other_writes_make_no_version_grow(store: Store) -> None:
    """Claims, beats and forgetting are no changes to what a server holds."""
    store.write([TOKEN, opened(), closed()])
    before = store.versions()
    store.claim_stream(opened())
    store.withdraw_stream("session", 2)
    store.beat("server", NOON)
    store.close_lost(NOON)
    store.forget_finals("session")
    store.forget_sessions_before(NOON + 9 * HOUR)
    store.check_writable()
    store.write([])
    assert store.versions() == before


def test_a_refused_change_makes_no_version_grow(store: Store) -> None:
    """What was not written is not counted."""
    with pytest.raises(RecordRefusedError):
        store.write([TENANCY, KEY, REVOKED, closed()])
    assert store.versions() == type(store.versions())()


def test_a_signing_key_retires(store: Store) -> None:
    """The key says until when what it signed is accepted; other keys stay in use."""
    other = replace(KEY, kid="other", added_at=NOON - HOUR)
    store.write([KEY, other, RETIRED])
    assert store.signing_keys() == [replace(KEY, retires_at=NOON + HOUR), other]


def test_the_earliest_retirement_counts(store: Store) -> None:
    """A key may be retired sooner than was said, and never later."""
    store.write([KEY, RETIRED, replace(RETIRED, retires_at=NOON), RETIRED])
    assert [key.retires_at for key in store.signing_keys()] == [NOON]


def test_a_key_may_be_added_with_its_end(store: Store) -> None:
    """What a key's record says of its retirement comes back."""
    store.write([replace(KEY, retires_at=NOON)])
    assert [key.retires_at for key in store.signing_keys()] == [NOON]


def test_a_key_that_is_not_there_cannot_retire(store: Store) -> None:
    """Nobody retires an unknown key by mistake."""
    with pytest.raises(RecordRefusedError):
        store.write([RETIRED])


REMOVALS: list[tuple[Record, str]] = [
    (COMPARTMENT, "compartments"),
    (GROUP, "groups"),
    (POLICY, "policies"),
    (API_KEY, "api_keys"),
    (BEARER_KEY, "bearer_keys"),
]


@pytest.mark.parametrize(("identity", "name"), REMOVALS)
def test_an_identity_is_removed(store: Store, identity: Record, name: str) -> None:
    """It alone is gone, whatever else its record says."""
    store.write(IDENTITIES)
    before = store.directory()
    changed = {"public_pem": ""} if identity == API_KEY else {}
    changed = changed or ({"sha256": ""} if identity == BEARER_KEY else {"name": "other"})
    store.write([IdentityRemoved(replace(identity, **changed))])  # type: ignore[arg-type]
    assert store.directory() == replace(before, **{name: {}})


def test_a_users_keys_go_with_the_user(store: Store) -> None:
    """API and bearer keys of a removed user are gone; those of others stay."""
    other = User("other", "other", "tenancy")
    others = replace(API_KEY, user_id="other")
    store.write([*IDENTITIES, other, others, replace(BEARER_KEY, id="2", user_id="other")])
    store.write([IdentityRemoved(USER)])
    directory = store.directory()
    assert list(directory.users) == ["other"]
    assert list(directory.api_keys.values()) == [others]
    assert list(directory.bearer_keys) == ["2"]


@pytest.mark.parametrize("left", [COMPARTMENT, USER, GROUP, POLICY])
def test_a_tenancy_with_anything_in_it_stays(store: Store, left: Record) -> None:
    """A tenancy is removed last."""
    store.write([TENANCY, left])
    with pytest.raises(RecordRefusedError):
        store.write([IdentityRemoved(TENANCY)])
    assert list(store.directory().tenancies) == ["tenancy"]
    store.write([IdentityRemoved(left), IdentityRemoved(TENANCY)])  # type: ignore[arg-type]
    assert store.directory() == Directory()


@pytest.mark.parametrize("identity", [TENANCY, USER, API_KEY, BEARER_KEY, POLICY])
def test_what_is_not_there_cannot_be_removed(store: Store, identity: Record) -> None:
    """Removing is refused when there is nothing of that key."""
    with pytest.raises(RecordRefusedError):
        store.write([IdentityRemoved(identity)])  # type: ignore[arg-type]


def test_a_revoked_session_is_known(store: Store) -> None:
    """It is in the snapshot, and marked with the first time it was taken back."""
    store.write([TOKEN, session("other"), REVOKED])
    store.write([replace(REVOKED, revoked_at=NOON + HOUR)])
    assert store.revocations(NOON) == Revocations(frozenset({("tenancy", "session")}), {})
    found = {it.session_id: it for it in store.sessions(EVERY, NOON, limit=9)}
    assert (found["session"].state, found["session"].revoked_at) == ("REVOKED", NOON)
    assert (found["other"].state, found["other"].revoked_at) == ("ISSUED", None)


def test_a_revoked_user_is_known(store: Store) -> None:
    """All that the user held is taken back: what could still be used, or was live."""
    second = timedelta(seconds=1)
    by_user = Revoked("tenancy", "user", "user", NOON + HOUR)
    store.write(
        [
            session("held", expires_at=NOON + 2 * HOUR),
            session("same second", issued_at=NOON + HOUR + timedelta(microseconds=9)),
            session("later", issued_at=NOON + HOUR + second, expires_at=NOON + 3 * HOUR),
            session("expired", expires_at=NOON + HOUR),
            session("expired and live", expires_at=NOON + HOUR),
            opened("expired and live"),
            session("expired and closed", expires_at=NOON + HOUR),
            opened("expired and closed"),
            replace(closed(), session_id="expired and closed"),
            session("of another user", user_id="another", expires_at=NOON + 2 * HOUR),
        ]
    )
    store.write([replace(TOKEN, session_id="of credentials", kid=None, expires_at=NOON + 2 * HOUR)])
    store.write([by_user])
    assert store.revocations(NOON) == Revocations(frozenset(), {("tenancy", "user"): NOON + HOUR})
    revoked = store.sessions(SessionFilter(state="REVOKED"), NOON, limit=99)
    expected = {"held", "expired and live", "of credentials"}
    assert {it.session_id for it in revoked} - {"same second"} == expected
    assert {it.revoked_at for it in revoked} == {NOON + HOUR}


def test_a_users_last_revocation_counts(store: Store) -> None:
    """One that comes late does not give back what a later one took."""
    first = Revoked("tenancy", "user", "user", NOON)
    last = replace(first, revoked_at=NOON + HOUR)
    store.write([last, first])
    assert store.revocations(NOON).users == {("tenancy", "user"): NOON + HOUR}


def test_a_revocation_may_come_before_its_session(store: Store) -> None:
    """Sessions are written behind the answer; one that was taken back by then is marked."""
    by_user = Revoked("tenancy", "user", "user", NOON)
    store.write([REVOKED, by_user])
    store.write([TOKEN, session("second"), session("later", issued_at=NOON + HOUR)])
    found = {it.session_id: it.state for it in store.sessions(EVERY, NOON, limit=9)}
    assert found == {"session": "REVOKED", "second": "REVOKED", "later": "ISSUED"}


@pytest.mark.parametrize(("scope", "subject"), [("session", "session"), ("user", "user")])
def test_nobody_revokes_what_is_another_tenancys(store: Store, scope: str, subject: str) -> None:
    """A revocation of a tenancy covers nothing of another one, whatever it names."""
    foreign = Revoked("another tenancy", scope, subject, NOON + HOUR)  # type: ignore[arg-type]
    store.write([foreign, TOKEN])
    store.write([foreign, REVOKED])
    assert store.revocations(NOON).sessions >= {("tenancy", "session")}
    taken = store.revocations(NOON)
    assert ("tenancy", "user") not in taken.users
    (found,) = store.sessions(EVERY, NOON, limit=9)
    assert found.revoked_at == NOON


def test_a_revocation_is_forgotten_when_it_covers_nothing_more(store: Store) -> None:
    """A day and an hour later no token can be left; the session stays marked."""
    store.write([TOKEN, REVOKED, Revoked("tenancy", "user", "user", NOON)])
    last = store.revocations(NOON + 24 * HOUR)
    assert (len(last.sessions), len(last.users)) == (1, 1)
    assert store.revocations(NOON + 25 * HOUR) == Revocations()
    assert [it.state for it in store.sessions(EVERY, NOON + 25 * HOUR, limit=9)] == ["REVOKED"]


def test_forgetting_sessions_keeps_revocations_that_cover_something(store: Store) -> None:
    """A revocation outlasts its session for as long as a token could."""
    store.write([TOKEN, REVOKED])
    assert store.forget_sessions_before(NOON + 2 * HOUR) == 1
    assert len(store.revocations(NOON + 2 * HOUR).sessions) == 1


def test_a_directory_has_tenancies_apart(store: Store) -> None:
    """Identities of two tenancies stand beside each other."""
    store.write([*IDENTITIES, Tenancy("t2", "second"), User("u2", "administrator", "t2")])
    assert [user.tenancy_id for user in store.directory().users.values()] == ["tenancy", "t2"]

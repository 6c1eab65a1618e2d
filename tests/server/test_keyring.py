"""Which key signs, which verify, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from stapes.server.keyring import Keyring, make_keyring
from stapes.store.records import SigningKeyAdded
from stapes.tokens.keys import SigningKey, jwk
from tests.server.grants import grant

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SOON = NOON + timedelta(hours=1)
NEWEST, MIDDLE, OLDEST = (
    SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes([number] * 32))) for number in range(3)
)
ALL = (NEWEST, MIDDLE, OLDEST)


def keyring(
    *retires_at: datetime | None, private: tuple[SigningKey, ...] = ALL, known: int = 3
) -> Keyring:
    """The keys, newest first; ``retires_at`` of as many as are given."""
    moments = [*retires_at, None, None, None]
    added = [
        SigningKeyAdded(key.kid, jwk(key.private_key.public_key()), NOON, moment)
        for key, moment in zip(ALL, moments, strict=False)
    ]
    return make_keyring(added[:known], {key.kid: key for key in private})


def test_the_newest_key_signs_and_all_verify() -> None:
    """As long as none is retired."""
    ring = keyring()
    assert ring.signing(NOON) is NEWEST
    assert list(ring.verifying(NOON)) == [key.kid for key in ALL]
    verifying = ring.verifying(NOON)[OLDEST.kid]
    assert verifying.public_bytes_raw() == OLDEST.private_key.public_key().public_bytes_raw()


def test_a_key_verifies_until_it_retires() -> None:
    """And not at that instant any more; it stays among all there ever were, for receipts."""
    ring = keyring(None, SOON, NOON)
    assert list(ring.verifying(NOON)) == [NEWEST.kid, MIDDLE.kid]
    assert list(ring.verifying(SOON - timedelta(microseconds=1))) == [NEWEST.kid, MIDDLE.kid]
    assert list(ring.verifying(SOON)) == [NEWEST.kid]
    assert list(ring.public) == [key.kid for key in ALL]
    assert set(ring.private) == {key.kid for key in ALL}
    assert [ring.is_retired(key.kid, NOON) for key in ALL] == [False, False, True]


def test_a_key_that_is_to_retire_does_not_sign_while_another_can() -> None:
    """Be it the newest."""
    assert keyring(SOON).signing(NOON) is MIDDLE


def test_a_key_whose_private_part_is_elsewhere_does_not_sign() -> None:
    """It verifies what another server signed with it."""
    ring = keyring(private=(MIDDLE, OLDEST))
    assert ring.signing(NOON) is MIDDLE
    assert NEWEST.kid in ring.verifying(NOON)


def test_a_private_part_without_record_does_nothing() -> None:
    """Its record is still being written, perhaps."""
    ring = keyring(known=0)
    assert ring.signing(NOON) is None
    assert ring.verifying(NOON) == {}


def test_where_only_retiring_keys_are_at_hand_the_last_to_retire_signs() -> None:
    """Until it is retired itself: the new one's file has not come yet."""
    ring = keyring(None, SOON, SOON + timedelta(hours=1), private=(MIDDLE, OLDEST))
    assert ring.signing(NOON) is OLDEST
    assert ring.signing(SOON + timedelta(hours=1)) is None


@pytest.mark.parametrize("private", [(), ALL])
def test_no_keys_are_no_fault(private: tuple[SigningKey, ...]) -> None:
    """A running server goes on without minting."""
    ring = make_keyring([], {key.kid: key for key in private})
    assert (ring.signing(NOON), ring.verifying(NOON), dict(ring.public)) == (None, {}, {})


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"kty": "OKP", "x": "abc"},
        {**jwk(NEWEST.private_key.public_key()), "x": "AAAA"},
        jwk(NEWEST.private_key.public_key()),
    ],
)
def test_a_key_that_cannot_be_read_is_logged_and_left_out(members: dict[str, str]) -> None:
    """So is one under another's kid; the others are there all the same."""
    good = SigningKeyAdded(OLDEST.kid, jwk(OLDEST.private_key.public_key()), NOON)
    with capture_logs() as lines:
        ring = make_keyring(
            [SigningKeyAdded(MIDDLE.kid, members, NOON), good], {key.kid: key for key in ALL}
        )
    assert ring.signing(NOON) is OLDEST
    assert list(ring.verifying(NOON)) == list(ring.public) == [OLDEST.kid]
    assert [(line["event"], line["kid"]) for line in lines] == [
        ("signing_key_unreadable", MIDDLE.kid)
    ]


def test_keys_do_not_show_in_a_log() -> None:
    """The private part has no text."""
    assert "rivateKey object" not in repr(keyring().private)


def test_a_session_is_disowned_when_its_key_was_retired_before_its_token() -> None:
    """Not when the key retired as it should, nor when no token was signed."""
    opened = grant("s", kid=OLDEST.kid, expires_at=SOON)
    assert keyring(None, None, NOON).disowns(opened, NOON)
    assert not keyring(None, None, NOON).disowns(opened, NOON - timedelta(seconds=1))
    assert not keyring(None, None, SOON).disowns(opened, SOON + timedelta(hours=9))
    assert not keyring(None, None, NOON).disowns(replace(opened, kid=None), SOON)
    assert not keyring(None, None, NOON).disowns(replace(opened, kid=MIDDLE.kid), SOON)

"""Which token-signing key signs, and which verify."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stapes.errors import HomeError
from stapes.server.keyring import read_keyring
from stapes.store.port import SigningKeyAdded
from stapes.tokens.keys import SigningKey, jwk

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NEW, OLD, OLDEST = (SigningKey.of(Ed25519PrivateKey.generate()) for _ in range(3))


def added(key: SigningKey, retires_in_s: float | None = None) -> SigningKeyAdded:
    retires_at = None if retires_in_s is None else NOW + timedelta(seconds=retires_in_s)
    return SigningKeyAdded(key.kid, jwk(key.private_key.public_key()), NOW, retires_at)


def home(*keys: SigningKey) -> dict[str, SigningKey]:
    return {key.kid: key for key in keys}


def test_the_newest_key_at_hand_signs() -> None:
    """One whose private part is elsewhere verifies only."""
    keys = [added(NEW), added(OLD)]
    assert read_keyring(keys, home(NEW, OLD), NOW).signing is NEW
    ring = read_keyring(keys, home(OLD), NOW)
    assert ring.signing is OLD
    assert set(ring.verifying(NOW)) == {NEW.kid, OLD.kid}


def test_a_key_that_retires_signs_only_when_there_is_no_other() -> None:
    """As on a server that has not got the new key's file yet."""
    keys = [added(NEW, retires_in_s=60), added(OLD)]
    assert read_keyring(keys, home(NEW, OLD), NOW).signing is OLD
    assert read_keyring(keys, home(NEW), NOW).signing is NEW


def test_a_key_verifies_until_it_retires_and_is_known_for_ever() -> None:
    """Tokens of a retired key are refused; receipts it signed can still be checked."""
    ring = read_keyring([added(NEW), added(OLD, 60), added(OLDEST, 0)], home(NEW, OLD), NOW)
    assert set(ring.verifying(NOW)) == {NEW.kid, OLD.kid}
    assert set(ring.verifying(NOW + timedelta(seconds=60))) == {NEW.kid}
    assert set(ring.public) == {NEW.kid, OLD.kid, OLDEST.kid}


@pytest.mark.parametrize("keys", [[], [NEW], [OLDEST]])
def test_without_a_key_that_can_sign_there_is_no_ring(keys: list[SigningKey]) -> None:
    """None at hand, or only a retired one."""
    with pytest.raises(HomeError, match="restore"):
        read_keyring([added(OLD), added(OLDEST, 0)], home(*keys), NOW)

"""A key and a clock that the token tests share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stapes.tokens.keys import SigningKey


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

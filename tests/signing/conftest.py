"""Keys that the signing tests share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from stapes.signing.authorization import KeyId


@pytest.fixture(scope="session")
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def key_id() -> KeyId:
    return KeyId("ocid1.tenancy.oc1..a", "ocid1.user.oc1..b", ":".join(["0f"] * 16))


@pytest.fixture
def now() -> datetime:
    return datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)

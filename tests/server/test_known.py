"""What a server knows by heart, and how it stays true."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from structlog.testing import capture_logs

from stapes.identity.model import ApiKey, Directory, User
from stapes.server.known import Known, load_public_keys, read_changes, read_known
from stapes.signing.authorization import KeyId
from stapes.store.records import IdentityRemoved, Revoked, SigningKeyAdded
from stapes.store.sql import open_store
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from stapes.store.records import Record
    from tests.conftest import Served


def administrators_key(served: Served) -> KeyId:
    (api_key,) = served.deployment.known.directory.api_keys.values()
    return KeyId(served.home.tenancy_id, api_key.user_id, api_key.fingerprint)


def test_api_key_is_found_by_all_three_parts_of_its_id(served: Served) -> None:
    """Tenancy, user and fingerprint; any other tenancy is another key."""
    key_id = administrators_key(served)

    def find(key_id: KeyId) -> RSAPublicKey | None:
        return served.deployment.known.find_public_key(key_id, datetime.now(UTC))

    assert find(key_id) is not None
    assert find(replace(key_id, tenancy_id="ocid1.tenancy.oc1..x")) is None
    assert find(replace(key_id, user_id="ocid1.user.oc1..x")) is None
    assert find(replace(key_id, fingerprint="00")) is None


@pytest.mark.parametrize("pem", ["", "no key", "ключ"])
def test_unreadable_api_key_is_logged_and_left_out(pem: str, served: Served) -> None:
    """The others are loaded all the same."""
    (good,) = served.deployment.known.directory.api_keys.values()
    bad = ApiKey("user", "fingerprint", pem)
    keys = {(key.user_id, key.fingerprint): key for key in (bad, good)}

    with capture_logs() as lines:
        loaded = load_public_keys(Directory(api_keys=keys))

    assert list(loaded) == [(good.user_id, good.fingerprint)]
    assert [line["event"] for line in lines] == ["api_key_unreadable"]


def test_only_what_changed_is_read_again(served: Served) -> None:
    """A change of one kind leaves the rest of the snapshot the very same objects."""
    store = open_store(served.home.database)
    now = datetime.now(UTC)

    def changed_by(*records: Record) -> tuple[Known, Known]:
        before = read_known(store, served.home, now)
        assert read_changes(before, store, served.home, now) is before
        store.write(records)
        return before, read_changes(before, store, served.home, now)

    user = User("ocid1.user.oc1..new", "new", served.home.tenancy_id)
    before, after = changed_by(user)
    assert after.directory.users[user.id] == user
    assert after.keyring is before.keyring
    assert after.revocations is before.revocations

    before, after = changed_by(Revoked(served.home.tenancy_id, "user", user.id, now))
    assert after.revocations.users[served.home.tenancy_id, user.id] == now
    assert after.directory is before.directory

    _, after = changed_by(IdentityRemoved(user))
    assert user.id not in after.directory.users
    store.close()


def test_it_is_looked_at_again_whatever_went_wrong(start_server: Callable[..., Served]) -> None:
    """Nothing is revoked where nobody looks."""
    server = start_server()
    deployment, tenancy_id = server.deployment, server.home.tenancy_id
    unreadable = server.home.keys_folder / "token-unreadable.pem"
    unreadable.mkdir(mode=0o700)
    now = datetime.now(UTC)
    deployment.store.write([SigningKeyAdded("k", {}, now), Revoked(tenancy_id, "user", "u", now)])
    wait_until(lambda: deployment.store_problem is not None)
    assert (tenancy_id, "u") not in deployment.known.revocations.users
    unreadable.rmdir()
    wait_until(lambda: (tenancy_id, "u") in deployment.known.revocations.users)
    wait_until(lambda: deployment.store_problem is None)

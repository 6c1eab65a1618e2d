"""What a server process has, and how it lets go of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from stapes.errors import ApiError, HomeError
from stapes.identity.model import ApiKey, Directory
from stapes.server.deployment import load_public_keys, newest_key
from stapes.signing.authorization import KeyId
from stapes.store.port import SigningKeyAdded
from stapes.tokens.keys import SigningKey, jwk
from tests.shelf import install

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.conftest import Served


def administrators_key(served: Served) -> KeyId:
    (api_key,) = served.deployment.directory.api_keys.values()
    return KeyId(served.home.tenancy_id, api_key.user_id, api_key.fingerprint)


def test_api_key_is_found_by_all_three_parts_of_its_id(served: Served) -> None:
    """Tenancy, user and fingerprint; any other tenancy is another key."""
    key_id = administrators_key(served)
    find = served.deployment.find_public_key

    assert find(key_id) is not None
    assert find(replace(key_id, tenancy_id="ocid1.tenancy.oc1..x")) is None
    assert find(replace(key_id, user_id="ocid1.user.oc1..x")) is None
    assert find(replace(key_id, fingerprint="00")) is None


@pytest.mark.parametrize("pem", ["", "no key", "ключ"])
def test_unreadable_api_key_is_logged_and_left_out(pem: str, served: Served) -> None:
    """The others are loaded all the same."""
    (good,) = served.deployment.directory.api_keys.values()
    bad = ApiKey("user", "fingerprint", pem)
    keys = {(key.user_id, key.fingerprint): key for key in (bad, good)}

    with capture_logs() as lines:
        loaded = load_public_keys(Directory(api_keys=keys))

    assert list(loaded) == [(good.user_id, good.fingerprint)]
    assert [line["event"] for line in lines] == ["api_key_unreadable"]


def test_newest_key_at_hand_signs() -> None:
    """The store says which is newest; the home which are at hand."""
    newest, older, gone = (SigningKey.of(Ed25519PrivateKey.generate()) for _ in range(3))
    verifying = {key.kid: key.private_key.public_key() for key in (gone, newest, older)}

    assert newest_key({older.kid: older, newest.kid: newest}, verifying) is newest
    with pytest.raises(HomeError, match="restore"):
        newest_key({}, verifying)


def test_key_whose_private_part_is_elsewhere_verifies_and_does_not_sign(
    start_server: Callable[..., Served],
) -> None:
    """Another server of the same database may sign with it."""
    server = start_server()
    deployment = server.deployment
    before = deployment.signing_key
    key = SigningKey.of(Ed25519PrivateKey.generate())
    added = SigningKeyAdded(
        key.kid, jwk(key.private_key.public_key()), deployment.store.signing_keys()[0].added_at
    )
    deployment.writer.put(replace(added, added_at=added.added_at.replace(year=2099)))
    deployment.writer.flush(timeout_s=5)
    server.stop()

    after = start_server().deployment

    assert set(after.verifying_keys) == {before.kid, key.kid}
    assert after.signing_key.kid == before.kid


class Stuck:
    """A live session that does not end."""

    def __init__(self, ended: asyncio.Event) -> None:
        self.ended = ended
        self.told: list[ApiError] = []

    def stop(self, error: ApiError) -> None:
        self.told.append(error)

    async def is_answering(self, timeout_s: float) -> bool:
        return timeout_s > 0


async def test_drain_does_not_wait_longer_than_its_timeout(
    start_server: Callable[..., Served],
) -> None:
    """A session that hangs is told, and does not hold the end up."""
    import asyncio

    deployment = start_server(drain_timeout_s=0.05).deployment
    session = Stuck(asyncio.Event())
    deployment.live.enter(session)
    await deployment.live.claim("session", session)

    with capture_logs() as lines:
        await deployment.drain()

    assert deployment.draining
    assert [error.close_code for error in session.told] == [1001]
    assert [line["event"] for line in lines] == ["drain_timed_out"]
    deployment.live.leave(session, "session")


def test_the_best_installed_models_serve_and_a_broken_one_is_logged(
    tmp_path: Path, start_server: Callable[..., Served]
) -> None:
    """Where no engine is forced."""
    shelf = tmp_path / "home" / "models"
    install(shelf, "zipformer-en", "en-US")
    install(shelf, "broken", "en-US")
    (shelf / "broken" / "stapes-model.toml").write_text("[")

    with capture_logs() as lines:
        deployment = start_server(engine=None).deployment

    assert [share.model for share in deployment.pool.shares] == ["zipformer-en"]
    assert [str(shelf / "broken") in line["cause"] for line in lines if "cause" in line] == [True]

"""What a server process has, and how it lets go of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.websockets import WebSocket
from structlog.testing import capture_logs

from stapes.errors import ApiError, GoingAwayError, ModelError
from stapes.protocol.events import DrainRequested, Moved
from stapes.store.records import SigningKeyAdded
from stapes.tokens.keys import SigningKey, jwk
from tests.server.grants import grant
from tests.shelf import install
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from tests.conftest import Served


def test_key_whose_private_part_is_elsewhere_verifies_and_does_not_sign(
    start_server: Callable[..., Served],
) -> None:
    """Another server of the same database may sign with it."""
    server = start_server()
    deployment = server.deployment
    before = deployment.signing_key(datetime.now(UTC))
    key = SigningKey.of(Ed25519PrivateKey.generate())
    added = SigningKeyAdded(
        key.kid, jwk(key.private_key.public_key()), deployment.store.signing_keys()[0].added_at
    )
    deployment.writer.put(replace(added, added_at=added.added_at.replace(year=2099)))
    deployment.writer.flush(PATIENCE_S)
    server.stop()

    after = start_server().deployment.known.keyring

    assert set(after.verifying(datetime.now(UTC))) == {before.kid, key.kid}
    signing = after.signing(datetime.now(UTC))
    assert signing is not None
    assert signing.kid == before.kid


class Stuck:
    """A live session that does not end."""

    def __init__(self, ended: asyncio.Event) -> None:
        self.ended = self.parted = ended
        self.stream: int | None = None
        self.is_resumable = False
        self.told: list[ApiError] = []

    def stop(self, error: ApiError) -> None:
        self.told.append(error)

    def post(self, event: DrainRequested | Moved) -> None:
        self.posted = event

    async def is_answering(self, timeout_s: float) -> bool:
        return timeout_s > 0

    def lose(self) -> None:
        self.stop(GoingAwayError())

    async def adopt(self, websocket: WebSocket, last_result: int) -> None:
        await websocket.close()


async def test_drain_does_not_wait_longer_than_its_timeout(
    start_server: Callable[..., Served],
) -> None:
    """A session that hangs is told, and does not hold the end up."""
    import asyncio

    deployment = start_server(drain_timeout_s=0.05).deployment
    session = Stuck(asyncio.Event())
    deployment.live.enter(session)
    await deployment.live.claim(grant("session"), session)

    with capture_logs() as lines:
        await deployment.drain()

    assert deployment.draining
    assert [error.close_code for error in session.told] == [1001]
    assert [line["event"] for line in lines] == ["drain_timed_out"]
    deployment.live.release(session, "session")
    deployment.live.leave(session)


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


def test_one_installed_model_serves_alone(
    tmp_path: Path, start_server: Callable[..., Served]
) -> None:
    """By its name, though a better one is there, and PocketSphinx; another name is told."""
    shelf = tmp_path / "home" / "models"
    for name in ("zipformer-en", "mine"):
        install(shelf, name, "en-US")

    deployment = start_server(engine=None, model="mine").deployment
    assert [share.model for share in deployment.pool.shares] == ["mine"]
    with pytest.raises(ModelError, match="there are: mine, pocketsphinx, zipformer-en"):
        start_server(engine=None, model="nonesuch")

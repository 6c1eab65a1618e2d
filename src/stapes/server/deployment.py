"""What one server process has, opened once and handed to every request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from stapes.errors import HomeError, StoreError
from stapes.identity.access import find_api_key
from stapes.identity.model import Directory
from stapes.server.home import Home, open_home
from stapes.server.live import LiveSessions
from stapes.server.retries import REMEMBERED_FOR, RetryMemory
from stapes.settings import Settings
from stapes.signing.authorization import KeyId
from stapes.store.port import Store
from stapes.store.sql import open_store
from stapes.store.writer import Writer
from stapes.tokens.keys import SigningKey, parse_jwk
from stapes.workers.pool import Pool

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Deployment:
    """One server's settings, keys, records, recognisers and live sessions.

    Attributes:
        directory: everybody, as they were when the server started.
        public_keys: loaded API keys by user OCID and fingerprint.
        signing_key: signs new tokens.
        signing_keys: it and those before it, by ``kid``: they sign an answer again.
        verifying_keys: every public key that a token may be signed with, by ``kid``.
        live: the sessions whose socket is open.
        draining: the server is stopping; nothing new may begin.
    """

    settings: Settings
    home: Home
    store: Store
    writer: Writer
    pool: Pool
    directory: Directory
    public_keys: dict[tuple[str, str], RSAPublicKey]
    signing_key: SigningKey
    signing_keys: dict[str, SigningKey]
    verifying_keys: dict[str, Ed25519PublicKey]
    retries: RetryMemory = field(default_factory=RetryMemory)
    live: LiveSessions = field(default_factory=LiveSessions)
    draining: bool = False

    def find_public_key(self, key_id: KeyId) -> RSAPublicKey | None:
        """The loaded key of an enabled API key; None when there is none."""
        key = find_api_key(self.directory, key_id.tenancy_id, key_id.user_id, key_id.fingerprint)
        return None if key is None else self.public_keys.get((key.user_id, key.fingerprint))

    async def drain(self) -> None:
        """Let live sessions end, for ``drain_timeout_s`` at the longest; nothing new begins."""
        self.draining = True
        try:
            async with asyncio.timeout(self.settings.drain_timeout_s):
                await self.live.drain()
        except TimeoutError:
            log.warning("drain_timed_out", live=len(self.live))


@asynccontextmanager
async def open_deployment(settings: Settings) -> AsyncIterator[Deployment]:
    """Open everything that a server needs, and close it at the end.

    Raises `stapes.errors.HomeError`, `stapes.errors.StoreError`, `stapes.errors.EngineError`.
    """
    home = open_home(settings.home)
    async with AsyncExitStack() as stack:
        store = open_store(home.database)
        stack.callback(store.close)
        keys = home.signing_keys()
        verifying_keys = {key.kid: parse_jwk(key.public_jwk) for key in store.signing_keys()}
        directory = store.directory()
        retries = RetryMemory(store.retried_since(datetime.now(UTC) - REMEMBERED_FOR))
        pool = await Pool.start(
            settings.engine,
            model=settings.model,
            streams=settings.streams,
            warm=settings.warm_workers,
        )
        stack.push_async_callback(pool.close)
        writer = Writer(store)
        stack.push_async_callback(_close_writer, writer)
        yield Deployment(
            settings=settings,
            home=home,
            store=store,
            writer=writer,
            pool=pool,
            directory=directory,
            public_keys=load_public_keys(directory),
            signing_key=newest_key(keys, verifying_keys),
            signing_keys=keys,
            verifying_keys=verifying_keys,
            retries=retries,
        )


def newest_key(
    keys: Mapping[str, SigningKey], verifying_keys: Mapping[str, Ed25519PublicKey]
) -> SigningKey:
    """The key that signs new tokens: of the store's, newest first, the first one at hand.

    Raises `HomeError` when the home holds the private part of none.
    """
    for kid in verifying_keys:
        if kid in keys:
            return keys[kid]
    raise HomeError("the home and the database share no token-signing key; restore both together")


def load_public_keys(directory: Directory) -> dict[tuple[str, str], RSAPublicKey]:
    """The API keys of a directory, ready to verify with. One that cannot be read is logged."""
    loaded: dict[tuple[str, str], RSAPublicKey] = {}
    for api_key in directory.api_keys.values():
        try:
            key = load_pem_public_key(api_key.public_pem.encode("ascii"))
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if isinstance(key, RSAPublicKey):
            loaded[api_key.user_id, api_key.fingerprint] = key
        else:
            log.error("api_key_unreadable", user=api_key.user_id, fingerprint=api_key.fingerprint)
    return loaded


async def _close_writer(writer: Writer) -> None:
    try:
        await asyncio.to_thread(writer.close)
    except StoreError as error:
        log.error("records_lost", cause=str(error))

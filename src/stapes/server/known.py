"""What a server knows of the store by heart, and how it stays true.

Requests and sockets are checked against memory alone. A task looks at the store's version numbers
several times a second and reads again what changed: a change by another process, the command line
among them, takes effect within a second.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from stapes.errors import HomeError, StoreError
from stapes.identity.access import find_api_key
from stapes.identity.model import ApiKey, Directory
from stapes.server.contests import answer_all
from stapes.server.keyring import Keyring, make_keyring
from stapes.server.quotas import Elsewhere
from stapes.server.retention import prune
from stapes.signing.authorization import KeyId
from stapes.store.port import Contest, Versions
from stapes.tokens.grant import Grant
from stapes.tokens.revocations import Revocations

if TYPE_CHECKING:
    from stapes.server.deployment import Deployment
    from stapes.server.home import Home
    from stapes.store.port import Store

LOOK_S = 0.25
LOOKS_A_BEAT = 4
BEATS_A_SWEEP = 60
BEATS_A_PRUNING = 3600
DEAD_AFTER = timedelta(seconds=5)
"""A server that has not said for so long that it lives does not."""

MINTED_OVER = timedelta(minutes=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """A snapshot: replaced as a whole, so that a request sees one state of things.

    Attributes:
        versions: of the store, when this was read.
        public_keys: loaded API keys by user OCID and fingerprint.
    """

    versions: Versions
    directory: Directory
    public_keys: dict[tuple[str, str], RSAPublicKey] = field(repr=False)
    keyring: Keyring
    revocations: Revocations

    def find_public_key(self, key_id: KeyId, now: datetime) -> RSAPublicKey | None:
        """The loaded key of an API key that may sign now; None when there is none."""
        key = find_api_key(
            self.directory, key_id.tenancy_id, key_id.user_id, key_id.fingerprint, now
        )
        return None if key is None else self.public_keys.get((key.user_id, key.fingerprint))


def read_known(store: Store, home: Home, now: datetime) -> Known:
    """Everything, read afresh.

    Raises `StoreError`, and `HomeError` when the home's keys cannot be read.
    """
    versions = store.versions()  # first: what changes while the rest is read is read again
    directory = store.directory()
    return Known(
        versions=versions,
        directory=directory,
        public_keys=load_public_keys(directory),
        keyring=make_keyring(store.signing_keys(), home.signing_keys()),
        revocations=store.revocations(now),
    )


def read_changes(known: Known, store: Store, home: Home, now: datetime) -> Known:
    """What is known with what changed since read again; ``known`` itself when nothing did."""
    versions = store.versions()
    if versions.identities != known.versions.identities:
        directory = store.directory()
        public_keys = load_public_keys(directory)
        known = replace(known, directory=directory, public_keys=public_keys)
    if versions.keys != known.versions.keys:
        keyring = make_keyring(store.signing_keys(), home.signing_keys())
        known = replace(known, keyring=keyring)
    if versions.revocations != known.versions.revocations:
        known = replace(known, revocations=store.revocations(now))
    return known if versions == known.versions else replace(known, versions=versions)


def load_public_keys(directory: Directory) -> dict[tuple[str, str], RSAPublicKey]:
    """The API keys of a directory, ready to verify with. One that cannot be read is logged."""
    loaded: dict[tuple[str, str], RSAPublicKey] = {}
    for api_key in directory.api_keys.values():
        if (key := _load(api_key)) is not None:
            loaded[api_key.user_id, api_key.fingerprint] = key
        else:
            log.error("api_key_unreadable", user=api_key.user_id, fingerprint=api_key.fingerprint)
    return loaded


def _load(api_key: ApiKey) -> RSAPublicKey | None:
    try:
        key = load_pem_public_key(api_key.public_pem.encode("ascii"))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


async def keep_known(deployment: Deployment) -> None:
    """Look at the store until cancelled. While it cannot be read, what is known stays.

    Whatever goes wrong, it is tried again: nothing is revoked where nobody looks.
    """
    looks = 0
    while True:
        await asyncio.sleep(LOOK_S)
        looks += 1
        try:
            await look(deployment)
            if looks % LOOKS_A_BEAT == 0:
                await asyncio.to_thread(_beat, deployment, looks // LOOKS_A_BEAT)
            deployment.store_problem = None
        except Exception as error:
            foreseen = isinstance(error, StoreError | HomeError)
            if deployment.store_problem is None:
                log.error("store_unreadable", cause=str(error), exc_info=not foreseen)
            told = str(error) if foreseen else type(error).__name__
            deployment.store_problem = f"the database cannot be read: {told}"


async def look(deployment: Deployment) -> None:
    """Read what changed, end the live sessions that were revoked, and answer other servers.

    Raises `StoreError`, `HomeError`.
    """
    async with deployment.looking:  # one at a time: each sees all that was written before it began
        before = deployment.known
        known, elsewhere, contests = await asyncio.to_thread(_look, deployment, before)
        if known is not before:
            deployment.known = known
    deployment.quotas.elsewhere = elsewhere
    deployment.live.stop_revoked(partial(_is_revoked, known, datetime.now(UTC)))
    answer_all(deployment, contests)
    if streams := deployment.live.streams():
        store = deployment.store
        deployment.live.take_away(
            await asyncio.to_thread(store.taken_streams, deployment.server_id, streams)
        )


def _is_revoked(known: Known, now: datetime, grant: Grant) -> bool:
    return known.revocations.covers(grant) or known.keyring.disowns(grant, now)


def _look(deployment: Deployment, known: Known) -> tuple[Known, Elsewhere, list[Contest]]:
    now = datetime.now(UTC)
    store = deployment.store
    uses = store.uses_elsewhere(deployment.server_id, now - DEAD_AFTER, now - MINTED_OVER)
    contests = store.contests(deployment.server_id)
    return read_changes(known, store, deployment.home, now), Elsewhere.of(uses), contests


def _beat(deployment: Deployment, beats: int) -> None:
    """Say that this server lives; from time to time, clear away what is over."""
    now = datetime.now(UTC)
    deployment.store.beat(deployment.server_id, now)
    if beats % BEATS_A_SWEEP == 1:
        if lost := deployment.store.close_lost(now - DEAD_AFTER):
            log.warning("lost_streams_closed", streams=lost)
        window = timedelta(seconds=deployment.settings.resume_window_s)
        deployment.store.forget_points_before(now - window)
    if beats % BEATS_A_PRUNING == 1:
        _prune(deployment, now)


def _prune(deployment: Deployment, now: datetime) -> None:
    """Forget transcripts and receipts that the settings keep no longer."""
    settings = deployment.settings
    transcripts, receipts = settings.keep_transcripts_days, settings.keep_receipts_days
    if transcripts is None and receipts is None:
        return
    prune(
        deployment.store,
        actor=f"server:{deployment.server_id}",
        tenancy_id=deployment.home.tenancy_id,
        now=now,
        transcripts_before=None if transcripts is None else now - timedelta(days=transcripts),
        receipts_before=None if receipts is None else now - timedelta(days=receipts),
    )

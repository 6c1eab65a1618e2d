"""Token-signing keys as one process knows them: what the store says of them, what is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stapes.store.records import SigningKeyAdded
from stapes.tokens.grant import Grant
from stapes.tokens.keys import SigningKey, parse_jwk

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a deployment at one reading; what may be done with them hangs on the time.

    A key whose private part is not at hand (the home is on another machine, or its file is not
    there yet) verifies and does not sign; a private part that the store does not know does
    neither.

    Attributes:
        private: the private parts at hand by ``kid``: retired ones too, which sign an answer again.
        public: every key that there ever was by ``kid``, newest first: receipts outlive theirs.
        retires_at: from when on what a key signed is refused; None: it is in use.
    """

    private: Mapping[str, SigningKey]
    public: Mapping[str, Ed25519PublicKey]
    retires_at: Mapping[str, datetime | None]

    def signing(self, now: datetime) -> SigningKey | None:
        """The key for new tokens: the newest in use, of those at hand; None when there is none.

        Where only keys that retire soon are at hand, the one that retires last: its tokens may
        die early, and that is better than to mint none.
        """
        for kid in self.public:
            if self.retires_at[kid] is None and kid in self.private:
                return self.private[kid]
        at_hand = [kid for kid in self.verifying(now) if kid in self.private]
        last = max(at_hand, key=lambda kid: str(self.retires_at[kid]), default=None)
        return None if last is None else self.private[last]

    def verifying(self, now: datetime) -> dict[str, Ed25519PublicKey]:
        """The keys that a token may be signed with, newest first."""
        return {kid: key for kid, key in self.public.items() if not self.is_retired(kid, now)}

    def disowns(self, grant: Grant, now: datetime) -> bool:
        """Whether a live session's key was retired before the time of its token was over.

        One that retires as it should outlasts its tokens, and what they opened outlasts it.
        """
        moment = None if grant.kid is None else self.retires_at.get(grant.kid)
        return moment is not None and moment <= now and moment < grant.expires_at

    def is_retired(self, kid: str, now: datetime) -> bool:
        """Whether a key of the store is refused at ``now``."""
        moment = self.retires_at[kid]
        return moment is not None and moment <= now


def make_keyring(added: Iterable[SigningKeyAdded], private: Mapping[str, SigningKey]) -> Keyring:
    """The keyring of the store's keys, newest first, and the private parts of the home.

    A key of the store that cannot be read is logged and left out.
    """
    records = list(added)
    read = {record.kid: _parse(record) for record in records}
    public = {kid: key for kid, key in read.items() if key is not None}
    return Keyring(private, public, {record.kid: record.retires_at for record in records})


def _parse(record: SigningKeyAdded) -> Ed25519PublicKey | None:
    try:
        key = parse_jwk(record.public_jwk)
    except ValueError:
        key = None
    if key is None or record.public_jwk["kid"] != record.kid:
        log.error("signing_key_unreadable", kid=record.kid)
        return None
    return key

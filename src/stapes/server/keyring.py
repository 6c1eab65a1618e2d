"""The token-signing keys of a server: which signs, which verify, which ever did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from stapes.errors import HomeError
from stapes.store.port import SigningKeyAdded
from stapes.tokens.keys import SigningKey, parse_jwk


@dataclass(frozen=True, slots=True)
class Keyring:
    """A snapshot of the keys.

    Attributes:
        signing: signs new tokens and receipts.
        private: it and those before it, by ``kid``: they sign an answer again.
        public: every key that ever signed, by ``kid``: receipts verify for ever.
        retires_at: when keys stop verifying tokens, by ``kid``.
    """

    signing: SigningKey
    private: Mapping[str, SigningKey] = field(repr=False)
    public: Mapping[str, Ed25519PublicKey]
    retires_at: Mapping[str, datetime]

    def verifying(self, now: datetime) -> dict[str, Ed25519PublicKey]:
        """The keys that verify tokens now, by ``kid``, newest first."""
        return {
            kid: key
            for kid, key in self.public.items()
            if kid not in self.retires_at or now < self.retires_at[kid]
        }


def read_keyring(
    added: Iterable[SigningKeyAdded], private: Mapping[str, SigningKey], now: datetime
) -> Keyring:
    """The keys of a store, newest first, with the private parts that a home holds.

    Of the keys that do not retire, the newest at hand signs; of those that will, when there is no
    other. Raises `HomeError` when the home holds the private part of none.
    """
    keys = list(added)
    usable = [key for key in keys if key.kid in private]
    usable = [key for key in usable if key.retires_at is None or now < key.retires_at]
    usable.sort(key=lambda key: key.retires_at is not None)
    if not usable:
        raise HomeError(
            "the home and the database share no token-signing key; restore both together"
        )
    return Keyring(
        signing=private[usable[0].kid],
        private=private,
        public={key.kid: parse_jwk(key.public_jwk) for key in keys},
        retires_at={key.kid: key.retires_at for key in keys if key.retires_at is not None},
    )

"""Bearer keys as text: ``stapes_<id>_<secret>``, for clients that cannot sign requests.

Whoever holds the text is its user, so it is shown once. What is kept is its id, which is no
secret, and the SHA-256 of its secret; 256 random bits need no slower hash than that.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime

from stapes.errors import BearerKeyError
from stapes.identity.model import BearerKey

ENTROPY_BYTES = 42
_ID_BYTES = 10
# The id has no underscore and a length of its own: those in the secret are nothing but secret.
_TEXT = re.compile(r"stapes_([a-z2-7]{16})_([A-Za-z0-9_-]{43})")


def make_bearer_key(
    user_id: str, entropy: bytes, expires_at: datetime | None = None
) -> tuple[BearerKey, str]:
    """A key of a user from `ENTROPY_BYTES` random bytes, and its text.

    Raises ValueError for another number of bytes.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a bearer key takes {ENTROPY_BYTES} random bytes, not {len(entropy)}")
    key_id = base64.b32encode(entropy[:_ID_BYTES]).decode("ascii").lower()
    secret = base64.urlsafe_b64encode(entropy[_ID_BYTES:]).decode("ascii").rstrip("=")
    sha256 = hashlib.sha256(secret.encode("ascii")).hexdigest()
    return BearerKey(key_id, user_id, sha256, expires_at=expires_at), f"stapes_{key_id}_{secret}"


def parse_bearer_key(text: str) -> tuple[str, str]:
    """The id and the secret of a key's text, for `stapes.identity.access.find_bearer_key`.

    Raises `BearerKeyError` for anything else; the error does not hold the text.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise BearerKeyError("not of the form stapes_<id>_<secret>")
    return found[1], found[2]

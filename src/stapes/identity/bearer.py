"""Bearer keys as they are written: ``stapes_<id>_<secret>``."""

from __future__ import annotations

import re

from stapes.errors import BearerKeyError

_BEARER_KEY = re.compile(r"stapes_(?P<id>[a-z2-7]{16})_(?P<secret>[A-Za-z0-9_-]{43})")


def parse_bearer_key(text: str) -> tuple[str, str]:
    """The id and the secret of a bearer key. Raises `BearerKeyError` for anything else."""
    found = _BEARER_KEY.fullmatch(text)
    if found is None:
        raise BearerKeyError("not of the form of a bearer key")
    return found["id"], found["secret"]

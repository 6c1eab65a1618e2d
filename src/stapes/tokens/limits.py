"""Bounds that a session token carries, and the tags that ask for them.

Any SDK can mint a bounded token, because the bounds ride in ``definedTags`` under the predefined
namespace ``stapes``. The same keys are those of the JWT's ``limits`` claim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stapes.errors import InvalidParameterError, TokenClaimError

NAMESPACE = "stapes"
LONGEST_S = 24 * 3600
MODEL_TYPES = ("ORACLE", "WHISPER")

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8}){0,3}")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may do at most; None leaves a bound to the server's settings.

    Attributes:
        single_use: the token serves one opening, and resumes of that one.
        ttl_s: life of the token, s.
        max_session_s: longest time that the session's streams may last together, s.
        max_audio_s: most audio that they may have together, s.
        language_code: the only languageCode, in BCP 47 as it was given.
        model_type: the only modelType, upper-case.
        origin: the only Origin of the upgrade, lower-case as browsers send it.
    """

    single_use: bool = False
    ttl_s: int | None = None
    max_session_s: int | None = None
    max_audio_s: int | None = None
    language_code: str | None = None
    model_type: str | None = None
    origin: str | None = None

    def to_claim(self) -> dict[str, bool | int | str]:
        """The JSON of the ``limits`` claim: only the bounds that are set."""
        named = {key: getattr(self, bound.field) for key, bound in BOUNDS.items()}
        return {key: value for key, value in named.items() if value}


def parse_limits(defined_tags: Mapping[str, Mapping[str, object]] | None) -> Limits | None:
    """The bounds asked for in ``definedTags``; None when there are none.

    Raises `InvalidParameterError`, naming the key, for one that is unknown or out of range. The
    namespace in another case is refused too: ignored, it would give a token without the bounds.
    """
    tags = defined_tags or {}
    for namespace in tags:
        if namespace != NAMESPACE and namespace.lower() == NAMESPACE:
            raise InvalidParameterError(f"definedTags.{namespace}: write it {NAMESPACE}")
    return _read(tags.get(NAMESPACE, {}))


def parse_claim(claim: object) -> Limits | None:
    """The bounds of a ``limits`` claim. Raises `TokenClaimError`."""
    if not isinstance(claim, dict):
        raise TokenClaimError("limits is not an object")
    try:
        return _read(claim)
    except InvalidParameterError as error:
        raise TokenClaimError(f"limits: {error.public}") from error


def _read(bounds: Mapping[str, object]) -> Limits | None:
    if not bounds:
        return None
    values: dict[str, Any] = {}
    for key, value in bounds.items():
        bound = BOUNDS.get(key)
        if bound is None:
            known = ", ".join(BOUNDS)
            raise InvalidParameterError(f"definedTags.{NAMESPACE}.{key:.100}: known are {known}")
        read = bound.read(value)
        if read is None:
            raise InvalidParameterError(f"definedTags.{NAMESPACE}.{key}: must be {bound.allowed}")
        values[bound.field] = read
    limits = Limits(**values)
    return None if limits == Limits() else limits


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _seconds(value: object) -> int | None:
    # A bool is an int in Python, and none in JSON.
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= LONGEST_S else None


def _language(value: object) -> str | None:
    return value if isinstance(value, str) and _LANGUAGE.fullmatch(value) else None


def _model_type(value: object) -> str | None:
    return value.upper() if isinstance(value, str) and value.upper() in MODEL_TYPES else None


def _origin(value: object) -> str | None:
    if not isinstance(value, str) or not _ORIGIN.fullmatch(value.lower()):
        return None
    return value.lower()


class Bound(NamedTuple):
    """How a bound is read, and what is allowed."""

    field: str
    read: Callable[[object], bool | int | str | None]  # None: not allowed
    allowed: str


_INTEGER = f"an integer from 1 to {LONGEST_S}"
BOUNDS = {
    "single-use": Bound("single_use", _flag, "true or false"),
    "ttl-seconds": Bound("ttl_s", _seconds, _INTEGER),
    "max-session-seconds": Bound("max_session_s", _seconds, _INTEGER),
    "max-audio-seconds": Bound("max_audio_s", _seconds, _INTEGER),
    "language-code": Bound("language_code", _language, "a language code such as en-US"),
    "model-type": Bound("model_type", _model_type, " or ".join(MODEL_TYPES)),
    "origin": Bound("origin", _origin, "an origin such as https://example.org"),
}

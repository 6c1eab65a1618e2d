"""The limits on freeform and defined tags.

Source: OCI documentation, Tagging overview, limits on tags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from stapes.errors import InvalidParameterError

MOST_FREEFORM = 10
MOST_DEFINED = 64
LONGEST_KEY = 100
LONGEST_VALUE = 256
MOST_BYTES = 5 * 1024

_encode = json.JSONEncoder(default=dict, ensure_ascii=False, separators=(",", ":")).encode

Freeform = Mapping[str, object]
Defined = Mapping[str, Mapping[str, object]]


def check_tags(freeform: Freeform | None, defined: Defined | None) -> None:
    """Raise `InvalidParameterError`, naming the tag, when tags are over their limits.

    Freeform values are strings; defined ones strings, integers and booleans. What the namespace
    ``stapes`` means is for `stapes.tokens.limits` to check.
    """
    freeform, defined = freeform or {}, defined or {}
    for key, value in freeform.items():
        _check_key("freeformTags", key)
        _check_value(f"freeformTags.{key}", value, (str,))
    for namespace, tags in defined.items():
        _check_key("definedTags", namespace)
        for key, value in tags.items():
            _check_key(f"definedTags.{namespace}", key)
            _check_value(f"definedTags.{namespace}.{key}", value, (str, int, bool))
    _check_counts(freeform, defined)


def _check_key(place: str, key: str) -> None:
    printable = key.isascii() and key.isprintable()
    if not 1 <= len(key) <= LONGEST_KEY or not printable or "." in key or " " in key:
        raise InvalidParameterError(
            f"{place}: the key {key!a:.120} must be 1 to {LONGEST_KEY} printable ASCII characters "
            "without periods and spaces"
        )


def _check_value(name: str, value: object, types: tuple[type, ...]) -> None:
    if type(value) not in types:
        words = {str: "a string", int: "an integer", bool: "a boolean"}
        allowed = " or ".join(words[each] for each in types)
        raise InvalidParameterError(f"{name}: must be {allowed}")
    if isinstance(value, str):
        _check_text(name, value)


def _check_text(name: str, value: str) -> None:
    if len(value) > LONGEST_VALUE:
        raise InvalidParameterError(f"{name}: must be at most {LONGEST_VALUE} characters")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:  # JSON can spell half a surrogate pair
        raise InvalidParameterError(f"{name}: must be valid Unicode") from error


def _check_counts(freeform: Freeform, defined: Defined) -> None:
    if len(freeform) > MOST_FREEFORM:
        raise InvalidParameterError(f"freeformTags: at most {MOST_FREEFORM} are allowed")
    if sum(len(tags) for tags in defined.values()) > MOST_DEFINED:
        raise InvalidParameterError(f"definedTags: at most {MOST_DEFINED} are allowed")
    if not defined and _surely_fits(freeform):
        return
    tags = {"freeformTags": freeform, "definedTags": defined}
    if len(_encode(tags).encode("utf-8")) > MOST_BYTES:
        raise InvalidParameterError(
            f"freeformTags and definedTags: at most {MOST_BYTES} bytes of JSON are allowed"
        )


def _surely_fits(freeform: Freeform) -> bool:
    """Whether so few characters cannot be too many bytes: JSON spells one with 6 at most."""
    characters = sum(map(len, freeform)) + sum(len(str(value)) for value in freeform.values())
    return 6 * characters + 10 * len(freeform) + 50 < MOST_BYTES

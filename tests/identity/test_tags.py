"""Limits on tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stapes.errors import InvalidParameterError
from stapes.identity.tags import check_tags

Tags = dict[str, Any]


def numbered(count: int) -> Tags:
    return {f"k{number}": "v" for number in range(count)}


ALLOWED: dict[str, tuple[Tags | None, Tags | None]] = {
    "none": (None, None),
    "empty": ({}, {}),
    "ten freeform": (numbered(10), None),
    "64 defined in one": (None, {"n": numbered(64)}),
    "64 defined in two": (None, {"n": numbered(32), "m": numbered(32)}),
    "empty namespace": (None, {"n": {}}),
    "longest key": ({"k" * 100: "v"}, {"n" * 100: {"k" * 100: "v"}}),
    "any printable key": ({"!~/:=\"'": "v"}, None),
    "longest value": ({"k": "v" * 256}, {"n": {"k": "v" * 256}}),
    "longest value outside ASCII": ({"k": "\U0001f442" * 256}, None),
    "empty value": ({"k": ""}, None),
    "types of defined": (None, {"n": {"a": "s", "b": 1, "c": True, "d": -(2**70)}}),
}


@pytest.mark.parametrize(("freeform", "defined"), list(ALLOWED.values()), ids=list(ALLOWED))
def test_tags_within_the_limits_pass(freeform: Tags | None, defined: Tags | None) -> None:
    """Each limit is inclusive."""
    check_tags(freeform, defined)


REFUSED: dict[str, tuple[Tags | None, Tags | None, str]] = {
    "eleven freeform": (numbered(11), None, "freeformTags"),
    "65 defined in one": (None, {"n": numbered(65)}, "definedTags"),
    "65 defined in two": (None, {"n": numbered(32), "m": numbered(33)}, "definedTags"),
    "empty key": ({"": "v"}, None, "freeformTags: the key ''"),
    "long key": ({"k" * 101: "v"}, None, "freeformTags: the key 'kkk"),
    "period": ({"a.b": "v"}, None, "freeformTags: the key 'a.b'"),
    "space": ({"a b": "v"}, None, "freeformTags: the key 'a b'"),
    "tab": ({"a\tb": "v"}, None, "freeformTags: the key 'a\\tb'"),
    "key outside ASCII": ({"ä": "v"}, None, "freeformTags: the key '\\xe4'"),
    "surrogate in key": ({"\ud800": "v"}, None, "freeformTags: the key '\\ud800'"),
    "namespace": (None, {"a.b": {}}, "definedTags: the key 'a.b'"),
    "key in namespace": (None, {"n": {"a b": 1}}, "definedTags.n: the key 'a b'"),
    "long value": ({"k": "v" * 257}, None, "freeformTags.k"),
    "long defined value": (None, {"n": {"k": "v" * 257}}, "definedTags.n.k"),
    "surrogate": ({"k": "\udc00"}, None, "freeformTags.k"),
    "freeform integer": ({"k": 1}, None, "freeformTags.k: must be a string"),
    "freeform null": ({"k": None}, None, "freeformTags.k"),
    "defined float": (None, {"n": {"k": 1.0}}, "definedTags.n.k: must be a string or an integer"),
    "defined null": (None, {"n": {"k": None}}, "definedTags.n.k"),
    "defined list": (None, {"n": {"k": []}}, "definedTags.n.k"),
    "defined object": (None, {"n": {"k": {}}}, "definedTags.n.k"),
}


@pytest.mark.parametrize(
    ("freeform", "defined", "named"), list(REFUSED.values()), ids=list(REFUSED)
)
def test_a_tag_over_a_limit_is_named(
    freeform: Tags | None, defined: Tags | None, named: str
) -> None:
    """The public sentence says which tag it is."""
    with pytest.raises(InvalidParameterError) as refused:
        check_tags(freeform, defined)
    assert refused.value.public.startswith(named)
    assert refused.value.public.isprintable()


def test_all_tags_together_are_five_kilobytes_of_json() -> None:
    """The total counts bytes of UTF-8, freeform and defined together, and is inclusive."""
    freeform = {f"k{number}": "ä" * 256 for number in range(9)}
    tags: Tags = {"freeformTags": freeform, "definedTags": {"n": {"pad": "v" * 200, "k": ""}}}
    size = len(json.dumps(tags, ensure_ascii=False, separators=(",", ":")).encode())
    spare = 5120 - size
    assert 0 < spare <= 256
    check_tags(freeform, {"n": {"pad": "v" * 200, "k": "v" * spare}})
    with pytest.raises(InvalidParameterError, match="5120 bytes"):
        check_tags(freeform, {"n": {"pad": "v" * 200, "k": "v" * (spare + 1)}})

"""Bounds asked for in tags, and their claim."""

from __future__ import annotations

from typing import Any

import pytest

from stapes.errors import InvalidParameterError, TokenClaimError
from stapes.tokens.limits import Limits, parse_claim, parse_limits

FULL_TAGS = {
    "single-use": True,
    "ttl-seconds": 60,
    "max-session-seconds": 86400,
    "max-audio-seconds": 1,
    "language-code": "en-US",
    "model-type": "ORACLE",
    "origin": "https://example.org:8443",
}
FULL = Limits(
    single_use=True,
    ttl_s=60,
    max_session_s=86400,
    max_audio_s=1,
    language_code="en-US",
    model_type="ORACLE",
    origin="https://example.org:8443",
)


def test_every_bound_is_read() -> None:
    """All seven keys become limits."""
    assert parse_limits({"stapes": FULL_TAGS}) == FULL


@pytest.mark.parametrize(
    "tags",
    [None, {}, {"stapes": {}}, {"other": {"ttl-seconds": -1}}, {"stapes": {"single-use": False}}],
    ids=str,
)
def test_without_bounds_there_are_no_limits(tags: dict[str, dict[str, object]] | None) -> None:
    """Only the predefined namespace counts, and a false flag bounds nothing."""
    assert parse_limits(tags) is None


@pytest.mark.parametrize(
    ("key", "value", "field", "read"),
    [
        ("model-type", "whisper", "model_type", "WHISPER"),
        ("origin", "HTTPS://Example.ORG", "origin", "https://example.org"),
        ("origin", "http://[::1]:80", "origin", "http://[::1]:80"),
        ("language-code", "auto", "language_code", "auto"),
        ("language-code", "haw", "language_code", "haw"),
        ("ttl-seconds", 86400, "ttl_s", 86400),
    ],
)
def test_values_are_brought_to_one_form(key: str, value: str, field: str, read: object) -> None:
    """Model types are upper-case and origins lower-case, however they were asked for."""
    limits = parse_limits({"stapes": {key: value}})
    assert getattr(limits, field) == read


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("single-use", 1),
        ("single-use", "true"),
        ("single-use", None),
        ("ttl-seconds", 0),
        ("ttl-seconds", -1),
        ("ttl-seconds", 86401),
        ("ttl-seconds", True),
        ("ttl-seconds", "60"),
        ("ttl-seconds", 60.0),
        ("max-session-seconds", 0),
        ("max-audio-seconds", False),
        ("language-code", ""),
        ("language-code", "e"),
        ("language-code", "en_US"),
        ("language-code", "en-US\n"),
        ("language-code", 1),
        ("model-type", "WHISPER_MEDIUM"),
        ("model-type", 1),
        ("origin", ""),
        ("origin", "example.org"),
        ("origin", "https://example.org/"),
        ("origin", "https://user@example.org"),
        ("origin", "null"),
        ("origin", True),
        ("TTL-seconds", 60),
        ("ttl_seconds", 60),
        ("unknown", 1),
    ],
)
def test_a_bound_that_cannot_be_kept_is_refused_by_name(key: str, value: object) -> None:
    """An unknown key or a value out of range is told to the caller, never ignored."""
    with pytest.raises(InvalidParameterError) as refused:
        parse_limits({"stapes": {key: value}})
    assert f"definedTags.stapes.{key}" in refused.value.public


def test_the_namespace_in_another_case_is_refused() -> None:
    """A caller who meant to bound a token does not get an unbounded one."""
    with pytest.raises(InvalidParameterError, match=r"definedTags\.Stapes"):
        parse_limits({"Stapes": {"ttl-seconds": 60}})


def test_the_claim_has_the_keys_of_the_tags() -> None:
    """Only bounds that are set are in the claim, under the names of the tags."""
    assert FULL.to_claim() == FULL_TAGS
    assert Limits(ttl_s=5).to_claim() == {"ttl-seconds": 5}
    assert Limits().to_claim() == {}


@pytest.mark.parametrize("limits", [FULL, Limits(single_use=True), Limits(origin="https://a")])
def test_a_claim_reads_back(limits: Limits) -> None:
    """Limits to claim and back are the same limits."""
    assert parse_claim(limits.to_claim()) == limits


@pytest.mark.parametrize("claim", [None, [], "x", 1, {"unknown": 1}, {"ttl-seconds": True}])
def test_another_claim_is_refused(claim: Any) -> None:
    """A claim that cannot be understood bounds nothing, so the token is refused."""
    with pytest.raises(TokenClaimError):
        parse_claim(claim)

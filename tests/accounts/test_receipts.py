"""Usage receipts: what is signed cannot be changed, and nothing else is taken for one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from stapes.accounts.receipts import AMOUNTS, TYPE, StreamUse, receipt, sign, verify
from stapes.errors import ReceiptError, TokenError
from stapes.tokens.keys import SigningKey
from stapes.tokens.minting import mint
from stapes.tokens.verification import verify as verify_token
from tests.tokens.claimed import some_claims

KEY = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
KEYS = {KEY.kid: KEY.private_key.public_key()}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def use(stream: int, audio_ms: int = 61_500, **others: Any) -> StreamUse:
    """A stream that opened at noon."""
    values = {"ended_by": "peer", "speech_ms": 40_001, "wall_ms": 62_000, "words": 120, **others}
    closed = NOON + timedelta(milliseconds=values["wall_ms"])
    return StreamUse(stream, "scripted", NOON, closed, audio_ms=audio_ms, **values)


def unsigned(*streams: StreamUse) -> dict[str, Any]:
    """The receipt of a session with tags."""
    return receipt(
        session_id="session",
        tenancy_id="tenancy",
        compartment_id="compartment",
        user_id="user",
        issuer="stapes",
        freeform_tags={"project": "demo", "ort": "Zürich"},
        defined_tags={"stapes": {"single-use": True, "max-audio-seconds": 90}},
        streams=streams or (use(1), use(2, 7)),
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value, whatever its depth."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))
    else:
        yield path


SIGNED = sign(unsigned(), KEY)


def parent(document: dict[str, Any], path: tuple[Any, ...]) -> Any:
    """What the last step of a way is taken in."""
    found: Any = document
    for step in path[:-1]:
        found = found[step]
    return found


def test_a_receipt_verifies_and_names_its_key() -> None:
    """As it was made, and after a journey as JSON, in whatever order and layout."""
    assert verify(SIGNED, KEYS) == KEY.kid
    turned = dict(reversed(SIGNED.items()))
    assert verify(json.loads(json.dumps(turned, indent=3, ensure_ascii=False)), KEYS) == KEY.kid


def test_the_same_receipt_has_the_same_text() -> None:
    """Asking twice gives one answer."""
    assert sign(unsigned(), KEY) == SIGNED


@pytest.mark.parametrize("path", list(places(SIGNED)), ids=lambda it: ".".join(map(str, it)))
def test_every_value_is_signed(path: tuple[Any, ...]) -> None:
    """Any single one changed, to another or to one of another type, breaks verification."""
    was = parent(SIGNED, path)[path[-1]]
    others = [None, str(was) + "x", [was], 0.5]
    others += [was + 1, float(was)] if isinstance(was, int) else [was[:-1]]
    for other in others:
        changed = copy.deepcopy(SIGNED)
        parent(changed, path)[path[-1]] = other
        with pytest.raises(ReceiptError):
            verify(changed, KEYS)


@pytest.mark.parametrize("path", list(places(SIGNED)), ids=lambda it: ".".join(map(str, it)))
def test_no_value_can_be_left_out(path: tuple[Any, ...]) -> None:
    """Nor a stream, nor a tag."""
    changed = copy.deepcopy(SIGNED)
    del parent(changed, path)[path[-1]]
    with pytest.raises(ReceiptError):
        verify(changed, KEYS)


@pytest.mark.parametrize("inside", [(), ("freeformTags",), ("definedTags",), ("streams", 0)])
def test_nothing_can_be_added(inside: tuple[Any, ...]) -> None:
    """At no depth."""
    changed = copy.deepcopy(SIGNED)
    parent(changed, (*inside, "x"))["x"] = "y"
    with pytest.raises(ReceiptError, match="does not verify"):
        verify(changed, KEYS)


def test_streams_cannot_be_exchanged() -> None:
    """Their order is part of what is signed."""
    changed = {**SIGNED, "streams": SIGNED["streams"][::-1]}
    with pytest.raises(ReceiptError, match="does not verify"):
        verify(changed, KEYS)


def test_one_receipts_signature_is_not_anothers() -> None:
    """It covers what it was made for."""
    other = sign(unsigned(use(1)), KEY)
    with pytest.raises(ReceiptError, match="does not verify"):
        verify({**SIGNED, "signature": other["signature"]}, KEYS)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_what_does_not_add_up_is_refused_even_when_it_is_signed(amount: str) -> None:
    """A total is the sum over the streams."""
    wrong = unsigned()
    wrong[amount] += 1
    with pytest.raises(ReceiptError, match=f"{amount} is not the sum over the streams"):
        verify(sign(wrong, KEY), KEYS)


def test_an_unknown_key_is_refused() -> None:
    """Also one that claims to be a known one."""
    foreign = sign(unsigned(), OTHER)
    with pytest.raises(ReceiptError, match=f"unknown key, {OTHER.kid}"):
        verify(foreign, KEYS)
    forged = sign(unsigned(), SigningKey(KEY.kid, OTHER.private_key))
    with pytest.raises(ReceiptError, match="does not verify"):
        verify(forged, KEYS)


@pytest.mark.parametrize("signature", [None, 7, "", "..", "a.b.c", ["a"], "eyJhbGciOiJub25lIn0.."])
def test_what_is_no_signature_is_refused(signature: object) -> None:
    """Of whatever type."""
    with pytest.raises(ReceiptError):
        verify({**SIGNED, "signature": signature}, KEYS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, object()])
def test_what_is_no_json_is_refused(value: object) -> None:
    """It has no text that could be signed."""
    with pytest.raises(ReceiptError, match="is no JSON"):
        verify({**SIGNED, "words": value}, KEYS)


def test_a_session_token_is_no_signature_of_a_receipt() -> None:
    """Though the same key made it, and even over the same bytes."""
    payload = unsigned()
    with pytest.raises(ReceiptError, match="is not one of a receipt"):
        verify({**payload, "signature": mint(payload, KEY)}, KEYS)


@pytest.mark.parametrize(
    "headers",
    [
        {"kid": KEY.kid, "typ": "JWT"},
        {"kid": KEY.kid, "typ": TYPE, "jku": "https://example.org/keys"},
        {"typ": TYPE},
    ],
)
def test_a_detached_signature_of_another_kind_is_refused(headers: dict[str, str]) -> None:
    """The header has the members of ours and no others."""
    payload = unsigned()
    text = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
    made = jwt.PyJWS(algorithms=["EdDSA"]).encode(
        text, KEY.private_key, "EdDSA", headers=headers, is_payload_detached=True
    )
    with pytest.raises(ReceiptError, match="is not one of a receipt"):
        verify({**payload, "signature": made}, KEYS)


def test_a_signature_of_a_receipt_is_no_session_token() -> None:
    """Neither as it is, detached, nor with its payload put back, be it the claims of a token."""
    claimed = some_claims(NOON)
    token = mint(claimed, KEY)
    assert verify_token(token, KEYS, "stapes", "stapes-realtime", NOON, 30).user_id == "user"

    header, _, signature = sign(claimed, KEY)["signature"].split(".")
    for payload in ("", token.split(".")[1]):
        with pytest.raises(TokenError):
            verify_token(
                f"{header}.{payload}.{signature}", KEYS, "stapes", "stapes-realtime", NOON, 30
            )


def test_times_are_utc_to_the_microsecond() -> None:
    """Whatever the zone they were given in."""
    there = timezone(timedelta(hours=5, minutes=30))
    moved = NOON.replace(microsecond=70).astimezone(there)
    (stream,) = receipt(
        session_id="session",
        tenancy_id="tenancy",
        compartment_id="compartment",
        user_id="user",
        issuer="stapes",
        freeform_tags=None,
        defined_tags=None,
        streams=[StreamUse(1, "scripted", moved, moved, "peer", 0, 0, 0, 0)],
    )["streams"]
    assert stream["timeOpened"] == stream["timeClosed"] == "2026-11-22T12:00:00.000070Z"


def test_a_session_without_streams_used_nothing() -> None:
    """Its receipt verifies all the same."""
    empty = sign({**unsigned(), "streams": [], **dict.fromkeys(AMOUNTS, 0)}, KEY)
    assert verify(empty, KEYS) == KEY.kid


@given(st.lists(st.tuples(*[st.integers(0, 2**53)] * 4), min_size=1, max_size=5))
def test_totals_are_exact(amounts: list[tuple[int, int, int, int]]) -> None:
    """To the millisecond, however long the session."""
    streams = [
        StreamUse(number, "scripted", NOON, NOON, "peer", *each)
        for number, each in enumerate(amounts, 1)
    ]
    made = unsigned(*streams)
    assert [made[name] for name in AMOUNTS] == [
        sum(column) for column in zip(*amounts, strict=True)
    ]
    assert verify(sign(made, KEY), KEYS) == KEY.kid

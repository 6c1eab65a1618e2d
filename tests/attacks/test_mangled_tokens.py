"""A good token, cut off, blown up, or written in another way."""

from __future__ import annotations

import asyncio

import pytest

from stapes import RealtimeSessionToken
from stapes.tokens.verification import LONGEST_BYTES
from tests.attacks.forging import decode, encode, encode_json, forged, header_of
from tests.attacks.sockets import (
    NOT_AUTHENTICATED,
    Answer,
    presenting,
    say,
    show_text,
)
from tests.conftest import Served

pytestmark = pytest.mark.usefixtures("_nothing_reached")
AT_A_TIME = 32
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of Ed25519's group (RFC 8032 section 5.1)."""


async def test_truncated(served: Served, token: RealtimeSessionToken) -> None:
    """Cut off at every length; of one that is empty there is nothing to verify."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def cut(length: int) -> Answer:
        async with places:
            return await show_text(served, token.token[:length])

    answers = await asyncio.gather(*(cut(length) for length in range(len(token.token))))
    assert set(answers) == {NOT_AUTHENTICATED}


async def test_oversized(served: Served, token: RealtimeSessionToken) -> None:
    """Over the limit by a signed claim, and by what follows; a frame that is too large is 413."""
    padded = forged(served, padding="x" * LONGEST_BYTES)
    for forgery in (padded, token.token + "A" * LONGEST_BYTES, "A" * 60_000, "." * 60_000):
        assert await show_text(served, forgery) == NOT_AUTHENTICATED
    huge = presenting("A" * 70_000, served.home.compartment_id)
    assert await say(served.ws_url, huge) == Answer(413, 1009)


async def test_deeply_nested(served: Served) -> None:
    """A header, claims and a message that exhaust a recursive reader."""
    deep = encode(b"[" * 5000)
    for forgery in (f"{deep}.{deep}.{deep}", f"{encode_json(header_of(served))}.{deep}.AAAA"):
        assert await show_text(served, forgery) == NOT_AUTHENTICATED
    for text in ("[" * 60_000, '{"a":' * 10_000, '{"authenticationType":' * 2000):
        assert await say(served.ws_url, text) == NOT_AUTHENTICATED


async def test_signature_malleability(served: Served, token: RealtimeSessionToken) -> None:
    """S plus the order of the group verifies with careless arithmetic."""
    head, _, signature = token.token.rpartition(".")
    raw = decode(signature)
    scalar = int.from_bytes(raw[32:], "little")
    for multiple in range(1, 16):
        shifted = scalar + multiple * ORDER
        if shifted < 2**256:
            forgery = f"{head}.{encode(raw[:32] + shifted.to_bytes(32, 'little'))}"
            assert await show_text(served, forgery) == NOT_AUTHENTICATED
    for other in (bytes(64), raw[32:] + raw[:32], b"\x01" + bytes(63), raw[:63], raw + b"\0"):
        assert await show_text(served, f"{head}.{encode(other)}") == NOT_AUTHENTICATED


async def test_other_spellings(served: Served, token: RealtimeSessionToken) -> None:
    """Padding, blanks, spare bits, the other alphabet: one token has one text."""
    text = token.token
    head, payload, signature = text.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = alphabet.index(signature[-1])
    bent = [f"{head}.{payload}.{signature[:-1]}{alphabet[at + bits]}" for bits in range(1, 16)]
    bent += [f"{text}=", f"{text}==", f"{head}=.{payload}.{signature}", f"{head}.{payload}=.x"]
    bent += [f" {text}", f"{text} ", f"{text}\n", f"\t{text}", f"{head}. {payload}.{signature}"]
    bent += [f"{text}.", f".{text}", f"{text}.{signature}", text.replace(".", ".\u200b", 1)]
    bent += [f"{text}\0", f"Bearer {text}", text.swapcase(), f"{head}.{payload}.{signature}AA"]
    bent += [f"{text[:50]}{chr(0xFF00 + ord(text[50]) - 0x20)}{text[51:]}"]
    spaced = encode_json({**header_of(served), "typ": "JWT "})
    bent += [f"{spaced}.{payload}.{signature}"]
    for forgery in bent:
        assert await show_text(served, forgery) == NOT_AUTHENTICATED, forgery


async def test_claims_widened_under_the_signature(
    served: Served, token: RealtimeSessionToken
) -> None:
    """Every character of the payload, changed, breaks the signature; every 7th is tried."""
    head, payload, signature = token.token.split(".")
    for at in range(0, len(payload), 7):
        other = "A" if payload[at] != "A" else "B"
        forgery = f"{head}.{payload[:at]}{other}{payload[at + 1 :]}.{signature}"
        assert await show_text(served, forgery) == NOT_AUTHENTICATED


@pytest.mark.parametrize("value", [None, 1, True, [], {}, ["x"], ""], ids=repr)
async def test_token_of_another_type(
    served: Served, token: RealtimeSessionToken, value: object
) -> None:
    """Neither the token nor its compartment nor the type of authentication is anything but text."""
    compartment_id = served.home.compartment_id
    messages = [
        presenting(value, compartment_id),
        presenting(token.token, value),
        presenting(token.token, compartment_id) | {"authenticationType": value},
    ]
    for message in messages:
        assert await say(served.ws_url, message) == NOT_AUTHENTICATED

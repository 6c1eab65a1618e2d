"""Tokens that are refused, one test for each known way to forge or bend one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stapes.errors import (
    NotAuthenticatedError,
    TokenAlgorithmError,
    TokenClaimError,
    TokenCompartmentError,
    TokenError,
    TokenExpiredError,
    TokenKeyError,
    TokenMalformedError,
    TokenNotYetValidError,
    TokenSignatureError,
)
from stapes.tokens.grant import Grant
from stapes.tokens.keys import SigningKey, jwk
from stapes.tokens.limits import Limits
from stapes.tokens.minting import mint
from stapes.tokens.verification import LONGEST_BYTES, check_compartment, verify
from tests.tokens.claimed import some_claims

SKEW_S = 30
TTL_S = 600
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
Check = Callable[..., Grant]


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_json(value: object) -> str:
    return encode(json.dumps(value, separators=(",", ":")).encode())


@pytest.fixture
def some(now: datetime) -> dict[str, Any]:
    """Claims of a token that verifies at ``now``."""
    return some_claims(now, ttl_s=TTL_S, limits=Limits(single_use=True))


@pytest.fixture
def check(key: SigningKey, now: datetime) -> Check:
    keys = {key.kid: key.private_key.public_key()}

    def checked(token: str, at: datetime = now) -> Grant:
        return verify(token, keys, "stapes", "stapes-realtime", at, SKEW_S)

    return checked


@pytest.fixture
def sign(key: SigningKey) -> Callable[[object, object], str]:
    """Sign any header and payload with the right key."""

    def signed(header: object, payload: object) -> str:
        text = f"{encode_json(header)}.{encode_json(payload)}"
        return f"{text}.{encode(key.private_key.sign(text.encode()))}"

    return signed


@pytest.fixture
def header(key: SigningKey) -> dict[str, Any]:
    return {"alg": "EdDSA", "kid": key.kid, "typ": "JWT"}


def test_a_minted_token_verifies(
    check: Check, key: SigningKey, some: dict[str, Any], now: datetime
) -> None:
    """The grant says what the token was minted for."""
    assert check(mint(some, key)) == Grant(
        session_id="session",
        tenancy_id="tenancy",
        compartment_id="compartment",
        user_id="user",
        issued_at=now,
        expires_at=now + timedelta(seconds=TTL_S),
        jti="id",
        limits=Limits(single_use=True),
        kid=key.kid,
    )


def test_a_token_without_limits_grants_without(
    check: Check, key: SigningKey, some: dict[str, Any]
) -> None:
    """The limits claim is the only one that may be missing."""
    del some["limits"]
    assert check(mint(some, key)).limits is None


def test_no_algorithm_is_refused(check: Check, header: dict[str, Any], some: Any) -> None:
    """A token that says it is not signed is refused, with a signature or without."""
    for algorithm in ("none", "None", "NONE", "nOnE", "", None):
        text = f"{encode_json(header | {'alg': algorithm})}.{encode_json(some)}"
        for signature in ("", encode(bytes(64))):
            with pytest.raises(TokenAlgorithmError):
                check(f"{text}.{signature}")


@pytest.mark.parametrize("algorithm", ["HS256", "EdDSA"])
@pytest.mark.parametrize("form", ["raw", "pem", "der", "jwk", "x"])
def test_a_public_key_is_no_secret(
    *, check: Check, key: SigningKey, header: Any, some: Any, form: str, algorithm: str
) -> None:
    """An HMAC keyed with the public key in any of its forms is refused, whatever it says it is."""
    public_key = key.private_key.public_key()
    spki = PublicFormat.SubjectPublicKeyInfo
    secret = {
        "raw": public_key.public_bytes_raw(),
        "pem": public_key.public_bytes(Encoding.PEM, spki),
        "der": public_key.public_bytes(Encoding.DER, spki),
        "jwk": json.dumps(jwk(public_key)).encode(),
        "x": jwk(public_key)["x"].encode(),
    }[form]
    text = f"{encode_json(header | {'alg': algorithm})}.{encode_json(some)}"
    mac = hmac.digest(secret, text.encode(), hashlib.sha256)
    with pytest.raises((TokenAlgorithmError, TokenSignatureError)) as refused:
        check(f"{text}.{encode(mac)}")
    assert isinstance(refused.value, TokenAlgorithmError) == (algorithm == "HS256")


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256", "Ed25519", "eddsa", "HS512", 1])
def test_another_algorithm_is_refused(
    check: Check, header: dict[str, Any], some: Any, algorithm: object
) -> None:
    """Rightly signed with RSA or not, a token of another algorithm is refused by its name."""
    private_key = rsa.generate_private_key(65537, 2048)
    text = f"{encode_json(header | {'alg': algorithm})}.{encode_json(some)}"
    signature = private_key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(TokenAlgorithmError):
        check(f"{text}.{encode(signature)}")


@pytest.mark.parametrize(
    "more",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"jku": "https://elsewhere/jwks.json"},
        {"x5u": "https://elsewhere/"},
        {"x5c": ["MIIB"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"typ": "at+jwt"},
        {"typ": None},
        {"kid": 1},
        {"kid": None},
        {"kid": ["a"]},
    ],
    ids=str,
)
def test_a_header_with_more_to_say_is_refused(
    check: Check, sign: Any, header: dict[str, Any], some: Any, more: dict[str, Any]
) -> None:
    """Even rightly signed, a header with members that no token of ours has is malformed."""
    with pytest.raises(TokenMalformedError):
        check(sign(header | more, some))


@pytest.mark.parametrize("name", ["kid", "typ"])
def test_a_header_with_less_to_say_is_refused(
    check: Check, sign: Any, header: dict[str, Any], some: Any, name: str
) -> None:
    """Key and type have to be named."""
    del header[name]
    with pytest.raises(TokenMalformedError):
        check(sign(header, some))


def test_a_key_that_the_token_brings_is_not_used(
    check: Check, header: dict[str, Any], some: Any
) -> None:
    """A token signed by a key that it carries in its own header is refused."""
    own = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    brought = header | {"jwk": jwk(own.private_key.public_key())}
    text = f"{encode_json(brought)}.{encode_json(some)}"
    with pytest.raises(TokenMalformedError):
        check(f"{text}.{encode(own.private_key.sign(text.encode()))}")


def test_an_unknown_key_is_refused(check: Check, some: dict[str, Any]) -> None:
    """A token of another server names a key that is not ours."""
    other = SigningKey.of(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(TokenKeyError):
        check(mint(some, other))


def test_another_key_under_our_name_is_refused(
    check: Check, key: SigningKey, some: dict[str, Any]
) -> None:
    """Naming our key does not help who does not have it."""
    other = SigningKey(key.kid, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(TokenSignatureError):
        check(mint(some, other))


def test_a_change_of_any_character_is_refused(
    check: Check, key: SigningKey, some: dict[str, Any]
) -> None:
    """No part of a token can be changed, and no text but its own stands for it."""
    token = mint(some, key)
    for at, letter in enumerate(token):
        step = 1 if at < len(token) - 1 else 16
        changed = ALPHABET[(ALPHABET.find(letter) + step) % 64]
        with pytest.raises(TokenError):
            check(f"{token[:at]}{changed}{token[at + 1 :]}")


def test_a_changed_payload_is_a_wrong_signature(
    check: Check, key: SigningKey, some: dict[str, Any]
) -> None:
    """Claims cannot be widened under an old signature."""
    head, _, signature = mint(some, key).split(".")
    with pytest.raises(TokenSignatureError):
        check(f"{head}.{encode_json(some | {'exp': some['exp'] + 1})}.{signature}")


def test_the_unused_bits_have_to_be_zero(
    check: Check, key: SigningKey, some: dict[str, Any]
) -> None:
    """The last character has four spare bits, and only one spelling of it is the token."""
    token = mint(some, key)
    at = ALPHABET.index(token[-1])
    assert at % 16 == 0
    for spare in range(1, 16):
        with pytest.raises(TokenMalformedError):
            check(token[:-1] + ALPHABET[at + spare])


@pytest.mark.parametrize(
    "bend",
    [
        lambda token: f"{token}=",
        lambda token: f"{token}==",
        lambda token: f"{token} ",
        lambda token: f" {token}",
        lambda token: f"{token}\n",
        lambda token: f"{token}.",
        lambda token: f".{token}",
        lambda token: f"{token}!",
        lambda token: token.replace(".", ".\u200b", 1),
        lambda token: token.replace(".", "..", 1),
        lambda token: token.replace(".", "", 1),
        lambda token: token.replace(".", "=.", 1),
        lambda token: token.replace(".", "A.", 1),
        lambda token: f"Bearer {token}",
        lambda token: token[:-1],
        lambda token: token + "AA",
        lambda token: token.rpartition(".")[0],
        lambda _: "",
        lambda _: "a.b.c",
        lambda _: "..",
        lambda _: f"{encode(b'[]')}.e30.",
        lambda _: f"{encode(b'{')}.e30.",
        lambda _: f"{encode(b'1')}.e30.",
        lambda _: f"{encode(b'[' * 5000)}.e30.",
        lambda _: f"{encode(bytes([0xFF]))}.e30.",
    ],
)
def test_garbage_is_refused(
    check: Check, key: SigningKey, some: dict[str, Any], bend: Callable[[str], str]
) -> None:
    """Padding, blanks, missing and further parts, and what never was a token."""
    with pytest.raises((TokenMalformedError, TokenSignatureError)):
        check(bend(mint(some, key)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.from_regex(r"[\w-]+\.[\w-]+\.[\w-]*", fullmatch=True))
def test_any_text_is_refused_and_never_a_crash(check: Check, text: str) -> None:
    """Whatever the peer sends as a token, the answer is one of the tree."""
    with pytest.raises(TokenError):
        check(text)


def test_the_size_limit_is_inclusive(check: Check, key: SigningKey, some: dict[str, Any]) -> None:
    """The longest token is read; a longer one is not even decoded."""
    filled = mint(some | {"x": "x"}, key)
    spare = LONGEST_BYTES - len(filled)
    longest = mint(some | {"x": "x" * (1 + spare * 3 // 4)}, key)
    assert LONGEST_BYTES - 2 <= len(longest) <= LONGEST_BYTES
    assert check(longest).jti == "id"
    with pytest.raises(TokenMalformedError):
        check(mint(some | {"x": "x" * (4 + spare * 3 // 4)}, key))


@pytest.mark.parametrize(
    "name",
    ["iss", "aud", "sub", "sid", "tenant", "compartment", "iat", "nbf", "exp", "jti"],
)
def test_every_claim_is_required(
    check: Check, key: SigningKey, some: dict[str, Any], name: str
) -> None:
    """A token without one of its claims is refused."""
    del some[name]
    with pytest.raises(TokenClaimError, match=name):
        check(mint(some, key))


TEXTS = ("iss", "aud", "sub", "sid", "tenant", "compartment", "jti")
NO_TEXTS: tuple[Any, ...] = ("", None, 1, True, ["stapes-realtime"], {})
NO_TIMES: tuple[Any, ...] = (None, True, False, "1795348800", 1795348800.5, [], -1, 10**12, 10**30)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", NO_TEXTS, ids=repr)
def test_texts_have_to_be_texts(
    check: Check, key: SigningKey, some: dict[str, Any], name: str, value: object
) -> None:
    """A claim of another type than text, or an empty one, is refused."""
    with pytest.raises(TokenClaimError, match=name):
        check(mint(some | {name: value}, key))


@pytest.mark.parametrize("name", ["iat", "nbf", "exp"])
@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_times_have_to_be_whole_seconds(
    check: Check, key: SigningKey, some: dict[str, Any], name: str, value: object
) -> None:
    """A time of another type, a boolean above all, or one that no calendar has, is refused."""
    with pytest.raises(TokenClaimError, match=name):
        check(mint(some | {name: value}, key))


@pytest.mark.parametrize("limits", [None, [], {"ttl-seconds": True}, {"unknown": 1}], ids=str)
def test_limits_have_to_be_understood(
    check: Check, key: SigningKey, some: dict[str, Any], limits: object
) -> None:
    """Bounds that cannot be read refuse the token: none would be wider than was meant."""
    with pytest.raises(TokenClaimError):
        check(mint(some | {"limits": limits}, key))


@pytest.mark.parametrize(
    ("name", "value"),
    [("iss", "other"), ("iss", "Stapes"), ("aud", "other"), ("aud", "stapes-realtime ")],
)
def test_issuer_and_audience_have_to_be_ours(
    check: Check, key: SigningKey, some: dict[str, Any], name: str, value: str
) -> None:
    """A token of another issuer or for another audience is refused."""
    with pytest.raises(TokenClaimError, match=name):
        check(mint(some | {name: value}, key))


def test_it_expires_at_exp_and_skew(
    check: Check, key: SigningKey, some: dict[str, Any], now: datetime
) -> None:
    """It is good until the skew after exp has passed, and not at that instant."""
    token, edge = mint(some, key), now + timedelta(seconds=TTL_S + SKEW_S)
    assert check(token, edge - timedelta(microseconds=1)).jti == "id"
    with pytest.raises(TokenExpiredError):
        check(token, edge)


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_it_starts_at_nbf_less_skew(
    check: Check, key: SigningKey, some: dict[str, Any], now: datetime, name: str
) -> None:
    """It is good from the skew before its start on."""
    token = mint(some | {name: some[name] + SKEW_S}, key)
    assert check(token).jti == "id"
    with pytest.raises(TokenNotYetValidError):
        check(token, now - timedelta(microseconds=1))


def test_the_clock_is_the_one_given(
    check: Check, key: SigningKey, some: dict[str, Any], now: datetime
) -> None:
    """A token of a past century is judged by the time that is given, not by that of the machine."""
    then = datetime(1999, 12, 31, tzinfo=UTC)
    started = int(then.timestamp())
    old = some | {"iat": started, "nbf": started, "exp": started + 1}
    assert check(mint(old, key), then).expires_at == then + timedelta(seconds=1)
    with pytest.raises(TokenExpiredError):
        check(mint(old, key), now)


@pytest.mark.parametrize("payload", [[], "text", 1, None])
def test_claims_have_to_be_an_object(
    check: Check, sign: Any, header: dict[str, Any], payload: object
) -> None:
    """A signed payload that is no object is malformed."""
    with pytest.raises(TokenMalformedError):
        check(sign(header, payload))


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"[" * 5000], ids=["open", "bytes", "deep"])
def test_claims_have_to_be_json(check: Check, key: SigningKey, payload: bytes) -> None:
    """A signed payload that is no JSON is malformed."""
    token = jwt.PyJWS().encode(payload, key.private_key, "EdDSA", {"kid": key.kid})
    with pytest.raises(TokenMalformedError):
        check(token)


def test_the_token_is_for_one_compartment(
    check: Check, key: SigningKey, some: dict[str, Any]
) -> None:
    """The compartment that a message names has to be the token's."""
    grant = check(mint(some, key))
    check_compartment(grant, "compartment")
    for other in ("", "Compartment", "compartment2"):
        with pytest.raises(TokenCompartmentError):
            check_compartment(grant, other)


def test_the_peer_reads_one_sentence_for_every_reason() -> None:
    """The reason is for the log: no error tells more than another."""
    leaves = TokenError.__subclasses__()
    assert {leaf("the cause").public for leaf in leaves} == {NotAuthenticatedError.sentence}
    assert {leaf("the cause").status for leaf in leaves} == {401}

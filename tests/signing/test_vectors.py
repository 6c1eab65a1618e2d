"""Signatures that unmodified official clients made verify here, and changed ones do not."""

from __future__ import annotations

import base64
import json
import re
import string
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from stapes.errors import (
    ClockSkewError,
    DigestMismatchError,
    SignatureError,
    SignatureMismatchError,
    SignatureTargetError,
    UnknownKeyError,
)
from stapes.signing.authorization import KeyId, parse_authorization, parse_key_id
from stapes.signing.verification import verify_credentials, verify_request

CAPTURED = json.loads((Path(__file__).parents[1] / "vectors/oci_signatures.json").read_text())
KEY_ID = parse_key_id(
    "ocid1.tenancy.oc1..aaaa/ocid1.user.oc1..bbbb/20:3b:97:13:55:1c:5b:0d:d3:37:d8:50:4e:c5:3a:34"
)
SKEW_S = 300


@dataclass(frozen=True)
class Vector:
    name: str
    kind: str
    headers: dict[str, str]
    method: str = "GET"
    target: str = ""
    body: str = ""

    def named(self, name: str) -> str:
        """The header's name as this client spells it."""
        return next(each for each in self.headers if each.lower() == name)

    def value(self, name: str) -> str:
        return self.headers[self.named(name)]

    def with_header(self, name: str, value: str) -> Vector:
        return replace(self, headers={**self.headers, self.named(name): value})

    def signed(self) -> tuple[str, ...]:
        return parse_authorization(self.value("authorization")).headers

    def moment(self) -> datetime:
        return parsedate_to_datetime(self.value("date"))


def vector_of(fields: dict[str, Any]) -> Vector:
    return Vector(**fields)


VECTORS = [vector_of(fields) for fields in CAPTURED["vectors"]]
SIGNED_HEADERS = [
    pytest.param(vector, name, id=f"{vector.name} {name}")
    for vector in VECTORS
    for name in vector.signed()
    if name != "(request-target)"
]
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
every_request = pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if vector.kind == "request"],
    ids=lambda vector: vector.name,
)


def public_key() -> RSAPublicKey:
    key = load_pem_public_key(CAPTURED["public_key"].encode())
    assert isinstance(key, RSAPublicKey)
    return key


PUBLIC_KEY = public_key()


def find_key(key_id: KeyId) -> RSAPublicKey | None:
    return PUBLIC_KEY if key_id == KEY_ID else None


def verify(vector: Vector, now: datetime) -> KeyId:
    if vector.kind == "credentials":
        return verify_credentials(vector.headers, find_key, now, SKEW_S)
    pairs = list(vector.headers.items())
    body = vector.body.encode()
    return verify_request(vector.method, vector.target, pairs, body, find_key, now, SKEW_S)


def other(letter: str) -> str:
    """Another letter of its kind, so that what is changed keeps its form where it can."""
    for kind in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if letter in kind:
            return kind[kind.index(letter) - 1]
    return "~"


def one_byte_changed(text: str, start: int = 0) -> list[str]:
    """The text with each of its characters from ``start`` on replaced, one at a time."""
    return [f"{text[:at]}{other(text[at])}{text[at + 1 :]}" for at in range(start, len(text))]


def with_target(vector: Vector, target: str) -> Vector:
    if vector.kind == "request":
        return replace(vector, target=target)
    return vector.with_header("uri", target)


def assert_none_verifies(changed: list[Vector], now: datetime) -> None:
    assert changed
    for each in changed:
        with pytest.raises(SignatureError):
            verify(each, now)


def test_there_are_four_captures() -> None:
    """Both official clients are here, with a request and with credentials."""
    assert [vector.name for vector in VECTORS] == [
        "python credentials",
        "python request",
        "node credentials",
        "node request",
    ]


@every_vector
def test_a_capture_verifies(vector: Vector) -> None:
    """What an official client signed verifies with its key at its date."""
    assert verify(vector, vector.moment()) == KEY_ID


@every_vector
def test_any_other_signature_is_refused(vector: Vector) -> None:
    """Changing any byte of the signature is a mismatch."""
    authorization = vector.value("authorization")
    signature = base64.b64decode(re.findall('signature="([^"]*)"', authorization)[0])
    for at in range(len(signature)):
        wrong = bytes([*signature[:at], signature[at] ^ 1, *signature[at + 1 :]])
        text = re.sub(
            'signature="[^"]*"', f'signature="{base64.b64encode(wrong).decode()}"', authorization
        )
        with pytest.raises(SignatureMismatchError):
            verify(vector.with_header("authorization", text), vector.moment())


@every_vector
def test_a_changed_authorization_never_verifies(vector: Vector) -> None:
    """No change of one character of the Authorization value leaves it valid."""
    value = vector.value("authorization")
    changed = one_byte_changed(value)
    assert_none_verifies(
        [vector.with_header("authorization", each) for each in changed], vector.moment()
    )


@pytest.mark.parametrize(("vector", "name"), SIGNED_HEADERS)
def test_a_changed_signed_header_is_refused(vector: Vector, name: str) -> None:
    """Changing any character of any signed header is refused."""
    changed = [vector.with_header(name, each) for each in one_byte_changed(vector.value(name))]
    assert_none_verifies(changed, vector.moment())


@every_vector
def test_a_changed_target_is_refused(vector: Vector) -> None:
    """Changing any character of the path or query is refused."""
    if vector.kind == "request":
        changed = one_byte_changed(vector.target)
    else:
        uri = vector.value("uri")
        changed = one_byte_changed(uri, uri.index("/", len("ws://")))
    assert_none_verifies([with_target(vector, each) for each in changed], vector.moment())


@every_vector
def test_a_longer_target_is_refused(vector: Vector) -> None:
    """Something added to the query is refused, by the signature or for the target it gives."""
    target = vector.target if vector.kind == "request" else vector.value("uri")
    joint = "&" if "?" in target else "?"
    with pytest.raises((SignatureMismatchError, SignatureTargetError)):
        verify(with_target(vector, f"{target}{joint}languageCode=de-DE"), vector.moment())


@every_request
def test_another_method_is_refused(vector: Vector) -> None:
    """A signed POST is no signed PUT."""
    with pytest.raises(SignatureMismatchError):
        verify(replace(vector, method="PUT"), vector.moment())


@every_request
def test_a_changed_body_is_refused(vector: Vector) -> None:
    """Changing any byte of the body is a digest mismatch."""
    for body in one_byte_changed(vector.body):
        with pytest.raises(DigestMismatchError):
            verify(replace(vector, body=body), vector.moment())


@every_vector
@pytest.mark.parametrize("part", ["tenancy.oc1..aaaa", "user.oc1..bbbb", "20:3b:97"])
def test_another_key_id_is_another_key(vector: Vector, part: str) -> None:
    """Each part of the keyId takes part in looking the key up."""
    changed = vector.value("authorization").replace(part, f"{part[:-1]}{other(part[-1])}")
    with pytest.raises(UnknownKeyError):
        verify(vector.with_header("authorization", changed), vector.moment())


@every_vector
@pytest.mark.parametrize("side", [-1, 1])
def test_the_date_may_be_five_minutes_off_and_no_more(vector: Vector, side: int) -> None:
    """The allowed skew holds to the second on both sides."""
    edge = vector.moment() + side * timedelta(seconds=SKEW_S)
    assert verify(vector, edge) == KEY_ID
    with pytest.raises(ClockSkewError):
        verify(vector, edge + side * timedelta(seconds=1))


@pytest.mark.parametrize("name", ["python credentials", "node credentials"])
@pytest.mark.parametrize("spell", [str.upper, str.title], ids=["upper", "title"])
def test_credentials_are_looked_up_in_any_case(name: str, spell: Any) -> None:
    """How a client spells the names of its headers does not matter."""
    vector = next(each for each in VECTORS if each.name == name)
    spelled = replace(vector, headers={spell(key): each for key, each in vector.headers.items()})
    assert verify(spelled, vector.moment()) == KEY_ID

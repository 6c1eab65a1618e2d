"""Taking Authorization values apart."""

from __future__ import annotations

import itertools

import pytest

from stapes.errors import MalformedSignatureError, UnknownKeyError
from stapes.signing.authorization import LONGEST_BYTES, KeyId, parse_authorization, parse_key_id

FINGERPRINT = "20:3b:97:13:55:1c:5b:0d:d3:37:d8:50:4e:c5:3a:34"
KEY_ID = f"ocid1.tenancy.oc1..a/ocid1.user.oc1..b/{FINGERPRINT}"
PARTS = {
    "version": "1",
    "keyId": KEY_ID,
    "algorithm": "rsa-sha256",
    "headers": "date (request-target) host",
    "signature": "c2lnbmVk",
}


def value(scheme: str = "Signature ", joint: str = ",", **changes: str | None) -> str:
    parts = {**PARTS, **changes}
    return scheme + joint.join(
        f'{name}="{text}"' for name, text in parts.items() if text is not None
    )


def test_all_parts_are_read() -> None:
    """Each parameter comes back, decoded."""
    parsed = parse_authorization(value())
    assert parsed.version == "1"
    assert parsed.algorithm == "rsa-sha256"
    assert parsed.key_id == KeyId("ocid1.tenancy.oc1..a", "ocid1.user.oc1..b", FINGERPRINT)
    assert parsed.headers == ("date", "(request-target)", "host")
    assert parsed.signature == b"signed"


@pytest.mark.parametrize("names", list(itertools.permutations(PARTS)), ids="-".join)
def test_the_order_of_parameters_is_free(names: tuple[str, ...]) -> None:
    """Every order means the same."""
    text = "Signature " + ",".join(f'{name}="{PARTS[name]}"' for name in names)
    assert parse_authorization(text) == parse_authorization(value())


@pytest.mark.parametrize(
    "text",
    [value(scheme="signature "), value(scheme="SIGNATURE   "), value(joint=" , "), value() + " "],
)
def test_scheme_case_and_blanks_do_not_matter(text: str) -> None:
    """The scheme's case and blanks around commas mean nothing."""
    assert parse_authorization(text) == parse_authorization(value())


def test_header_names_are_lower_cased_in_their_order() -> None:
    """Names of mixed case are folded, and keep the order of signing."""
    parsed = parse_authorization(value(headers="x-date (request-target) Host Content-Type"))
    assert parsed.headers == ("x-date", "(request-target)", "host", "content-type")


def test_a_missing_version_is_version_one() -> None:
    """The version is the only parameter that may be left out."""
    assert parse_authorization(value(version=None)) == parse_authorization(value())


MALFORMED = {
    "empty": "",
    "no scheme": value(scheme=""),
    "another scheme": value(scheme="Bearer "),
    "no parameters": "Signature ",
    "trailing comma": value() + ",",
    "trailing text": value() + " x",
    "no comma": value(joint=" "),
    "not quoted": value().replace('"1"', "1"),
    "quote inside": value(headers='date" "host'),
    "backslash": value(headers="date \\host"),
    "line break": value(headers="date\nhost"),
    "not ascii": value(headers="date hößt"),
    "version 2": value(version="2"),
    "another algorithm": value(algorithm="hmac-sha256"),
    "no algorithm": value(algorithm=None),
    "no key": value(keyId=None),
    "no headers": value(headers=None),
    "no signature": value(signature=None),
    "unknown parameter": value(expires="1"),
    "parameter of another case": value().replace("keyId", "keyid"),
    "parameter twice": value() + ',version="1"',
    "empty headers": value(headers=""),
    "header twice": value(headers="date host Date"),
    "two blanks": value(headers="date  host"),
    "empty signature": value(signature=""),
    "signature not base64": value(signature="c2lnb-Vk"),
    "signature with blanks": value(signature="c2ln bmVk"),
    "signature not padded": value(signature="c2lnbmU"),
    "signature padded too much": value(signature="c2lnbmVk===="),
    "signature not canonical": value(signature="c2lnbmV="),
    "too long": value(headers="x" * LONGEST_BYTES),
}


@pytest.mark.parametrize("text", list(MALFORMED.values()), ids=list(MALFORMED))
def test_anything_else_is_malformed(text: str) -> None:
    """A value that is not exactly of the scheme is refused."""
    with pytest.raises(MalformedSignatureError):
        parse_authorization(text)


def test_the_longest_value_is_read() -> None:
    """The size limit is inclusive."""
    filler = "x" * (LONGEST_BYTES - len(value(headers="")))
    assert parse_authorization(value(headers=filler)).headers == (filler,)
    with pytest.raises(MalformedSignatureError):
        parse_authorization(value(headers=f"{filler}x"))


def test_security_tokens_name_no_key_here() -> None:
    """A keyId that is a session token of OCI's own is an unknown key."""
    with pytest.raises(UnknownKeyError):
        parse_authorization(value(keyId="ST$eyJhbGciOiJSUzI1NiJ9.e30.x"))


def test_a_key_id_prints_as_it_was() -> None:
    """Text to KeyId and back is the same text."""
    assert str(parse_key_id(KEY_ID)) == KEY_ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a/b",
        f"a/b/c/{FINGERPRINT}",
        f"/b/{FINGERPRINT}",
        f"a//{FINGERPRINT}",
        "a/b/",
        f"a/b/{FINGERPRINT.upper()}",
        f"a/b/{FINGERPRINT}\n",
        f"a/b/{FINGERPRINT}:00",
        f"a/b/{FINGERPRINT.replace(':', '')}",
    ],
)
def test_a_key_id_of_another_form_is_malformed(text: str) -> None:
    """Three parts, none of them empty, the last a fingerprint."""
    with pytest.raises(MalformedSignatureError):
        parse_key_id(text)

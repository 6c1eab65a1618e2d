"""Requests and credentials that are refused, and why."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from stapes.errors import (
    ClockSkewError,
    DigestMismatchError,
    MalformedSignatureError,
    NotAuthenticatedError,
    SignatureError,
    SignatureMismatchError,
    SignatureTargetError,
    UnknownKeyError,
)
from stapes.signing.authorization import KeyId
from stapes.signing.canonical import digest, fields_of, format_date, signing_string
from stapes.signing.signer import sign_credentials, sign_request
from stapes.signing.verification import verify_credentials, verify_request

TARGET = "/20220101/actions/realtimeSessionToken"
BODY = b'{"compartmentId": "c"}'
WITH_BODY = ("(request-target)", "host", "content-type", "content-length", "x-content-sha256")
Pairs = Sequence[tuple[str, str]]
Verify = Callable[..., KeyId]
Sign = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def sign(private_key: RSAPrivateKey, key_id: KeyId) -> Sign:
    """Sign any names over any pairs, sensible or not; gives the pairs and the Authorization."""

    def signed(names: Sequence[str], pairs: Pairs, method: str = "POST") -> list[tuple[str, str]]:
        first = dict(reversed([(name.lower(), value) for name, value in pairs]))
        text = signing_string(names, method, TARGET, first)
        signature = private_key.sign(text, padding.PKCS1v15(), hashes.SHA256())
        value = (
            f'Signature version="1",keyId="{key_id}",algorithm="rsa-sha256",'
            f'headers="{" ".join(names)}",signature="{base64.b64encode(signature).decode()}"'
        )
        return [*pairs, ("authorization", value)]

    return signed


@pytest.fixture
def verify(private_key: RSAPrivateKey, now: datetime) -> Verify:
    public_key = private_key.public_key()

    def verified(pairs: Pairs, method: str = "POST", body: bytes = BODY) -> KeyId:
        return verify_request(method, TARGET, pairs, body, lambda _: public_key, now, 300)

    return verified


@pytest.fixture
def pairs(now: datetime) -> list[tuple[str, str]]:
    return [
        ("date", format_date(now)),
        ("host", "h"),
        ("content-type", "application/json"),
        ("content-length", str(len(BODY))),
        ("x-content-sha256", digest(BODY)),
    ]


def test_a_full_post_verifies(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], key_id: KeyId
) -> None:
    """With all required names signed, in any order, the signer is known."""
    assert verify(sign(("date", *WITH_BODY), pairs)) == key_id
    assert verify(sign((*reversed(WITH_BODY), "date"), pairs)) == key_id


@pytest.mark.parametrize("name", ["date", *WITH_BODY])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_each_required_name_has_to_be_signed(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], name: str, method: str
) -> None:
    """A request with a body that leaves one of six names unsigned is malformed."""
    names = [each for each in ("date", *WITH_BODY) if each != name]
    with pytest.raises(MalformedSignatureError):
        verify(sign(names, pairs, method), method)


@pytest.mark.parametrize("name", ["date", "(request-target)", "host"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_each_required_name_of_a_get_has_to_be_signed(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], name: str, method: str
) -> None:
    """A request without a body that leaves one of three names unsigned is malformed."""
    names = [each for each in ("date", "(request-target)", "host") if each != name]
    with pytest.raises(MalformedSignatureError):
        verify(sign(names, pairs, method), method, b"")


def test_a_get_signs_no_body(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], key_id: KeyId
) -> None:
    """Three names are enough for a GET, but not when it has a body."""
    signed = sign(("date", "(request-target)", "host"), pairs, "GET")
    assert verify(signed, "GET", b"") == key_id
    with pytest.raises(DigestMismatchError):
        verify(signed, "GET", BODY)


def test_a_get_may_sign_a_body(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], key_id: KeyId
) -> None:
    """What is signed without need is checked all the same."""
    signed = sign(("date", *WITH_BODY), pairs, "GET")
    assert verify(signed, "GET") == key_id
    with pytest.raises(DigestMismatchError):
        verify(signed, "GET", BODY.upper())


def test_a_signed_header_must_be_there(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]]
) -> None:
    """A signed name whose header did not arrive is malformed."""
    signed = sign(("date", *WITH_BODY, "x-more"), [*pairs, ("x-more", "1")])
    with pytest.raises(MalformedSignatureError):
        verify([pair for pair in signed if pair[0] != "x-more"])


@pytest.mark.parametrize("at", range(6))
def test_a_repeated_signed_header_is_refused(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], at: int
) -> None:
    """Nobody can tell which of two was signed, so neither counts, even when they are equal."""
    signed = sign(("date", *WITH_BODY), pairs)
    name, value = signed[at]
    with pytest.raises(MalformedSignatureError):
        verify([*signed, (name.title(), value)])


def test_a_repeated_unsigned_header_is_nobodys_concern(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], key_id: KeyId
) -> None:
    """Proxies repeat headers that nobody signs."""
    signed = sign(("date", *WITH_BODY), pairs)
    assert verify([*signed, ("via", "a"), ("via", "b")]) == key_id


def test_without_authorization_it_is_malformed(
    verify: Verify, pairs: list[tuple[str, str]]
) -> None:
    """No Authorization, no signature."""
    with pytest.raises(MalformedSignatureError):
        verify(pairs)


@pytest.mark.parametrize("length", ["21", "23", "022", "+22", "22 22", "x"])
def test_the_length_must_be_that_of_the_body(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], length: str
) -> None:
    """A signed length that is not exactly the body's is a mismatch."""
    assert len(BODY) == 22
    changed = [(name, length if name == "content-length" else value) for name, value in pairs]
    with pytest.raises(DigestMismatchError):
        verify(sign(("date", *WITH_BODY), changed))


def test_x_date_wins_over_date(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], key_id: KeyId, now: datetime
) -> None:
    """When both dates are there, x-date is the one that counts, and has to be signed."""
    late = format_date(now - timedelta(hours=1))
    fresh_x = [*pairs[1:], ("date", late), ("x-date", format_date(now))]
    assert verify(sign(("x-date", *WITH_BODY), fresh_x)) == key_id
    stale_x = [*pairs, ("x-date", late)]
    with pytest.raises(ClockSkewError):
        verify(sign(("x-date", "date", *WITH_BODY), stale_x))
    with pytest.raises(MalformedSignatureError):
        verify(sign(("date", *WITH_BODY), stale_x))


def test_a_replay_cannot_be_made_fresh_by_an_unsigned_date(
    sign: Sign, verify: Verify, pairs: list[tuple[str, str]], now: datetime
) -> None:
    """An x-date that somebody adds to an old request does not count."""
    old = [("date", format_date(now - timedelta(hours=1))), *pairs[1:]]
    signed = sign(("date", *WITH_BODY), old)
    with pytest.raises(MalformedSignatureError):
        verify([*signed, ("x-date", format_date(now))])


def test_an_unknown_key_is_refused(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime
) -> None:
    """A signer nobody knows is refused."""
    headers = sign_request("GET", "/", "h", {}, b"", key_id, private_key, now)
    with pytest.raises(UnknownKeyError):
        verify_request("GET", "/", list(headers.items()), b"", lambda _: None, now, 300)


def test_another_users_key_does_not_verify(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime
) -> None:
    """A signature by a key other than the one that keyId names is a mismatch."""
    other = rsa.generate_private_key(65537, 2048).public_key()
    headers = sign_request("GET", "/", "h", {}, b"", key_id, private_key, now)
    with pytest.raises(SignatureMismatchError):
        verify_request("GET", "/", list(headers.items()), b"", lambda _: other, now, 300)


def test_a_short_key_is_refused(key_id: KeyId, now: datetime) -> None:
    """A right signature by a key under 2048 bits is refused."""
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505
    headers = sign_request("GET", "/", "h", {}, b"", key_id, short, now)

    def find_key(_: KeyId) -> RSAPublicKey:
        return short.public_key()

    with pytest.raises(UnknownKeyError):
        verify_request("GET", "/", list(headers.items()), b"", find_key, now, 300)


@pytest.mark.parametrize(
    ("scheme", "digest_of"),
    [
        (padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()),
        (padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303
        (padding.PKCS1v15(), hashes.SHA512()),
    ],
    ids=["pss", "sha1", "sha512"],
)
def test_other_ways_of_signing_do_not_verify(
    private_key: RSAPrivateKey,
    key_id: KeyId,
    now: datetime,
    scheme: padding.AsymmetricPadding,
    digest_of: hashes.HashAlgorithm,
) -> None:
    """Only PKCS #1 v1.5 with SHA-256 counts, whatever the key could do."""
    names = ("date", "(request-target)", "host")
    headers = sign_request("GET", "/", "h", {}, b"", key_id, private_key, now)
    text = signing_string(names, "GET", "/", fields_of(headers.items()))
    signature = base64.b64encode(private_key.sign(text, scheme, digest_of)).decode()
    headers["authorization"] = (
        f'Signature keyId="{key_id}",algorithm="rsa-sha256",headers="{" ".join(names)}",'
        f'signature="{signature}"'
    )
    public_key = private_key.public_key()
    with pytest.raises(SignatureMismatchError):
        verify_request("GET", "/", list(headers.items()), b"", lambda _: public_key, now, 300)


@pytest.mark.parametrize(
    ("signed_as", "uri"),
    [
        ("/ws/transcribe/stream", "wss://h:443/ws/transcribe/stream"),
        ("/ws/transcribe/stream?a=audio/raw;b", "https://h/ws/transcribe/stream?a=audio/raw;b"),
        ("/", "ws://h"),
    ],
    ids=["java", "https form", "no path"],
)
def test_forms_of_credentials(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime, signed_as: str, uri: str
) -> None:
    """The host of the URI, its port and scheme need not be those that were signed."""
    headers = sign_request("GET", signed_as, "h:443", {}, b"", key_id, private_key, now)
    public_key = private_key.public_key()
    found = verify_credentials(headers | {"uri": uri}, lambda _: public_key, now, 300)
    assert found == key_id


@pytest.mark.parametrize(
    "path",
    [
        "/20220101/transcriptionJobs",
        "/?isAckEnabled=true",
        "/ws/transcribe/stream/",
        "/ws/transcribe/streams?a=b",
        "/ws/transcribe/stream;x",
        "//",
        "/WS/transcribe/stream",
        "/ws%2Ftranscribe/stream",
        "/x?/ws/transcribe/stream",
    ],
)
def test_credentials_for_another_path_are_refused(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime, path: str
) -> None:
    """A rightly signed GET of some other service cannot be replayed here."""
    headers = sign_credentials(f"https://elsewhere{path}", key_id, private_key, now)
    public_key = private_key.public_key()
    with pytest.raises(SignatureTargetError):
        verify_credentials(headers, lambda _: public_key, now, 300)


def test_credentials_of_another_method_are_refused(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime
) -> None:
    """A signed DELETE of the root is no credential."""
    headers = sign_request("DELETE", "/", "h", {}, b"", key_id, private_key, now)
    public_key = private_key.public_key()
    with pytest.raises(SignatureMismatchError):
        verify_credentials(headers | {"uri": "ws://h/"}, lambda _: public_key, now, 300)


BROKEN: dict[str, dict[str, str]] = {
    "no uri": {"uri": ""},
    "half a surrogate": {"date": "\ud800"},
    "line break in host": {"host": "h\ndate: x"},
    "line break in uri": {"uri": "ws://h/\nhost: h"},
    "two spellings of date": {"Date": "x"},
    "not a date": {"date": "now"},
    "empty authorization": {"authorization": ""},
}


@pytest.mark.parametrize("change", list(BROKEN.values()), ids=list(BROKEN))
def test_broken_credentials_are_refused(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime, change: dict[str, str]
) -> None:
    """Whatever is in the message, the answer is a refusal and never a crash."""
    headers = sign_credentials("ws://h/", key_id, private_key, now) | change
    public_key = private_key.public_key()
    with pytest.raises(SignatureError):
        verify_credentials(headers, lambda _: public_key, now, 300)


def test_credentials_may_be_empty(now: datetime) -> None:
    """No headers at all is malformed."""
    with pytest.raises(MalformedSignatureError):
        verify_credentials({}, lambda _: None, now, 300)


def test_the_peer_reads_one_sentence_for_every_reason() -> None:
    """The reason is for the log: no error tells more than another."""
    leaves = [*SignatureError.__subclasses__(), NotAuthenticatedError]
    assert {leaf("the cause").public for leaf in leaves} == {NotAuthenticatedError.sentence}
    assert {leaf("the cause").status for leaf in leaves} == {401}

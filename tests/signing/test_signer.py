"""What our own client signs, our own server verifies."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stapes.errors import SignatureTargetError
from stapes.signing.authorization import KeyId
from stapes.signing.signer import sign_credentials, sign_request
from stapes.signing.verification import verify_credentials, verify_request

PRINTABLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
METHODS = st.sampled_from(["GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"])
KEY_IDS = st.builds(
    KeyId,
    st.from_regex(r"ocid1\.tenancy\.oc1\.\.[a-z2-7]{1,60}", fullmatch=True),
    st.from_regex(r"ocid1\.user\.oc1\.\.[a-z2-7]{1,60}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{2}(:[0-9a-f]{2}){15}", fullmatch=True),
)
# The key is made once; its state does not change from example to example.
property_test = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@property_test
@given(
    method=METHODS,
    path=st.text(PRINTABLE),
    host=st.text(PRINTABLE, min_size=1),
    content_type=st.text(PRINTABLE, min_size=1),
    body=st.binary(max_size=200),
    signer=KEY_IDS,
    moment=st.datetimes(timezones=st.just(UTC)),
)
def test_a_signed_request_verifies(
    *,
    private_key: RSAPrivateKey,
    method: str,
    path: str,
    host: str,
    content_type: str,
    body: bytes,
    signer: KeyId,
    moment: datetime,
) -> None:
    """Whatever the method, target, headers, body and signer, signing makes it verifiable."""
    sent = b"" if method in {"GET", "HEAD", "DELETE"} else body
    target = f"/{path}"
    headers = sign_request(
        method, target, host, {"Content-Type": content_type}, sent, signer, private_key, moment
    )
    looked_up: list[KeyId] = []

    def find_key(key_id: KeyId) -> RSAPublicKey:
        looked_up.append(key_id)
        return private_key.public_key()

    found = verify_request(
        method,
        target,
        list(headers.items()),
        sent,
        find_key,
        moment,
        skew_s=1,
    )
    assert found == signer
    assert looked_up == [signer]
    assert headers["content-type"] == content_type


@property_test
@given(
    scheme=st.sampled_from(["ws", "wss", "http", "https"]),
    target=st.sampled_from(["", "/", "/ws/transcribe/stream"])
    | st.text(PRINTABLE.filter(lambda letter: letter != "#")).map(
        "/ws/transcribe/stream?{}".format
    ),
)
def test_signed_credentials_verify(
    *,
    private_key: RSAPrivateKey,
    key_id: KeyId,
    now: datetime,
    scheme: str,
    target: str,
) -> None:
    """Credentials for the socket verify, whatever the scheme and query."""
    uri = f"{scheme}://127.0.0.1:8080{target}"
    headers = sign_credentials(uri, key_id, private_key, now)
    assert set(headers) == {"date", "host", "authorization", "uri"}
    assert headers["host"] == "127.0.0.1:8080"
    public_key = private_key.public_key()
    assert verify_credentials(headers, lambda _: public_key, now, 0) == key_id


def test_a_body_is_json_unless_said_otherwise(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime
) -> None:
    """A request with a body gets a content-type, its length and its digest."""
    headers = sign_request("POST", "/a", "h", {"X-Other": "1"}, b"{}", key_id, private_key, now)
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == "2"
    assert headers["x-other"] == "1"


def test_credentials_need_an_absolute_uri(
    private_key: RSAPrivateKey, key_id: KeyId, now: datetime
) -> None:
    """There is no host to sign in a relative one."""
    with pytest.raises(SignatureTargetError):
        sign_credentials("/ws/transcribe/stream", key_id, private_key, now)

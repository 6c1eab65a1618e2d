"""The token endpoint over a real socket: what is answered to what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from stapes.client.profile import load_private_key, read_profile
from stapes.identity.ocid import is_ocid
from stapes.signing.authorization import KeyId
from stapes.signing.signer import sign_request
from stapes.store.records import SessionCreated
from stapes.tokens.verification import verify
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from tests.conftest import Served

PATH = "/20220101/actions/realtimeSessionToken"
OTHERS_COMPARTMENT = f"ocid1.compartment.oc1..{'a' * 60}"


@dataclass(frozen=True)
class Post:
    """A signed request; tests replace what they are about."""

    client: httpx.Client
    url: str
    body: bytes
    key_id: KeyId
    key: RSAPrivateKey
    target: str = PATH
    sent_target: str = PATH
    sent_body: bytes | None = None
    signed_at: datetime | None = None
    headers: Mapping[str, str] | None = None
    unsigned: Mapping[str, str] | None = None

    def send(self) -> httpx.Response:
        host = httpx.URL(self.url).netloc.decode()
        signed = sign_request(
            "POST",
            self.target,
            host,
            self.headers or {},
            self.body,
            self.key_id,
            self.key,
            self.signed_at or datetime.now(UTC),
        )
        sent = {**signed, **(self.unsigned or {})}
        return self.client.post(
            self.url + self.sent_target,
            content=self.body if self.sent_body is None else self.sent_body,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        )


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def post(client: httpx.Client, served: Served) -> Post:
    return post_to(served, client)


def post_to(served: Served, client: httpx.Client) -> Post:
    profile = read_profile(served.home.config_file)
    body = json.dumps({"compartmentId": served.home.compartment_id}).encode()
    return Post(client, served.url, body, profile.key_id, load_private_key(profile))


def asking(post: Post, **fields: Any) -> Post:
    """The same request with other fields in its body; None takes one away."""
    body = {**json.loads(post.body), **fields}
    return replace(post, body=json.dumps(body).encode())


def assert_refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "message"}
    assert answer.headers["opc-request-id"]
    assert answer.headers["date"]


def test_answer_has_the_required_properties_and_no_tags_when_none_were_given(post: Post) -> None:
    """A token, its session and its compartment: three properties, status 200, both headers."""
    answer = post.send()

    assert answer.status_code == 200
    assert set(answer.json()) == {"token", "sessionId", "compartmentId"}
    assert answer.json()["compartmentId"] == json.loads(post.body)["compartmentId"]
    assert is_ocid(answer.json()["sessionId"], "aispeechrealtimesession")
    assert answer.headers["etag"]
    assert answer.headers["opc-request-id"]
    assert answer.headers["date"]
    assert answer.headers["content-type"] == "application/json"


def test_token_verifies_and_carries_the_whole_grant(served: Served, post: Post) -> None:
    """Session, tenancy, compartment, user and bounds travel in the token."""
    answer = asking(post, definedTags={"stapes": {"single-use": True, "ttl-seconds": 60}}).send()
    deployment = served.deployment

    grant = verify(
        answer.json()["token"],
        keys=deployment.known.keyring.public,
        issuer="stapes",
        audience="stapes-realtime",
        now=datetime.now(UTC),
        skew_s=0,
    )

    assert grant.session_id == answer.json()["sessionId"]
    assert grant.tenancy_id == served.home.tenancy_id
    assert grant.compartment_id == served.home.compartment_id
    assert grant.user_id == served.home.user_id
    assert grant.limits is not None
    assert grant.limits.single_use
    assert grant.expires_at - datetime.now(UTC) <= timedelta(seconds=60)


def test_tags_come_back_as_they_were_given(post: Post) -> None:
    """A boolean stays a boolean, 1 stays 1, an empty map stays there."""
    tags = {"ns": {"yes": True, "one": 1, "text": "1"}}

    answer = asking(post, freeformTags={}, definedTags=tags).send().json()

    assert answer["freeformTags"] == {}
    assert json.dumps(answer["definedTags"]) == json.dumps(tags)


def test_null_and_unknown_fields_are_as_not_given(post: Post) -> None:
    """OCI's API takes null for an absent field and ignores what it does not know."""
    answer = asking(post, freeformTags=None, definedTags=None, surprise=[1]).send()

    assert set(answer.json()) == {"token", "sessionId", "compartmentId"}


BODIES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "CannotParseRequest", ""),
    "no JSON": (b"compartmentId=x", "CannotParseRequest", ""),
    "cut off": (b'{"compartmentId":', "CannotParseRequest", ""),
    "not UTF-8": (b'{"compartmentId":"\xff"}', "CannotParseRequest", ""),
    "half a surrogate pair": (b'{"compartmentId":"\\ud800"}', "CannotParseRequest", ""),
    "nested without end": (b"[" * 60_000, "CannotParseRequest", ""),
    "an array": (b"[]", "CannotParseRequest", ""),
    "a number": (b"1", "CannotParseRequest", ""),
    "null": (b"null", "CannotParseRequest", ""),
    "no compartment": (b"{}", "MissingParameter", "compartmentId"),
    "compartment null": (b'{"compartmentId":null}', "MissingParameter", "compartmentId"),
    "attribute name": (b'{"compartment_id":"x"}', "MissingParameter", "compartmentId"),
    "compartment empty": (b'{"compartmentId":""}', "InvalidParameter", "compartmentId"),
    "compartment too long": (
        b'{"compartmentId":"' + b"x" * 256 + b'"}',
        "InvalidParameter",
        "compartmentId",
    ),
    "compartment a number": (b'{"compartmentId":1}', "InvalidParameter", "compartmentId"),
    "freeform a list": (
        b'{"compartmentId":"x","freeformTags":[]}',
        "InvalidParameter",
        "freeformTags",
    ),
    "freeform value a number": (
        b'{"compartmentId":"x","freeformTags":{"a":1}}',
        "InvalidParameter",
        "freeformTags",
    ),
    "defined value a fraction": (
        b'{"compartmentId":"x","definedTags":{"n":{"k":1.5}}}',
        "InvalidParameter",
        "definedTags",
    ),
    "defined value null": (
        b'{"compartmentId":"x","definedTags":{"n":{"k":null}}}',
        "InvalidParameter",
        "definedTags",
    ),
    "defined namespace flat": (
        b'{"compartmentId":"x","definedTags":{"n":"v"}}',
        "InvalidParameter",
        "definedTags",
    ),
}


@pytest.mark.parametrize(("body", "code", "name"), BODIES.values(), ids=BODIES)
def test_bad_body_is_400_and_names_the_field(post: Post, body: bytes, code: str, name: str) -> None:
    """What cannot be parsed, is missing or is wrong gets the code word for just that."""
    answer = replace(post, body=body).send()

    assert_refused(answer, 400, code)
    assert name in answer.json()["message"]


TAGS: dict[str, dict[str, Any]] = {
    "11 freeform": {"freeformTags": {f"k{n}": "v" for n in range(11)}},
    "65 defined": {"definedTags": {"ns": {f"k{n}": "v" for n in range(65)}}},
    "over 5 KiB": {"definedTags": {"ns": {f"k{n}": "v" * 250 for n in range(30)}}},
    "a period in a key": {"freeformTags": {"a.b": "v"}},
    "a space in a namespace": {"definedTags": {"n s": {"k": "v"}}},
    "a key of 101": {"freeformTags": {"k" * 101: "v"}},
    "a value of 257": {"freeformTags": {"k": "v" * 257}},
    "an unknown bound": {"definedTags": {"stapes": {"unknown": 1}}},
    "a bound out of range": {"definedTags": {"stapes": {"ttl-seconds": 0}}},
    "a bound of another type": {"definedTags": {"stapes": {"single-use": 1}}},
}


@pytest.mark.parametrize("fields", TAGS.values(), ids=TAGS)
def test_tags_over_the_limits_are_400(post: Post, fields: dict[str, Any]) -> None:
    """Counts, lengths, characters and bounds out of range are InvalidParameter."""
    assert_refused(asking(post, **fields).send(), 400, "InvalidParameter")


def another_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


UNAUTHENTICATED: dict[str, Callable[[Post], Post]] = {
    "another key": lambda post: replace(post, key=another_key()),
    "unknown fingerprint": lambda post: replace(
        post, key_id=replace(post.key_id, fingerprint=":".join(["00"] * 16))
    ),
    "unknown user": lambda post: replace(post, key_id=replace(post.key_id, user_id="ocid1.user.x")),
    "another tenancy": lambda post: replace(
        post, key_id=replace(post.key_id, tenancy_id="ocid1.tenancy.x")
    ),
    "6 minutes behind": lambda post: replace(
        post, signed_at=datetime.now(UTC) - timedelta(minutes=6)
    ),
    "6 minutes ahead": lambda post: replace(
        post, signed_at=datetime.now(UTC) + timedelta(minutes=6)
    ),
    "another body": lambda post: replace(post, sent_body=post.body.replace(b"ocid1", b"ocid2")),
    "another query": lambda post: replace(post, sent_target=PATH + "?x=1"),
    "another date": lambda post: replace(post, unsigned={"date": "Sun, 22 Nov 2020 11:58:41 GMT"}),
    "digest not ASCII": lambda post: replace(post, unsigned={"x-content-sha256": "\xe9"}),
    "no signature": lambda post: replace(post, unsigned={"authorization": ""}),
    "another scheme": lambda post: replace(post, unsigned={"authorization": "Bearer x"}),
    "security token": lambda post: replace(
        post,
        unsigned={
            "authorization": 'Signature version="1",keyId="ST$x",algorithm="rsa-sha256",'
            'headers="date (request-target) host",signature="eA=="'
        },
    ),
}


@pytest.mark.parametrize("spoil", UNAUTHENTICATED.values(), ids=UNAUTHENTICATED)
def test_what_does_not_authenticate_is_401_with_one_text(
    post: Post, spoil: Callable[[Post], Post]
) -> None:
    """The reason never reaches the peer: every 401 reads the same."""
    answer = spoil(post).send()

    assert_refused(answer, 401, "NotAuthenticated")
    assert answer.json()["message"] == (
        "The required information to complete authentication was missing or not correct."
    )


def test_signature_is_checked_before_the_body(post: Post) -> None:
    """Nobody learns what is wrong with a body without a good signature."""
    assert_refused(replace(post, body=b"{}", key=another_key()).send(), 401, "NotAuthenticated")


def test_path_and_query_are_verified_as_they_were_sent(post: Post) -> None:
    """A query in an unusual spelling verifies when it was signed in that spelling."""
    target = f"{PATH}?b=%7e&a=1;2&&c"

    assert replace(post, target=target, sent_target=target).send().status_code == 200


def test_compartment_without_a_grant_is_404(post: Post) -> None:
    """Unknown and not allowed look alike."""
    answer = asking(post, compartmentId=OTHERS_COMPARTMENT).send()

    assert_refused(answer, 404, "NotAuthorizedOrNotFound")


def test_compartment_is_checked_before_tags(post: Post) -> None:
    """Who may not use the compartment learns nothing about its tags."""
    answer = asking(post, compartmentId=OTHERS_COMPARTMENT, freeformTags={"a b": "c"}).send()

    assert_refused(answer, 404, "NotAuthorizedOrNotFound")


def test_root_compartment_is_the_tenancy(served: Served, post: Post) -> None:
    """A tenancy's OCID stands for its root compartment."""
    assert asking(post, compartmentId=served.home.tenancy_id).send().status_code == 200


def test_same_retry_token_and_body_give_the_first_answer_again(post: Post) -> None:
    """Byte for byte: the same token, the same session, the same etag."""
    once = replace(asking(post, freeformTags={"b": "1", "a": "2"}), unsigned=retry("same"))

    first, second = once.send(), once.send()

    assert first.status_code == 200
    assert second.content == first.content
    assert second.headers["etag"] == first.headers["etag"]
    assert second.headers["opc-request-id"] != first.headers["opc-request-id"]


def test_same_retry_token_and_another_body_is_409(post: Post) -> None:
    """A retry token names one request."""
    assert replace(post, unsigned=retry("other")).send().status_code == 200

    answer = replace(asking(post, freeformTags={"a": "b"}), unsigned=retry("other")).send()

    assert_refused(answer, 409, "InvalidatedRetryToken")


def test_without_a_retry_token_every_answer_is_a_session_of_its_own(post: Post) -> None:
    """The same body twice is two requests."""
    assert post.send().json()["sessionId"] != post.send().json()["sessionId"]


def test_refused_request_does_not_use_its_retry_token_up(post: Post) -> None:
    """A retry token is taken by the first request that succeeds."""
    refused = replace(asking(post, freeformTags={"a b": "c"}), unsigned=retry("refused"))
    assert_refused(refused.send(), 400, "InvalidParameter")

    assert replace(post, unsigned=retry("refused")).send().status_code == 200


@pytest.mark.parametrize("token", ["", "x" * 65])
def test_retry_token_of_another_length_is_400(post: Post, token: str) -> None:
    """1 to 64 characters."""
    answer = replace(post, unsigned=retry(token)).send()

    assert_refused(answer, 400, "InvalidParameter")
    assert "opc-retry-token" in answer.json()["message"]


def test_retry_is_answered_after_a_restart(
    client: httpx.Client, start_server: Callable[..., Served]
) -> None:
    """What was answered before the restart is answered again, byte for byte."""
    before = start_server()
    once = replace(
        asking(
            post_to(before, client),
            freeformTags={"b": "1", "a": "2"},
            definedTags={"n": {"k": True}},
        ),
        unsigned=retry("restart"),
    )
    first = once.send()
    before.stop()

    after = start_server()

    assert replace(once, url=after.url).send().content == first.content


def test_record_holds_claims_and_never_the_token(
    client: httpx.Client, start_server: Callable[..., Served]
) -> None:
    """The database says who minted what; nobody can open a session with it."""
    server = start_server()
    answer = replace(post_to(server, client), unsigned=retry("kept")).send().json()
    server.deployment.writer.flush(PATIENCE_S)

    (record,) = server.deployment.store.retried_since(
        datetime.now(UTC) - timedelta(hours=1), most=9
    )

    assert isinstance(record, SessionCreated)
    assert record.claims is not None
    assert record.session_id == record.claims["sid"] == answer["sessionId"]
    assert record.user_id == server.home.user_id
    assert record.body_sha256 == hashlib.sha256(post_to(server, client).body).hexdigest()
    database = server.home.path / "stapes.db"
    files = [database, *database.parent.glob(f"{database.name}-*")]
    assert all(answer["token"].encode() not in file.read_bytes() for file in files)


def test_body_of_64_kib_is_read_and_one_byte_more_is_413(post: Post) -> None:
    """The limit is 64 KiB of body, whatever is in it."""
    longest = post.body.ljust(64 * 1024)

    assert replace(post, body=longest).send().status_code == 200
    assert_refused(replace(post, body=longest + b" ").send(), 413, "PayloadTooLarge")


def test_body_that_grows_over_the_limit_is_413(client: httpx.Client, served: Served) -> None:
    """Without a content-length the bytes are counted as they come."""
    answer = client.post(served.url + PATH, content=(b" " * 1024 for _ in range(80)))

    assert_refused(answer, 413, "PayloadTooLarge")


@pytest.mark.parametrize("path", ["/", "/20220101/actions/other", "/health/", "/docs", PATH + "/"])
def test_unknown_path_is_404(client: httpx.Client, served: Served, path: str) -> None:
    """There is no operation there, and nothing is redirected."""
    assert_refused(client.get(served.url + path), 404, "NotFound")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_wrong_method_is_405_and_says_which_is_allowed(
    client: httpx.Client, served: Served, method: str
) -> None:
    """The path exists, with another method."""
    answer = client.request(method, served.url + PATH)

    assert_refused(answer, 405, "MethodNotAllowed")
    assert answer.headers["allow"] == "POST"


def test_client_request_id_comes_first(post: Post) -> None:
    """``<client>/<ours>/<hop>``: the middle one is ours."""
    answer = replace(post, unsigned={"opc-request-id": "EBCBFEE1E66B-11F1"}).send()

    client, ours, hop = answer.headers["opc-request-id"].split("/")
    assert client == "EBCBFEE1E66B-11F1"
    assert len(ours) == len(hop) == 32


def test_what_nobody_expected_is_500_without_the_cause(
    post: Post, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause is for the log; the server goes on."""
    monkeypatch.setattr(served.deployment.writer, "put", _fail)

    assert_refused(post.send(), 500, "InternalServerError")
    assert "secret" not in post.send().text
    monkeypatch.undo()
    assert post.send().status_code == 200


def _fail(_record: object) -> None:
    raise RuntimeError("secret")


def test_writer_that_takes_no_more_is_503(
    client: httpx.Client, start_server: Callable[..., Served]
) -> None:
    """A session that cannot be recorded is not made; waiting may help."""
    server = start_server()
    server.deployment.writer.close()

    answer = post_to(server, client).send()

    assert_refused(answer, 503, "ServiceUnavailable")
    assert answer.headers["retry-after"]


def retry(token: str) -> dict[str, str]:
    return {"opc-retry-token": token}

"""The unmodified ``oci`` package against a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oci
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from oci.ai_speech import AIServiceSpeechClient
from oci.ai_speech.models import CreateRealtimeSessionTokenDetails

from stapes.signing.canonical import format_date

if TYPE_CHECKING:
    from tests.conftest import Served

NOT_AUTHENTICATED = (401, "NotAuthenticated")


@dataclass
class Clients:
    """Makes SDK clients and closes what they keep open."""

    url: str
    config: dict[str, Any]
    made: list[AIServiceSpeechClient]

    def make(self, **changes: Any) -> AIServiceSpeechClient:
        config = {**self.config, **changes}
        client = AIServiceSpeechClient(config, service_endpoint=self.url)
        client.base_client.session.trust_env = False
        self.made.append(client)
        return client


@pytest.fixture
def clients(served: Served) -> Iterator[Clients]:
    config = oci.config.from_file(str(served.home.config_file), served.profile)
    clients = Clients(served.url, config, [])
    yield clients
    for client in clients.made:
        client.base_client.session.close()


@pytest.fixture
def details(served: Served) -> CreateRealtimeSessionTokenDetails:
    return CreateRealtimeSessionTokenDetails(
        compartment_id=served.home.compartment_id,
        freeform_tags={"project": "x"},
        defined_tags={"billing": {"paid": True, "centre": 7, "team": "a"}},
    )


def refusal(client: AIServiceSpeechClient, details: Any) -> tuple[int, str]:
    """Status and code of the ``ServiceError`` that the SDK raises."""
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        client.create_realtime_session_token(details)
    return caught.value.status, caught.value.code


def test_token_has_the_five_properties(
    clients: Clients, details: CreateRealtimeSessionTokenDetails
) -> None:
    """The SDK's own model is filled, with the types that were sent."""
    answer = clients.make().create_realtime_session_token(details)

    assert answer.status == 200
    assert answer.data.token.count(".") == 2
    assert answer.data.session_id.startswith("ocid1.aispeechrealtimesession.oc1..")
    assert answer.data.compartment_id == details.compartment_id
    assert answer.data.freeform_tags == {"project": "x"}
    assert answer.data.defined_tags == {"billing": {"paid": True, "centre": 7, "team": "a"}}
    assert answer.data.defined_tags["billing"]["paid"] is True
    assert answer.headers["etag"]


def test_sdk_request_id_comes_first_in_ours(
    clients: Clients, details: CreateRealtimeSessionTokenDetails
) -> None:
    """What the SDK sends as ``opc-request-id`` leads the server's."""
    answer = clients.make().create_realtime_session_token(details, opc_request_id="6E16E4EC9978")

    assert answer.request_id.startswith("6E16E4EC9978/")


def test_retry_token_gives_the_same_session(
    clients: Clients, details: CreateRealtimeSessionTokenDetails
) -> None:
    """A request repeated with its retry token is one request."""
    client = clients.make()

    first = client.create_realtime_session_token(details, opc_retry_token="python-sdk")
    second = client.create_realtime_session_token(details, opc_retry_token="python-sdk")

    assert first.data.token == second.data.token


def test_another_users_key_is_refused(
    clients: Clients, details: CreateRealtimeSessionTokenDetails, tmp_path: Path
) -> None:
    """A key that is not the one of the fingerprint signs nothing here."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "other.pem").write_bytes(pem)

    client = clients.make(key_file=str(tmp_path / "other.pem"))

    assert refusal(client, details) == NOT_AUTHENTICATED


def test_wrong_fingerprint_is_refused(
    clients: Clients, details: CreateRealtimeSessionTokenDetails
) -> None:
    """The right key under another name is unknown."""
    client = clients.make(fingerprint=":".join(["ab"] * 16))

    assert refusal(client, details) == NOT_AUTHENTICATED


class Meddler:
    """Sits behind the signer: the body's length stays, a part of it does not."""

    def __init__(self, adapter: Any) -> None:
        self._adapter = adapter

    def send(self, request: Any, **kwargs: Any) -> Any:
        request.body = request.body.replace("project", "protect")
        return self._adapter.send(request, **kwargs)

    def close(self) -> None:
        self._adapter.close()


def test_changed_body_is_refused(
    clients: Clients, details: CreateRealtimeSessionTokenDetails
) -> None:
    """The body is not the one whose digest was signed."""
    client = clients.make()
    session = client.base_client.session
    session.mount("http://", Meddler(session.get_adapter("http://")))

    assert refusal(client, details) == NOT_AUTHENTICATED


@pytest.mark.parametrize("minutes", [-6, 6])
def test_clock_six_minutes_off_is_refused(
    clients: Clients,
    details: CreateRealtimeSessionTokenDetails,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
) -> None:
    """Five minutes either way are allowed, and no more."""
    date = format_date(datetime.now(UTC) + timedelta(minutes=minutes))
    monkeypatch.setattr("email.utils.formatdate", lambda usegmt: date)  # the signer's clock

    assert refusal(clients.make(), details) == NOT_AUTHENTICATED


def test_clock_four_minutes_off_is_taken(
    clients: Clients,
    details: CreateRealtimeSessionTokenDetails,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock within five minutes signs good requests."""
    date = format_date(datetime.now(UTC) - timedelta(minutes=4))
    monkeypatch.setattr("email.utils.formatdate", lambda usegmt: date)

    assert clients.make().create_realtime_session_token(details).status == 200


def test_compartment_of_others_is_not_found(clients: Clients) -> None:
    """The SDK tells 404 NotAuthorizedOrNotFound."""
    details = CreateRealtimeSessionTokenDetails(compartment_id="ocid1.compartment.oc1..x")

    assert refusal(clients.make(), details) == (404, "NotAuthorizedOrNotFound")

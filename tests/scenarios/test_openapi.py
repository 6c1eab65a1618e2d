"""The served REST operations and ``/openapi.json``: what is answered is what is declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from stapes.client.profile import load_private_key, read_profile
from stapes.signing.signer import sign_request

if TYPE_CHECKING:
    from tests.conftest import Served

TOKEN = ("POST", "/20220101/actions/realtimeSessionToken")
OPEN = [
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/receipt-keys.json"),
]
LIST = ("GET", "/20220101/realtimeSessions")
SESSION = "/20220101/realtimeSessions/{sessionId}"
OF_SESSION = {
    ("GET", SESSION): 200,
    ("GET", SESSION + "/transcript"): 200,
    ("DELETE", SESSION + "/transcript"): 204,
    ("GET", SESSION + "/receipt"): 200,
    ("POST", SESSION + "/actions/revoke"): 200,
}
BY_USER = ("POST", "/20220101/realtimeSessions/actions/revokeByUser")
BY_TAG = ("POST", "/20220101/realtimeSessions/actions/revokeByTag")
USAGE = ("GET", "/20220101/realtimeSessionUsage")
METRICS = ("GET", "/metrics")
WITH_FIELDS = [TOKEN, LIST, USAGE, BY_USER, BY_TAG]
GUARDED = [*WITH_FIELDS, *OF_SESSION, METRICS]
POSITIVE, NEGATIVE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
CONFORMS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FEW = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.generate],  # requests that fail are short enough to read as they are
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Signature(AuthBase):
    """Signs what is about to be sent."""

    def __init__(self, served: Served) -> None:
        profile = read_profile(served.home.config_file)
        self._key_id = profile.key_id
        self._key = load_private_key(profile)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        assert request.method
        assert request.url
        body = request.body or b""
        assert isinstance(body, str | bytes)
        signed = sign_request(
            request.method,
            request.path_url,
            urlsplit(request.url).netloc,
            {"content-type": "application/json"},
            body.encode() if isinstance(body, str) else body,
            self._key_id,
            self._key,
            datetime.now(UTC),
        )
        request.headers.update(signed)
        return request


@dataclass(frozen=True)
class Api:
    """The document of a served instance, and a way to it."""

    schema: Any
    session: requests.Session
    signature: Signature
    compartment_id: str
    url: str

    def cases(self, operation: tuple[str, str], mode: GenerationMode) -> Any:
        """Requests that fit the document (positive) or do not (negative)."""
        method, path = operation
        cases = self.schema[path][method].as_strategy(generation_mode=mode)
        return cases.map(_whole) if mode is GenerationMode.POSITIVE else cases

    def status(self, case: Any, *, signed: bool) -> int:
        """Send; hold the answer against the document; its status."""
        case.headers.pop("authorization", None)
        auth = self.signature if signed else None
        answer = case.call(base_url=self.url, session=self.session, auth=auth)
        case.validate_response(answer, checks=CONFORMS)
        status: int = answer.status_code
        return status


def _whole(case: Any) -> Any:
    """The case with 1 where it has 1.0: JSON Schema takes both for integers, the service one."""
    if isinstance(case.body, dict):
        case.body = _integers(case.body)
    return case


def _integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _integers(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def api(served: Served) -> Iterator[Api]:
    with requests.Session() as session:
        session.trust_env = False
        document = session.get(f"{served.url}/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        yield Api(schema, session, Signature(served), served.home.compartment_id, served.url)


def test_every_operation_is_known(api: Api) -> None:
    """One that is new needs a place in these tests."""
    found = [each.ok() for each in api.schema.get_all_operations()]
    assert sorted((each.method.upper(), each.path) for each in found) == sorted([*GUARDED, *OPEN])


@pytest.mark.parametrize("operation", OPEN)
def test_open_operations_answer_as_declared(api: Api, operation: tuple[str, str]) -> None:
    """Without a signature, and always with 200 on a server that is well."""

    @FEW
    @given(case=api.cases(operation, GenerationMode.POSITIVE))
    def check(case: Any) -> None:
        assert api.status(case, signed=False) == 200

    check()


@pytest.mark.parametrize(
    ("operation", "mode"),
    [*((each, POSITIVE) for each in GUARDED), *((each, NEGATIVE) for each in WITH_FIELDS)],
)
def test_unsigned_requests_are_401_whatever_they_ask(
    api: Api, operation: tuple[str, str], mode: GenerationMode
) -> None:
    """Who is asking comes before everything else."""

    @FEW
    @given(case=api.cases(operation, mode))
    def check(case: Any) -> None:
        assert api.status(case, signed=False) == 401

    check()


@pytest.mark.parametrize("operation", OF_SESSION)
def test_signed_requests_for_a_session_answer_as_declared(
    api: Api, operation: tuple[str, str]
) -> None:
    """One that is there, and any other id that fits the document."""
    answer = api.session.request(
        "POST",
        api.url + TOKEN[1],
        json={"compartmentId": api.compartment_id},
        auth=api.signature,
    )
    session_id = answer.json()["sessionId"]

    @FEW
    @given(case=api.cases(operation, GenerationMode.POSITIVE), is_there=st.booleans())
    def check(case: Any, is_there: bool) -> None:
        if is_there:
            case.path_parameters["sessionId"] = session_id
        assert api.status(case, signed=True) == (OF_SESSION[operation] if is_there else 404)

    check()


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("operation", [LIST, USAGE])
def test_signed_lists_answer_as_declared(
    api: Api, operation: tuple[str, str], mode: GenerationMode
) -> None:
    """A compartment or page that is made up is refused; what does not fit too."""

    @FEW
    @given(case=api.cases(operation, mode))
    def check(case: Any) -> None:
        assert api.status(case, signed=True) in {200, 400, 404}

    check()


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("operation", [BY_USER, BY_TAG])
def test_signed_revocations_answer_as_declared(
    api: Api, operation: tuple[str, str], mode: GenerationMode
) -> None:
    """By a tag that nobody has; a user who is made up is not found."""
    is_good = mode is GenerationMode.POSITIVE
    wanted = ({200} if operation == BY_TAG else {404}) if is_good else {400, 404}

    @FEW
    @given(case=api.cases(operation, mode))
    def check(case: Any) -> None:
        assert api.status(case, signed=True) in wanted

    check()


def test_signed_figures_answer_as_declared(api: Api) -> None:
    """For the administrator."""

    @FEW
    @given(case=api.cases(METRICS, GenerationMode.POSITIVE))
    def check(case: Any) -> None:
        assert api.status(case, signed=True) == 200

    check()


def test_signed_requests_that_fit_the_document_get_a_token(api: Api) -> None:
    """Or 409, when one retry token comes with two bodies."""

    @FEW
    @given(case=api.cases(TOKEN, GenerationMode.POSITIVE))
    def check(case: Any) -> None:
        case.body["compartmentId"] = api.compartment_id
        assert api.status(case, signed=True) in {200, 409}

    check()


def test_signed_requests_for_an_unknown_compartment_are_404(api: Api) -> None:
    """Whatever else is asked."""

    @FEW
    @given(case=api.cases(TOKEN, GenerationMode.POSITIVE))
    def check(case: Any) -> None:
        assert api.status(case, signed=True) == 404

    check()


def test_signed_requests_that_do_not_fit_are_refused(api: Api) -> None:
    """Or the compartment is not found first; never a token, never a fault of ours."""

    @FEW
    @given(case=api.cases(TOKEN, GenerationMode.NEGATIVE))
    def check(case: Any) -> None:
        assert api.status(case, signed=True) in {400, 404}

    check()

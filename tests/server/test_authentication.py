"""Grants for a socket's first message."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stapes.client.profile import load_private_key, read_profile
from stapes.errors import (
    ClockSkewError,
    NotAuthorizedOrNotFoundError,
    SignatureTargetError,
    TokenCompartmentError,
    TokenExpiredError,
)
from stapes.identity.model import Directory
from stapes.identity.ocid import is_ocid
from stapes.server.authentication import grant_for_credentials, grant_for_token
from stapes.signing.signer import sign_credentials
from stapes.tokens.minting import mint
from tests.tokens.claimed import some_claims

if TYPE_CHECKING:
    from stapes.server.deployment import Deployment
    from tests.conftest import Served

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
URI = "ws://127.0.0.1/ws/transcribe/stream?languageCode=en-US"
OTHERS_COMPARTMENT = f"ocid1.compartment.oc1..{'a' * 60}"


def token(served: Served, **changes: Any) -> str:
    home = served.home
    whose = {
        "tenancy_id": home.tenancy_id,
        "compartment_id": home.compartment_id,
        "user_id": home.user_id,
    }
    made = some_claims(NOW, **{**whose, "ttl_s": 60, **changes})
    return mint(made, served.deployment.signing_key(datetime.now(UTC)))


def credentials(served: Served, uri: str = URI) -> dict[str, str]:
    profile = read_profile(served.home.config_file)
    return sign_credentials(uri, profile.key_id, load_private_key(profile), NOW)


@pytest.fixture
def without_policies(served: Served, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """The same server after the administrators have lost their statement."""
    known = served.deployment.known
    directory: Directory = replace(known.directory, policies={})
    monkeypatch.setattr(served.deployment, "known", replace(known, directory=directory))
    return served.deployment


def test_token_grants_what_it_says(served: Served) -> None:
    """The session of the token, not a new one."""
    home = served.home

    grant = grant_for_token(served.deployment, token(served), home.compartment_id, NOW)

    assert (grant.session_id, grant.user_id) == ("session", home.user_id)
    assert (grant.tenancy_id, grant.compartment_id) == (home.tenancy_id, home.compartment_id)
    assert grant.expires_at == NOW + timedelta(seconds=60)


def test_message_with_another_compartment_than_the_token_is_refused(served: Served) -> None:
    """Even one that the user may use."""
    with pytest.raises(TokenCompartmentError):
        grant_for_token(served.deployment, token(served), served.home.tenancy_id, NOW)


def test_token_opens_until_it_expires_give_or_take_the_skew(served: Served) -> None:
    """60 s of life and 30 s for clocks."""
    made, compartment = token(served), served.home.compartment_id
    last = NOW + timedelta(seconds=89)

    assert grant_for_token(served.deployment, made, compartment, last).session_id == "session"
    with pytest.raises(TokenExpiredError):
        grant_for_token(served.deployment, made, compartment, last + timedelta(seconds=1))


def test_user_who_lost_the_compartment_is_refused_despite_the_token(
    served: Served, without_policies: Deployment
) -> None:
    """A good token is no way around a policy."""
    with pytest.raises(NotAuthorizedOrNotFoundError):
        grant_for_token(without_policies, token(served), served.home.compartment_id, NOW)


def test_credentials_grant_a_new_session_each_time(served: Served) -> None:
    """The same credential may come again; each time it opens another session."""
    headers, compartment = credentials(served), served.home.compartment_id

    one, other = (
        grant_for_credentials(served.deployment, headers, compartment, NOW) for _ in range(2)
    )

    assert is_ocid(one.session_id, "aispeechrealtimesession")
    assert one.session_id != other.session_id
    assert one.user_id == served.home.user_id
    assert one.limits is None


def test_credentials_for_a_compartment_without_a_grant_are_refused(
    served: Served, without_policies: Deployment
) -> None:
    """Unknown or not allowed: the peer cannot tell which."""
    for compartment in (OTHERS_COMPARTMENT, served.home.compartment_id):
        with pytest.raises(NotAuthorizedOrNotFoundError):
            grant_for_credentials(without_policies, credentials(served), compartment, NOW)


def test_credentials_for_another_path_are_refused(served: Served) -> None:
    """A request signed for another service cannot be replayed here."""
    headers = credentials(served, "https://objects.example/n/private")

    with pytest.raises(SignatureTargetError):
        grant_for_credentials(served.deployment, headers, served.home.compartment_id, NOW)


def test_credentials_are_good_for_five_minutes(served: Served) -> None:
    """And not for a second more."""
    headers, compartment = credentials(served), served.home.compartment_id
    end = NOW + timedelta(minutes=5)

    assert grant_for_credentials(served.deployment, headers, compartment, end)
    with pytest.raises(ClockSkewError):
        grant_for_credentials(served.deployment, headers, compartment, end + timedelta(seconds=1))

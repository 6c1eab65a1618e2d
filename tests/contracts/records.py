"""Records that the store's tests write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stapes.identity.model import (
    ApiKey,
    BearerKey,
    Binding,
    Compartment,
    Group,
    Policy,
    Tenancy,
    User,
    Verb,
)
from stapes.protocol.words import Word
from stapes.store.records import (
    FinalHeard,
    Record,
    SessionCreated,
    SigningKeyAdded,
    StreamClosed,
    StreamMetered,
    StreamOpened,
    StreamResumable,
)

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)

TENANCY = Tenancy("tenancy", "stapes")
COMPARTMENT = Compartment("compartment", "speech", "tenancy", "tenancy")
USER = User("user", "administrator", "tenancy")
GROUP = Group("group", "Administrators", "tenancy", frozenset({"user", "another"}))
POLICY = Policy(
    "policy",
    "administrators",
    "tenancy",
    ("Allow one thing", "Allow another"),
    (Binding("group", Verb.MANAGE, "tenancy"), Binding(None, Verb.INSPECT, "compartment")),
)
API_KEY = ApiKey("user", "aa:bb", "-----BEGIN PUBLIC KEY-----", expires_at=NOON)
BEARER_KEY = BearerKey("bearer", "user", "0" * 64, expires_at=NOON)
IDENTITIES: list[Record] = [TENANCY, COMPARTMENT, USER, GROUP, POLICY, API_KEY, BEARER_KEY]

TOKEN = SessionCreated(
    session_id="session",
    tenancy_id="tenancy",
    compartment_id="compartment",
    user_id="user",
    kid="kid",
    issued_at=NOON,
    expires_at=NOON + timedelta(hours=1),
    claims={"sub": "user", "exp": 1795354800, "limits": {"single-use": True}},
    freeform_tags={"ward": "Ä 7"},
    defined_tags={"stapes": {"single-use": True, "ttl-seconds": 60, "language-code": "en-US"}},
    retry_token="retry",
    body_sha256="digest",
    server_id="server",
)
KEY = SigningKeyAdded("kid", {"kty": "OKP", "x": "abc"}, NOON)


def opened(
    session_id: str = "session", stream: int = 1, at: datetime = NOON, server_id: str = "server"
) -> StreamOpened:
    """A stream of a session."""
    return StreamOpened(
        session_id=session_id,
        stream=stream,
        tenancy_id="tenancy",
        compartment_id="compartment",
        user_id="user",
        opened_at=at,
        params={"languageCode": "en-US", "isAckEnabled": False},
        engine="scripted",
        server_id=server_id,
    )


def final(number: int = 1, *, session_id: str = "session", stream: int = 1) -> FinalHeard:
    """A final of two words."""
    return FinalHeard(
        session_id=session_id,
        stream=stream,
        number=number,
        text="grüß gott",
        start_ms=1000 * number,
        end_ms=1000 * number + 700,
        confidence=0.875,
        words=(
            Word("grüß", 1000 * number, 1000 * number + 300, 0.75),
            Word("gott", 1000 * number + 350, 1000 * number + 700, 1.0),
        ),
        heard_at=NOON + timedelta(seconds=number),
    )


def metered(stream: int = 1, *, audio_ms: int = 2000) -> StreamMetered:
    """What a stream had so far."""
    return StreamMetered("session", stream, audio_ms, 1500, 2100, 3)


def closed(stream: int = 1, *, audio_ms: int = 5000, at: datetime = NOON) -> StreamClosed:
    """The end of a stream, a minute after ``at``."""
    ended_at = at + timedelta(minutes=1)
    return StreamClosed("session", stream, ended_at, "peer", audio_ms, 3000, 60_000, 4)


def resumable(*numbers: int, session_id: str = "session", stream: int = 1) -> StreamResumable:
    """What a stream is continued with behind its last final; these were sent."""
    finals = [{"number": number, "transcription": {"transcription": "x"}} for number in numbers]
    return StreamResumable(session_id, stream, 32_000, b"state", finals, max(numbers), 900, 1000, 4)


def session(session_id: str, **changes: object) -> SessionCreated:
    """A session like `TOKEN`, with no retry token."""
    given = {"session_id": session_id, "retry_token": None, "body_sha256": None, **changes}
    return replace(TOKEN, **given)  # type: ignore[arg-type]

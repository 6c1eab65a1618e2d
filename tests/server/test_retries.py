"""The memory of retry tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stapes.errors import InvalidatedRetryTokenError
from stapes.server.retries import REMEMBERED_FOR, RetryMemory
from stapes.store.records import SessionCreated

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUED = SessionCreated(
    session_id="session",
    tenancy_id="tenancy",
    compartment_id="compartment",
    user_id="user",
    kid="kid",
    issued_at=NOW,
    expires_at=NOW + timedelta(hours=1),
    claims={"sid": "session"},
    retry_token="retry",
    body_sha256="body",
)


def test_same_request_is_recalled() -> None:
    """Same caller, same retry token, same body: the first answer's record."""
    memory = RetryMemory([ISSUED])

    assert memory.recall("user", "retry", "body", NOW) is ISSUED


@pytest.mark.parametrize(("user", "token"), [("other", "retry"), ("user", "other"), ("user", None)])
def test_another_caller_or_token_is_another_request(user: str, token: str | None) -> None:
    """Retry tokens are the caller's own; without one nothing is recalled."""
    assert RetryMemory([ISSUED]).recall(user, token, "body", NOW) is None


def test_another_body_is_refused() -> None:
    """The retry token is spent on the first body."""
    with pytest.raises(InvalidatedRetryTokenError):
        RetryMemory([ISSUED]).recall("user", "retry", "other", NOW)


def test_answers_are_forgotten_after_24_hours() -> None:
    """One microsecond before they are still there."""
    memory = RetryMemory([ISSUED])
    end = NOW + REMEMBERED_FOR

    assert memory.recall("user", "retry", "body", end - timedelta(microseconds=1)) is ISSUED
    assert memory.recall("user", "retry", "other", end) is None
    assert len(memory) == 0


def test_token_without_a_retry_token_is_not_kept() -> None:
    """There is nothing to recall it by."""
    memory = RetryMemory()
    memory.remember(replace(ISSUED, retry_token=None))

    assert len(memory) == 0


def test_oldest_go_when_the_memory_is_full() -> None:
    """What is sent cannot make it grow without end."""
    records = [
        replace(ISSUED, retry_token=f"retry {n}", issued_at=NOW + timedelta(seconds=n))
        for n in range(4)
    ]
    memory = RetryMemory(reversed(records), capacity=3)

    assert len(memory) == 3
    assert memory.recall("user", "retry 0", "body", NOW) is None
    assert memory.recall("user", "retry 1", "body", NOW) is records[1]

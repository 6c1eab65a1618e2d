"""What ``opc-retry-token`` is answered from: requests of the last 24 hours, by caller and token.

Source: ``opc-retry-token`` of OCI's Speech API 20220101. Kept in memory and rebuilt from the store
when the server starts; it holds claims, never a session token.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta

from stapes.errors import InvalidatedRetryTokenError
from stapes.store.records import SessionCreated

REMEMBERED_FOR = timedelta(hours=24)
CAPACITY = 50_000


class RetryMemory:
    """Answers by (user, retry token), the oldest forgotten first.

    Past ``capacity`` the oldest go before their 24 hours are over: memory stays bounded whatever
    is sent.
    """

    def __init__(self, issued: Iterable[SessionCreated] = (), *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._answers: OrderedDict[tuple[str, str], SessionCreated] = OrderedDict()
        for record in sorted(issued, key=lambda record: record.issued_at):
            self.remember(record)

    def __len__(self) -> int:
        return len(self._answers)

    def remember(self, record: SessionCreated) -> None:
        """Keep an answer; one that was asked for without a retry token is not kept."""
        if record.retry_token is None:
            return
        self._forget_before(record.issued_at - REMEMBERED_FOR)
        self._answers[record.user_id, record.retry_token] = record
        if len(self._answers) > self._capacity:
            self._answers.popitem(last=False)

    def recall(
        self, user_id: str, retry_token: str | None, body_sha256: str | None, now: datetime
    ) -> SessionCreated | None:
        """The answer to the same request, or None when this is the first of its kind.

        Raises `InvalidatedRetryTokenError` when the retry token came with another body.
        """
        if retry_token is None:
            return None
        self._forget_before(now - REMEMBERED_FOR)
        record = self._answers.get((user_id, retry_token))
        if record is not None and record.body_sha256 != body_sha256:
            raise InvalidatedRetryTokenError("same retry token, another body")
        return record

    def _forget_before(self, moment: datetime) -> None:
        while self._answers and next(iter(self._answers.values())).issued_at <= moment:
            self._answers.popitem(last=False)

"""The one thread that writes to the store of a server, behind everybody's back.

Records are kept from `Writer.put` until the store has them: a failing database delays them, and
`Writer.problem` says so, but none is dropped. The one exception is a record that the store refuses
whatever happens; it is logged, by kind and id, and the others go on.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from itertools import islice
from threading import Condition, Thread

import structlog

from stapes.errors import RecordRefusedError, StoreError
from stapes.store.port import Store
from stapes.store.records import Record

GATHERING_S = 0.05
"""How long a record waits for company. With the write itself it is on disk within 100 ms."""

LARGEST_BATCH = 1000
SHORTEST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
ID_FIELDS = ("session_id", "stream", "number", "kid", "id", "user_id", "fingerprint")

log = structlog.get_logger()


class Writer:
    """Writes records in batches, in the order in which they were put.

    Attributes:
        problem: why records wait that should have been written; None when all is well.
    """

    def __init__(self, store: Store, *, bound: int = 20_000) -> None:
        """Start the thread. At most ``bound`` records wait; the store stays the caller's."""
        self.problem: str | None = None
        self._store = store
        self._bound = bound
        self._waiting: deque[Record] = deque()
        self._put = 0  # records ever put
        self._settled = 0  # of them, written or refused
        self._hurried = 0  # of them, how many somebody waits for
        self._awaited: deque[tuple[int, Future[None]]] = deque()  # how many, and by whom
        self._give_up_at: float | None = None  # monotonic; set when closed
        self._changed = Condition()
        self._thread = Thread(target=self._run, name="stapes-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many records were put and are not written yet."""
        return len(self._waiting)

    def put(self, *records: Record) -> None:
        """Have records written soon, in this order. Never blocks.

        Raises `StoreError` when ``bound`` records wait already, or after `close`.
        """
        with self._changed:
            is_first = self._take(records)
            # The thread is woken for the first record and for a full batch. Waking it for each in
            # between would cost more than minting a token does.
            if is_first or len(self._waiting) >= LARGEST_BATCH:
                self._changed.notify_all()

    def hurry(self, *records: Record) -> Future[None]:
        """`put` for records that somebody waits for: they go without waiting for company.

        What is returned is done when they and all before them are written or refused. It never is
        when the writer ends before that.
        """
        written: Future[None] = Future()
        with self._changed:
            self._take(records)
            self._hurried = self._put
            self._awaited.append((self._put, written))
            self._changed.notify_all()
        return written

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was put so far is written. Raises `StoreError` when it takes longer.

        What is written outlives the process. A power cut may take the last moments.
        """
        with self._changed:
            wanted = self._put
            self._hurried = max(self._hurried, wanted)
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._settled >= wanted, timeout_s):
                left = wanted - self._settled
                raise StoreError(f"{left} records still wait for the database: {self.problem}")

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what waits and end the thread. Safe to call twice.

        Raises `StoreError` when the database takes no more within the time; what is lost then is
        logged, by kind and number.
        """
        with self._changed:
            if self._give_up_at is None:
                self._give_up_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join()
        if self._waiting:
            raise StoreError(f"{len(self._waiting)} records were not written: {self.problem}")

    def _take(self, records: Sequence[Record]) -> bool:
        """Let records wait; says whether none did. The lock is held."""
        if self._give_up_at is not None:
            raise StoreError("the writer is closed")
        if len(self._waiting) >= self._bound:
            raise StoreError(f"{self._bound} records wait for the database: {self.problem}")
        is_first = not self._waiting
        self._waiting.extend(records)
        self._put += len(records)
        return is_first

    def _run(self) -> None:
        pause_s = SHORTEST_PAUSE_S
        while batch := self._gather():
            settled = self._settle(batch)
            self._note(settled)
            if settled:
                pause_s = SHORTEST_PAUSE_S
            elif self._pause(pause_s):
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                _log_lost(self._waiting, self.problem)
                return

    def _gather(self) -> list[Record]:
        """What is to be written next; nothing when the writer is closed and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(self._in_a_hurry, GATHERING_S)
            return list(islice(self._waiting, LARGEST_BATCH))

    def _settle(self, batch: Sequence[Record]) -> int:
        """Write the batch; the number of records, from its start, that are dealt with."""
        try:
            self._store.write(batch)
        except RecordRefusedError:
            return self._settle_one_by_one(batch)
        except Exception as error:  # whatever it is, the records stay and this thread lives
            self._fail(error)
            return 0
        self._recover()
        return len(batch)

    def _settle_one_by_one(self, batch: Sequence[Record]) -> int:
        for settled, record in enumerate(batch):
            try:
                self._store.write([record])
            except RecordRefusedError:
                log.error("record_refused", **_identify(record))
            except Exception as error:  # as above
                self._fail(error)
                return settled
        self._recover()
        return len(batch)

    def _note(self, settled: int) -> None:
        with self._changed:
            for _ in range(settled):
                self._waiting.popleft()
            self._settled += settled
            self._changed.notify_all()
            written = []
            while self._awaited and self._awaited[0][0] <= self._settled:
                written.append(self._awaited.popleft()[1])
        for each in written:
            each.set_result(None)

    def _pause(self, pause_s: float) -> bool:
        """Wait before the next try, but not when the writer is just closed; False to give up."""
        with self._changed:
            was_closed = self._closed
            self._changed.wait_for(
                lambda: self._closed and not was_closed, min(pause_s, self._left_s())
            )
            return self._left_s() > 0

    def _left_s(self) -> float:
        return math.inf if self._give_up_at is None else self._give_up_at - time.monotonic()

    @property
    def _closed(self) -> bool:
        return self._give_up_at is not None

    def _in_a_hurry(self) -> bool:
        return self._closed or self._hurried > self._settled or len(self._waiting) >= LARGEST_BATCH

    def _fail(self, error: Exception) -> None:
        if self.problem is None:
            log.error("store_write_failed", error=str(error))
        self.problem = str(error) or type(error).__name__

    def _recover(self) -> None:
        if self.problem is not None:
            log.info("store_write_recovered")
        self.problem = None


def _identify(record: Record) -> dict[str, object]:
    ids = {name: getattr(record, name) for name in ID_FIELDS if hasattr(record, name)}
    return {"kind": type(record).__name__, **ids}


def _log_lost(records: Collection[Record], problem: str | None) -> None:
    kinds = Counter(type(record).__name__ for record in records)
    log.error("records_lost", error=problem, **kinds)

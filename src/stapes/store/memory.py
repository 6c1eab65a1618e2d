"""The store in memory: the null adapter, for tests and for servers that keep nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from stapes.accounts.audit import AuditRow
from stapes.identity.model import Directory
from stapes.store.kept import Kept
from stapes.store.port import (
    Contest,
    Place,
    SessionFilter,
    SessionSummary,
    StreamSummary,
    Use,
    Versions,
)
from stapes.store.records import (
    FinalHeard,
    Record,
    SessionCreated,
    SigningKeyAdded,
    StreamClosed,
    StreamKey,
    StreamMetered,
    StreamOpened,
    StreamResumable,
)
from stapes.store.summaries import is_behind, is_chosen, session_summary, stream_summary
from stapes.tokens.revocations import LONGEST_TOKEN, Revocations


class MemoryStore:
    """The store in memory. Its methods may be called from any thread."""

    def __init__(self) -> None:
        """An empty store."""
        self._kept = Kept()
        self._writing = Lock()

    def write(self, records: Sequence[Record]) -> None:
        """See `stapes.store.port.Store.write`."""

        def change(kept: Kept) -> None:
            for record in records:
                kept.add(record)

        self._change(change)

    def _change(self, change: Callable[[Kept], Any]) -> Any:
        with self._writing:
            # A copy takes the records and then the place, so that nothing of a refused batch
            # stays and readers see whole batches only.
            kept = self._kept.copy()
            result = change(kept)
            self._kept = kept
            return result

    def versions(self) -> Versions:
        """See `stapes.store.port.Store.versions`."""
        return self._kept.versions

    def directory(self) -> Directory:
        """See `stapes.store.port.Store.directory`."""
        kept = self._kept.copy()
        return Directory(
            kept.tenancies,
            kept.compartments,
            kept.users,
            kept.groups,
            kept.policies,
            kept.api_keys,
            kept.bearer_keys,
        )

    def signing_keys(self) -> list[SigningKeyAdded]:
        """See `stapes.store.port.Store.signing_keys`."""
        by_kid = sorted(self._kept.signing_keys.values(), key=lambda key: key.kid)
        return sorted(by_kid, key=lambda key: key.added_at, reverse=True)

    def revocations(self, now: datetime) -> Revocations:
        """See `stapes.store.port.Store.revocations`."""
        every = self._kept.revocations.values()
        revoked = [it for it in every if it.revoked_at > now - LONGEST_TOKEN]
        return Revocations(
            frozenset((it.tenancy_id, it.subject) for it in revoked if it.scope == "session"),
            {(it.tenancy_id, it.subject): it.revoked_at for it in revoked if it.scope == "user"},
        )

    def retried_since(self, since: datetime, *, most: int) -> list[SessionCreated]:
        """See `stapes.store.port.Store.retried_since`."""
        found = sorted(
            (
                token
                for token in self._kept.sessions.values()
                if token.retry_token is not None and token.issued_at >= since
            ),
            key=lambda token: (token.issued_at, token.session_id),
        )
        return found[max(0, len(found) - most) :]

    def claim_stream(
        self, opened: StreamOpened, *, only_first: bool = False, won: Contest | None = None
    ) -> int | Contest | None:
        """See `stapes.store.port.Store.claim_stream`."""

        def claim(kept: Kept) -> int | Contest | None:
            last = kept.newest_stream(opened.session_id)
            if only_first and last is not None:
                return None
            if last is not None and (held := kept.held(last, opened.server_id, won)) is not None:
                return held
            kept.contests.pop(opened.session_id, None)
            number = last.stream + 1 if last is not None else 1
            kept.add(replace(opened, stream=number))
            return number

        claimed: int | Contest | None = self._change(claim)
        return claimed

    def continue_stream(
        self,
        session_id: str,
        server_id: str,
        ended_since: datetime,
        *,
        won: Contest | None = None,
    ) -> tuple[StreamOpened, StreamResumable] | Contest | None:
        """See `stapes.store.port.Store.continue_stream`."""

        def take(kept: Kept) -> tuple[StreamOpened, StreamResumable] | Contest | None:
            last = kept.newest_stream(session_id)
            key = (session_id, last.stream if last is not None else 0)
            if last is None or key not in kept.resume_points:
                return None
            if key in kept.closed and kept.closed[key].closed_at < ended_since:
                return None
            if (held := kept.held(last, server_id, won, resumes=True)) is not None:
                return held
            kept.contests.pop(session_id, None)
            kept.closed.pop(key, None)
            kept.opened[key] = replace(last, server_id=server_id)
            return kept.opened[key], kept.resume_points[key]

        taken: tuple[StreamOpened, StreamResumable] | Contest | None = self._change(take)
        return taken

    def contest(self, contest: Contest) -> None:
        """See `stapes.store.port.Store.contest`."""
        self._change(lambda kept: kept.contests.update({contest.session_id: contest}))

    def contests(self, server_id: str) -> list[Contest]:
        """See `stapes.store.port.Store.contests`."""
        kept = self._kept
        return [it for it in kept.contests.values() if _is_held(kept, it, server_id)]

    def refuse_contest(self, contest: Contest) -> None:
        """See `stapes.store.port.Store.refuse_contest`."""
        self._change(lambda kept: kept.contests.pop(contest.session_id, None))

    def contest_result(self, contest: Contest) -> bool | None:
        """See `stapes.store.port.Store.contest_result`."""
        kept = self._kept
        if not _is_held(kept, contest, contest.server_id):
            return True
        return None if contest.session_id in kept.contests else False

    def taken_streams(self, server_id: str, streams: Collection[StreamKey]) -> list[StreamKey]:
        """See `stapes.store.port.Store.taken_streams`."""
        others = [key for key, it in self._kept.opened.items() if it.server_id != server_id]
        newest = dict(sorted(others))
        return [
            (session, stream) for session, stream in streams if newest.get(session, 0) >= stream
        ]

    def withdraw_stream(self, session_id: str, stream: int) -> None:
        """See `stapes.store.port.Store.withdraw_stream`."""
        self._change(lambda kept: kept.withdraw((session_id, stream)))

    def streams(self, *, limit: int = 50, session_id: str | None = None) -> list[StreamSummary]:
        """See `stapes.store.port.Store.streams`."""
        kept = self._kept
        opened = [it for it in kept.opened.values() if session_id in {None, it.session_id}]
        opened.sort(key=lambda it: (it.session_id, -it.stream))
        opened.sort(key=lambda it: it.opened_at, reverse=True)
        return [stream_summary(kept, stream) for stream in opened[:limit]]

    def closed_streams(self, since: datetime, until: datetime) -> Iterator[StreamSummary]:
        """See `stapes.store.port.Store.closed_streams`."""
        kept = self._kept
        ended = [it for it in kept.closed.values() if since <= it.closed_at < until]
        ended.sort(key=lambda it: (it.closed_at, it.session_id, it.stream))
        for it in ended:
            yield stream_summary(kept, kept.opened[it.session_id, it.stream])

    def sessions(
        self, chosen: SessionFilter, now: datetime, *, limit: int, after: Place | None = None
    ) -> list[SessionSummary]:
        """See `stapes.store.port.Store.sessions`."""
        kept = self._kept
        found = [session_summary(kept, session, now) for session in kept.sessions.values()]
        found = [it for it in found if is_chosen(it, chosen)]
        found.sort(key=lambda it: it.session_id)
        found.sort(key=lambda it: it.issued_at, reverse=True)
        if after is not None:
            found = [it for it in found if is_behind(it, after)]
        return found[:limit]

    def finals(self, session_id: str, stream: int | None = None) -> list[FinalHeard]:
        """See `stapes.store.port.Store.finals`."""
        return sorted(
            (
                final
                for final in self._kept.finals.values()
                if final.session_id == session_id and stream in {None, final.stream}
            ),
            key=lambda final: (final.stream, final.number),
        )

    def forget_finals(self, session_id: str) -> int:
        """See `stapes.store.port.Store.forget_finals`."""

        def forget(kept: Kept) -> int:
            kept.forget_points(lambda closed: closed.session_id == session_id)
            return kept.forget_finals(lambda final: final.session_id == session_id)

        count: int = self._change(forget)
        return count

    def forget_finals_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_finals_before`."""

        def forget(kept: Kept) -> int:
            kept.forget_points(lambda closed: closed.closed_at < moment)
            return kept.forget_finals(lambda final: final.heard_at < moment)

        count: int = self._change(forget)
        return count

    def forget_points_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_points_before`."""
        count: int = self._change(
            lambda kept: kept.forget_points(lambda closed: closed.closed_at < moment)
        )
        return count

    def forget_sessions_before(self, moment: datetime) -> int:
        """See `stapes.store.port.Store.forget_sessions_before`."""

        def forget(kept: Kept) -> int:
            gone = {
                it.session_id
                for it in kept.sessions.values()
                if it.expires_at < moment and kept.has_ended_before(it.session_id, moment)
            }
            kept.forget_sessions(gone)
            return len(gone)

        count: int = self._change(forget)
        return count

    def beat(self, server_id: str, now: datetime) -> None:
        """See `stapes.store.port.Store.beat`."""
        self._change(lambda kept: kept.servers.update({server_id: now}))

    def uses_elsewhere(
        self, server_id: str, alive_since: datetime, minted_since: datetime
    ) -> list[Use]:
        """See `stapes.store.port.Store.uses_elsewhere`."""
        kept = self._kept
        alive = {id_ for id_, at in kept.servers.items() if at >= alive_since and id_ != server_id}
        live = Counter(
            (it.tenancy_id, it.compartment_id, it.user_id)
            for key, it in kept.opened.items()
            if key not in kept.closed and it.server_id in alive
        )
        minted = Counter(
            (it.tenancy_id, it.compartment_id, it.user_id)
            for it in kept.sessions.values()
            if it.issued_at >= minted_since and it.server_id != server_id and it.kid is not None
        )
        uses = [Use(*who, live=count) for who, count in live.items()]
        return uses + [Use(*who, minted=count) for who, count in minted.items()]

    def close_lost(self, alive_since: datetime) -> int:
        """See `stapes.store.port.Store.close_lost`."""

        def close(kept: Kept) -> int:
            seen_at = kept.servers
            kept.servers = {k: at for k, at in kept.servers.items() if at >= alive_since}
            lost = [
                key
                for key, it in kept.opened.items()
                if key not in kept.closed and it.server_id not in kept.servers
            ]
            for key in lost:
                used = kept.metered.get(key, StreamMetered(*key, 0, 0, 0, 0))
                opened = kept.opened[key]
                ended = opened.opened_at + timedelta(milliseconds=used.wall_ms)
                ended = max(ended, seen_at.get(opened.server_id, ended))
                amounts = (used.audio_ms, used.speech_ms, used.wall_ms, used.words)
                kept.add(StreamClosed(*key, ended, "lost", *amounts))
            return len(lost)

        count: int = self._change(close)
        return count

    def audit(self, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """See `stapes.store.port.Store.audit`."""
        rows = [row for row in self._kept.audit.values() if row.seq > after]
        return rows[:limit]

    def check_writable(self) -> None:
        """Memory always is."""

    def close(self) -> None:
        """Nothing to let go of."""


def _is_held(kept: Kept, contest: Contest, server_id: str) -> bool:
    """Whether what is contested is still the newest stream of its session, open on a server."""
    last = kept.newest_stream(contest.session_id)
    key = (contest.session_id, contest.stream)
    return (
        last is not None
        and (last.stream, last.server_id) == (contest.stream, server_id)
        and key not in kept.closed
    )

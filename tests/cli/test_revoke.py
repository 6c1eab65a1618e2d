"""``stapes revoke``, over a store that was written for it and no server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stapes.cli.terminal import local_actor
from stapes.identity.model import Tenancy, User
from stapes.server import revoking
from stapes.server.home import Home
from stapes.server.new_home import create_home
from stapes.store.port import SessionFilter
from stapes.store.records import SessionCreated
from stapes.store.sql import SqlStore, open_store
from tests.cli.conftest import Run

ONE, TWO, OLD = (f"ocid1.aispeechrealtimesession.oc1..{name}" for name in ("one", "two", "old"))


@dataclass(frozen=True, slots=True)
class Kept:
    """A home with two sessions that could be used, ONE with the tag room=4, and one expired."""

    home: Home
    store: SqlStore

    def states(self) -> dict[str, str]:
        found = self.store.sessions(SessionFilter(), datetime.now(UTC), limit=10)
        return {it.session_id.rpartition(".")[2]: it.state for it in found}

    def audited(self) -> list[tuple[str, str, str]]:
        return [(row.actor, row.action, row.subject) for row in self.store.audit()]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    monkeypatch.setattr(revoking, "LOOK_AGAIN_S", 0)
    now = datetime.now(UTC)
    home, _ = create_home(tmp_path / "home", now)
    store = open_store(home.database)

    def created(session_id: str, at: datetime, **tags: str) -> SessionCreated:
        return SessionCreated(
            session_id=session_id,
            tenancy_id=home.tenancy_id,
            compartment_id=home.compartment_id,
            user_id=home.user_id,
            kid="kid",
            issued_at=at,
            expires_at=at + timedelta(hours=1),
            claims={},
            freeform_tags=tags or None,
        )

    store.write(
        [
            created(ONE, now - timedelta(minutes=2), room="4"),
            created(TWO, now - timedelta(minutes=1)),
            created(OLD, now - timedelta(hours=2), room="4"),
        ]
    )
    yield Kept(home, store)
    store.close()


def test_a_session_is_taken_back(run: Run, kept: Kept) -> None:
    """And nothing else; who did it is in the audit log."""
    done = run("revoke", ONE, "--home", kept.home.path)
    assert (done.exit_code, done.output) == (0, "Took back 1 session that could still be used.\n")
    assert kept.states() == {"one": "REVOKED", "two": "ISSUED", "old": "EXPIRED"}
    assert kept.audited() == [(local_actor(), "session.revoked", ONE)]


@pytest.mark.parametrize("by", ["name", "OCID"])
def test_all_that_a_user_holds_is_taken_back(run: Run, kept: Kept, by: str) -> None:
    """By name or OCID; what expired is not counted."""
    user = "administrator" if by == "name" else kept.home.user_id
    done = run("revoke", "--user", user, "--home", kept.home.path)
    assert (done.exit_code, done.output) == (0, "Took back 2 sessions that could still be used.\n")
    assert kept.states() == {"one": "REVOKED", "two": "REVOKED", "old": "EXPIRED"}
    assert kept.audited()[0][1:] == ("user.revoked", kept.home.user_id)


def test_sessions_with_a_tag_are_taken_back(run: Run, kept: Kept) -> None:
    """Its key and its value have to be the same."""
    none = run("revoke", "--tag", "room=5", "--home", kept.home.path)
    assert (none.exit_code, none.output) == (0, "Took back 0 sessions that could still be used.\n")
    done = run("revoke", "--tag", "room=4", "--home", kept.home.path)
    assert (done.exit_code, done.output) == (0, "Took back 1 session that could still be used.\n")
    assert kept.states() == {"one": "REVOKED", "two": "ISSUED", "old": "EXPIRED"}
    assert [row[1:] for row in kept.audited()] == 2 * [("tag.revoked", "room")]


def test_a_user_who_was_removed_is_known_by_their_sessions(run: Run, kept: Kept) -> None:
    """By OCID alone: the name is gone."""
    gone = "ocid1.user.oc1..gone"
    session = kept.store.sessions(SessionFilter(), datetime.now(UTC), limit=1)[0]
    kept.store.write(
        [
            SessionCreated(
                session_id=f"{ONE}again",
                tenancy_id=session.tenancy_id,
                compartment_id=session.compartment_id,
                user_id=gone,
                kid="kid",
                issued_at=session.issued_at,
                expires_at=session.expires_at,
                claims={},
            )
        ]
    )
    done = run("revoke", "--user", gone, "--home", kept.home.path)
    assert (done.exit_code, done.output) == (0, "Took back 1 session that could still be used.\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of them alone"),
        ([ONE, "--user", "administrator"], "one of them alone"),
        (["--user", "administrator", "--tag", "room=4"], "one of them alone"),
        (["--tag", "room"], "KEY=VALUE"),
        (["--tag", "=4"], "KEY=VALUE"),
        (["x"], "no session x"),
        (["--user", "x"], "no user x"),
        (["--user", "twin"], "2 users"),
    ],
)
def test_what_names_nobody_is_refused(
    run: Run, kept: Kept, arguments: list[str], says: str
) -> None:
    """In one line, and nothing is taken back."""
    other = Tenancy("ocid1.tenancy.oc1..b", "b")
    twins = [User(f"u{n}", "twin", each) for n, each in enumerate((kept.home.tenancy_id, other.id))]
    kept.store.write([other, *twins])
    done = run("revoke", *arguments, "--home", kept.home.path)
    assert done.exit_code in {1, 2}
    assert says in done.output
    assert set(kept.states().values()) == {"ISSUED", "EXPIRED"}
    assert kept.audited() == []

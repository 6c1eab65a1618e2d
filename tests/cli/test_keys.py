"""``stapes keys``."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stapes.server.new_home import create_home
from tests.cli.conftest import Run

MASTER, NEW = "a master key of some length", "another master key, as long"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return create_home(tmp_path / "home", datetime.now(UTC) - timedelta(days=1))[0].path


@pytest.fixture(autouse=True)
def _no_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAPES_MASTER_KEY", raising=False)
    monkeypatch.delenv("STAPES_NEW_MASTER_KEY", raising=False)


def listed(run: Run, home: Path) -> list[tuple[str, str]]:
    """The kid and state of each key."""
    keys = json.loads(run("keys", "list", "--home", home, "--json").output)
    return [(key["kid"], key["state"]) for key in keys]


def is_encrypted(home: Path) -> set[bool]:
    return {b"ENCRYPTED" in it.read_bytes() for it in (home / "keys").iterdir()}


def test_list_says_what_each_key_is_good_for(run: Run, home: Path) -> None:
    """A line each, newest first."""
    ((old, state),) = listed(run, home)
    assert state == "signing"
    run("keys", "rotate", "--home", home)
    heading, first, second = run("keys", "list", "--home", home).output.splitlines()
    assert heading.split() == ["kid", "since", "(UTC)", "state"]
    assert re.fullmatch(r"\S{43}  \S{10} \S{8}  signing", first)
    assert re.fullmatch(rf"{old}  \S{{10}} \S{{8}}  verifying until \S{{10}} \S{{8}}", second)


def test_list_as_json(run: Run, home: Path) -> None:
    """An array of objects; no private part is in it."""
    (key,) = json.loads(run("keys", "list", "--home", home, "--json").output)
    assert list(key) == ["kid", "timeAdded", "state", "timeRetires", "isPrivatePartHere"]
    assert (key["timeRetires"], key["isPrivatePartHere"]) == (None, True)


def test_a_private_part_that_is_elsewhere_is_told(run: Run, home: Path) -> None:
    """Another machine signs with it."""
    ((old, _),) = listed(run, home)
    run("keys", "rotate", "--home", home)
    (home / "keys" / f"token-{old}.pem").unlink()
    assert "private part elsewhere" in run("keys", "list", "--home", home).output


def test_rotate_gives_old_tokens_their_time(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the settings let one live, and the skew, and a minute."""
    ((old, _),) = listed(run, home)
    monkeypatch.setenv("STAPES_TOKEN_TTL_S", "7200")
    before = datetime.now(UTC)
    result = run("keys", "rotate", "--home", home)
    assert result.exit_code == 0
    (new, _), _ = listed(run, home)
    first, second = result.output.splitlines()
    assert first == f"New tokens are signed with {new}."
    until = re.fullmatch(rf"{old} verifies until (.*) UTC\.", second)
    assert until
    retires = datetime.fromisoformat(until[1]).replace(tzinfo=UTC)
    assert abs(retires - before - timedelta(seconds=7290)) < timedelta(seconds=30)
    assert listed(run, home) == [(new, "signing"), (old, "verifying")]


def test_rotate_now_says_that_tokens_die(run: Run, home: Path) -> None:
    """And they do."""
    ((old, _),) = listed(run, home)
    result = run("keys", "rotate", "--now", "--home", home)
    assert f"{old} is refused from now on: session tokens that it signed, and what they " in (
        result.output
    )
    assert listed(run, home)[1] == (old, "retired")
    assert re.search(rf"{old} .* retired 20", run("keys", "list", "--home", home).output)


def test_retire_takes_a_key_that_is_not_the_last(run: Run, home: Path) -> None:
    """The last one is refused in one line."""
    ((old, _),) = listed(run, home)
    refused = run("keys", "retire", old, "--home", home)
    assert refused.exit_code == 1
    assert "run `stapes keys rotate` instead" in refused.stderr
    run("keys", "rotate", "--home", home)
    result = run("keys", "retire", old, "--now", "--home", home)
    assert (result.exit_code, result.output.split()[:2]) == (0, [old, "is"])
    assert listed(run, home)[1] == (old, "retired")


def test_what_is_done_with_keys_is_in_the_audit_log(run: Run, home: Path) -> None:
    """With the name of the one who did it."""
    run("keys", "rotate", "--home", home)
    (row,) = json.loads(run("audit", "list", "--home", home, "--json").output)
    assert (row["action"], row["subject"]) == ("key.rotated", listed(run, home)[0][0])
    assert row["actor"].startswith("local:")


@pytest.mark.parametrize(
    "command", ["sessions", "usage", "prune", "audit list", "audit verify", "iam user list"]
)
def test_what_reads_the_records_needs_no_master_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Who audits a home need not be able to sign for it."""
    monkeypatch.setenv("STAPES_MASTER_KEY", MASTER)
    run("init", "--home", tmp_path / "new")
    monkeypatch.delenv("STAPES_MASTER_KEY")
    result = run(*command.split(), "--home", tmp_path / "new")
    assert result.exit_code == 0, result.stderr
    assert is_encrypted(tmp_path / "new") == {True}


def test_a_master_key_is_set_changed_and_removed(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment alone."""
    monkeypatch.setenv("STAPES_MASTER_KEY", MASTER)
    kids = listed(run, home)
    assert is_encrypted(home) == {True}

    monkeypatch.setenv("STAPES_NEW_MASTER_KEY", NEW)
    changed = run("keys", "master-key", "--home", home)
    assert changed.output == "Keys that are encrypted with the new master key: 1.\n"
    refused = run("keys", "list", "--home", home)
    assert refused.exit_code == 1
    assert "does not open with STAPES_MASTER_KEY" in refused.stderr

    monkeypatch.setenv("STAPES_MASTER_KEY", NEW)
    monkeypatch.delenv("STAPES_NEW_MASTER_KEY")
    assert listed(run, home) == kids
    removed = run("keys", "master-key", "--remove", "--home", home)
    assert removed.output == "Keys that are plain: 1.\n"
    assert is_encrypted(home) == {False}
    monkeypatch.delenv("STAPES_MASTER_KEY")
    rows = json.loads(run("audit", "list", "--home", home, "--json").output)
    assert [row["action"] for row in rows] == ["masterkey.changed", "masterkey.removed"]
    assert MASTER not in str(rows)


def test_init_encrypts_with_the_master_key(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the beginning; what needs the keys reads it too."""
    monkeypatch.setenv("STAPES_MASTER_KEY", MASTER)
    assert run("init", "--home", tmp_path / "new").exit_code == 0
    assert is_encrypted(tmp_path / "new") == {True}
    assert len(listed(run, tmp_path / "new")) == 1
    monkeypatch.delenv("STAPES_MASTER_KEY")
    refused = run("keys", "list", "--home", tmp_path / "new")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert "is encrypted; set STAPES_MASTER_KEY" in refused.stderr


@pytest.mark.parametrize(
    ("new", "arguments", "message"),
    [
        (None, [], "either set STAPES_NEW_MASTER_KEY or give --remove"),
        (NEW, ["--remove"], "either set STAPES_NEW_MASTER_KEY or give --remove"),
        ("too short", [], "STAPES_NEW_MASTER_KEY needs 16 signs or more"),
    ],
)
def test_an_unclear_master_key_changes_nothing(
    run: Run,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    new: str | None,
    arguments: list[str],
    message: str,
) -> None:
    """It is a fault of usage."""
    if new is not None:
        monkeypatch.setenv("STAPES_NEW_MASTER_KEY", new)
    result = run("keys", "master-key", *arguments, "--home", home)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", "").split())
    assert is_encrypted(home) == {False}


def test_replace_goes_without_the_lost_master_key(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong one in its place is then the right one."""
    monkeypatch.setenv("STAPES_MASTER_KEY", MASTER)
    ((old, _),) = listed(run, home)
    monkeypatch.setenv("STAPES_MASTER_KEY", NEW)
    assert run("keys", "rotate", "--home", home).exit_code == 1
    result = run("keys", "replace", "--home", home)
    assert result.exit_code == 0
    assert f"{old} verifies until" in result.output
    assert [state for _, state in listed(run, home)] == ["signing", "verifying"]
    assert is_encrypted(home) == {True}

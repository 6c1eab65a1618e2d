"""``stapes audit``."""

from __future__ import annotations

import json
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stapes.server.new_home import create_home
from stapes.store.records import Audited
from stapes.store.sql import open_store
from tests.cli.conftest import Run

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROWS = 1005
"""More than one page."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a long log."""
    home, _ = create_home(tmp_path_factory.mktemp("audited") / "home", NOON)
    store = open_store(home.database)
    store.write(
        [
            Audited(
                NOON + timedelta(minutes=number),
                "local:ada",
                "key.rotated" if number % 2 else "keyring.lost",
                f"subject {number}",
                "t",
                {"number": number},
            )
            for number in range(ROWS)
        ]
    )
    store.close()
    return home.path


def change(home: Path, statement: str) -> None:
    """Do with the database what the software does not."""
    connection = sqlite3.connect(home / "stapes.db")
    with connection:
        connection.execute(statement)
    connection.close()


def copy(home: Path, to: Path) -> Path:
    """A home of the same log, to be tampered with."""
    shutil.copytree(home, to)
    config = to / "oci" / "config"
    config.write_text(config.read_text().replace(str(home), str(to)))
    return to


def test_a_whole_log_verifies_and_shows_its_head(run: Run, home: Path) -> None:
    """The head can be noted, and is found again."""
    result = run("audit", "verify", "--home", home)
    assert result.exit_code == 0
    rows, head = result.output.splitlines()
    assert rows == f"rows {ROWS}"
    noted = head.removeprefix("head ")
    assert noted.startswith(f"{ROWS}:")
    assert run("audit", "verify", "--head", noted, "--home", home).output == result.output


def test_an_older_head_is_found_too(run: Run, home: Path) -> None:
    """The log has grown since."""
    shown = run("audit", "list", "--limit", 10, "--json", "--home", home)
    row = json.loads(shown.output)[0]
    assert row["seq"] == ROWS - 9
    result = run("audit", "verify", "--head", f"{row['seq']}:{row['hash']}", "--home", home)
    assert result.exit_code == 0


def test_an_empty_log_verifies(run: Run, tmp_path: Path) -> None:
    """It has no rows."""
    create_home(tmp_path / "home", NOON)
    result = run("audit", "verify", "--home", tmp_path / "home")
    assert result.output.splitlines()[0] == "rows 0"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE audit SET actor = 'local:eve' WHERE seq = 1003", "audit row 1003 was changed"),
        ("UPDATE audit SET details = '{}' WHERE seq = 2", "audit row 2 was changed"),
        ("UPDATE audit SET at = at + 1 WHERE seq = 7", "audit row 7 was changed"),
        ("DELETE FROM audit WHERE seq = 500", "audit row 500 is missing; 501 comes next"),
        (
            "UPDATE audit SET hash = previous WHERE seq = 9",
            "audit row 9 was changed",
        ),
        ("UPDATE audit SET actor = x'00ff' WHERE seq = 3", "audit row 3 was changed"),
        (
            "UPDATE audit SET details = 'no JSON' WHERE seq = 4",
            "audit row 4 cannot be read: Expecting value: line 1 column 1 (char 0)",
        ),
        (
            "UPDATE audit SET at = 9223372036854775807 WHERE seq = 1003",
            "audit row 1003 cannot be read: date value out of range",
        ),
    ],
)
def test_the_first_bad_row_is_named(
    run: Run, home: Path, tmp_path: Path, statement: str, message: str
) -> None:
    """Exit code 1, in one line."""
    tampered = copy(home, tmp_path / "copy")
    change(tampered, statement)
    result = run("audit", "verify", "--home", tampered)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"Error: {message}\n"


def test_a_log_that_was_cut_off_is_found_by_its_head(run: Run, home: Path, tmp_path: Path) -> None:
    """By itself it looks whole."""
    noted = run("audit", "verify", "--home", home).output.split()[-1]
    tampered = copy(home, tmp_path / "copy")
    change(tampered, "DELETE FROM audit WHERE seq > 900")
    assert run("audit", "verify", "--home", tampered).exit_code == 0
    result = run("audit", "verify", "--head", noted, "--home", tampered)
    assert result.exit_code == 1
    assert "audit row 1005, which was noted, is missing: the log was cut off" in result.stderr


def test_a_log_that_was_made_anew_is_found_by_its_head(
    run: Run, home: Path, tmp_path: Path
) -> None:
    """Its hashes are others."""
    noted = run("audit", "verify", "--home", home).output.split()[-1]
    other, _ = create_home(tmp_path / "other", NOON)
    store = open_store(other.database)
    store.write([Audited(NOON, "local:eve", "key.rotated", "x") for _ in range(ROWS)])
    store.close()
    result = run("audit", "verify", "--head", noted, "--home", other.path)
    assert result.exit_code == 1
    assert "is not the one that was noted: the log was made anew" in result.stderr


@pytest.mark.parametrize("head", ["", "7", "0:" + "0" * 64, "7:abc", "x:" + "0" * 64])
def test_what_is_no_head_is_a_fault_of_usage(run: Run, home: Path, head: str) -> None:
    """It is not taken for a log that fails."""
    result = run("audit", "verify", "--head", head, "--home", home)
    assert result.exit_code == 2


def test_list_shows_the_newest_rows_last(run: Run, home: Path) -> None:
    """A line each."""
    lines = run("audit", "list", "--limit", 2, "--home", home).output.splitlines()
    assert [line.split()[0] for line in lines] == ["1004", "1005"]
    assert lines[1].split(maxsplit=7)[1:] == [
        *("2026-11-23", "04:44:00", "local:ada", "keyring.lost", "subject", "1004"),
        '{"number": 1004}',
    ]


def test_list_can_be_narrowed(run: Run, home: Path) -> None:
    """By time and by action; a kind of action is whole words."""
    options = ("--since", "2026-11-23T04:40:00Z", "--json", "--home", home)

    def seqs(*more: str) -> list[int]:
        return [row["seq"] for row in json.loads(run("audit", "list", *options, *more).output)]

    assert seqs() == [1001, 1002, 1003, 1004, 1005]
    assert seqs("--action", "key.rotated") == seqs("--action", "key") == [1002, 1004]
    assert seqs("--action", "nothing") == []


def test_what_would_steer_a_terminal_is_written_out(run: Run, tmp_path: Path) -> None:
    """A subject is somebody else's text, perhaps."""
    home, _ = create_home(tmp_path / "home", NOON)
    store = open_store(home.database)
    store.write([Audited(NOON, "local:ada", "user.added", "\x1b[2Jeve\nline é")])
    store.close()
    output = run("audit", "list", "--home", home.path).output
    assert output.endswith("  \\x1b[2Jeve\\nline é\n")
    assert output.count("\n") == 1

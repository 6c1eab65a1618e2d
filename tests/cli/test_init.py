"""``stapes init``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stapes.client.profile import read_profile
from tests.cli.conftest import Run
from tests.postgres import PostgresServer


def test_home_is_made_once(run: Run, tmp_path: Path) -> None:
    """The second time nothing changes, and that is said."""
    home = tmp_path / "home"
    first = run("init", "--home", home)
    assert first.exit_code == 0
    assert first.output.startswith("Made a new home.\n")
    assert f"stapes serve --home {home}" in first.output
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    second = run("init", "--home", home)
    assert second.exit_code == 0
    assert second.output.startswith("There is a home already; nothing was changed.\n")
    assert second.output.splitlines()[1:] == first.output.splitlines()[1:]
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert after == before


def test_json_has_what_a_client_needs(run: Run, tmp_path: Path) -> None:
    """One object, whose profile our client reads."""
    values = json.loads(run("init", "--home", tmp_path / "home", "--json").output)
    assert list(values) == ["home", "tenancy", "user", "compartment", "config_file", "profile"]
    profile = read_profile(Path(values["config_file"]), values["profile"])
    assert (profile.user, profile.tenancy) == (values["user"], values["tenancy"])
    assert profile.compartment == values["compartment"]
    assert values["home"] == str(tmp_path / "home")


def test_environment_names_the_home(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``STAPES_HOME``, as for the server."""
    monkeypatch.setenv("STAPES_HOME", str(tmp_path / "home"))
    assert json.loads(run("init", "--json").output)["home"] == str(tmp_path / "home")


def test_folder_with_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    """One line says why."""
    (tmp_path / "thesis.txt").touch()
    result = run("init", "--home", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "thesis.txt" in result.stderr


def test_records_may_be_in_postgresql(
    run: Run, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--database`` says where; every command then takes it from the environment."""
    home = tmp_path / "home"
    with postgres.database() as url:
        made = run("init", "--home", home, "--database", url.get_secret_value())
        assert made.exit_code == 0
        assert f"Now run: STAPES_DATABASE=URL stapes serve --home {home}" in made.output
        assert url.get_secret_value() not in made.output
        monkeypatch.setenv("STAPES_DATABASE", url.get_secret_value())
        assert run("sessions", "--home", home).output == "No sessions yet.\n"
    assert not (home / "stapes.db").exists()

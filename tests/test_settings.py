"""Where settings come from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from stapes.settings import load

SECRET = "a master key of some length"


def test_the_master_key_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And shows in no text of the settings."""
    monkeypatch.setenv("STAPES_MASTER_KEY", SECRET)
    settings = load(home=tmp_path)
    assert settings.master_key is not None
    assert settings.master_key.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize("value", [SECRET, "short"])
def test_a_master_key_in_the_file_is_refused(tmp_path: Path, value: str) -> None:
    """It would lie beside what it encrypts."""
    (tmp_path / "stapes.toml").write_text(f'master_key = "{value}"\n')
    with pytest.raises(ValidationError, match=r"take it out of stapes\.toml") as caught:
        load(home=tmp_path)
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", ["", "x" * 15])
def test_a_short_master_key_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """An empty one too: it is a mistake rather than no master key."""
    monkeypatch.setenv("STAPES_MASTER_KEY", value)
    with pytest.raises(ValidationError, match="master_key"):
        load(home=tmp_path)


def test_the_file_gives_way_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And that to arguments."""
    (tmp_path / "stapes.toml").write_text("port = 1\ntoken_ttl_s = 60\nkeep_transcripts_days = 0\n")
    monkeypatch.setenv("STAPES_PORT", "2")
    monkeypatch.setenv("STAPES_TOKEN_TTL_S", "90")
    settings = load(home=tmp_path, port=3)
    assert (settings.port, settings.token_ttl_s, settings.keep_transcripts_days) == (3, 90, 0)


@pytest.mark.parametrize("name", ["keep_transcripts_days", "keep_receipts_days"])
def test_a_time_to_keep_has_bounds(tmp_path: Path, name: str) -> None:
    """It may be a part of a day, and not so long that no day lies so far back."""
    (tmp_path / "stapes.toml").write_text(f"{name} = 0.5\n")
    assert getattr(load(home=tmp_path), name) == 0.5
    for value in ("-1", "36501", "1e9"):
        (tmp_path / "stapes.toml").write_text(f"{name} = {value}\n")
        with pytest.raises(ValidationError, match=name):
            load(home=tmp_path)

"""The document on identities: its example runs as it stands and grants what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stapes.client.profile import read_profile
from stapes.errors import NameRefusedError
from stapes.identity.access import compartments_for, find_api_key
from stapes.identity.model import Verb
from stapes.identity.naming import check_name, path_of
from stapes.identity.policy import FORM
from stapes.server.new_home import create_home
from stapes.store.sql import open_store
from tests.docs.shell import run

TEXT = (Path(__file__).parents[2] / "docs" / "identity.md").read_text(encoding="utf-8")


def test_the_example_lets_a_backend_mint_in_one_compartment_only(tmp_path: Path) -> None:
    """Its commands are run by a shell; what they print is a profile whose key may sign."""
    home, _ = create_home(tmp_path / "home", datetime.now(UTC))
    (example,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    printed = run(f'{example}\necho "$north"', home.path, tmp_path)
    north = printed.splitlines()[-1]

    store = open_store(home.database)
    directory = store.directory()
    store.close()
    profile = read_profile(tmp_path / "backend.config", "backend")
    now = datetime.now(UTC)
    assert find_api_key(directory, profile.tenancy, profile.user, profile.fingerprint, now)
    assert path_of(directory, north) == "calls:north"
    assert compartments_for(directory, profile.user, Verb.USE) == {north}
    assert compartments_for(directory, profile.user, Verb.MANAGE) == set()


def test_the_form_of_statements_is_that_of_the_parser() -> None:
    """Word for word, but for where the line breaks."""
    assert FORM in " ".join(TEXT.split())


@pytest.mark.parametrize("mark", "_.-@+:'é")
def test_names_have_the_marks_that_are_listed(mark: str) -> None:
    """Of users and groups; those of compartments are fewer."""
    for is_compartment, listed in ((False, "_.-@+"), (True, "_.-")):
        if mark in listed:
            check_name(f"a{mark}", is_compartment=is_compartment)
            continue
        with pytest.raises(NameRefusedError):
            check_name(f"a{mark}", is_compartment=is_compartment)

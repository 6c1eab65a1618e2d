"""Attacks run against one server, and each ends with a look at what it reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from stapes import RealtimeSessionToken
from stapes.store.port import Store
from stapes.store.sql import open_store
from tests.attacks.forging import minted
from tests.attacks.people import Someone, minted_by, someone
from tests.attacks.processes import Pair, serving_pair
from tests.attacks.sockets import untouched
from tests.conftest import Served, running_server
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all attacks: they add users to it, and rename what they find."""
    with running_server(tmp_path_factory.mktemp("attacked") / "home") as server:
        yield server


@pytest.fixture(scope="session")
def token(served: Served) -> RealtimeSessionToken:
    """A good token, for attacks that change a copy of it."""
    return minted(served)


@pytest.fixture
def _nothing_reached(served: Served) -> Iterator[None]:
    """No recogniser taken and no stream written while the test ran."""
    with untouched(served):
        yield


@pytest.fixture(scope="session")
def store(served: Served) -> Iterator[Store]:
    """The shared server's database, as another process has it."""
    with closing(open_store(served.home.database)) as store:
        yield store


@pytest.fixture
def stranger(served: Served, store: Store) -> Someone:
    """A user of the shared server, known to it, who may use a compartment of their own."""
    made = someone(served.home, store)
    minted_by(served.url, made)
    return made


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Two server processes over one database. Quotas are a user's, and a test has its own users."""
    with ExitStack() as stack:
        database = None
        if request.param == "postgresql":
            postgres: PostgresServer = request.getfixturevalue("postgres")
            database = stack.enter_context(postgres.database())
        yield stack.enter_context(serving_pair(tmp_path_factory.mktemp("pair"), database))

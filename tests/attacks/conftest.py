"""Attacks run against one server, and each ends with a look at what it reached."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest

from stapes import RealtimeSessionToken
from stapes.server.home import create_home
from stapes.store.port import Store
from stapes.store.sql import open_store
from tests.attacks.forging import minted
from tests.attacks.people import Someone, minted_by, someone
from tests.attacks.processes import Pair, serving
from tests.attacks.sockets import untouched
from tests.conftest import UNLIMITED, Served, running_server
from tests.postgres import PostgresServer

PAIR_SETTINGS = {
    **UNLIMITED,
    "warm_workers": 1,
    "streams": 50,
    "live_sessions_per_user": 4,
    "tokens_per_minute_per_user": 30,
}


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
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        database, settings = None, dict[str, object](PAIR_SETTINGS)
        if request.param == "postgresql":
            postgres: PostgresServer = request.getfixturevalue("postgres")
            database = stack.enter_context(postgres.database())
            settings["database"] = database.get_secret_value()
        home, _ = create_home(folder / "home", datetime.now(UTC), database=database)
        store = stack.enter_context(closing(open_store(home.database)))
        begun = [serving(home.path, folder / f"log{number}", settings) for number in range(2)]
        with ThreadPoolExecutor() as threads:
            first, second = threads.map(stack.enter_context, begun)
        yield Pair(home, store, first, second)

"""Attacks run against one server, and each ends with a look at what it reached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stapes import RealtimeSessionToken
from tests.attacks.forging import minted
from tests.attacks.sockets import untouched
from tests.conftest import Served


@pytest.fixture(scope="session")
def token(served: Served) -> RealtimeSessionToken:
    """A good token, for attacks that change a copy of it."""
    return minted(served)


@pytest.fixture
def _nothing_reached(served: Served) -> Iterator[None]:
    """No recogniser taken and no stream written while the test ran."""
    with untouched(served):
        yield

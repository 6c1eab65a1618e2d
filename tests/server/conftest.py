"""A database for homes whose records are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from tests.postgres import PostgresServer


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[SecretStr]:
    """The URL of an empty PostgreSQL database."""
    with postgres.database() as url:
        yield url

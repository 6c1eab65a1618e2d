"""Takes a database to the newest schema, with Alembic and without its ini file."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from stapes.errors import StoreError
from stapes.store.postgres import lock_for_migration

MIGRATIONS = Path(__file__).with_name("migrations")


def is_newest(connection: Connection) -> bool:
    """Whether a database has the newest schema; asked by reading alone, so nobody waits for it."""
    current = MigrationContext.configure(connection).get_current_revision()
    return (
        current is not None and current == ScriptDirectory.from_config(_config()).get_current_head()
    )


def migrate(connection: Connection) -> None:
    """Run the steps that are missing, inside the connection's transaction.

    Raises `StoreError` when the database is of a newer Stapes: its tables are not ours to write.
    """
    if connection.dialect.name == "postgresql":
        lock_for_migration(connection)
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current not in {None, *(step.revision for step in scripts.walk_revisions())}:
        raise StoreError(
            f"the database has schema {current}, made by a newer Stapes; "
            "upgrade Stapes, or restore the backup made before"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

"""Alembic's entry point: it runs the steps on the connection that `stapes.store.schema` gives.

There is no ini file and no offline mode: the connection, already in a transaction, arrives as an
attribute of the configuration.
"""

from __future__ import annotations

from alembic import context

from stapes.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can take back DDL when the transaction was begun explicitly, which it was.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

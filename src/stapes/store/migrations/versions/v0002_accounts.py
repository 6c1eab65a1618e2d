"""Revocation, key retirement, bearer keys, bound policies, metering, servers, the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from stapes.errors import InvalidParameterError
from stapes.identity.model import Compartment, Directory, Group
from stapes.identity.policy import bind

revision = "0002"
down_revision = "0001"

COUNTED = ("identities", "keys", "revocations", "audit")


def upgrade() -> None:
    """Change what there is, then add the new tables."""
    _change_sessions()
    _change_streams()
    _change_identities()
    _create_tables()


def _text(name: str, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, server_default=default)


def _amount(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _moment(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _change_sessions() -> None:
    op.drop_index("tokens_by_time", "tokens")
    op.rename_table("tokens", "sessions")
    with op.batch_alter_table("sessions") as table:
        table.alter_column("kid", existing_type=sa.Text, nullable=True)
        table.alter_column("claims", existing_type=sa.JSON, nullable=True)
        table.add_column(sa.Column("revoked_at", sa.BigInteger))
        table.add_column(_text("server_id", ""))
    op.create_index("sessions_by_time", "sessions", ["issued_at", "session_id"])
    op.create_index("sessions_by_user", "sessions", ["user_id", "issued_at"])
    op.create_index("sessions_by_expiry", "sessions", ["expires_at"])


def _change_streams() -> None:
    # Columns are added and none is changed: finals refer to this table, and SQLite would have to
    # make it anew.
    op.add_column("streams", _amount("wall_ms"))
    op.add_column("streams", _amount("words"))
    op.add_column("streams", _text("server_id", ""))
    op.execute("UPDATE streams SET audio_ms = 0 WHERE audio_ms IS NULL")
    op.execute("UPDATE streams SET speech_ms = 0 WHERE speech_ms IS NULL")
    op.execute(
        "UPDATE streams SET wall_ms = (closed_at - opened_at) / 1000 WHERE closed_at IS NOT NULL"
    )
    op.execute(
        "UPDATE streams SET words = (SELECT coalesce(sum(word_count), 0) FROM finals WHERE "
        "finals.session_id = streams.session_id AND finals.stream = streams.stream)"
    )
    op.create_index("streams_by_end", "streams", ["closed_at"])
    op.create_index("finals_by_time", "finals", ["heard_at"])


def _change_identities() -> None:
    op.add_column("api_keys", sa.Column("expires_at", sa.BigInteger))
    op.add_column("signing_keys", sa.Column("retires_at", sa.BigInteger))
    op.add_column("policies", sa.Column("bindings", sa.JSON, nullable=False, server_default="[]"))
    _bind_policies(op.get_bind())


def _bind_policies(connection: sa.Connection) -> None:
    """Bind what was written before statements were bound, as things are named now."""
    rows = connection.execute(sa.text("SELECT id, name, parent_id, tenancy_id FROM compartments"))
    compartments = {row.id: Compartment(*row) for row in rows}
    rows = connection.execute(sa.text("SELECT id, name, tenancy_id FROM groups"))
    groups = {row.id: Group(*row) for row in rows}
    directory = Directory(compartments=compartments, groups=groups)
    policies = sa.table(
        "policies",
        sa.column("id"),
        sa.column("tenancy_id"),
        sa.column("statements", sa.JSON),
        sa.column("bindings", sa.JSON),
    )
    for row in connection.execute(sa.select(policies)).all():
        bound = []
        for statement in row.statements:
            try:
                (binding,) = bind(directory, row.tenancy_id, [statement])
            except InvalidParameterError:
                continue  # it granted nothing before either
            bound.append([binding.group_id, binding.verb.value, binding.compartment_id])
        where = policies.c.id == row.id
        connection.execute(sa.update(policies).where(where).values(bindings=bound))


def _create_tables() -> None:
    op.create_table(
        "bearer_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), nullable=False),
        _text("sha256"),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
    )
    op.create_table(
        "revocations",
        sa.Column("tenancy_id", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        _moment("revoked_at"),
    )
    op.create_table("servers", sa.Column("id", sa.Text, primary_key=True), _moment("seen_at"))
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        _moment("at"),
        _text("actor"),
        _text("action"),
        _text("subject"),
        _text("tenancy_id"),
        sa.Column("details", sa.JSON, nullable=False),
        _text("previous"),
        _text("hash"),
    )
    versions = op.create_table(
        "versions",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(versions, [{"name": name, "number": 0} for name in COUNTED])

"""The first tables: identities, signing keys, tokens issued, streams and their finals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    _create_identities()
    _create_keys()
    _create_sessions()
    op.create_table("probes", _number("id"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)


def _tenancy_id() -> sa.Column[str]:
    return sa.Column("tenancy_id", sa.Text, sa.ForeignKey("tenancies.id"), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON, nullable=False)


def _moment(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _create_identities() -> None:
    op.create_table("tenancies", _key("id"), _text("name"))
    op.create_table("compartments", _key("id"), _text("name"), _text("parent_id"), _tenancy_id())
    op.create_table("users", _key("id"), _text("name"), _tenancy_id())
    op.create_table("groups", _key("id"), _text("name"), _tenancy_id(), _json("user_ids"))
    op.create_table("policies", _key("id"), _text("name"), _tenancy_id(), _json("statements"))


def _create_keys() -> None:
    op.create_table(
        "api_keys",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id"), primary_key=True),
        _key("fingerprint"),
        _text("public_pem"),
        sa.Column("enabled", sa.Boolean, nullable=False),
    )
    op.create_table("signing_keys", _key("kid"), _json("public_jwk"), _moment("added_at"))


def _create_sessions() -> None:
    op.create_table(
        "tokens",
        _key("session_id"),
        _text("tenancy_id"),
        _text("compartment_id"),
        _text("user_id"),
        _text("kid"),
        _moment("issued_at"),
        _moment("expires_at"),
        _json("claims"),
        sa.Column("freeform_tags", sa.JSON),
        sa.Column("defined_tags", sa.JSON),
        sa.Column("retry_token", sa.Text),
        sa.Column("body_sha256", sa.Text),
    )
    op.create_index("tokens_by_time", "tokens", ["issued_at"])
    op.create_table(
        "streams",
        _key("session_id"),
        _number("stream"),
        _text("tenancy_id"),
        _text("compartment_id"),
        _text("user_id"),
        _moment("opened_at"),
        _json("params"),
        _text("engine"),
        sa.Column("closed_at", sa.BigInteger),
        sa.Column("reason", sa.Text),
        sa.Column("audio_ms", sa.BigInteger),
        sa.Column("speech_ms", sa.BigInteger),
    )
    op.create_index("streams_by_time", "streams", ["opened_at"])
    op.create_table(
        "finals",
        _key("session_id"),
        _number("stream"),
        _number("number"),
        _text("text"),
        sa.Column("start_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        _json("words"),
        sa.Column("word_count", sa.Integer, nullable=False),
        _moment("heard_at"),
        sa.ForeignKeyConstraint(["session_id", "stream"], ["streams.session_id", "streams.stream"]),
    )

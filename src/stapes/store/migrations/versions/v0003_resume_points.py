"""Where a stream can be continued."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "resume_points",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("stream", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("audio_bytes", sa.BigInteger, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("finals", sa.JSON, nullable=False),
        sa.Column("finals_sent", sa.Integer, nullable=False),
        sa.Column("speech_ms", sa.BigInteger, nullable=False),
        sa.Column("wall_ms", sa.BigInteger, nullable=False),
        sa.Column("words", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["session_id", "stream"], ["streams.session_id", "streams.stream"]),
    )

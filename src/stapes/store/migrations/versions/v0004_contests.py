"""Which open streams another server wants."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "contests",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("stream", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("server_id", sa.Text, nullable=False),
        sa.Column("resumes", sa.Boolean, nullable=False),
    )

"""The fabric: the record of each query over several nodes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0014_fabric"
down_revision: str | None = "0013_sharing"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "fabric_answer",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("sql", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("parts", Json(), nullable=False),
        sa.Column("policy", Json(), nullable=False),
        sa.Column("lineage", Json(), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("fabric_answer_by_time", "fabric_answer", ["at"], unique=False)

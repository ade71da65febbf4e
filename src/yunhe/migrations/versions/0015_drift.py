"""How the source of a table differs from its description: told once, kept until it changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0015_drift"
down_revision: str | None = "0014_fabric"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "catalog_drift",
        sa.Column("resource_id", sa.String(80), nullable=False),
        sa.Column("table_name", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("drift", Json(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["catalog_entry.id"]),
        sa.PrimaryKeyConstraint("resource_id", "table_name"),
    )

"""Pushes: what a push transfer carries, and how far it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import UtcTime

revision = "0011_pushes"
down_revision: str | None = "0010_claims"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "contract_pushes",
        sa.Column("transfer_id", sa.String(255), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sql", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("use_id", sa.String(128), nullable=False),
        sa.Column("method", sa.String(8), nullable=False),
        sa.Column("ranged", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_at", UtcTime(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["transfer_id"], ["contract_transfers.id"]),
        sa.PrimaryKeyConstraint("transfer_id"),
    )
    op.create_index("contract_pushes_open", "contract_pushes", ["role", "state"], unique=False)

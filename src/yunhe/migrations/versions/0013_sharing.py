"""Sharing profiles: who reads under a contract with a stock Delta Sharing client."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import UtcTime

revision = "0013_sharing"
down_revision: str | None = "0012_answers"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "sharing_profile",
        sa.Column("id", sa.String(16), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_sharing_profile_contract_id", "sharing_profile", ["contract_id"], unique=False
    )

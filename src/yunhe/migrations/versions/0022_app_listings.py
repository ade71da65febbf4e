"""Applications: listings at the author and who took them; bits said under a contract, in all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0022_app_listings"
down_revision: str | None = "0021_rho"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "apps_listing",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("keywords", Json(), nullable=False),
        sa.Column("reasons", Json(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "apps_holder",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "peer_did"),
    )
    op.create_table(
        "apps_bits",
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("spent", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("contract_id"),
    )

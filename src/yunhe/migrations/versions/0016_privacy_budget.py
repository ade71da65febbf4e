"""Privacy budgets: what each party has spent, and the answers it was given for it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0016_privacy_budget"
down_revision: str | None = "0015_drift"


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "control_epsilon",
        sa.Column("use_id", sa.String(128), nullable=False),
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("epsilon_micro", sa.BigInteger(), nullable=False),
        sa.Column("delta_femto", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("use_id"),
    )
    op.create_index("control_epsilon_by_party", "control_epsilon", ["peer_did", "dataset"])
    op.create_table(
        "control_noised",
        sa.Column("peer_did", sa.String(255), nullable=False),
        sa.Column("dataset", sa.String(255), nullable=False),
        sa.Column("question", sa.String(64), nullable=False),
        sa.Column("groups", Json(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("peer_did", "dataset", "question"),
    )

"""The vault: whose key a push is sealed for, what was read and destroyed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0017_vault"
down_revision: str | None = "0016_privacy_budget"


def upgrade() -> None:
    """To this version."""
    seal = sa.Column("seal", sa.String(64), nullable=False, server_default="")
    op.add_column("contract_pushes", seal)
    op.create_table(
        "vault_note",
        sa.Column("id", sa.String(160), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("use_id", sa.String(128), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", "role"),
    )
    op.create_index("ix_vault_note_contract_id", "vault_note", ["contract_id"], unique=False)

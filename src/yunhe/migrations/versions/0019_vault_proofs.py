"""Proofs of destruction that are owed, notes that were taken; who was given marked copies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import UtcTime

revision = "0019_vault_proofs"
down_revision: str | None = "0018_volumes"


def upgrade() -> None:
    """To this version."""
    op.add_column("vault_note", sa.Column("acknowledged_at", UtcTime()))
    op.create_table(
        "vault_due",
        sa.Column("use_id", sa.String(128), nullable=False),
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("receiver", sa.String(255), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("due_at", UtcTime(), nullable=False),
        sa.Column("proved_at", UtcTime()),
        sa.Column("note_id", sa.String(160), nullable=False),
        sa.PrimaryKeyConstraint("use_id"),
    )
    for name in ("contract_id", "state"):
        op.create_index(f"ix_vault_due_{name}", "vault_due", [name], unique=False)
    op.create_table(
        "vault_mark",
        sa.Column("mark", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("product_code", sa.String(64), nullable=False),
        sa.Column("did", sa.String(255), nullable=False),
        sa.Column("watermark", sa.Text(), nullable=False),
        sa.Column("contract_id", sa.String(255), nullable=False),
        sa.Column("use_id", sa.String(128), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("mark", "digest"),
    )
    op.create_index("ix_vault_mark_product_code", "vault_mark", ["product_code"], unique=False)

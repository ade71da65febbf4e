"""The first tables of control."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe.kernel.db import Json, UtcTime

revision = "0007_control"
down_revision: str | None = "0006_contracts"


def upgrade() -> None:
    """To this version."""
    _control_denial()
    _control_quota()
    _control_use()


def _control_denial() -> None:

    op.create_table(
        "control_denial",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("use_id", sa.String(length=128), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("peer_did", sa.String(length=255), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("entry_id", sa.String(length=128), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(
        "control_denial_by_contract", "control_denial", ["contract_id", "at"], unique=False
    )


def _control_quota() -> None:

    op.create_table(
        "control_quota",
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("peer_did", sa.String(length=255), nullable=False),
        sa.Column("policy", Json(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("uses_max", sa.BigInteger(), nullable=True),
        sa.Column("uses_left", sa.BigInteger(), nullable=True),
        sa.Column("uses_spent", sa.BigInteger(), nullable=False),
        sa.Column("rows_max", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("uses_left >= 0", name="uses_left_not_negative"),
        sa.CheckConstraint("uses_spent >= 0", name="uses_spent_not_negative"),
        sa.PrimaryKeyConstraint("contract_id"),
    )


def _control_use() -> None:

    op.create_table(
        "control_use",
        sa.Column("use_id", sa.String(length=128), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("peer_did", sa.String(length=255), nullable=False),
        sa.Column("principal", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=1024), nullable=False),
        sa.Column("rows_max", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("fee_fen", sa.BigInteger(), nullable=True),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("entry_id", sa.String(length=128), nullable=True),
        sa.Column("reserved_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.CheckConstraint("rows <= rows_max", name="rows_within_grant"),
        sa.PrimaryKeyConstraint("use_id"),
    )
    op.create_index(
        "control_use_by_contract", "control_use", ["contract_id", "reserved_at"], unique=False
    )
    op.create_index("control_use_by_state", "control_use", ["state", "reserved_at"], unique=False)

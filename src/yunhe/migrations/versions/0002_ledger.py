"""The first tables of ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe import ledger
from yunhe.kernel.db import UtcTime

revision = "0002_ledger"
down_revision: str | None = "0001_kernel"


def upgrade() -> None:
    """To this version."""
    _ledger_account()
    _ledger_transfer()
    _immutable()


def _ledger_account() -> None:

    op.create_table(
        "ledger_account",
        sa.Column("account_id", sa.String(length=512), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
        sa.UniqueConstraint("owner", "kind"),
        sqlite_with_rowid=False,
    )


def _ledger_transfer() -> None:

    op.create_table(
        "ledger_transfer",
        sa.Column("transfer_id", sa.String(length=255), nullable=False),
        sa.Column("step", sa.String(length=8), nullable=False),
        sa.Column("debit", sa.String(length=512), nullable=False),
        sa.Column("credit", sa.String(length=512), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("pending_id", sa.String(length=255), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.CheckConstraint(
            "(step IN ('post', 'void')) = (pending_id IS NOT NULL)", name="resolves_a_pending"
        ),
        sa.CheckConstraint("step IN ('direct', 'pending', 'post', 'void')", name="known_step"),
        sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
        sa.CheckConstraint("debit <> credit", name="two_accounts"),
        sa.ForeignKeyConstraint(
            ["credit"],
            ["ledger_account.account_id"],
        ),
        sa.ForeignKeyConstraint(
            ["debit"],
            ["ledger_account.account_id"],
        ),
        sa.ForeignKeyConstraint(
            ["pending_id"],
            ["ledger_transfer.transfer_id"],
        ),
        sa.PrimaryKeyConstraint("transfer_id"),
        sa.UniqueConstraint("pending_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_transfer_credit", "ledger_transfer", ["credit", "at"], unique=False)
    op.create_index("ledger_transfer_debit", "ledger_transfer", ["debit", "at"], unique=False)


def _immutable() -> None:
    # The database itself refuses to change or delete what was written once.
    for statement in ledger.ddl(op.get_bind().dialect.name):
        op.get_bind().exec_driver_sql(statement)

"""The first tables of exchange."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from yunhe import exchange
from yunhe.kernel.db import Json, UtcTime

revision = "0008_exchange"
down_revision: str | None = "0007_control"


def upgrade() -> None:
    """To this version."""
    _exchange_asked()
    _exchange_bill()
    _exchange_line()
    _exchange_meter()
    _exchange_receipt()
    _exchange_statement()
    _immutable()


def _exchange_asked() -> None:

    op.create_table(
        "exchange_asked",
        sa.Column("use_id", sa.String(length=128), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=1024), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("doubt_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("use_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("exchange_asked_by_contract", "exchange_asked", ["contract_id"], unique=False)


def _exchange_bill() -> None:

    op.create_table(
        "exchange_bill",
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("provider_did", sa.String(length=255), nullable=False),
        sa.Column("consumer_did", sa.String(length=255), nullable=False),
        sa.Column("product_code", sa.String(length=64), nullable=False),
        sa.Column("per_use_fen", sa.BigInteger(), nullable=False),
        sa.Column("per_row_fen", sa.BigInteger(), nullable=False),
        sa.Column("rows_max", sa.BigInteger(), nullable=True),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("contract_id"),
        sqlite_with_rowid=False,
    )


def _exchange_line() -> None:

    op.create_table(
        "exchange_line",
        sa.Column("statement_id", sa.String(length=255), nullable=False),
        sa.Column("use_id", sa.String(length=128), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("fee_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("statement_id", "use_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "exchange_line_by_contract", "exchange_line", ["contract_id", "use_id"], unique=False
    )


def _exchange_meter() -> None:

    op.create_table(
        "exchange_meter",
        sa.Column("use_id", sa.String(length=128), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("peer_did", sa.String(length=255), nullable=False),
        sa.Column("purpose", sa.String(length=1024), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("fee_fen", sa.BigInteger(), nullable=False),
        sa.Column("entry_id", sa.String(length=128), nullable=False),
        sa.Column("leaf", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.CheckConstraint("rows >= 0 AND bytes >= 0 AND fee_fen >= 0", name="meter_not_negative"),
        sa.PrimaryKeyConstraint("use_id", "n"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "exchange_meter_by_contract", "exchange_meter", ["contract_id", "at"], unique=False
    )


def _exchange_receipt() -> None:

    op.create_table(
        "exchange_receipt",
        sa.Column("use_id", sa.String(length=128), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("jws", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.String(length=128), nullable=False),
        sa.Column("leaf", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("use_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "exchange_receipt_by_contract", "exchange_receipt", ["contract_id", "at"], unique=False
    )


def _exchange_statement() -> None:

    op.create_table(
        "exchange_statement",
        sa.Column("statement_id", sa.String(length=255), nullable=False),
        sa.Column("contract_id", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("provider_jws", sa.Text(), nullable=False),
        sa.Column("consumer_jws", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("differences", Json(), nullable=False),
        sa.Column("entry_id", sa.String(length=128), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("statement_id"),
    )
    op.create_index(
        "exchange_statement_by_contract",
        "exchange_statement",
        ["contract_id", "created_at"],
        unique=False,
    )


def _immutable() -> None:
    # The database itself refuses to change or delete what was written once.
    for statement in exchange.ddl(op.get_bind().dialect.name):
        op.get_bind().exec_driver_sql(statement)

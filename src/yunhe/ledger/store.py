"""All SQL of the ledger, and the triggers that make its rows immutable.

In: a `Tx` and plain values. Out: rows and sums. Balances are computed, never stored: there is no
second place that could disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from yunhe.kernel.db import Tx, UtcTime, metadata
from yunhe.ledger.immutable import seal, statements

account = sa.Table(
    "ledger_account",
    metadata,
    sa.Column("account_id", sa.String(512), primary_key=True),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.UniqueConstraint("owner", "kind"),
    sqlite_with_rowid=False,  # a rowid would be one more key to REPLACE by
)

transfer = sa.Table(
    "ledger_transfer",
    metadata,
    sa.Column("transfer_id", sa.String(255), primary_key=True),
    sa.Column("step", sa.String(8), nullable=False),
    sa.Column("debit", sa.String(512), sa.ForeignKey("ledger_account.account_id"), nullable=False),
    sa.Column("credit", sa.String(512), sa.ForeignKey("ledger_account.account_id"), nullable=False),
    sa.Column("amount_fen", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("pending_id", sa.String(255), sa.ForeignKey("ledger_transfer.transfer_id")),
    sa.Column("at", UtcTime, nullable=False),
    sa.UniqueConstraint("pending_id"),  # resolved at most once
    sa.CheckConstraint("amount_fen > 0", name="amount_positive"),
    sa.CheckConstraint("debit <> credit", name="two_accounts"),
    sa.CheckConstraint("step IN ('direct', 'pending', 'post', 'void')", name="known_step"),
    sa.CheckConstraint(
        "(step IN ('post', 'void')) = (pending_id IS NOT NULL)", name="resolves_a_pending"
    ),
    sa.Index("ledger_transfer_debit", "debit", "at"),
    sa.Index("ledger_transfer_credit", "credit", "at"),
    sqlite_with_rowid=False,
)

# A post or a void agrees with its pending: same accounts, no larger amount (equal for a void).
_FITS = (
    "SELECT 1 FROM ledger_transfer p WHERE p.transfer_id = NEW.pending_id "
    "AND p.step = 'pending' AND p.debit = NEW.debit AND p.credit = NEW.credit "
    "AND NEW.amount_fen <= p.amount_fen "
    "AND (NEW.step = 'post' OR NEW.amount_fen = p.amount_fen)"
)
_CHECKS = {
    "sqlite": [
        (
            "CREATE TRIGGER ledger_transfer_fits BEFORE INSERT ON ledger_transfer "
            f"WHEN NEW.pending_id IS NOT NULL AND NOT EXISTS ({_FITS}) "
            "BEGIN SELECT RAISE(ABORT, 'it does not fit its pending transfer'); END"
        )
    ],
    "postgresql": [
        (
            "CREATE OR REPLACE FUNCTION ledger_transfer_fits() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN IF NEW.pending_id IS NOT NULL AND NOT EXISTS ({_FITS}) THEN "
            "RAISE EXCEPTION 'it does not fit its pending transfer'; END IF; RETURN NEW; END $$"
        ),
        (
            "CREATE TRIGGER ledger_transfer_fits BEFORE INSERT ON ledger_transfer "
            "FOR EACH ROW EXECUTE FUNCTION ledger_transfer_fits()"
        ),
    ],
}
seal(account)
seal(transfer, _CHECKS)


def ddl(dialect: str) -> list[str]:
    """Every trigger of the ledger as CREATE statements, for the migration of `dialect`."""
    return [*statements(account, dialect), *statements(transfer, dialect), *_CHECKS[dialect]]


def find_account(tx: Tx, account_id: str) -> sa.Row[Any] | None:
    """One account, or None."""
    return tx.one(sa.select(account).where(account.c.account_id == account_id))


def add_account(tx: Tx, values: dict[str, Any]) -> None:
    """Open an account; nothing if another verb just did."""
    if tx.dialect == "postgresql":
        tx.insert_once(account, values)
    elif find_account(tx, values["account_id"]) is None:  # one writer: no race
        tx.execute(sa.insert(account), values)


def find_transfer(tx: Tx, transfer_id: str) -> sa.Row[Any] | None:
    """One transfer, or None."""
    return tx.one(sa.select(transfer).where(transfer.c.transfer_id == transfer_id))


def find_resolution(tx: Tx, pending_id: str) -> sa.Row[Any] | None:
    """The post or void of a pending, or None."""
    return tx.one(sa.select(transfer).where(transfer.c.pending_id == pending_id))


def add_transfer(tx: Tx, values: dict[str, Any]) -> None:
    """Write one row; the database checks it."""
    tx.execute(sa.insert(transfer), values)


def transfers_of(tx: Tx, account_id: str, limit: int) -> Sequence[sa.Row[Any]]:
    """The rows of an account, newest first."""
    mine = sa.or_(transfer.c.debit == account_id, transfer.c.credit == account_id)
    order = (transfer.c.at.desc(), transfer.c.transfer_id)
    return tx.all(sa.select(transfer).where(mine).order_by(*order).limit(limit))


def balances(tx: Tx) -> Sequence[sa.Row[Any]]:
    """Every account with its posted balance and what is pending on it."""
    moved = transfer.c.step.in_(("direct", "post"))
    resolution = transfer.alias("resolution")
    open_ = sa.and_(
        transfer.c.step == "pending",
        ~sa.exists().where(resolution.c.pending_id == transfer.c.transfer_id),
    )

    def total(side: sa.Column[Any], which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        query = sa.select(sa.func.coalesce(sa.func.sum(transfer.c.amount_fen), 0))
        return query.where(side == account.c.account_id, which).scalar_subquery()

    query = sa.select(
        account.c.account_id,
        account.c.owner,
        account.c.kind,
        (total(transfer.c.credit, moved) - total(transfer.c.debit, moved)).label("posted_fen"),
        total(transfer.c.debit, open_).label("pending_debit_fen"),
        total(transfer.c.credit, open_).label("pending_credit_fen"),
    )
    return tx.all(query.order_by(account.c.account_id))

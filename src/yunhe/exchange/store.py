"""All SQL of metering and settlement. Meters, receipts, lines and bills are written once.

In: a `Tx` and plain values. Out: values of `model`. Only a statement's state changes, and the
rows of `exchange_asked`, which live only while a use is under way or in doubt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from yunhe.exchange.model import (
    DISPUTED,
    ISSUED,
    SETTLED,
    Bill,
    Difference,
    Meter,
    SignedReceipt,
    Statement,
)
from yunhe.kernel.db import Json, Tx, UtcTime, by_name, metadata
from yunhe.ledger import seal, statements

T = TypeVar("T")

bill = sa.Table(
    "exchange_bill",
    metadata,
    sa.Column("contract_id", sa.String(255), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("provider_did", sa.String(255), nullable=False),
    sa.Column("consumer_did", sa.String(255), nullable=False),
    sa.Column("product_code", sa.String(64), nullable=False),
    sa.Column("per_use_fen", sa.BigInteger, nullable=False),
    sa.Column("per_row_fen", sa.BigInteger, nullable=False),
    sa.Column("rows_max", sa.BigInteger),  # of one use; NULL: the contract states no number
    sa.Column("opened_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)

meter = sa.Table(
    "exchange_meter",
    metadata,
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),  # 0, then corrections
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("purpose", sa.String(1024), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("fee_fen", sa.BigInteger, nullable=False),
    sa.Column("entry_id", sa.String(128), nullable=False),
    sa.Column("leaf", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.CheckConstraint("rows >= 0 AND bytes >= 0 AND fee_fen >= 0", name="meter_not_negative"),
    sa.Index("exchange_meter_by_contract", "contract_id", "at"),
    sqlite_with_rowid=False,
)

receipt = sa.Table(
    "exchange_receipt",
    metadata,
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("jws", sa.Text, nullable=False),
    sa.Column("entry_id", sa.String(128), nullable=False),
    sa.Column("leaf", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("exchange_receipt_by_contract", "contract_id", "at"),
    sqlite_with_rowid=False,
)

asked = sa.Table(
    "exchange_asked",
    metadata,
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("purpose", sa.String(1024), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),  # passed on when its stream broke off
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("doubt_at", UtcTime),  # when the provider was last asked for its outcome
    sa.Index("exchange_asked_by_contract", "contract_id"),
    sqlite_with_rowid=False,
)

statement = sa.Table(
    "exchange_statement",
    metadata,
    sa.Column("statement_id", sa.String(255), primary_key=True),
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("provider_jws", sa.Text, nullable=False),
    sa.Column("consumer_jws", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("total_fen", sa.BigInteger, nullable=False),
    sa.Column("differences", Json, nullable=False),
    sa.Column("entry_id", sa.String(128), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Index("exchange_statement_by_contract", "contract_id", "created_at"),
    sa.Index("exchange_statement_by_state", "state", "role"),
)

line = sa.Table(
    "exchange_line",
    metadata,
    sa.Column("statement_id", sa.String(255), primary_key=True),
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("fee_fen", sa.BigInteger, nullable=False),
    sa.Index("exchange_line_by_contract", "contract_id", "use_id"),
    sqlite_with_rowid=False,
)

_bill_row, _receipt_row, _asked_row = by_name(bill), by_name(receipt), by_name(asked)

# Built once: these run for every use, at either side (kernel.db.prepared).
_KEY: Final[sa.BindParameter[Any]] = sa.bindparam("key")
_BILL: Final = sa.select(bill).where(bill.c.contract_id == _KEY)
_BILL_LOCKED: Final = _BILL.with_for_update()
_RECEIPT: Final = sa.select(receipt).where(receipt.c.use_id == _KEY)
_ASKED: Final = sa.select(asked).where(asked.c.use_id == _KEY)
_FORGET: Final = sa.delete(asked).where(asked.c.use_id == _KEY)

_SEALED = (bill, meter, receipt, line)
for _table in _SEALED:
    seal(_table)


def ddl(dialect: str) -> list[str]:
    """Every trigger of the slice as CREATE statements, for the migration of `dialect`."""
    return [text for table in _SEALED for text in statements(table, dialect)]


def add_bill(tx: Tx, values: dict[str, Any]) -> None:
    """Keep the agreed price of a contract; once."""
    tx.insert_once(bill, values)


def find_bill(tx: Tx, contract_id: str, lock: bool = False) -> Bill | None:
    """The bill of a contract; with `lock`, one verb at a time works on it."""
    for row in tx.rows(_BILL_LOCKED if lock else _BILL, {"key": contract_id}):
        return _as(Bill, _bill_row(row))
    return None


def add_meter(tx: Tx, values: dict[str, Any]) -> None:
    """One row; its key is the use and the number of its correction."""
    tx.insert(meter, values)


def meters_of(tx: Tx, contract_id: str) -> list[Meter]:
    """The last word on each use of a contract, in the order in which they ended."""
    rows = tx.all(
        sa.select(meter)
        .where(meter.c.contract_id == contract_id)
        .order_by(meter.c.use_id, meter.c.n.desc())
    )
    last: dict[str, Meter] = {}
    for row in rows:
        last.setdefault(row.use_id, _as(Meter, row))
    return sorted(last.values(), key=lambda found: (found.at, found.use_id))


def find_meter(tx: Tx, use_id: str) -> Meter | None:
    """The last word on one use, or None."""
    query = sa.select(meter).where(meter.c.use_id == use_id).order_by(meter.c.n.desc())
    row = tx.one(query.limit(1))
    return None if row is None else _as(Meter, row)


def add_receipt(tx: Tx, values: dict[str, Any]) -> None:
    """One receipt a use."""
    tx.insert(receipt, values)


def find_receipt(tx: Tx, use_id: str) -> SignedReceipt | None:
    """The receipt of a use, or None."""
    for row in tx.rows(_RECEIPT, {"key": use_id}):
        return _as(SignedReceipt, _receipt_row(row))
    return None


def receipts_of(tx: Tx, contract_id: str) -> list[SignedReceipt]:
    """Every receipt of a contract, oldest first."""
    query = sa.select(receipt).where(receipt.c.contract_id == contract_id)
    return [
        _as(SignedReceipt, row) for row in tx.all(query.order_by(receipt.c.at, receipt.c.use_id))
    ]


def receipts_count(tx: Tx, contract_id: str) -> int:
    """How many receipts a contract has."""
    counted = sa.select(sa.func.count()).select_from(receipt)
    return int(tx.scalar(counted.where(receipt.c.contract_id == contract_id)))


def receipted_uses(tx: Tx, contract_id: str) -> dict[str, datetime]:
    """The uses of a contract that have a receipt, with the time that it states."""
    query = sa.select(receipt.c.use_id, receipt.c.at).where(receipt.c.contract_id == contract_id)
    return {row.use_id: row.at for row in tx.all(query)}


def add_asked(tx: Tx, values: dict[str, Any]) -> bool:
    """A use is about to be asked for; False if it is under way or in doubt already."""
    return tx.insert_once(asked, values)


def find_asked(tx: Tx, use_id: str) -> Any | None:
    """The row of a use under way or in doubt, or None."""
    for row in tx.rows(_ASKED, {"key": use_id}):
        return _asked_row(row)
    return None


def count_asked(tx: Tx, use_id: str, values: dict[str, Any]) -> None:
    """Keep what was passed on, or that its outcome was asked for."""
    tx.execute(sa.update(asked).where(asked.c.use_id == use_id).values(**values))


def forget_asked(tx: Tx, use_id: str) -> None:
    """The use has its receipt, or never was."""
    tx.change(_FORGET, {"key": use_id})


def asked_open(tx: Tx, contract_id: str | None = None) -> Sequence[sa.Row[Any]]:
    """Every use under way or in doubt, oldest first; of one contract or of all."""
    query = sa.select(asked)
    if contract_id is not None:
        query = query.where(asked.c.contract_id == contract_id)
    return tx.all(query.order_by(asked.c.at, asked.c.use_id))


def billed_uses(tx: Tx, contract_id: str, other_than: str = "") -> dict[str, int]:
    """use_id -> fee on a statement that is issued or settled (a disputed one bills nothing)."""
    rows = tx.all(
        sa.select(line.c.use_id, line.c.fee_fen)
        .join(statement, statement.c.statement_id == line.c.statement_id)
        .where(
            line.c.contract_id == contract_id,
            statement.c.state != DISPUTED,
            statement.c.statement_id != other_than,
        )
    )
    return {row.use_id: row.fee_fen for row in rows}


def add_statement(tx: Tx, values: dict[str, Any], lines: Sequence[dict[str, Any]]) -> None:
    """A statement with its lines."""
    tx.execute(sa.insert(statement), values)
    unique = {entry["use_id"]: entry for entry in lines}
    if unique:
        tx.execute(
            sa.insert(line),
            [
                {
                    "statement_id": values["statement_id"],
                    "contract_id": values["contract_id"],
                    "use_id": entry["use_id"],
                    "fee_fen": entry["fee_fen"],
                }
                for entry in unique.values()
            ],
        )


def find_statement(tx: Tx, statement_id: str) -> Statement | None:
    """One statement, or None."""
    row = tx.one(sa.select(statement).where(statement.c.statement_id == statement_id))
    return None if row is None else _statement(row)


def end_statement(tx: Tx, statement_id: str, values: dict[str, Any]) -> bool:
    """issued -> settled | disputed; False if it was ended before."""
    moved = tx.execute(
        sa.update(statement)
        .where(statement.c.statement_id == statement_id, statement.c.state == "issued")
        .values(ended_at=tx.now, **values)
    )
    return moved.rowcount == 1


def statements_of(tx: Tx, contract_id: str | None, limit: int) -> list[Statement]:
    """Statements, newest first; of one contract or of all."""
    query = sa.select(statement)
    if contract_id is not None:
        query = query.where(statement.c.contract_id == contract_id)
    query = query.order_by(statement.c.created_at.desc(), statement.c.statement_id).limit(limit)
    return [_statement(row) for row in tx.all(query)]


_OPEN: Final = (
    sa.select(statement.c.role, statement.c.state, sa.func.count())
    .where(sa.or_(statement.c.state == ISSUED, statement.c.state == DISPUTED))
    .group_by(statement.c.role, statement.c.state)
)


def count_open(tx: Tx) -> dict[tuple[str, str], int]:
    """How many statements there are of each role and state but `settled`."""
    return {(role, state): count for role, state, count in tx.rows(_OPEN, {})}


def settled_of(tx: Tx, contract_id: str, limit: int) -> list[Statement]:
    """The settled statements of a contract, oldest first."""
    query = sa.select(statement).where(
        statement.c.contract_id == contract_id, statement.c.state == SETTLED
    )
    query = query.order_by(statement.c.created_at, statement.c.statement_id).limit(limit)
    return [_statement(row) for row in tx.all(query)]


def _as(kind: type[T], row: Any) -> T:
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: getattr(row, name) for name in names})


def _statement(row: sa.Row[Any]) -> Statement:
    found = _as(Statement, row)
    differences = tuple(Difference.from_json(each) for each in row.differences)
    return dataclasses.replace(found, differences=differences)

"""All SQL of usage control: quotas, uses, denials.

In: a `Tx` and plain values. Out: rows. The reserve is one conditional UPDATE, so that it and a
termination have an order on both databases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from yunhe.control.model import Denial, Quota, UseRecord
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

quota = sa.Table(
    "control_quota",
    metadata,
    sa.Column("contract_id", sa.String(255), primary_key=True),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("policy", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # in_force | terminated | expired
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("uses_max", sa.BigInteger),  # NULL: as many as they like
    sa.Column("uses_left", sa.BigInteger),
    sa.Column("uses_spent", sa.BigInteger, nullable=False),
    sa.Column("rows_max", sa.BigInteger),
    sa.Column("expires_at", UtcTime),
    sa.Column("opened_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("end_reason", sa.Text),
    sa.CheckConstraint("uses_left >= 0", name="uses_left_not_negative"),
    sa.CheckConstraint("uses_spent >= 0", name="uses_spent_not_negative"),
)

use = sa.Table(
    "control_use",
    metadata,
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("principal", sa.String(255), nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("purpose", sa.String(1024), nullable=False),
    sa.Column("rows_max", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # reserved | released | posted | void
    sa.Column("rows", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("fee_fen", sa.BigInteger),
    sa.Column("complete", sa.Boolean, nullable=False),
    sa.Column("entry_id", sa.String(128)),
    sa.Column("reserved_at", UtcTime, nullable=False),
    sa.Column("ended_at", UtcTime),
    sa.Column("why", sa.Text),
    sa.CheckConstraint("rows <= rows_max", name="rows_within_grant"),
    sa.Index("control_use_by_contract", "contract_id", "reserved_at"),
    sa.Index("control_use_by_state", "state", "reserved_at"),
)

denial = sa.Table(
    "control_denial",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # of what was asked and the answer
    sa.Column("use_id", sa.String(128), nullable=False),
    sa.Column("contract_id", sa.String(255), nullable=False),
    sa.Column("peer_did", sa.String(255), nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("entry_id", sa.String(128), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("control_denial_by_contract", "contract_id", "at"),
)


def open_quota(tx: Tx, values: dict[str, Any]) -> bool:
    """One row a contract; False if it is open already."""
    return tx.insert_once(quota, values)


def close_quota(tx: Tx, contract_id: str, state: str, version: int, reason: str) -> None:
    """No reserve passes after this row's commit."""
    tx.execute(
        sa.update(quota)
        .where(quota.c.contract_id == contract_id)
        .values(state=state, version=version, ended_at=tx.now, end_reason=reason)
    )


def find_quota(tx: Tx, contract_id: str) -> sa.Row[Any] | None:
    """The quota row of a contract, or None."""
    return tx.one(sa.select(quota).where(quota.c.contract_id == contract_id))


def reserve(tx: Tx, contract_id: str, version: int) -> bool:
    """Take one use if, at this very moment, the contract still allows it."""
    taken = tx.execute(
        sa.update(quota)
        .where(
            quota.c.contract_id == contract_id,
            quota.c.state == "in_force",
            quota.c.version == version,
            sa.or_(quota.c.uses_left.is_(None), quota.c.uses_left > 0),
            sa.or_(quota.c.expires_at.is_(None), quota.c.expires_at >= tx.now),
        )
        .values(uses_left=quota.c.uses_left - 1, uses_spent=quota.c.uses_spent + 1)
    )
    return taken.rowcount == 1


def give_back(tx: Tx, contract_id: str) -> None:
    """Undo one reserve."""
    tx.execute(
        sa.update(quota)
        .where(quota.c.contract_id == contract_id)
        .values(uses_left=quota.c.uses_left + 1, uses_spent=quota.c.uses_spent - 1)
    )


def voided(tx: Tx, contract_id: str, whys: Sequence[str], limit: int) -> int:
    """How many uses of a contract were voided for one of `whys`; counts to `limit`."""
    found = sa.select(use.c.use_id).where(
        use.c.contract_id == contract_id, use.c.state == "void", use.c.why.in_(whys)
    )
    return int(tx.scalar(sa.select(sa.func.count()).select_from(found.limit(limit).subquery())))


def add_use(tx: Tx, values: dict[str, Any]) -> bool:
    """Insert a reserved use; False if its id is taken."""
    return tx.insert_once(use, values)


def find_use(tx: Tx, use_id: str) -> sa.Row[Any] | None:
    """One use, or None."""
    return tx.one(sa.select(use).where(use.c.use_id == use_id))


def release(tx: Tx, use_id: str) -> bool:
    """reserved -> released, only while the contract is in force."""
    standing = sa.exists().where(
        quota.c.contract_id == use.c.contract_id, quota.c.state == "in_force"
    )
    moved = tx.execute(
        sa.update(use)
        .where(use.c.use_id == use_id, use.c.state == "reserved", standing)
        .values(state="released")
    )
    return moved.rowcount == 1


def end_use(tx: Tx, use_id: str, from_state: str, values: dict[str, Any]) -> bool:
    """Move a use out of `from_state`; False if it is not there any more."""
    moved = tx.execute(
        sa.update(use)
        .where(use.c.use_id == use_id, use.c.state == from_state)
        .values(ended_at=tx.now, **values)
    )
    return moved.rowcount == 1


def lower_use(tx: Tx, use_id: str, values: dict[str, Any]) -> bool:
    """Lower a posted use whose delivery was cut off; never raises the figure."""
    moved = tx.execute(
        sa.update(use)
        .where(
            use.c.use_id == use_id,
            use.c.state == "posted",
            use.c.complete.is_(False),
            use.c.rows > values["rows"],
        )
        .values(**values)
    )
    return moved.rowcount == 1


def unfinished(tx: Tx, before: datetime, limit: int) -> Sequence[sa.Row[Any]]:
    """Uses that are neither posted nor void, reserved before `before`, oldest first."""
    return tx.all(
        sa.select(use)
        .where(use.c.state.in_(("reserved", "released")), use.c.reserved_at <= before)
        .order_by(use.c.reserved_at)
        .limit(limit)
    )


def uses_of(tx: Tx, contract_id: str, states: Sequence[str] = ()) -> Sequence[sa.Row[Any]]:
    """The uses of a contract, oldest first, optionally in some states only."""
    query = sa.select(use).where(use.c.contract_id == contract_id)
    if states:
        query = query.where(use.c.state.in_(states))
    return tx.all(query.order_by(use.c.reserved_at, use.c.use_id))


def add_denial(tx: Tx, values: dict[str, Any]) -> bool:
    """Remember one refusal; False if exactly this one is known."""
    return tx.insert_once(denial, values)


def evidence_denial(tx: Tx, digest: str, entry_id: str) -> None:
    """Point a refusal to its evidence entry."""
    tx.execute(sa.update(denial).where(denial.c.digest == digest).values(entry_id=entry_id))


def denials_of(tx: Tx, contract_id: str, limit: int) -> Sequence[sa.Row[Any]]:
    """Refusals under a contract, newest first."""
    query = sa.select(denial).where(denial.c.contract_id == contract_id)
    return tx.all(query.order_by(denial.c.at.desc(), denial.c.digest).limit(limit))


def as_quota(row: sa.Row[Any]) -> Quota:
    """The row as a value."""
    return Quota(**_picked(Quota, row))


def as_use(row: sa.Row[Any]) -> UseRecord:
    """The row as a value."""
    return UseRecord(**_picked(UseRecord, row))


def as_denial(row: sa.Row[Any]) -> Denial:
    """The row as a value."""
    return Denial(**_picked(Denial, row))


def _picked(kind: Any, row: sa.Row[Any]) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(kind)}

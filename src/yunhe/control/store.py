"""All SQL of usage control: quotas, uses, denials.

In: a `Tx` and plain values. Out: rows. The reserve is one conditional UPDATE, so that it and a
termination have an order on both databases.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.control.model import ANSWERS, Denial, Quota, UseRecord
from yunhe.kernel.db import Json, Tx, UtcTime, by_name, metadata

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
    sa.Column("rows_total", sa.BigInteger),  # NULL: no bound on all uses together
    sa.Column("rows_left", sa.BigInteger),
    sa.Column("bytes_total", sa.BigInteger),
    sa.Column("bytes_left", sa.BigInteger),
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
    sa.Column("bytes_max", sa.BigInteger),
    sa.Column("holder", sa.String(64)),  # of several processes; NULL: the node's own
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
_quota_row, _use_row = by_name(quota), by_name(use)

# Built once: these run for every use, in its three verbs (kernel.db.prepared).
_KEY: Final[sa.BindParameter[Any]] = sa.bindparam("key")
_QUOTA: Final = sa.select(quota).where(quota.c.contract_id == _KEY)
_USE: Final = sa.select(use).where(use.c.use_id == _KEY)
_RESERVE: Final = (
    sa.update(quota)
    .where(
        quota.c.contract_id == _KEY,
        quota.c.state == "in_force",
        quota.c.version == sa.bindparam("judged"),
        sa.or_(quota.c.uses_left.is_(None), quota.c.uses_left > 0),
        sa.or_(quota.c.expires_at.is_(None), quota.c.expires_at >= sa.bindparam("now")),
    )
    .values(uses_left=quota.c.uses_left - 1, uses_spent=quota.c.uses_spent + 1)
)
_RELEASE: Final = (
    sa.update(use)
    .where(
        use.c.use_id == _KEY,
        use.c.state == "reserved",
        sa.exists().where(quota.c.contract_id == use.c.contract_id, quota.c.state == "in_force"),
    )
    .values(state="released")
)
_POSTED: Final = ("rows", "bytes", "fee_fen", "complete", "entry_id", "ended_at")
_POST: Final = (
    sa.update(use)
    .where(use.c.use_id == _KEY, use.c.state == "released")
    .values(state="posted", **{name: sa.bindparam(f"new_{name}") for name in _POSTED})
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


def find_quota(tx: Tx, contract_id: str) -> Any | None:
    """The quota row of a contract, or None."""
    for row in tx.rows(_QUOTA, {"key": contract_id}):
        return _quota_row(row)
    return None


def reserve(tx: Tx, contract_id: str, version: int) -> bool:
    """Take one use if, at this very moment, the contract still allows it."""
    values = {"key": contract_id, "judged": version, "now": tx.now}
    return tx.change(_RESERVE, values) == 1


def give_back(tx: Tx, contract_id: str) -> None:
    """Undo one reserve."""
    tx.execute(
        sa.update(quota)
        .where(quota.c.contract_id == contract_id)
        .values(uses_left=quota.c.uses_left + 1, uses_spent=quota.c.uses_spent - 1)
    )


def spend(tx: Tx, contract_id: str, rows: int, byte_count: int) -> None:
    """Count a use that was made elsewhere; the uses left do not fall below nothing."""
    left = sa.case((quota.c.uses_left > 0, quota.c.uses_left - 1), else_=quota.c.uses_left)
    tx.execute(
        sa.update(quota)
        .where(quota.c.contract_id == contract_id)
        .values(
            uses_left=left,
            uses_spent=quota.c.uses_spent + 1,
            rows_left=quota.c.rows_left - rows,
            bytes_left=quota.c.bytes_left - byte_count,
        )
    )


def posted_count(tx: Tx, contract_id: str) -> int:
    """How many uses of a contract are posted."""
    counted = sa.select(sa.func.count()).select_from(use)
    return int(tx.scalar(counted.where(use.c.contract_id == contract_id, use.c.state == "posted")))


def voided(tx: Tx, contract_id: str, whys: Sequence[str], limit: int) -> int:
    """How many uses of a contract were voided for one of `whys`; counts to `limit`."""
    found = sa.select(use.c.use_id).where(
        use.c.contract_id == contract_id, use.c.state == "void", use.c.why.in_(whys)
    )
    return int(tx.scalar(sa.select(sa.func.count()).select_from(found.limit(limit).subquery())))


def hold_quota(tx: Tx, contract_id: str) -> None:
    """No other verb reserves under this contract before ours ends (SQLite has one writer)."""
    tx.execute(
        sa.select(quota.c.version).where(quota.c.contract_id == contract_id).with_for_update()
    )


def _counting(contract_id: str) -> sa.ColumnElement[bool]:
    """Uses that count for a frequency: all but those given back before the data was looked at."""
    return sa.and_(
        use.c.contract_id == contract_id,
        sa.or_(use.c.state != "void", use.c.why.in_(ANSWERS)),
    )


def uses_since(tx: Tx, contract_id: str, start: datetime) -> int:
    """How many uses were reserved at `start` or later."""
    counted = sa.select(sa.func.count()).select_from(use)
    return int(tx.scalar(counted.where(_counting(contract_id), use.c.reserved_at >= start)))


def last_use_at(tx: Tx, contract_id: str) -> datetime | None:
    """When the latest use was reserved, or None."""
    latest = sa.select(use.c.reserved_at).where(_counting(contract_id))
    row = tx.one(latest.order_by(use.c.reserved_at.desc()).limit(1))
    return None if row is None else row.reserved_at


def held(tx: Tx, contract_id: str) -> tuple[int, int]:
    """Rows and bytes that uses under way may yet deliver."""
    under_way = use.c.state.in_(("reserved", "released"))
    mine = sa.and_(use.c.contract_id == contract_id, under_way)
    rows, size = (
        tx.scalar(sa.select(sa.func.coalesce(sa.func.sum(column), 0)).where(mine))
        for column in (use.c.rows_max, use.c.bytes_max)
    )
    return int(rows), int(size)


def add_use(tx: Tx, values: dict[str, Any]) -> bool:
    """Insert a reserved use; False if its id is taken."""
    return tx.insert_once(use, values)


def find_use(tx: Tx, use_id: str) -> Any | None:
    """One use, or None."""
    for row in tx.rows(_USE, {"key": use_id}):
        return _use_row(row)
    return None


def release(tx: Tx, use_id: str) -> bool:
    """reserved -> released, only while the contract is in force."""
    return tx.change(_RELEASE, {"key": use_id}) == 1


def post_use(tx: Tx, use_id: str, values: dict[str, Any]) -> bool:
    """released -> posted, with the `_POSTED` values; False if it is not released any more."""
    given = {f"new_{name}": value for name, value in (values | {"ended_at": tx.now}).items()}
    return tx.change(_POST, {"key": use_id, **given}) == 1


def void_use(tx: Tx, use_id: str, why: str) -> bool:
    """reserved -> void; False if it is not reserved any more."""
    moved = tx.execute(
        sa.update(use)
        .where(use.c.use_id == use_id, use.c.state == "reserved")
        .values(state="void", why=why, ended_at=tx.now)
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


def unfinished(
    tx: Tx, before: datetime, limit: int, but: Collection[str] = (), holder: str = ""
) -> Sequence[sa.Row[Any]]:
    """Uses that are neither posted nor void, reserved before `before`, oldest first.

    Those named in `but` are left out; with a `holder`, all but its own.
    """
    asked = sa.select(use).where(
        use.c.state.in_(("reserved", "released")), use.c.reserved_at <= before
    )
    if holder:
        asked = asked.where(use.c.holder == holder)
    found = tx.all(asked.order_by(use.c.reserved_at).limit(limit + len(but)))
    return [row for row in found if row.use_id not in but][:limit]


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


def as_quota(row: Any) -> Quota:
    """The row as a value."""
    return Quota(**_picked(Quota, row))


def as_use(row: Any) -> UseRecord:
    """The row as a value."""
    return UseRecord(**_picked(UseRecord, row))


def as_denial(row: sa.Row[Any]) -> Denial:
    """The row as a value."""
    return Denial(**_picked(Denial, row))


def _picked(kind: Any, row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(kind)}

"""SQL of pushes: what a push transfer carries beyond the transfer itself, at either side.

In: values of `Push`. Out: the same, read back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa

from yunhe.contracts import store
from yunhe.contracts.model import DataAddress, Side, Transfer
from yunhe.kernel import limits
from yunhe.kernel.db import Tx, UtcTime, by_name, metadata


class PushState(StrEnum):
    """How far a push is, beside the state of its transfer.

    Provider: waiting → ready (the result lies on disk, the use is released) → delivered → done,
    or cut. Consumer: waiting → done, or cut.
    """

    WAITING = "waiting"
    READY = "ready"
    DELIVERED = "delivered"
    DONE = "done"
    CUT = "cut"


OPEN: Final = (PushState.WAITING, PushState.READY, PushState.DELIVERED)


@dataclass(frozen=True)
class Push:
    """One push. `total`, `rows`, `digest` are known once the result lies whole on a disk;
    `sent` is what may have left the provider, at most, or has come to the consumer."""

    transfer_id: str
    role: Side
    state: PushState
    sql: str  # empty: the whole product
    purpose: str
    principal: str
    use_id: str
    method: str  # how the provider sends: POST or PUT
    ranged: bool  # whether the other end takes the rest of a broken body
    created_at: datetime
    attempt: int = 0  # queries begun; each is a use of its own, all but the last are void
    total: int = 0
    sent: int = 0
    rows: int = 0
    digest: str = ""
    failures: int = 0
    next_at: datetime | None = None
    last_error: str = ""
    owner: str = ""  # the replica of the provider on whose disk the result lies
    seal: str = ""  # the receiver's public key, where the result is to be sealed

    @property
    def use(self) -> str:
        """The id of the present use: what was asked for, with a mark after a crashed query."""
        return self.use_id if self.attempt <= 1 else f"{self.use_id}~{self.attempt}"


@dataclass(frozen=True)
class Wish:
    """What the consumer asks to be pushed; no `sql`: the whole product."""

    purpose: str
    use_id: str
    sql: str = ""
    principal: str = ""
    seal: str = ""


def made(t: Transfer, wish: Wish, now: datetime, address: DataAddress) -> Push:
    """The push of a transfer that was just asked for."""
    return Push(
        transfer_id=t.id,
        role=t.role,
        state=PushState.WAITING,
        sql=wish.sql,
        purpose=wish.purpose,
        principal=wish.principal,
        use_id=wish.use_id or t.id,
        method=address.method,
        ranged=address.ranged,
        created_at=now,
        seal=wish.seal,
    )


_ID = sa.String(limits.PID_CHARS_MAX)

pushes = sa.Table(
    "contract_pushes",
    metadata,
    sa.Column("transfer_id", _ID, sa.ForeignKey("contract_transfers.id"), primary_key=True),
    sa.Column("role", sa.String(8), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("sql", sa.Text, nullable=False),
    sa.Column("purpose", sa.String(64), nullable=False),
    sa.Column("principal", sa.String(128), nullable=False),
    sa.Column("use_id", sa.String(128), nullable=False),
    sa.Column("method", sa.String(8), nullable=False),
    sa.Column("ranged", sa.Boolean, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("next_at", UtcTime),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("owner", sa.String(64), nullable=False),
    sa.Column("seal", sa.String(64), nullable=False, server_default=""),
    sa.Index("contract_pushes_open", "role", "state"),
)
_NAMES: Final = tuple(field.name for field in fields(Push))
_by_name = by_name(pushes)
# Built once: it is asked for every second (kernel.db.prepared).
_UNFINISHED: Final = (
    sa.select(pushes)
    .where(
        pushes.c.role == sa.bindparam("of_role"),
        sa.or_(*(pushes.c.state == state.value for state in OPEN)),
    )
    .order_by(pushes.c.created_at, pushes.c.transfer_id)
    .limit(limits.CONTRACT_LIST_MAX)
)


def _row(push: Push) -> dict[str, Any]:
    said = {name: getattr(push, name) for name in _NAMES}
    return said | {"role": push.role.value, "state": push.state.value}


def _push(row: Any) -> Push:
    said = {name: getattr(row, name) for name in _NAMES}
    return Push(**{**said, "role": Side(row.role), "state": PushState(row.state)})


def insert(tx: Tx, push: Push) -> None:
    """Add a push."""
    tx.execute(sa.insert(pushes), _row(push))


def save(tx: Tx, push: Push) -> None:
    """Write a push back."""
    key = pushes.c.transfer_id == push.transfer_id
    tx.execute(sa.update(pushes).where(key), _row(push))


def find(tx: Tx, transfer_id: str, lock: bool = False) -> Push | None:
    """The push of a transfer, or None."""
    query = sa.select(pushes).where(pushes.c.transfer_id == transfer_id)
    row = tx.one(query.with_for_update() if lock else query)
    return None if row is None else _push(row)


def sealed(tx: Tx) -> list[Push]:
    """The pushes that came, or are to come, sealed to this node; the latest first."""
    c = pushes.c
    query = sa.select(pushes).where(c.role == Side.CONSUMER.value, c.seal != "")
    query = query.order_by(c.created_at.desc(), c.transfer_id).limit(limits.CONTRACT_LIST_MAX)
    return [_push(row) for row in tx.all(query)]


def sealed_under(tx: Tx, contract_id: str) -> list[Push]:
    """The sealed pushes of one contract, the oldest first."""
    c, t = pushes.c, store.transfers.c
    query = sa.select(pushes).join(store.transfers, t.id == c.transfer_id)
    query = query.where(t.contract_id == contract_id, c.seal != "")
    return [_push(row) for row in tx.all(query.order_by(c.created_at, c.transfer_id))]


def unfinished(tx: Tx, role: Side) -> list[Push]:
    """The open pushes of one side, the oldest first."""
    found = tx.rows(_UNFINISHED, {"of_role": role.value})
    return [_push(_by_name(row)) for row in found]

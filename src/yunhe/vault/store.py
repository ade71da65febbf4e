"""All SQL of the vault: what was read, what was destroyed, what receivers report of both."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from yunhe.kernel import limits
from yunhe.kernel.db import Json, Tx, UtcTime, metadata

READ: Final = "read"
DESTROYED: Final = "destroyed"
AWAITED, PROVED, OVERDUE = "awaited", "proved", "overdue"


@dataclass(frozen=True)
class Note:
    """One read or destruction, signed by the receiver. `role`: whose side this row is of."""

    id: str
    role: str  # "receiver" | "provider"
    kind: str
    contract_id: str
    use_id: str
    body: dict[str, Any]
    jws: str
    entry_id: str
    at: datetime
    acknowledged_at: datetime | None = None  # when the provider said that it has verified it


@dataclass(frozen=True)
class Due:
    """A proof of destruction that this node, as provider, is owed. `key`: what the delivery was
    sealed for; `state`: awaited, proved, or overdue since `due_at`."""

    use_id: str
    contract_id: str
    receiver: str
    key: str
    state: str
    due_at: datetime
    proved_at: datetime | None = None
    note_id: str = ""


notes: Final = sa.Table(
    "vault_note",
    metadata,
    sa.Column("id", sa.String(160), primary_key=True),
    sa.Column("role", sa.String(8), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), nullable=False, index=True),
    sa.Column("use_id", sa.String(128), nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("jws", sa.Text, nullable=False),
    sa.Column("entry_id", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("acknowledged_at", UtcTime),
)
due: Final = sa.Table(
    "vault_due",
    metadata,
    sa.Column("use_id", sa.String(128), primary_key=True),
    sa.Column("contract_id", sa.String(limits.PID_CHARS_MAX), nullable=False, index=True),
    sa.Column("receiver", sa.String(255), nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("due_at", UtcTime, nullable=False),
    sa.Column("proved_at", UtcTime),
    sa.Column("note_id", sa.String(160), nullable=False),
)
_NAMES: Final = tuple(field.name for field in fields(Note))
_DUE: Final = tuple(field.name for field in fields(Due))


def add(tx: Tx, note: Note) -> bool:
    """Keep a note; whether it is new."""
    return tx.insert_once(notes, vars(note))


def find(tx: Tx, note_id: str, role: str) -> Note | None:
    """One note, or None."""
    c = notes.c
    row = tx.one(sa.select(notes).where(c.id == note_id, c.role == role))
    return None if row is None else _note(row)


def of_contract(tx: Tx, contract_id: str) -> list[Note]:
    """The notes of a contract, oldest first."""
    c = notes.c
    query = sa.select(notes).where(c.contract_id == contract_id).order_by(c.at, c.id)
    return [_note(row) for row in tx.all(query.limit(limits.VAULT_NOTES_LISTED_MAX))]


def acknowledge(tx: Tx, note_id: str) -> None:
    """The provider has this note of ours."""
    c = notes.c
    mine = (c.id == note_id, c.role == "receiver", c.acknowledged_at.is_(None))
    tx.execute(sa.update(notes).where(*mine).values(acknowledged_at=tx.now))


def add_due(tx: Tx, found: Due) -> bool:
    """A proof is owed from now on; whether that is new."""
    return tx.insert_once(due, vars(found))


def prove(tx: Tx, contract_id: str, key: str, note_id: str) -> None:
    """The proof that the key is gone has come, and was verified."""
    c = due.c
    tx.execute(
        sa.update(due)
        .where(c.contract_id == contract_id, c.key == key, c.state != PROVED)
        .values(state=PROVED, proved_at=tx.now, note_id=note_id)
    )


def dues(tx: Tx, contract_id: str) -> list[Due]:
    """The proofs owed under a contract."""
    query = sa.select(due).where(due.c.contract_id == contract_id).order_by(due.c.use_id)
    return [_due(row) for row in tx.all(query)]


def overdue(tx: Tx) -> list[Due]:
    """What is awaited in vain by now, the longest first."""
    c = due.c
    query = sa.select(due).where(c.state == AWAITED, c.due_at <= tx.now).order_by(c.due_at)
    return [_due(row) for row in tx.all(query.limit(limits.VAULT_DUE_TAKEN_MAX))]


def is_overdue(tx: Tx, use_id: str) -> None:
    """Write down that it is overdue."""
    tx.execute(sa.update(due).where(due.c.use_id == use_id).values(state=OVERDUE))


def _due(row: Any) -> Due:
    return Due(**{name: getattr(row, name) for name in _DUE})


def _note(row: Any) -> Note:
    return Note(**{name: getattr(row, name) for name in _NAMES})

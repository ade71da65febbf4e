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
)
_NAMES: Final = tuple(field.name for field in fields(Note))


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


def reads(tx: Tx, contract_id: str) -> int:
    """How often this node has read what came sealed under a contract."""
    c = notes.c
    query = sa.select(sa.func.count()).where(
        c.contract_id == contract_id, c.kind == READ, c.role == "receiver"
    )
    return int(tx.scalar(query))


def _note(row: Any) -> Note:
    return Note(**{name: getattr(row, name) for name in _NAMES})

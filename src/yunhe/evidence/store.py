"""All SQL of the log: entries, full tiles, checkpoints, and the sequencer's one state row.

Salt and body stand beside the leaf and can be destroyed; leaf, index, tiles and checkpoints
are written once. The primary key of a checkpoint is its size: no second root for one size.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from yunhe.evidence.merkle import HASH_BYTES, Frontier, leaf_hash
from yunhe.evidence.model import Entry, Standing
from yunhe.evidence.tiles import WIDTH
from yunhe.kernel.db import Tx, UtcTime, metadata

_ROWID = sa.BigInteger().with_variant(sa.Integer, "sqlite")

entries = sa.Table(
    "evidence_entry",
    metadata,
    sa.Column("seq", _ROWID, primary_key=True, autoincrement=True),
    sa.Column("entry_id", sa.String(36), nullable=False, unique=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sa.Column("log_index", sa.BigInteger, unique=True),
    sa.Column("salt", sa.LargeBinary),
    sa.Column("body", sa.Text),
)
sa.Index(
    "ix_evidence_unsequenced",
    entries.c.seq,
    sqlite_where=entries.c.log_index.is_(None),
    postgresql_where=entries.c.log_index.is_(None),
)
sa.Index("ix_evidence_kind", entries.c.kind, entries.c.seq)

tiles = sa.Table(
    "evidence_tile",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tile_index", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
)

checkpoints = sa.Table(
    "evidence_checkpoint",
    metadata,
    sa.Column("size", _ROWID, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
)

state = sa.Table(
    "evidence_state",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("frontier", sa.LargeBinary, nullable=False),
    sa.Column("tail", sa.LargeBinary, nullable=False),  # leaf hashes of the unfilled tile
)

# Statements of the hot path are built once, for `Tx.rows` and `Tx.change`.
_UNSEQUENCED = (
    sa.select(entries.c.seq, entries.c.leaf)
    .where(entries.c.log_index.is_(None))
    .order_by(entries.c.seq)
    .limit(sa.bindparam("row_limit"))
)
_ASSIGN = (
    sa.update(entries)
    .where(entries.c.seq == sa.bindparam("at_seq"), entries.c.log_index.is_(None))
    .values(log_index=sa.bindparam("new_index"))
)
_ASSIGN_RUN = (
    sa.update(entries)
    .where(
        entries.c.seq >= sa.bindparam("first_seq"),
        entries.c.seq <= sa.bindparam("last_seq"),
        entries.c.log_index.is_(None),
    )
    .values(log_index=entries.c.seq + sa.bindparam("shift"))
)
_STATE = sa.select(state.c.size, state.c.frontier, state.c.tail).where(state.c.id == 1)
_ADVANCE = (
    sa.update(state)
    .where(state.c.id == 1, state.c.size == sa.bindparam("old_size"))
    .values(
        size=sa.bindparam("new_size"),
        frontier=sa.bindparam("new_frontier"),
        tail=sa.bindparam("new_tail"),
    )
)
_LATEST = (
    sa.select(checkpoints.c.size, checkpoints.c.root, checkpoints.c.note)
    .order_by(checkpoints.c.size.desc())
    .limit(1)
)


@dataclass(frozen=True)
class State:
    """Where the sequencer stands: size, frontier hashes, leaf hashes of the unfilled tile."""

    size: int
    frontier: bytes
    tail: bytes

    def resume(self) -> Frontier:
        """The right edge to append to."""
        cut = [self.frontier[i : i + HASH_BYTES] for i in range(0, len(self.frontier), HASH_BYTES)]
        return Frontier(self.size, cut)


@dataclass(frozen=True)
class Head:
    """A checkpoint as stored."""

    size: int
    root: bytes
    note: str


def standing(tx: Tx) -> Standing:
    """The log as its operator watches it."""
    newest = sa.select(checkpoints.c.size, checkpoints.c.at).order_by(checkpoints.c.size.desc())
    head = tx.one(newest.limit(1))
    waits = sa.select(entries.c.at).where(entries.c.log_index.is_(None)).order_by(entries.c.seq)
    waiting = tx.one(waits.limit(1))
    return Standing(
        size=0 if head is None else head.size,
        grown_at=None if head is None else head.at,
        waiting_since=None if waiting is None else waiting.at,
    )


def insert_entry(tx: Tx, entry: Entry, body: str) -> None:
    """Store an unsequenced entry with its salt and canonical body."""
    tx.insert(
        entries,
        {
            "entry_id": entry.entry_id,
            "kind": entry.kind,
            "at": entry.at,
            "leaf": entry.leaf,
            "salt": entry.salt,
            "body": body,
        },
    )


def unsequenced(tx: Tx, limit: int) -> Sequence[tuple[int, bytes]]:
    """(seq, leaf) of entries without an index, oldest first."""
    return tx.rows(_UNSEQUENCED, {"row_limit": limit})


def assign(tx: Tx, seqs: Sequence[int], first: int) -> None:
    """Give dense indices from `first` on to the rows `seqs`, in order."""
    if seqs[-1] - seqs[0] == len(seqs) - 1:  # no gap: always so on SQLite
        run = {"first_seq": seqs[0], "last_seq": seqs[-1], "shift": first - seqs[0]}
        tx.change(_ASSIGN_RUN, run)
        return
    each = [{"at_seq": seq, "new_index": first + i} for i, seq in enumerate(seqs)]
    tx.change_each(_ASSIGN, each)


def read_state(tx: Tx) -> State:
    """The sequencer's state; of an empty log where there is none yet."""
    rows = tx.rows(_STATE, {})
    return State(*rows[0]) if rows else State(0, b"", b"")


def create_state(tx: Tx) -> None:
    """Make the state row of an empty log unless it is there."""
    tx.insert_once(state, {"id": 1, "size": 0, "frontier": b"", "tail": b""})


def advance(tx: Tx, old_size: int, new: State) -> bool:
    """Move the state from `old_size`; False if another sequencer was first."""
    values = {
        "old_size": old_size,
        "new_size": new.size,
        "new_frontier": new.frontier,
        "new_tail": new.tail,
    }
    return tx.change(_ADVANCE, values) == 1


def insert_tile(tx: Tx, level: int, index: int, hashes: bytes, root: bytes) -> None:
    """Store one full tile, for good."""
    values = {"level": level, "tile_index": index, "hashes": hashes, "root": root}
    tx.insert(tiles, values)


def tile_hashes(tx: Tx, level: int, index: int) -> bytes | None:
    """The hashes of a full tile, or None while it is not full."""
    query = sa.select(tiles.c.hashes).where(tiles.c.level == level, tiles.c.tile_index == index)
    found: bytes | None = tx.scalar(query)
    return found


def tile_roots(tx: Tx, level: int, first: int, count: int) -> bytes:
    """The roots of the full tiles `[first, first + count)` of `level`, concatenated."""
    query = (
        sa.select(tiles.c.root)
        .where(
            tiles.c.level == level,
            tiles.c.tile_index >= first,
            tiles.c.tile_index < first + count,
        )
        .order_by(tiles.c.tile_index)
    )
    return b"".join(row.root for row in tx.all(query))


def leaves(tx: Tx, first: int, count: int) -> list[bytes]:
    """The entry bytes at the indices `[first, first + count)`."""
    query = (
        sa.select(entries.c.leaf)
        .where(entries.c.log_index >= first, entries.c.log_index < first + count)
        .order_by(entries.c.log_index)
    )
    return [row.leaf for row in tx.all(query)]


def hashes_of(tx: Tx, level: int, index: int, width: int) -> bytes:
    """The first `width` hashes of a tile, full or partial; shorter if rows are missing."""
    full = tile_hashes(tx, level, index)
    if full is not None:
        return full[: width * HASH_BYTES]
    if level == 0:
        return b"".join(map(leaf_hash, leaves(tx, index * WIDTH, width)))
    return tile_roots(tx, level - 1, index * WIDTH, width)


def insert_checkpoint(tx: Tx, head: Head) -> None:
    """Store a signed checkpoint; a second one of its size is refused by the key."""
    values = {"size": head.size, "root": head.root, "note": head.note, "at": tx.now}
    tx.insert(checkpoints, values)


def latest(tx: Tx) -> Head | None:
    """The newest checkpoint."""
    row = tx.one(_LATEST)
    return None if row is None else Head(row.size, row.root, row.note)


def heads_between(tx: Tx, over: int, to: int) -> list[Head]:
    """The checkpoints of sizes in `(over, to]`, smallest first."""
    query = (
        sa.select(checkpoints.c.size, checkpoints.c.root, checkpoints.c.note)
        .where(checkpoints.c.size > over, checkpoints.c.size <= to)
        .order_by(checkpoints.c.size)
    )
    return [Head(row.size, row.root, row.note) for row in tx.all(query)]


def entry(tx: Tx, entry_id: str) -> Entry | None:
    """One entry by its id."""
    row = tx.one(sa.select(entries).where(entries.c.entry_id == entry_id))
    return None if row is None else _entry(row)


def find(tx: Tx, kind: str | None, limit: int) -> list[Entry]:
    """The newest entries, of one kind or of all, newest first."""
    query = sa.select(entries).order_by(entries.c.seq.desc()).limit(limit)
    if kind is not None:
        query = query.where(entries.c.kind == kind)
    return [_entry(row) for row in tx.all(query)]


def sequenced(tx: Tx, first: int, end: int) -> Sequence[sa.Row[Any]]:
    """Raw rows with an index in `[first, end)`, by index; bodies as stored text."""
    query = (
        sa.select(entries)
        .where(entries.c.log_index >= first, entries.c.log_index < end)
        .order_by(entries.c.log_index)
    )
    return tx.all(query)


def beyond(tx: Tx, size: int) -> int | None:
    """An index at or over `size`, which no checkpoint covers, or None."""
    found: int | None = tx.scalar(
        sa.select(sa.func.min(entries.c.log_index)).where(entries.c.log_index >= size)
    )
    return found


def destroy_body(tx: Tx, entry_id: str) -> None:
    """Destroy salt and body; leaf and index stay."""
    change = sa.update(entries).where(entries.c.entry_id == entry_id)
    tx.execute(change.values(salt=None, body=None))


def lock_sequencer(tx: Tx) -> bool:
    """PostgreSQL: True if this transaction is the one sequencer until it ends."""
    query = sa.select(sa.func.pg_try_advisory_xact_lock(_LOCK))
    return bool(tx.scalar(query))


_LOCK = 0x79756E6865  # "yunhe": one sequencer a database


def _entry(row: sa.Row[Any]) -> Entry:
    body = None if row.body is None else json.loads(row.body)
    return Entry(row.entry_id, row.kind, row.at, row.leaf, row.log_index, row.salt, body)

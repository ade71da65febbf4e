"""The audit: recompute the whole log from its rows and name the first entry that does not hold.

In: a read transaction. Out: the size that holds, or LogCorrupt with the index. Every leaf, body,
tile, checkpoint root and signature is looked at; a deleted or edited row cannot hide.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import sqlalchemy as sa

from yunhe.evidence import store
from yunhe.evidence.errors import LogCorrupt
from yunhe.evidence.merkle import HASH_BYTES, Frontier, leaf_hash
from yunhe.evidence.model import leaf_bytes
from yunhe.evidence.note import BadNote, Checkpoint, VerifierKey, open_checkpoint
from yunhe.evidence.tiles import WIDTH, tile_root
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx

ERASED: Final = "evidence.erased"
_PAGE: Final = 16 * WIDTH


def audit(tx: Tx, key: VerifierKey) -> int:
    """Recompute the log under `key`; its size, or LogCorrupt naming the first bad index."""
    size = store.read_state(tx).size
    head = store.latest(tx)
    if head is None or head.size != size:
        raise LogCorrupt(index=size, what="the newest checkpoint is not of the log's size")
    if (stray := store.beyond(tx, size)) is not None:
        raise LogCorrupt(index=stray, what="an index that no checkpoint covers")
    walk = _Walk(tx, key, size)
    for first in range(0, size, _PAGE):
        walk.page(first, min(first + _PAGE, size))
    walk.finish()
    return size


class _Walk:
    """One pass over the log, growing the tree again."""

    def __init__(self, tx: Tx, key: VerifierKey, size: int) -> None:
        self._tx = tx
        self._key = key
        self._size = size
        self._frontier = Frontier()
        self._levels: list[bytes] = []  # hashes of the unfilled tile at each level
        self._erased: set[str] = set()
        self._without_body: dict[str, int] = {}

    def page(self, first: int, end: int) -> None:
        rows = store.sequenced(self._tx, first, end)
        heads = {head.size: head for head in store.heads_between(self._tx, first, end)}
        stored = self._stored_hashes(first, end)
        for index in range(first, end):
            place = index - first
            if place >= len(rows) or rows[place].log_index != index:
                raise LogCorrupt(index=index, what="the entry is missing")
            hash_ = self._leaf(rows[place], index)
            if stored[place * HASH_BYTES : (place + 1) * HASH_BYTES] != hash_:
                raise LogCorrupt(index=index, what="the entry is not what was sequenced")
            self._frontier.append(hash_)
            self._fill(0, index // WIDTH, hash_)
            if (head := heads.get(index + 1)) is not None:
                self._head(head)

    def _stored_hashes(self, first: int, end: int) -> bytes:
        """The leaf hashes as the tiles and the sequencer's tail have them."""
        found = b""
        for tile in range(first // WIDTH, (end + WIDTH - 1) // WIDTH):
            if (tile + 1) * WIDTH <= self._size:
                hashes = store.tile_hashes(self._tx, 0, tile)
                if hashes is None or len(hashes) != WIDTH * HASH_BYTES:
                    raise LogCorrupt(index=tile * WIDTH, what="its tile is missing")
                found += hashes
            else:
                found += store.read_state(self._tx).tail
        return found

    def _leaf(self, row: sa.Row[Any], index: int) -> bytes:
        try:
            said = json.loads(row.leaf)
            commitment = said["c"]
            same = leaf_bytes(row.entry_id, row.kind, iso(row.at), commitment) == row.leaf
        except (ValueError, KeyError, TypeError) as error:
            raise LogCorrupt(index=index, what="the entry is not readable") from error
        if not same:
            raise LogCorrupt(index=index, what="id, kind or time differ from the entry")
        if row.body is None or row.salt is None:
            self._without_body[row.entry_id] = index
        elif hashlib.sha256(row.salt + row.body.encode()).hexdigest() != commitment:
            raise LogCorrupt(index=index, what="the body or salt is not what was committed to")
        elif row.kind == ERASED:
            self._erased.add(json.loads(row.body)["entry_id"])
        return leaf_hash(row.leaf)

    def _fill(self, level: int, tile: int, hash_: bytes) -> None:
        if len(self._levels) == level:
            self._levels.append(b"")
        self._levels[level] += hash_
        if len(self._levels[level]) < WIDTH * HASH_BYTES:
            return
        hashes, self._levels[level] = self._levels[level], b""
        root = tile_root(hashes)
        if level and store.tile_hashes(self._tx, level, tile) != hashes:
            raise LogCorrupt(index=self._frontier.size - 1, what=f"a tile of level {level} differs")
        if store.tile_roots(self._tx, level, tile, 1) != root:
            raise LogCorrupt(index=self._frontier.size - 1, what="a tile's root differs")
        self._fill(level + 1, tile // WIDTH, root)

    def _head(self, head: store.Head) -> None:
        last = max(0, head.size - 1)
        try:
            said = open_checkpoint(head.note, self._key, only_trusted=True)
        except BadNote as error:
            raise LogCorrupt(index=last, what="its checkpoint's signature is bad") from error
        if said != Checkpoint(self._key.name, self._frontier.size, self._frontier.root()):
            raise LogCorrupt(index=last, what="its checkpoint has another root")
        if head.root != said.root:
            raise LogCorrupt(index=last, what="its checkpoint's stored root differs")

    def finish(self) -> None:
        state = store.read_state(self._tx)
        if (
            state.resume().hashes() != self._frontier.hashes()
            or state.tail != (self._levels or [b""])[0]
        ):
            raise LogCorrupt(index=max(0, self._size - 1), what="the sequencer's state differs")
        for entry_id, index in self._without_body.items():
            if entry_id not in self._erased:
                raise LogCorrupt(index=index, what="the body is gone and no erasure is on record")

"""The evidence log of one node: record in a verb, prove within a second, audit at any time.

In: kinds and bodies from the verbs of other slices. Out: receipts, proofs, checkpoints, tiles.
The life of an entry: `record` -> `sequencer.sequence` at the end of the group -> `proof`.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any

from yunhe.evidence import merkle, store
from yunhe.evidence.audit import ERASED, audit
from yunhe.evidence.errors import (
    EntryNotFound,
    LogCorrupt,
    LogKeyChanged,
    NotErasable,
    ProofPending,
    TileNotFound,
)
from yunhe.evidence.model import Entry, Proof, Receipt, Resource, Standing, own_leaf
from yunhe.evidence.note import BadNote, Checkpoint, Signer, open_checkpoint, verifier_key
from yunhe.evidence.proof import TlogProof
from yunhe.evidence.sequencer import BATCH, sequence, sign_head
from yunhe.evidence.tiles import (
    WIDTH,
    node_reader,
    pack_entries,
    parse_path,
    tile_path,
    tiles_of,
    width_at,
)
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.chores import Chores
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import TooLarge

_KIND = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+")


class EvidenceLog:
    """One log: `signer` is the node's log key, `origin` its name (host and path, no scheme)."""

    def __init__(self, db: Database, signer: Signer, origin: str) -> None:
        self._db = db
        self._signer = signer
        self._origin = origin
        self._key = verifier_key(origin, signer)
        # Whether a verb of the present group recorded anything: only saves a query. The first
        # group after a start always looks, for what an earlier process left.
        self._dirty = True
        self._sequencer = Chores(
            "sequencer",
            limits.SEQUENCER_POLL_S,
            self._sequence_all,
            gather_s=limits.SEQUENCER_GATHER_S,
        )

    @property
    def vkey(self) -> str:
        """The log's public key as others keep it: `origin+hash+base64`."""
        return str(self._key)

    @property
    def origin(self) -> str:
        """The name of the log, first line of its checkpoints."""
        return self._origin

    # -- life -------------------------------------------------------------------------------

    def install(self) -> None:
        """Open the log (a checkpoint of size 0 if it is new) and hook the sequencer in.

        Raises LogKeyChanged where the newest checkpoint is by another key or origin.
        """
        self._db.write(self._open)
        if self._db.dialect == "sqlite":
            self._db.before_commit.append(self._end_of_group)

    def _open(self, tx: Tx) -> None:
        store.create_state(tx)
        head = store.latest(tx)
        if head is None:
            sign_head(tx, Checkpoint(self._origin, 0, merkle.EMPTY_ROOT), self._signer)
            return
        try:
            open_checkpoint(head.note, self._key)
        except BadNote as error:
            raise LogKeyChanged(detail=str(error), origin=self._origin) from error

    def _end_of_group(self, tx: Tx) -> None:
        if self._dirty:
            while sequence(tx, self._origin, self._signer, self._db.crash) == BATCH:
                pass
            self._dirty = False

    def start(self) -> None:
        """PostgreSQL: run the sequencer thread. SQLite sequences in its writer: nothing to do."""
        if self._db.dialect != "sqlite" and not self._sequencer.alive():
            self._sequencer.start()

    def stop(self) -> None:
        """End the sequencer thread; what is unsequenced waits for the next start."""
        self._sequencer.stop()

    def alive(self) -> bool:
        """Whether somebody sequences what is recorded: on SQLite whoever writes does."""
        return self._db.dialect == "sqlite" or self._sequencer.alive()

    def _sequence_all(self) -> None:
        # Where it fails nothing was signed; the entries wait for the next round.
        while self._db.write(self._round) == BATCH and not self._sequencer.stopping:
            pass

    def _round(self, tx: Tx) -> int:
        if not store.lock_sequencer(tx):
            return 0
        return sequence(tx, self._origin, self._signer, self._db.crash)

    # -- write ------------------------------------------------------------------------------

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> Receipt:
        """Commit to `body` inside the verb `tx`; personal data stays in the body, never the log.

        Raises BadJson or TooLarge for a body that cannot be committed to.
        """
        if _KIND.fullmatch(kind) is None:
            raise ValueError(f"a kind is dotted lower case, not {kind!r}")
        text = dumps(body)
        if len(text) > limits.EVIDENCE_BODY_BYTES_MAX:
            limit = f"{limits.EVIDENCE_BODY_BYTES_MAX} bytes"
            raise TooLarge(what="the body of an evidence entry", limit=limit)
        # Random: whoever knows the body still cannot test a guess against the tree.
        salt = tx.new_secret()
        entry_id = tx.new_id()
        leaf = own_leaf(entry_id, kind, iso(tx.now), hashlib.sha256(salt + text).hexdigest())
        entry = Entry(entry_id, kind, tx.now, leaf, None, salt, None)
        store.insert_entry(tx, entry, text.decode())
        if tx.dialect == "sqlite":
            self._dirty = True
        else:
            tx.after_commit(self._sequencer.ring)
        return Receipt(entry_id, merkle.leaf_hash(leaf).hex())

    def erase(self, tx: Tx, entry_id: str, why: str) -> Receipt:
        """Destroy the salt and body of an entry; tree and proofs stand, and the act is recorded.

        Raises EntryNotFound, NotErasable.
        """
        entry = store.entry(tx, entry_id)
        if entry is None:
            raise EntryNotFound(entry_id=entry_id)
        if entry.kind == ERASED:
            raise NotErasable(why="it records an erasure")
        if entry.body is None:
            raise NotErasable(why="it is erased already")
        store.destroy_body(tx, entry_id)
        return self.record(tx, ERASED, {"entry_id": entry_id, "why": why})

    # -- read -------------------------------------------------------------------------------

    def entry(self, entry_id: str) -> Entry:
        """One entry with salt and body; raises EntryNotFound."""
        found = self._db.read(lambda tx: store.entry(tx, entry_id))
        if found is None:
            raise EntryNotFound(entry_id=entry_id)
        return found

    def find(self, kind: str | None = None, limit: int = 100) -> list[Entry]:
        """The newest entries (at most 1,000), of one kind or of all."""
        capped = max(0, min(limit, limits.EVIDENCE_FIND_MAX))
        return self._db.read(lambda tx: store.find(tx, kind, capped))

    def checkpoint(self) -> str:
        """The newest signed checkpoint (a C2SP note)."""
        return self._db.read(_head).note

    def standing(self) -> Standing:
        """How large the log is, when it last grew, and since when an entry waits for its index."""
        return self._db.read(store.standing)

    def proof(self, entry_id: str, wait_s: float = 0.0) -> Proof:
        """The entry's proof under the newest checkpoint; raises EntryNotFound, ProofPending.

        On PostgreSQL an entry is sequenced just after its verb: `wait_s` is the patience.
        """
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return self._db.read(lambda tx: self._prove(tx, entry_id))
            except ProofPending:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(limits.PROOF_POLL_S)

    def _prove(self, tx: Tx, entry_id: str) -> Proof:
        entry = store.entry(tx, entry_id)
        if entry is None:
            raise EntryNotFound(entry_id=entry_id)
        head = _head(tx)
        if entry.index is None or entry.index >= head.size:
            raise ProofPending
        path = merkle.inclusion_path(entry.index, head.size, _nodes(tx, head.size))
        try:
            TlogProof(entry.index, tuple(path), head.note).verify(entry.leaf, self._key)
        except (merkle.BadProof, BadNote) as error:
            # Better no proof than one that fails at the judge's.
            raise LogCorrupt(index=entry.index, what=str(error)) from error
        return Proof(entry.leaf, entry.index, head.size, tuple(path), head.note)

    def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """The RFC 6962 path from one size of the log to a later one; raises TileNotFound."""

        def read(tx: Tx) -> list[bytes]:
            if not 0 <= old_size <= new_size <= _head(tx).size:
                raise TileNotFound
            return merkle.consistency_path(old_size, new_size, _nodes(tx, new_size))

        return self._db.read(read)

    def tile(self, level: int, index: int, width: int = WIDTH) -> bytes:
        """The first `width` hashes of a tile; raises TileNotFound where the log is not so far."""
        return self._db.read(lambda tx: _tile(tx, level, index, width))

    def entries_tile(self, index: int, width: int = WIDTH) -> bytes:
        """The first `width` entries of a bundle (C2SP tlog-tiles); raises TileNotFound."""
        return self._db.read(lambda tx: _bundle(tx, index, width))

    def resource(self, path: str) -> Resource:
        """One file of the read API under the log's prefix: `checkpoint` or `tile/…`.

        Raises TileNotFound. For the api to mount; content types and caching as tlog-tiles says.
        """
        if path == "checkpoint":
            return Resource(self.checkpoint().encode(), "text/plain; charset=utf-8", 1)
        try:
            level, index, width = parse_path(path)
        except ValueError as error:
            raise TileNotFound(detail=str(error)) from error
        if isinstance(level, str):
            content = self.entries_tile(index, width)
        else:
            content = self.tile(level, index, width)
        return Resource(content, "application/octet-stream", limits.TILE_CACHE_S)

    def verify_all(self) -> int:
        """Recompute everything; the size that holds, or LogCorrupt naming the index."""
        return self._db.read(lambda tx: audit(tx, self._key))

    def export(self, folder: Path) -> int:
        """Write the log as static files (checkpoint last, so it never runs ahead); its size."""
        note = self.checkpoint()
        size = open_checkpoint(note, self._key).size
        for level, index, width in tiles_of(size):
            _write(folder / tile_path(level, index, width), self.tile(level, index, width))
            if level == 0:
                path = folder / tile_path("entries", index, width)
                _write(path, self.entries_tile(index, width))
        _write(folder / "checkpoint", note.encode())
        return size


def _head(tx: Tx) -> store.Head:
    head = store.latest(tx)
    if head is None:
        raise LogCorrupt(index=0, what="there is no checkpoint")
    return head


def _nodes(tx: Tx, size: int) -> merkle.Node:
    return node_reader(lambda level, index, width: _hashes(tx, level, index, width), size)


def _hashes(tx: Tx, level: int, index: int, width: int) -> bytes:
    found = store.hashes_of(tx, level, index, width)
    if len(found) != width * merkle.HASH_BYTES:
        raise LogCorrupt(index=index << 8 * (level + 1), what="hashes of its tile are missing")
    return found


def _tile(tx: Tx, level: int, index: int, width: int) -> bytes:
    _check_width(tx, level, index, width)
    return _hashes(tx, level, index, width)


def _bundle(tx: Tx, index: int, width: int) -> bytes:
    _check_width(tx, 0, index, width)
    found = store.leaves(tx, index * WIDTH, width)
    if len(found) != width:
        raise LogCorrupt(index=index * WIDTH, what="entries of its bundle are missing")
    return pack_entries(found)


def _check_width(tx: Tx, level: int, index: int, width: int) -> None:
    if not 0 < width <= width_at(level, index, _head(tx).size):
        raise TileNotFound


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".tmp")
    draft.write_bytes(content)
    os.replace(draft, path)

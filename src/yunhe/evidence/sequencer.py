"""The sequencer: unsequenced entries get dense indices, full tiles, and one signed checkpoint.

In: a transaction with new entries in it. Out: the same transaction with the tree grown, so that
entry, index, tile and checkpoint commit together or not at all. Nothing is kept in memory.
"""

from __future__ import annotations

from typing import Final

from yunhe.evidence import store
from yunhe.evidence.errors import LogForked
from yunhe.evidence.merkle import HASH_BYTES, leaf_hash
from yunhe.evidence.note import Checkpoint, Signer
from yunhe.evidence.tiles import WIDTH, tile_root
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Tx

BATCH: Final = 1024
_TILE_BYTES: Final = WIDTH * HASH_BYTES


def sequence(tx: Tx, origin: str, signer: Signer, crash: CrashPoints) -> int:
    """Sequence up to BATCH entries under one checkpoint; how many there were."""
    rows = store.unsequenced(tx, BATCH)
    if not rows:
        return 0
    old = store.read_state(tx)
    frontier = old.resume()
    hashes = [leaf_hash(leaf) for _, leaf in rows]
    for hash_ in hashes:
        frontier.append(hash_)
    store.assign(tx, [seq for seq, _ in rows], old.size)
    tail = _write_full_tiles(tx, old, old.tail + b"".join(hashes), crash)
    new = store.State(frontier.size, b"".join(frontier.hashes()), tail)
    if not store.advance(tx, old.size, new):
        raise LogForked
    crash.at("before_checkpoint")
    sign_head(tx, Checkpoint(origin, frontier.size, frontier.root()), signer)
    crash.at("after_checkpoint")
    return len(rows)


def sign_head(tx: Tx, head: Checkpoint, signer: Signer) -> None:
    """Sign and store `head`. The primary key refuses a second root for one size."""
    store.insert_checkpoint(tx, store.Head(head.size, head.root, head.sign(signer)))


def _write_full_tiles(tx: Tx, old: store.State, pending: bytes, crash: CrashPoints) -> bytes:
    """Store every tile that has become full; the leaf hashes left over."""
    index = old.size // WIDTH
    while len(pending) >= _TILE_BYTES:
        tile, pending = pending[:_TILE_BYTES], pending[_TILE_BYTES:]
        crash.at("before_tile")
        _write_tile(tx, index, tile)
        crash.at("after_tile")
        index += 1
    return pending


def _write_tile(tx: Tx, index: int, tile: bytes) -> None:
    level = 0
    while True:
        store.insert_tile(tx, level, index, tile, tile_root(tile))
        if (index + 1) % WIDTH:
            return
        # The 256th tile of its row fills one of the level above.
        index //= WIDTH
        tile = store.tile_roots(tx, level, index * WIDTH, WIDTH)
        level += 1

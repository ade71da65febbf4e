"""The Merkle tree of RFC 6962 §2.1, SHA-256: roots, inclusion and consistency, made and checked.

In: leaf bytes, or a `node(level, index)` that gives the hash of a perfect subtree. Out: hashes
and paths. Pure, and small enough to be read beside the RFC; the log's tiles sit on top of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32

Node = Callable[[int, int], bytes]
"""`node(level, index)`: the hash over the leaves `[index << level, (index + 1) << level)`."""


class BadProof(ValueError):
    """A path that does not lead from its leaf, or old root, to the root."""


def leaf_hash(entry: bytes) -> bytes:
    """`SHA-256(0x00 || entry)`, RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """`SHA-256(0x01 || left || right)`, RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: one hash for each set bit of the size, largest first.

    Appending n leaves costs about 2 n hashes, whatever the size; the log stores nothing else to
    go on.
    """

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self._stack = list(hashes)
        if len(self._stack) != size.bit_count():
            raise ValueError(f"{len(self._stack)} hashes do not stand for a tree of {size}")

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self._stack.append(leaf)
        self.size += 1
        ones = self.size
        while not ones & 1:
            right = self._stack.pop()
            self._stack[-1] = node_hash(self._stack[-1], right)
            ones >>= 1

    def hashes(self) -> list[bytes]:
        """The hashes, largest subtree first; with `size`, the whole state."""
        return list(self._stack)

    def root(self) -> bytes:
        """The root of the tree so far; the empty tree's is SHA-256 of nothing."""
        return _fold(self._stack) if self._stack else EMPTY_ROOT


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Perfect subtrees, left to right -> the hash over all of them."""
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def range_hash(start: int, end: int, node: Node) -> bytes:
    """The hash of the subtree over `[start, end)`, where `start` is aligned to its size."""
    parts = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(node(level, start >> level))
        start += 1 << level
    return _fold(parts) if parts else EMPTY_ROOT


def inclusion_path(index: int, size: int, node: Node) -> list[bytes]:
    """The path of leaf `index` in the tree of `size`, leaf's sibling first (RFC 6962 §2.1.1)."""
    if not 0 <= index < size:
        raise IndexError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(middle, end, node))
            end = middle
        else:
            path.append(range_hash(start, middle, node))
            start = middle
    return path[::-1]


def consistency_path(old: int, new: int, node: Node) -> list[bytes]:
    """What shows that the tree of `old` leaves is a prefix of that of `new` (RFC 6962 §2.1.2)."""
    if not 0 <= old <= new:
        raise IndexError(f"no consistency from {old} to {new}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(middle, end, node))
            end = middle
        else:
            path.append(range_hash(start, middle, node))
            start, whole = middle, False
    if not whole:
        path.append(range_hash(start, end, node))
    return path[::-1]


def _split(width: int) -> int:
    """The largest power of two below `width` (RFC 6962 §2.1: k)."""
    return 1 << ((width - 1).bit_length() - 1)


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that `path` leads to from `leaf`; raises BadProof for a path of wrong shape."""
    if not 0 <= index < size:
        raise BadProof(f"no leaf {index} in a tree of {size}")
    result, here, last = leaf, index, size - 1
    for step in path:
        if last == 0:
            raise BadProof("the path is too long")
        if here & 1 or here == last:
            result = node_hash(step, result)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            result = node_hash(result, step)
        here, last = here >> 1, last >> 1
    if last != 0:
        raise BadProof("the path is too short")
    return result


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Raise BadProof unless `path` leads from `leaf` at `index` to `root` (RFC 9162 §2.1.3.2)."""
    if root_from_inclusion(leaf, index, size, path) != root:
        raise BadProof("the path leads to another root")


def verify_consistency(
    old: int, new: int, path: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Raise BadProof unless the new tree begins with the old one (RFC 9162 §2.1.4.2)."""
    if not 0 <= old <= new:
        raise BadProof(f"no consistency from {old} to {new}")
    if old in (0, new):
        if path:
            raise BadProof("no path is needed here")
        if (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise BadProof("equal sizes, other roots")
        return
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        raise BadProof("the path is too short")
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    from_old = from_new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise BadProof("the path is too long")
        if here & 1 or here == last:
            from_old, from_new = node_hash(step, from_old), node_hash(step, from_new)
            while not here & 1 and here:
                here, last = here >> 1, last >> 1
        else:
            from_new = node_hash(from_new, step)
        here, last = here >> 1, last >> 1
    if last != 0:
        raise BadProof("the path is too short")
    if from_old != old_root or from_new != new_root:
        raise BadProof("the path leads to other roots")

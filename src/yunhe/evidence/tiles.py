"""Tiles of a log (C2SP tlog-tiles): paths, widths, entry bundles, and proofs out of tiles.

In: a function that gives the hashes of a tile. Out: any node of the tree, hence any proof.
Tiles are 256 hashes wide; level L holds the tree's hashes at height 8 L.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import Final

from yunhe.evidence.merkle import HASH_BYTES, Node, node_hash

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9]\d?)/(?P<index>(?:x\d{3}/)*\d{3})"
    r"(?:\.p/(?P<width>[1-9]\d{0,2}))?"
)

TileSource = Callable[[int, int, int], bytes]
"""`source(level, index, width)`: the first `width` hashes of a tile, concatenated."""


def index_path(index: int) -> str:
    """`1234067` -> `x001/x234/067`."""
    parts = [f"{index % 1000:03d}"]
    while index := index // 1000:
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def tile_path(level: int | str, index: int, width: int = WIDTH) -> str:
    """`tile/<L>/<N>[.p/<W>]`; level `entries` for entry bundles."""
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{level}/{index_path(index)}{partial}"


def parse_path(path: str) -> tuple[int | str, int, int]:
    """(level or `entries`, index, width) of a tile's path; raises ValueError otherwise."""
    match = _PATH.fullmatch(path)
    if match is None or not path.isascii():
        raise ValueError("not the path of a tile")
    level: int | str = match["level"] if match["level"] == "entries" else int(match["level"])
    index = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"] or WIDTH)
    if index_path(index) != match["index"] or width > WIDTH or (match["width"] and width == WIDTH):
        raise ValueError("not the canonical path of a tile")
    if isinstance(level, int) and level > 63:
        raise ValueError("levels end at 63")
    return level, index, width


def width_at(level: int, index: int, size: int) -> int:
    """How many hashes the tile has in a tree of `size`: 0 (absent) to 256 (full)."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - index * WIDTH))


def tiles_of(size: int) -> Iterable[tuple[int, int, int]]:
    """Every (level, index, width) of a tree of `size`, full ones before the partial one."""
    level = 0
    while size >> (HEIGHT * level):
        count = size >> (HEIGHT * level)
        for index in range((count + WIDTH - 1) // WIDTH):
            yield level, index, width_at(level, index, size)
        level += 1


def tile_root(hashes: bytes) -> bytes:
    """The root of a perfect tile (a power of two of hashes, concatenated)."""
    row = [hashes[i : i + HASH_BYTES] for i in range(0, len(hashes), HASH_BYTES)]
    while len(row) > 1:
        row = [node_hash(row[i], row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


def node_reader(source: TileSource, size: int) -> Node:
    """The tree's nodes as `merkle` wants them, from tiles of a tree of `size`; each read once."""
    seen: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, HEIGHT)
        first = index << height  # position of the first hash at the tile's own height
        tile_index, offset = divmod(first, WIDTH)
        key = (tile_level, tile_index)
        if key not in seen:
            seen[key] = source(tile_level, tile_index, width_at(tile_level, tile_index, size))
        start = offset * HASH_BYTES
        return tile_root(seen[key][start : start + (HASH_BYTES << height)])

    return node


def pack_entries(entries: Iterable[bytes]) -> bytes:
    """An entry bundle: each entry behind its length as big-endian uint16."""
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def unpack_entries(bundle: bytes) -> list[bytes]:
    """The entries of a bundle; raises ValueError where it is cut short."""
    entries, place = [], 0
    while place < len(bundle):
        head = bundle[place : place + 2]
        end = place + 2 + int.from_bytes(head, "big")
        if len(head) < 2 or end > len(bundle):
            raise ValueError("the bundle is cut short")
        entries.append(bundle[place + 2 : end])
        place = end
    return entries

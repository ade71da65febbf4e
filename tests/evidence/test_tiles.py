"""Tile paths and widths as C2SP tlog-tiles prints them, and proofs read out of tiles."""

from __future__ import annotations

import pytest

from yunhe.evidence import merkle, tiles

PATHS = [
    ((0, 0, 256), "tile/0/000"),
    ((0, 0, 1), "tile/0/000.p/1"),
    ((0, 1234067, 256), "tile/0/x001/x234/067"),
    ((1, 999, 255), "tile/1/999.p/255"),
    ((2, 1000, 256), "tile/2/x001/000"),
    ((63, 5, 17), "tile/63/005.p/17"),
    (("entries", 273, 112), "tile/entries/273.p/112"),
    (("entries", 1234067, 256), "tile/entries/x001/x234/067"),
]
NOT_PATHS = [
    "tile/00/000", "tile/0/0", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01",
    "tile/64/000", "tile/0/x000/001", "tile/0/001/002", "tile/0/../000", "tile/entries/",
    "checkpoint", "tile/-1/000", "tile/0/000/", "tile/0/٠٠٠", "tile/0/000.p/999",
]  # fmt: skip


@pytest.mark.parametrize(("tile", "path"), PATHS)
def test_paths_both_ways(tile: tuple[int | str, int, int], path: str) -> None:
    assert tiles.tile_path(*tile) == path
    assert tiles.parse_path(path) == tile


@pytest.mark.parametrize("path", NOT_PATHS)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"tile|levels"):
        tiles.parse_path(path)


def test_the_example_of_the_specification() -> None:
    found = list(tiles.tiles_of(70_000))
    assert sum(1 for level, _, width in found if (level, width) == (0, 256)) == 273
    assert [t for t in found if t[2] < 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert list(tiles.tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert list(tiles.tiles_of(0)) == []


def test_bundles_come_apart_as_they_were_packed() -> None:
    entries = [b"", b"one", b"x" * 65535]
    bundle = tiles.pack_entries(entries)
    assert tiles.unpack_entries(bundle) == entries
    for cut in (bundle[:-1], b"\x00", b"\x00\x05abc"):
        with pytest.raises(ValueError, match="short"):
            tiles.unpack_entries(cut)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 600, 66_000])
def test_proofs_out_of_tiles_are_those_of_the_whole_tree(size: int) -> None:
    leaves = [merkle.leaf_hash(b"%d" % i) for i in range(size)]
    rows = [leaves]
    while len(rows[-1]) >= 256:
        row = rows[-1]
        full = range(0, len(row) - len(row) % 256, 256)
        rows.append([tiles.tile_root(b"".join(row[i : i + 256])) for i in full])

    def source(level: int, index: int, width: int) -> bytes:
        hashes = rows[level][index * 256 : index * 256 + width]
        assert len(hashes) == width
        return b"".join(hashes)

    node = tiles.node_reader(source, size)
    root = merkle.root_of(leaves)
    for index in {0, size // 3, size // 2, size - 1}:
        path = merkle.inclusion_path(index, size, node)
        merkle.verify_inclusion(leaves[index], index, size, path, root)
    old = max(1, size * 2 // 3)
    path = merkle.consistency_path(old, size, node)
    merkle.verify_consistency(old, size, path, merkle.root_of(leaves[:old]), root)

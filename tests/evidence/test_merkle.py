"""The tree against pymerkle, an implementation that shares nothing with ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from yunhe.evidence import merkle
from yunhe.evidence.merkle import BadProof, Frontier

LARGE = [127, 128, 129, 255, 256, 257, 300]


def _leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(b"entry %d" % i) for i in range(size)]


def _node(leaves: list[bytes]) -> merkle.Node:
    return lambda level, index: merkle.root_of(leaves[index << level : (index + 1) << level])


@pytest.fixture(scope="module")
def oracle() -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for i in range(max(LARGE)):
        tree.append_entry(b"entry %d" % i)
    return tree


@pytest.mark.parametrize("size", [*range(71), *LARGE])
def test_roots_are_those_of_the_oracle(oracle: InmemoryTree, size: int) -> None:
    assert merkle.root_of(_leaves(size)) == oracle.get_root(size)


@pytest.mark.parametrize("size", [*range(1, 71), *LARGE])
def test_inclusion_paths_are_those_of_the_oracle(oracle: InmemoryTree, size: int) -> None:
    leaves = _leaves(size)
    node, root = _node(leaves), oracle.get_root(size)
    step = 1 if size < 20 else 7
    for index in {*range(0, size, step), size - 1}:
        path = merkle.inclusion_path(index, size, node)
        theirs = oracle.prove_inclusion(index + 1, size)
        assert path == theirs.path[1:]
        merkle.verify_inclusion(leaves[index], index, size, path, root)


@pytest.mark.parametrize("new", [*range(1, 71), *LARGE])
def test_consistency_paths_lead_where_the_oracle_says(oracle: InmemoryTree, new: int) -> None:
    node, new_root = _node(_leaves(new)), oracle.get_root(new)
    for old in {*range(0, new, 1 if new < 20 else 9), new, 2 ** (new.bit_length() - 1)}:
        path = merkle.consistency_path(old, new, node)
        merkle.verify_consistency(old, new, path, oracle.get_root(old), new_root)
        if 0 < old < new:
            theirs = oracle.prove_consistency(old, new)
            theirs.verify(oracle.get_root(old), new_root)


def test_the_vectors_of_the_rfc() -> None:
    assert merkle.EMPTY_ROOT.hex().startswith("e3b0c44298fc1c149afbf4c8996fb924")
    assert merkle.leaf_hash(b"").hex() == (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    )
    # The eight inputs of certificate-transparency's reference tests.
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
              "606162636465666768696a6b6c6d6e6f"]  # fmt: skip
    root = merkle.root_of(merkle.leaf_hash(bytes.fromhex(text)) for text in inputs)
    assert root.hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


def test_the_example_of_rfc_6962_section_2_1_3() -> None:
    leaves = _leaves(7)
    c, d, j = leaves[2], leaves[3], leaves[6]
    g, i, k, l_ = (merkle.root_of(leaves[a:b]) for a, b in ((0, 2), (4, 6), (0, 4), (4, 7)))
    node = _node(leaves)
    h = merkle.root_of(leaves[2:4])
    assert merkle.inclusion_path(0, 7, node) == [leaves[1], h, l_]
    assert merkle.inclusion_path(6, 7, node) == [i, k]
    assert merkle.consistency_path(3, 7, node) == [c, d, g, l_]
    assert merkle.consistency_path(4, 7, node) == [l_]
    assert merkle.consistency_path(6, 7, node) == [i, j, k]


@given(st.integers(1, 64), st.data())
def test_a_path_proves_one_index_of_one_size_and_no_other(size: int, data: st.DataObject) -> None:
    leaves = _leaves(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_path(index, size, _node(leaves))
    root = merkle.root_of(leaves)
    for other in range(size + 2):
        if other != index:
            with pytest.raises(BadProof):
                merkle.verify_inclusion(leaves[index], other, size, path, root)
    with pytest.raises(BadProof):
        merkle.verify_inclusion(leaves[index], index, size, [*path, root], root)
    for drop in range(len(path)):
        with pytest.raises(BadProof):
            merkle.verify_inclusion(
                leaves[index], index, size, path[:drop] + path[drop + 1 :], root
            )


@given(st.integers(2, 64), st.data())
def test_a_rewritten_past_has_no_consistency(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size - 1))
    leaves = _leaves(size)
    path = merkle.consistency_path(old, size, _node(leaves))
    other = merkle.root_of([merkle.leaf_hash(b"forged"), *leaves[1:old]])
    roots = merkle.root_of(leaves[:old]), merkle.root_of(leaves)
    with pytest.raises(BadProof):
        merkle.verify_consistency(old, size, path, other, roots[1])
    with pytest.raises(BadProof):
        merkle.verify_consistency(old, size, path, roots[0], other)
    with pytest.raises(BadProof):
        merkle.verify_consistency(old, size, [*path, roots[0]], *roots)
    if path:
        with pytest.raises(BadProof):
            merkle.verify_consistency(old, size, path[:-1], *roots)


def test_nonsense_is_refused_not_computed() -> None:
    root = merkle.root_of(_leaves(3))
    for old, new in ((-1, 3), (4, 3)):
        with pytest.raises(IndexError):
            merkle.consistency_path(old, new, _node(_leaves(3)))
        with pytest.raises(BadProof):
            merkle.verify_consistency(old, new, [], root, root)
    with pytest.raises(IndexError):
        merkle.inclusion_path(3, 3, _node(_leaves(3)))
    with pytest.raises(BadProof):
        merkle.verify_consistency(3, 3, [root], root, root)
    with pytest.raises(BadProof):
        merkle.verify_consistency(3, 3, [], root, merkle.EMPTY_ROOT)
    with pytest.raises(BadProof):
        merkle.verify_consistency(0, 3, [], root, root)
    with pytest.raises(BadProof):
        merkle.verify_consistency(1, 3, [], merkle.root_of(_leaves(1)), root)
    with pytest.raises(ValueError, match="do not stand"):
        Frontier(3, [root])


@given(st.integers(0, 200), st.integers(0, 200))
def test_a_frontier_resumes_where_it_stopped(first: int, more: int) -> None:
    leaves = _leaves(first + more)
    frontier = Frontier()
    for leaf in leaves[:first]:
        frontier.append(leaf)
    frontier = Frontier(frontier.size, frontier.hashes())
    for leaf in leaves[first:]:
        frontier.append(leaf)
    assert frontier.root() == merkle.root_of(leaves)

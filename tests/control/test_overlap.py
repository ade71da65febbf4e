"""The overlap audit against plain sets: fewer than k entities apart is never let pass."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.contracts import Clamp, Privacy, Terms, policy_from_terms, terms_from_policy
from yunhe.control import Answered, answered
from yunhe.control.overlap import fold, overlaps

K, PLACES = 5, 64
Rows = dict[int, int]  # entity -> which of its rows


def _hash(*parts: object) -> int:
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:8])


def answer(*groups: Rows, frame: str = "f", summed: tuple[str, ...] = ("t.x",)) -> Answered:
    """As the worker would say it."""
    said = []
    for group in groups:
        places: dict[int, list[int]] = {}
        for entity, rows in group.items():
            place = places.setdefault(_hash(entity) % PLACES, [0, 0])
            place[0] = (place[0] + _hash(entity)) % 2**64
            place[1] = (place[1] + _hash(entity, rows)) % 2**64
        said.append((len(group), [(at, e, r) for at, (e, r) in places.items()]))
    return answered("d", K, frame, summed, said, PLACES)


groups = st.dictionaries(st.integers(0, 400), st.integers(0, 2), min_size=K, max_size=60)


@settings(max_examples=200, deadline=None)
@given(groups, groups)
def test_whatever_passes_is_k_entities_apart(one: Rows, other: Rows) -> None:
    apart = sum(one.get(key) != other.get(key) for key in one.keys() | other.keys())
    if not overlaps(answer(one), [answer(other)]):
        assert apart == 0 or apart >= K


@settings(max_examples=200, deadline=None)
@given(groups, st.data())
def test_neighbours_never_pass(whole: Rows, data: st.DataObject) -> None:
    less = data.draw(st.sets(st.sampled_from(sorted(whole)), min_size=1, max_size=K - 1))
    rest = {key: rows for key, rows in whole.items() if key not in less}
    changed = {key: rows + 7 * (key in less) for key, rows in whole.items()}
    for near in (rest, changed):
        assert overlaps(answer(near), [answer(whole)])
        assert overlaps(answer(whole), [answer(near)])
    assert not overlaps(answer(whole), [answer(whole)])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_tracker_never_passes(data: st.DataObject) -> None:
    """A + B - all is C, for C of fewer than k."""
    everyone = dict.fromkeys(range(200), 0)
    few = data.draw(st.sets(st.integers(0, 199), min_size=1, max_size=K - 1))
    cut = data.draw(st.integers(50, 150))
    one = {key: 0 for key in everyone if key in few or key < cut}
    two = {key: 0 for key in everyone if key in few or key >= cut}
    asked = data.draw(st.permutations([answer(everyone), answer(one), answer(two)]))
    assert any(overlaps(asked[at], asked[:at]) for at in (1, 2))


def test_the_union_of_groups_is_looked_at() -> None:
    everyone = dict.fromkeys(range(100), 0)
    halves = [dict.fromkeys(range(3, 50), 0), dict.fromkeys(range(50, 100), 0)]
    assert overlaps(answer(*halves), [answer(everyone)])
    assert not overlaps(answer(dict.fromkeys(range(50), 0), halves[1]), [answer(everyone)])


def test_other_tables_are_compared_by_entities_where_a_sum_is_shared() -> None:
    everyone = dict.fromkeys(range(100), 0)
    joined = dict.fromkeys(range(1, 100), 1)
    assert overlaps(answer(joined, frame="g"), [answer(everyone)])
    assert not overlaps(answer(joined, frame="g", summed=("t.y",)), [answer(everyone)])


def test_folding_keeps_sums() -> None:
    whole = answer(dict.fromkeys(range(50), 0)).prints[0].rows
    assert sum(fold(whole, 16)) % 2**64 == sum(whole) % 2**64


amounts = st.decimals("0.1", "9", places=3).map(str)
clamps = st.builds(
    Clamp,
    st.sampled_from(("t.a", "t.b", "表.列")),
    st.integers(-9, 0).map(str),
    st.decimals("1", "9", places=2).map(str),
)


@given(
    amounts, st.integers(1, 99), st.integers(1, 99), st.lists(clamps, unique_by=lambda c: c.column)
)
def test_a_budget_survives_the_policy(
    epsilon: str, many: int, rows: int, found: list[Clamp]
) -> None:
    privacy = Privacy(epsilon, "0.000001", "0.1", many, rows, tuple(found))
    terms = Terms(("research",), ("t.a",), minimum_group=3, privacy=privacy)
    assert terms_from_policy(policy_from_terms(terms)) == terms
    assert Privacy.parse(str(privacy)) == privacy

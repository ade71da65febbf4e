"""Watermarks: whose copy it is, whatever was done to it; and never somebody else's."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from benchmarks.dataplane.marked import SAID, Copies, named, people, scores

from yunhe.cli.errors import BadArgument
from yunhe.cli.watermark import _values
from yunhe.contracts import (
    Mask,
    Policy,
    TermNotUnderstood,
    Terms,
    Watermark,
    policy_from_terms,
    terms_from_policy,
)
from yunhe.dataplane import TableBinding
from yunhe.dataplane.errors import MarkNotEnforceable
from yunhe.dataplane.marking import mark_faults, marked

ROWS = 3000
ALL = [f"did:web:{name}" for name in ("a", "b", "c", *(f"x{n}" for n in range(17)))]
Columns = dict[str, list[Any]]


@pytest.fixture(scope="module")
def copies() -> dict[str, Columns]:
    """The table as it is ("") and as the first three get it."""
    table = people(ROWS)
    made = Copies(table)
    found = {did: made.of(did).to_pydict() for did in ALL[:3]}
    made.close()
    return found | {"": table.to_pydict()}


def few(columns: Columns, rows: int, seed: int = 1) -> Columns:
    """Some rows, in no order."""
    pick = random.Random(seed).sample(range(len(columns["id"])), rows)  # noqa: S311
    return {name: [values[at] for at in pick] for name, values in columns.items()}


def test_no_value_moves_further_than_agreed(copies: dict[str, Columns]) -> None:
    plain = copies[""]
    for did in ALL[:3]:
        mine = copies[did]
        for name, most in (("weight", 0.5), ("height", 1)):
            moves = [a - b for a, b in zip(mine[name], plain[name], strict=True)]
            assert max(map(abs, moves)) <= most + 1e-9
            assert abs(sum(moves)) / ROWS < most / 20  # the mean stays
            assert all(isinstance(value, type(plain[name][0])) for value in mine[name])
        assert (mine["id"], mine["town"]) == (plain["id"], plain["town"])
    assert copies[ALL[0]] != copies[ALL[1]]


ATTACKS: dict[str, Callable[[Columns], Columns]] = {
    "as it came": lambda c: c,
    "half of the rows": lambda c: few(c, ROWS // 2),
    "a fifth": lambda c: few(c, ROWS // 5),
    "a tenth": lambda c: few(c, ROWS // 10),
    "another order": lambda c: few(c, ROWS),
    "one column": lambda c: {"id": c["id"], "height": c["height"]},
    "types changed": lambda c: {
        "id": [float(key) for key in c["id"]],
        "weight": [f"{value:.2f}" for value in c["weight"]],
        "height": [float(value) for value in c["height"]],
    },
    "keys as text": lambda c: c | {"id": [f"{key}.0" for key in c["id"]]},
    "noise below half a step": lambda c: (
        c | {"weight": [v + 0.2 * (at % 3 - 1) for at, v in enumerate(c["weight"])]}
    ),
    "rounded to the step": lambda c: c | {"weight": [round(v * 2) / 2 for v in c["weight"]]},
    "every row twice": lambda c: {name: values * 2 for name, values in c.items()},
    "among as many strangers": lambda c: {
        "id": c["id"] + [10**6 + key for key in c["id"]],
        "weight": c["weight"] + c["weight"][::-1],
        "height": c["height"] + c["height"][::-1],
    },
    "half of the values replaced": lambda c: (
        c
        | {"weight": [v if at % 2 else 70.0 for at, v in enumerate(c["weight"])]}
        | {"height": [v if at % 2 else None for at, v in enumerate(c["height"])]}
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_recipient_is_named_alone(copies: dict[str, Columns], attack: str) -> None:
    assert named(ATTACKS[attack](copies[ALL[0]]), ALL) == [ALL[0]]


COLLUSIONS: dict[str, Callable[[list[Any]], Any]] = {
    "one or the other": lambda values: random.Random(str(values)).choice(values),  # noqa: S311
    "the mean": lambda values: sum(values) / len(values),
    "the least": min,
    "the greatest": max,
    "the middle one": lambda values: sorted(values)[len(values) // 2],
}


@pytest.mark.parametrize("way", COLLUSIONS)
@pytest.mark.parametrize("size", [2, 3])
def test_colluders_are_named_and_nobody_else(
    copies: dict[str, Columns], way: str, size: int
) -> None:
    theirs = [copies[did] for did in ALL[:size]]
    mixed = {"id": theirs[0]["id"]}
    for name in ("weight", "height"):
        rows = zip(*(each[name] for each in theirs), strict=True)
        mixed[name] = [COLLUSIONS[way](list(values)) for values in rows]
    found = named(mixed, ALL)
    assert found
    assert set(found) <= set(ALL[:size])


def test_nobody_is_named_for_what_is_nobodys(copies: dict[str, Columns]) -> None:
    plain = copies[""]
    assert named(plain, ALL) == []
    assert named(few(copies[ALL[0]], ROWS), ALL[1:]) == []  # the one whose it is is not asked for
    all_even = plain | {"height": [2 * (value // 2) for value in plain["height"]]}
    assert named(all_even, ALL) == []
    assert named({"id": [], "weight": []}, ALL) == []
    assert named({"id": [None, True, "x"], "weight": [1.0, float("nan"), "y"]}, ALL) == []


def test_the_bound_is_a_bound_on_innocents(copies: dict[str, Columns]) -> None:
    """Of many who had no copy no more reach p than p says, whatever was done to the file."""
    crowd = [f"did:web:n{n}" for n in range(400)]
    some = {name: copies[ALL[0]][name][:250] for name in ("id", "weight", "height")}
    found = [score for score in scores(some, crowd) if score.z > 2]
    for bar in (0.1, 0.01):
        assert sum(score.p <= bar for score in found) <= bar * 400 * 2


def test_rows_are_found_again_where_the_key_was_taken_out_or_changed() -> None:
    table = people(400)
    card = pa.array([f"c{at // 2 if at < 40 else at}" for at in range(400)])
    table = table.append_column("card", card)  # two people share one, twenty times
    made = Copies(table)
    leaked = made.of(ALL[0]).append_column("card", card).select(["weight", "height", "card"])
    made.close()
    given = [{"watermark": str(SAID)}]
    shuffled = leaked.take([(7 * at) % 400 for at in range(400)])
    for file in (shuffled, shuffled.append_column("id", pa.array(range(400)))):
        keys, columns = _values(file, given, table)
        assert sum(key is None for key in keys) == 40
        found = {name.partition(".")[2]: values for name, values in columns.items()}
        assert named({"id": keys, **found}, ALL) == [ALL[0]]
    with pytest.raises(BadArgument):
        _values(shuffled, given, None)
    with pytest.raises(BadArgument):
        _values(shuffled.select(["weight"]), given, table)


# -- the term -----------------------------------------------------------------------------------

TERMS = Terms(
    purposes=("research",), columns=("people.id", "people.weight", "people.height"), watermark=SAID
)


def test_the_term_goes_to_a_policy_and_back() -> None:
    policy = policy_from_terms(TERMS)
    assert terms_from_policy(Policy.from_json(policy.to_json())) == TERMS
    grouped = Terms(TERMS.purposes, TERMS.columns, minimum_group=5, watermark=SAID)
    with pytest.raises(TermNotUnderstood):
        terms_from_policy(policy_from_terms(grouped))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "key=t.id;share=2",
        "key=t.id;share=0;t.a=1",
        "key=t.id;share=2;t.a=0",
        "key=t.id;share=2;t.a=-1",
        "key=t.id;share=2;t.a=1e3",
        "key=t.id;share=2;t.id=1",
        "key=t.id;share=2;u.a=1",
        "key=t.id;share=2;t.a=1;t.a=2",
        "share=2;key=t.id;t.a=1",
        "key=t.id;share=2;t.a=01",
    ],
)
def test_what_is_no_watermark(text: str) -> None:
    with pytest.raises(ValueError):
        Watermark.parse(text)


@pytest.mark.parametrize(
    ("kinds", "columns", "masks"),
    [
        ({"id": "BIGINT", "weight": "VARCHAR"}, ("id", "weight"), ()),
        ({"id": "DOUBLE", "weight": "DOUBLE"}, ("id", "weight"), ()),
        ({"id": "BIGINT", "weight": "DECIMAL(9,0)"}, ("id", "weight"), ()),
        ({"id": "BIGINT", "weight": "INTEGER"}, ("id", "weight"), ()),
        ({"id": "BIGINT", "weight": "DOUBLE"}, ("weight",), ()),
        ({"id": "BIGINT", "weight": "DOUBLE"}, ("id",), ()),
        ({"id": "BIGINT", "weight": "DOUBLE"}, ("id", "weight"), ("id",)),
        ({"id": "BIGINT", "weight": "DOUBLE"}, ("id", "weight"), ("weight",)),
    ],
)
def test_what_cannot_be_marked_is_refused_before_anybody_signs(
    kinds: dict[str, str], columns: tuple[str, ...], masks: tuple[str, ...]
) -> None:
    terms = Terms(
        ("research",),
        tuple(f"people.{name}" for name in columns),
        masks=tuple(Mask(f"people.{name}", "null") for name in masks),
        watermark=Watermark.parse("key=people.id;share=1;people.weight=0.5"),
    )
    assert [*mark_faults(terms, {"people": TableBinding(kinds)}, whole=True)]


def test_keys_stand_in_no_text() -> None:
    text = marked("p.weight", "p.id", "people.weight", "DOUBLE", SAID)
    assert "GETVARIABLE('mark_key')" in text
    with pytest.raises(MarkNotEnforceable):
        marked("p.day", "p.id", "people.weight", "DATE", SAID)

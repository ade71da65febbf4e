"""Keys of a join: where they may bind, to whom they may go, what their texts can do."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from yunhe.fabric import semijoin
from yunhe.fabric.model import Keys, Part
from yunhe.kernel import limits

PART = Part(
    "p1",
    SimpleNamespace(),  # type: ignore[arg-type]
    'SELECT "l"."v" AS "v" FROM "labs" AS "l" WHERE ("l"."d" < 9)',
    "rows",
    (),
    (),
    100,
    Keys("s0", "id", ("patients.id",), ("did:web:a",), '"l"."id"', text=True),
)


def links(sql: str) -> set[tuple[str, str]]:
    found = semijoin.links(sqlglot.parse_one(sql, dialect="duckdb"))  # type: ignore[arg-type]
    return {(link.giver, link.into) for link in found}


@pytest.mark.parametrize(
    ("sql", "bound"),
    [
        ("SELECT 1 FROM a JOIN b ON a.x = b.y", {("a", "b"), ("b", "a")}),
        ("SELECT 1 FROM a LEFT JOIN b ON a.x = b.y", {("a", "b")}),
        ("SELECT 1 FROM a RIGHT JOIN b ON a.x = b.y", set()),
        ("SELECT 1 FROM a FULL JOIN b ON a.x = b.y", set()),
        ("SELECT 1 FROM a, b WHERE a.x = b.y", {("a", "b"), ("b", "a")}),
        ("SELECT 1 FROM a, b WHERE a.x = b.y OR a.z = 1", set()),
        ("SELECT 1 FROM a, b WHERE NOT a.x = b.y", set()),
        ("SELECT 1 FROM a JOIN b ON a.x < b.y", set()),
        ("SELECT 1 FROM a JOIN b ON a.x = b.y + 1", set()),
        ("SELECT 1 FROM a JOIN b ON a.x IS NOT DISTINCT FROM b.y", set()),
        ("SELECT 1 FROM a ANTI JOIN b ON a.x = b.y", set()),
        ("SELECT 1 FROM a JOIN b ON a.x = a.y", set()),
    ],
)
def test_only_what_every_row_must_meet_binds(sql: str, bound: set[tuple[str, str]]) -> None:
    assert links(sql) == bound


@pytest.mark.parametrize(
    "hostile",
    [
        "x') OR 1 = 1 --",
        "'; DROP TABLE labs; --",
        "\\'",
        "a''b",
        "/* */",
        "中文",
    ],
)
def test_a_key_is_a_literal_whatever_it_says(hostile: str) -> None:
    sql = semijoin.narrowed(PART, [hostile, "plain"])
    assert sql is not None
    (tree,) = sqlglot.parse(sql, dialect="duckdb")
    assert isinstance(tree, exp.Select)
    (within,) = tree.find_all(exp.In)
    assert [each.this for each in within.expressions] == [hostile, "plain"]
    first, second = tree.args["where"].this.flatten()
    assert first.unnest().sql() == '"l"."d" < 9'
    assert second.unnest() is within


def test_keys_that_do_not_fit_are_not_sent() -> None:
    long = "x" * (limits.FABRIC_KEY_CHARS_MAX + 1)
    many = [f"{'x' * 100}{at}" for at in range(limits.FABRIC_KEYS_MAX)]
    for values in ([long], ["a\nb"], ["a\0"], many, None):
        assert semijoin.narrowed(PART, values) is None
    assert semijoin.narrowed(replace(PART, keys=None), ["a"]) is None
    assert PART.keys is not None
    numbers = replace(PART, keys=replace(PART.keys, text=False))
    sql = semijoin.narrowed(numbers, ["-5", "7"])
    assert sql is not None
    assert sql.endswith('"l"."id" IN (-5, 7)')
    with pytest.raises(ValueError, match="invalid literal"):
        semijoin.narrowed(numbers, ["7) OR (1 = 1"])


def test_keys_go_only_to_whose_they_are() -> None:
    def member(did: str, *keys_to: str, rows_mode: bool = True) -> Any:
        terms = SimpleNamespace(keys_to=keys_to)
        return SimpleNamespace(provider_did=did, terms=terms, rows_mode=rows_mode)

    a, b = member("did:web:a"), member("did:web:b")
    assert semijoin.may_see(a, a)
    assert not semijoin.may_see(b, a)
    assert semijoin.may_see(b, member("did:web:a", "did:web:b"))
    # Whose keys they are says so, not who would like to see them.
    assert not semijoin.may_see(member("did:web:b", "did:web:a", "did:web:b"), a)
    assert not semijoin.may_see(b, member("did:web:a", "did:web:bb", "did:web"))
    assert not semijoin.may_see(b, member("did:web:a", "did:web:b", rows_mode=False))

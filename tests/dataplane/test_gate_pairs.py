"""SQL in, governed SQL out, as written in fixtures/governed.sql."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.dataplane import GroupTooSmall, govern

FIXTURES = Path(__file__).with_name("fixtures")


def cases() -> list[tuple[str, str, list[str]]]:
    subqueries = {}
    for line in (FIXTURES / "subqueries.sql").read_text().splitlines()[1:]:
        short, _, text = line.partition(" ")
        subqueries[short] = text.removesuffix(";")
    found = []
    for block in (FIXTURES / "governed.sql").read_text().split("\n\n")[1:]:
        title, query, *expected = block.strip().splitlines()
        texts = []
        for line in expected:
            text = line.removeprefix("> ").removesuffix(";")
            for short, long in subqueries.items():
                text = text.replace(short, long)
            texts.append(text)
        found.append((title.removeprefix("-- "), query.removesuffix(";"), texts))
    return found


def asked(text: str) -> list[str]:
    """What a statement for `groups` reads of tables: its rows, and the figures beside."""
    head, _, tail = text.partition(", placed AS MATERIALIZED (")
    beside = tail.partition(", figures AS (")[2].partition(") SELECT j.")[0]
    assert "data." not in tail.replace(beside, "") if beside else "data." not in tail
    return [head, beside] if beside else [head]


@pytest.mark.parametrize(("title", "query", "expected"), cases(), ids=lambda value: str(value)[:40])
def test_governed_text_is_as_written(hospital, title, query, expected) -> None:
    groups = title.startswith("groups")
    governed = hospital.govern(query, GROUPS if groups else ROWS)
    got = [governed.sql]
    if groups:
        stored = {
            name: replace(table, source=(f"sqlite:c/{name}",))
            for name, table in hospital.tables.items()
        }
        there = govern(query, stored, GROUPS)
        assert replace(there, groups_sql=None) == replace(governed, groups_sql=None)
        got = [there.groups_sql, governed.sql, *asked(str(governed.groups_sql))]
    assert got == expected
    assert governed.aggregate_only == groups


@pytest.mark.parametrize(("title", "query", "expected"), cases(), ids=lambda value: str(value)[:40])
def test_governed_text_runs(hospital, title, query, expected) -> None:
    terms = GROUPS if title.startswith("groups") else ROWS
    if "rare" in query and terms is GROUPS:  # present for one entity only
        with pytest.raises(GroupTooSmall):
            hospital.ask(query, terms)
    else:
        assert hospital.ask(query, terms).num_columns > 0


def test_fields_are_what_the_query_touches_anywhere(hospital) -> None:
    governed = hospital.govern(
        "SELECT p.sex FROM patients p JOIN labs l ON p.id = l.id WHERE l.value > 1 ORDER BY p.age"
    )
    assert governed.fields == {
        "patients.sex",
        "patients.id",
        "labs.id",
        "labs.value",
        "patients.Age",
    }
    assert governed.tables == ("patients", "labs")
    assert governed.names == ("sex",)


def test_a_query_is_bounded_in_every_direction(hospital) -> None:
    for sql, code in (
        ("SELECT age FROM patients WHERE " + "a" * 20_000, "SQL_TOO_LONG"),
        ("SELECT " + "(" * 500 + "1" + ")" * 500 + " FROM patients", "SQL_TOO_DEEP"),
        ("SELECT " + "not " * 1500 + "true FROM patients", "SQL_TOO_DEEP"),
        ("SELECT " + "- " * 1500 + "age FROM patients", "SQL_TOO_DEEP"),
        ("SELECT age" + "+1" * 1500 + " FROM patients", "SQL_TOO_LONG"),
        ("SELECT age FROM patients" + " JOIN labs USING (id)" * 30, "SQL_TOO_LONG"),
        ("SELECT age FROM patients\0", "SQL_NOT_READABLE"),
        ("SELECT '\ud800' FROM patients", "SQL_NOT_READABLE"),
    ):
        with pytest.raises(Exception) as refusal:
            hospital.govern(sql)
        assert refusal.value.code == code

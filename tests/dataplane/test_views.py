"""Masks and row filters: what the contract shows of a table, and what it cannot promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.contracts import Mask, Terms
from yunhe.dataplane import ColumnNotAgreed, check_terms
from yunhe.dataplane.errors import FilterNotEnforceable, MaskNotEnforceable


def with_mask(*masks: Mask) -> Terms:
    return replace(ROWS, masks=masks, row_filters=())


def test_null_year_round_and_left(hospital) -> None:
    terms = with_mask(
        Mask("patients.name", "null"),
        Mask("patients.birth", "year"),
        Mask("patients.Age", "round:5"),
        Mask("patients.phone", "left:2"),
        Mask("labs.value", "round:2"),
    )
    row = hospital.ask("SELECT * FROM patients WHERE id = 8", terms).to_pylist()[0]
    assert row == {"id": 8, "Age": 30, "name": None, "birth": 1950, "sex": "f", "phone": "44"}
    values = hospital.ask("SELECT DISTINCT value FROM labs ORDER BY 1", terms)
    assert values["value"].to_pylist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_predicates_see_the_mask(hospital) -> None:
    terms = with_mask(Mask("patients.Age", "round:50"))
    assert hospital.ask("SELECT count(*) FROM patients WHERE age = 33", terms).to_pylist() == [
        {"_col_0": 0}
    ]


def test_a_hash_is_keyed_joinable_and_not_guessable(hospital) -> None:
    terms = with_mask(Mask("patients.id", "hash"), Mask("labs.id", "hash"))
    joined = "SELECT count(DISTINCT patients.id) AS n FROM patients JOIN labs USING (id)"
    assert hospital.ask(joined, terms).to_pylist() == [{"n": 300}]
    shown = hospital.ask("SELECT id FROM patients ORDER BY age LIMIT 1", terms).to_pylist()[0]
    assert len(shown["id"]) == 32
    governed = hospital.govern("SELECT id FROM patients", terms)
    assert "pepper" not in governed.sql
    other = replace(hospital.binding(name="c2"), mask_key="salt")
    table, _ = hospital.run(_job(governed), other)
    assert shown["id"] not in table["id"].to_pylist()


def _job(governed):
    from yunhe.dataplane import Job

    return Job(governed.sql)


@pytest.mark.parametrize(
    "predicate",
    [
        "region = 'east'",
        "region IN ('east', 'north') AND NOT salary > 70000",
        "birth >= DATE '1960-01-01' OR birth IS NULL",
        '"Age" BETWEEN 20 AND 40 AND salary <> -1',
        "region IS NOT NULL",
        "true",
    ],
)
def test_filters_of_literals_are_enforced(hospital, predicate: str) -> None:
    terms = replace(ROWS, row_filters=(("patients", predicate),))
    assert hospital.ask("SELECT count(*) AS n FROM patients", terms).to_pylist()[0]["n"] > 0


@pytest.mark.parametrize(
    "predicate",
    [
        "1 = 1) UNION SELECT * FROM data.labs --",
        "TRUE; DROP TABLE x",
        "salary > (SELECT 1)",
        "EXISTS (SELECT 1)",
        "error(name)",
        "CAST(name AS INT) = 1",
        "salary + 1 > 2",
        "nothing = 1",
        "labs.value > 1",
        "name LIKE 'x%' GROUP BY 1",
        "TRUE LIMIT 1",
        "",
        "((",
    ],
)
def test_any_other_filter_is_refused(hospital, predicate: str) -> None:
    terms = replace(ROWS, row_filters=(("patients", predicate),))
    with pytest.raises(FilterNotEnforceable):
        check_terms(terms, hospital.tables)
    with pytest.raises(FilterNotEnforceable):  # and never ignored at the query
        hospital.govern("SELECT id FROM patients", terms)


@pytest.mark.parametrize(
    ("column", "method"),
    [
        ("patients.name", "year"),
        ("patients.name", "round:5"),
        ("patients.Age", "round:0"),
        ("patients.Age", "round:-1"),
        ("patients.name", "left:x"),
        ("patients.name", "left"),
        ("patients.name", "shuffle"),
        ("patients.name", "left:99999999999999999999"),
    ],
)
def test_a_mask_that_means_nothing_is_refused(hospital, column: str, method: str) -> None:
    with pytest.raises(MaskNotEnforceable):
        check_terms(with_mask(Mask(column, method)), hospital.tables)


def test_terms_about_nothing_are_refused(hospital) -> None:
    check_terms(GROUPS, hospital.tables)
    with pytest.raises(ColumnNotAgreed):
        check_terms(replace(ROWS, columns=("patients.x",)), hospital.tables)
    with pytest.raises(ColumnNotAgreed):
        check_terms(with_mask(Mask("patients.x", "null")), hospital.tables)
    with pytest.raises(FilterNotEnforceable):
        check_terms(replace(ROWS, row_filters=(("x", "true"),)), hospital.tables)

"""Masks and row filters: what the contract shows of a table, and what it cannot promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.contracts import Mask, Terms
from yunhe.dataplane import BadLiteral, ColumnNotAgreed, check_terms, term_faults
from yunhe.dataplane.errors import FilterNotEnforceable, MaskNotEnforceable, TableNotAgreed
from yunhe.dataplane.views import names


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
        {"count(*)": 0}
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
        "birth < TIMESTAMP '1990-01-01 00:00:00'",
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


def test_every_fault_of_the_terms_is_named_with_its_part(hospital) -> None:
    terms = replace(
        ROWS,
        columns=(*ROWS.columns, "patients.agee"),
        masks=(Mask("patients.agee", "null"), Mask("patients.name", "year")),
        row_filters=(("patients", "agee >= 18"), ("patient", "true")),
    )
    faults = term_faults(terms, hospital.tables)
    assert [part for part, _ in faults] == [
        "columns", "masks", "masks", "row_filters", "row_filters",
    ]  # fmt: skip
    assert faults[0][1].facts["near"] == "patients.Age"
    assert "no column agee (nearest: Age)" in faults[3][1].sentence("en")
    assert "nearest: patients" in faults[4][1].sentence("en")
    seen = [part for part, _ in term_faults(terms, hospital.tables, whole=False)]
    assert seen == ["columns", "masks"]  # a column that is not shown may still be there
    unread = replace(ROWS, row_filters=(("patients", "hidden ="),))
    assert [part for part, _ in term_faults(unread, {}, whole=False)][-1] == "row_filters"


@pytest.mark.parametrize(
    "predicate",
    [
        "birth >= '2025-13-01'",
        "birth >= DATE '2025-02-30'",
        "birth BETWEEN '1960-01-01' AND 'today?'",
        "\"Age\" IN (1, 'many')",
        "name >= 18",
        "birth > 18",
        "name = birth",
        "region = DATE '2025-01-01'",
    ],
)
def test_a_filter_whose_values_do_not_fit_is_refused(hospital, predicate: str) -> None:
    terms = replace(ROWS, row_filters=(("patients", predicate),))
    with pytest.raises(FilterNotEnforceable):
        check_terms(terms, hospital.tables)


def test_a_minimum_group_needs_an_entity_key_somewhere(hospital) -> None:
    bare = {name: replace(table, entity_key=None) for name, table in hospital.tables.items()}
    assert [part for part, _ in term_faults(GROUPS, bare)] == ["minimum_group"]


def test_refused_names_come_with_the_nearest_and_the_visible_ones(hospital) -> None:
    with pytest.raises(ColumnNotAgreed) as column:
        hospital.govern("SELECT brith FROM patients")
    assert column.value.facts["near"] == "patients.birth"
    assert "labs.value" in column.value.remedy("zh")
    assert "salary" not in str(column.value.problem())  # hidden columns stay unnamed
    with pytest.raises(TableNotAgreed) as table:
        hospital.govern("SELECT id FROM patient")
    assert (table.value.facts["near"], table.value.facts["visible"]) == (
        "patients", "codes, labs, patients",
    )  # fmt: skip
    unlike = ColumnNotAgreed(column="weight", **names("weight", ["labs.id"]))
    assert "(nearest: none; all: labs.id)" in unlike.remedy()
    assert "（最接近：无；全部：labs.id）" in unlike.remedy("zh")
    assert names("x", [f"c{at:03}" for at in range(100)])["visible"].endswith("(+80)")


@pytest.mark.parametrize("terms", [ROWS, GROUPS])
def test_a_literal_that_is_no_date_is_named(hospital, terms: Terms) -> None:
    select = "SELECT count(*) AS n FROM labs WHERE day"
    for wrong in ("2025-13-01", "yesterday-ish"):
        for rest in (f">= '{wrong}'", f"BETWEEN '2020-01-01' AND '{wrong}'", f"IN ('{wrong}')",
                     f"> DATE '{wrong}'"):  # fmt: skip
            with pytest.raises(BadLiteral) as refused:
                hospital.govern(f"{select} {rest}", terms)
            assert refused.value.facts == {"literal": wrong, "type": "DATE"}
    with pytest.raises(BadLiteral) as masked:  # what a mask shows is a year, not a date
        hospital.govern("SELECT count(*) FROM patients WHERE birth > '1960-01-01'", terms)
    assert masked.value.facts["type"] == "BIGINT"
    for right in ("'2020-01-05'", "'2020-1-5'", "DATE '2020-01-05'"):
        assert hospital.ask(f"{select} > {right}", terms).to_pylist()[0]["n"] > 0


def test_many_text_literals_are_tried_together(hospital) -> None:
    many = ", ".join(f"'2020/01/{day % 28 + 1:02}'" for day in range(400))
    hospital.govern(f"SELECT count(*) FROM labs WHERE day IN ({many}) AND code IN ('1', '2')")
    with pytest.raises(BadLiteral):
        hospital.govern(f"SELECT count(*) FROM labs WHERE day IN ({many}, 'x')")


def test_a_filter_is_read_anew_for_other_columns(hospital) -> None:
    """What is kept of a row filter is of these very columns and kinds: no other table gets it."""
    terms = replace(ROWS, row_filters=(("patients", "age > 30"),))
    tables = hospital.tables
    check_terms(terms, tables)
    check_terms(terms, tables)
    table = tables["patients"]
    for changed in (
        {name: kind for name, kind in table.columns.items() if name.lower() != "age"},
        {**table.columns, "Age": "VARCHAR"},
    ):
        other = {**tables, "patients": replace(table, columns=changed)}
        with pytest.raises((FilterNotEnforceable, ColumnNotAgreed)):
            check_terms(replace(terms, columns=("patients.id",)), other)

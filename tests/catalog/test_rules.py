"""Code tables, state tables and the compliance check, cell by cell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog.catalogs import PROVIDER, SUBJECT, check_terms, policy, read_terms
from yunhe import catalog, contracts
from yunhe.catalog import rules, states
from yunhe.catalog.codetables import TABLES, code_name, has_code
from yunhe.catalog.rules_policy import Asked

BASE: dict[str, Any] = {
    "local_id": "r1",
    "version": 1,
    "title_zh": "肝病",
    "description_en": "Liver",
    "provider_did": PROVIDER,
    "provider_subject": SUBJECT,
    "provider_name": "某医院",
    "contact": "data office",
    "source_type": "001",
    "topic_category": "C0200",
    "scenario_category": "T0200",
    "industry_category": "84",
    "data_type": "01",
    "formats": ["application/vnd.apache.parquet"],
    "update_frequency": "008",
    "update_time": "2026-01-01T00:00:00.000000Z",
    "quality_level": "001",
    "security_level": "002",
    "data_grade": "general",
    "personal_info": "1",
    "tables": [
        {
            "name": "patients",
            "entity_key": "id",
            "columns": [{"name": "id", "type": "BIGINT"}, {"name": "age", "type": "BIGINT"}],
        }
    ],
}
PRODUCT = {
    **BASE,
    "connector_address": "https://p.example",
    "product_form": "001",
    "delivery_methods": ["03"],
    "resource_codes": ["791330100MA0000066533011BH95JZYK"],
    "usage_scenario": "research",
    "policy": policy(),
    "price": {"mode": "03", "per_use_fen": 100, "per_row_fen": 2},
}


def found(record: dict[str, Any], kind: str = "resource") -> set[tuple[str, str, str]]:
    rules.check_shape(kind, record)
    return {(f.field, f.rule, f.weight) for f in rules.check(kind, record, Asked(read_terms))}


def test_complete_records_pass() -> None:
    assert found(BASE) == set()
    assert found(PRODUCT, "product") == set()


def test_every_mandatory_field_is_missed() -> None:
    for kind, record in (("resource", BASE), ("product", PRODUCT)):
        for field in rules.FIELDS:
            if (field.product if kind == "product" else field.resource) != rules.MUST:
                continue
            less = {name: value for name, value in record.items() if name != field.name}
            assert (field.name, "K1", "return") in found(less, kind), field.name


def test_every_code_of_every_table_is_accepted_and_others_are_not() -> None:
    for field in rules.FIELDS:
        if not field.table or field.table == "industry":
            continue
        for code in TABLES[field.table]:
            value = [code] if field.type == "texts" else code
            assert (field.name, "K1", "return") not in found(
                {**PRODUCT, field.name: value}, "product"
            )
        for wrong in ("000", "9", "Z9999", "001 "):
            value = [wrong] if field.type == "texts" else wrong
            assert (field.name, "K1", "return") in found({**PRODUCT, field.name: value}, "product")


def test_small_classes_need_their_middle_class() -> None:
    assert has_code("topic", "C0203")
    assert not has_code("topic", "C0903")
    assert not has_code("topic", "E0101")
    assert has_code("industry", "8411")
    assert has_code("industry", "Q84")
    assert not has_code("industry", "hospital")
    assert code_name("frequency", "004") == "monthly"
    assert code_name("topic", "C0200", "zh") == "卫生健康"
    assert code_name("topic", "C0203") == "C0203"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"title_zh": ""}, ("title_zh", "K1", "return")),
        ({"title_zh": "长" * 129}, ("title_zh", "K1", "return")),
        ({"title_zh": "a\x00b"}, ("title_zh", "K1", "return")),
        ({"keywords": ["k"] * 21}, ("keywords", "K1", "return")),
        ({"rows": -1}, ("rows", "K1", "return")),
        (
            {"tables": [{"name": "a b", "entity_key": "", "columns": []}]},
            ("tables.a b", "K1", "return"),
        ),
        ({"source_type": "003"}, ("source_proof", "K4", "return")),
        ({"source_type": "002"}, ("legal_basis", "K4", "return")),
        ({"security_level": "005"}, ("security_level", "K5", "reject")),
        ({"security_level": "004"}, ("security_level", "K5", "reviewer")),
        ({"data_grade": "core"}, ("data_grade", "K5", "reject")),
        ({"data_grade": "important"}, ("grade_assessment", "K5", "return")),
        ({"data_grade": "important"}, ("security_level", "K5", "reviewer")),
        ({"personal_info": "2"}, ("legal_basis", "K6", "return")),
        ({"personal_info": "2"}, ("masking_plan", "K6", "return")),
        ({"product_form": "001"}, ("product_form", "K1", "return")),
    ],
)
def test_compliance_of_a_resource(change: dict[str, Any], fault: tuple[str, str, str]) -> None:
    assert fault in found({**BASE, **change})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"resource_codes": []}, ("resource_codes", "K7", "return")),
        ({"usage_scenario": ""}, ("usage_scenario", "K1", "return")),
        ({"policy": {"rules": []}}, ("policy", "K10", "return")),
        ({"policy": {"rules": 3}}, ("policy", "K10", "return")),
        ({"policy": policy("patients.salary")}, ("policy.columns", "K10", "return")),
        ({"price": {"mode": "01", "per_use_fen": 0, "per_row_fen": 0}}, ("price", "K10", "return")),
    ],
)
def test_compliance_of_a_product(change: dict[str, Any], fault: tuple[str, str, str]) -> None:
    assert fault in found({**PRODUCT, **change}, "product")


def test_the_node_refuses_what_it_can_know_of_a_policy() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def fields(**changes: Any) -> set[str]:
        record = {**PRODUCT, "policy": policy(**changes)}
        asked = Asked(read_terms, check_terms, now)
        return {f.field for f in rules.check("product", record, asked)}

    assert fields(expires_at=now) == {"policy.expires_at"}
    assert fields(expires_at=now + timedelta(seconds=1)) == set()
    assert fields(purposes=()) == {"policy.purposes"}
    assert fields(row_filters=(("patients", "age >="),)) == {"policy.row_filters"}
    assert fields(row_filters=(("patients", "age >= 'old'"),)) == {"policy.row_filters"}
    assert fields(row_filters=(("patients", "hidden >= 18"),)) == set()  # may be there, unseen
    assert fields(masks=(contracts.Mask("patients.age", "year"),)) == {"policy.masks"}
    assert fields(masks=(contracts.Mask("patients.hidden", "hash"),)) == set()


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "record",
        {},
        {**BASE, "local_id": 7},
        {**BASE, "local_id": "../etc"},
        {**BASE, "version": "1"},
        {**BASE, "version": True},
        {**BASE, "version": 0},
        {**BASE, "title_zh": 5},
        {**BASE, "title_zh": None},
        {**BASE, "keywords": "liver"},
        {**BASE, "keywords": [1]},
        {**BASE, "rows": True},
        {**BASE, "tables": [{"name": "a"}]},
        {**BASE, "tables": [{"name": "a", "entity_key": "", "columns": [["id", "INT"]]}]},
        {**BASE, "surprise": 1},
        {**BASE, "description_zh": "x" * 300_000},
    ],
)
def test_what_is_no_record_is_refused(body: Any) -> None:
    with pytest.raises(catalog.RecordMalformed):
        rules.check_shape("resource", body)


def documented(first: str, verbs: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """The state table of docs/catalogue.md whose first row is `first`."""
    page = Path(__file__).parents[2] / "docs" / "catalogue.md"
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    head = next(at for at, row in enumerate(rows) if row.startswith(f"| `{first}` |")) - 1
    columns = [cell.strip() for cell in rows[head].strip("|").split("|")][1:]
    assert columns == list(verbs)
    cells = {}
    for row in rows[head + 1 :]:
        state, *after = [cell.strip() for cell in row.strip("|").split("|")]
        if not state.startswith("`") or len(after) != len(columns):
            break
        cells |= {(state.strip("`"), v): a for v, a in zip(verbs, after, strict=True) if a}
    return cells


@pytest.mark.parametrize(
    ("table", "all_states", "verbs"),
    [
        (states.ENTRY, states.ENTRY_STATES, states.ENTRY_VERBS),
        (states.LISTING, states.LISTING_STATES, states.LISTING_VERBS),
    ],
)
def test_every_cell_of_the_state_tables(table: Any, all_states: Any, verbs: Any) -> None:
    for state in all_states:
        for verb in verbs:
            if (state, verb) in table:
                assert states.step(table, state, verb) in all_states
            else:
                with pytest.raises(catalog.NotInThisState) as refused:
                    states.step(table, state, verb)
                assert refused.value.facts == {"state": state, "verb": verb}
    assert {state for state, _ in table} | set(table.values()) == set(all_states)
    assert {verb for _, verb in table} == set(verbs)
    assert documented(all_states[0], verbs) == dict(table)
    final = set(all_states) - {state for state, _ in table}
    assert final == ({"rejected", "withdrawn"} if table is states.ENTRY else set())

"""What is written under the standard's names reads back the same, and odd bodies are refused."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from yunhe.catalog import rules
from yunhe.federation import KINDS, REGISTRATION, REVIEW, model
from yunhe.protocols.tds import MESSAGES
from yunhe.protocols.tds.errors import UnreadableMessage
from yunhe.protocols.tds.handlers import (
    SHAPES,
    read_answer,
    read_request,
    write_answer,
    write_request,
)

HIT = {
    "code": "6" * 32,
    "title_zh": "肝病",
    "title_en": "Liver",
    "description_zh": "随访",
    "description_en": "Follow-up",
    "keywords": ["NAFLD"],
    "provider_did": "did:web:p.example",
    "provider_name": "某医院",
    "connector_code": "5" * 32,
    "address": "https://p.example",
    "price": {"mode": "03", "per_use_fen": 100, "per_row_fen": 2},
    "version": 1,
    "updated_at": "2026-01-01T00:00:00.000000Z",
    "language": "zh",
    "score": 1.5,
}
TABLE = {"name": "patients", "entity_key": "id", "columns": [{"name": "id", "type": "BIGINT"}]}


def full_record(kind: str) -> dict[str, Any]:
    """A record with every field of its kind, valid or not: names are the subject here."""
    values = {"text": "x", "texts": ["x"], "int": 7, "object": {"rules": []}, "objects": [TABLE]}
    record = {field.name: values[field.type] for field in rules.KINDS[kind]}
    if "price" in record:
        record["price"] = HIT["price"]
    return {"local_id": "p1", "version": 3, **record}


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_of_a_record_travels(name: str) -> None:
    payload = {"record": full_record(KINDS[name])}
    body = write_request(name, payload)
    assert read_request(name, body) == payload
    shouted = {key.upper(): value for key, value in body.items()}
    assert read_request(name, shouted) == payload
    assert read_request(name, {**body, "ext": {"a": 1}}) == payload


def test_a_connectors_registration_travels() -> None:
    form = {"subject_code": "s", "name": "n", "name_en": "e", "address": "https://a"}
    for name in ("RegisterSubject", "RegisterConnector"):
        assert read_request(name, write_request(name, {"form": form})) == {"form": form}
    told = {
        "application_id": "a",
        "kind": "product",
        "local_id": "p",
        "version": 2,
        "state": "returned",
        "code": "6",
        "reasons": [{"field": "contact", "en": "is mandatory", "zh": "为必填项"}],
    }
    assert read_request(REVIEW, write_request(REVIEW, told)) == told
    for name in (*KINDS, "RegisterSubject", "RegisterConnector", "GetApplication"):
        assert read_answer(name, write_answer(name, told)) == told


def test_search_and_detail_travel() -> None:
    asked = {"text": "肝病", "limit": 5, "offset": 0, "order": "newest", "filters": {}}
    body = write_request("SearchDataCatalog", asked)
    assert body["order"] == "dsc"
    assert read_request("SearchDataCatalog", body) == asked
    found = {"total": 1, "hits": [HIT]}
    data = write_answer("SearchDataCatalog", found)
    assert data["resultData"][0]["dscription"] == "随访"
    assert read_answer("SearchDataCatalog", data) == found
    record = full_record("product")
    whole = {"hit": HIT, "tables": [TABLE], "policy": {"rules": []}, "record": record}
    assert read_answer("GetDataCatalogDetail", write_answer("GetDataCatalogDetail", whole)) == whole


def test_every_message_has_a_shape_or_is_ours_alone() -> None:
    assert set(SHAPES) <= set(MESSAGES)
    assert {*KINDS, *REGISTRATION, REVIEW} <= set(SHAPES)
    assert write_request("SendStatement", {"any": 1}) == {"any": 1}
    assert read_answer("SendStatement", {"any": 1}) == {"any": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"localId": "a", "LocalID": "b"},
        {"name": "a", "productName": "b"},
        {"fields": "x"},
        {"fields": [1]},
    ],
)
def test_ambiguous_or_misshapen_bodies_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UnreadableMessage):
        read_request("RegisterDataResource", body)


def test_numbers_may_come_as_text() -> None:
    body = {"localId": "a", "version": "12", "rows": "５"}
    got = read_request("RegisterDataResource", body)["record"]
    assert got["version"] == 12
    assert got["rows"] == "５"  # not ASCII digits: the record check refuses it


PROGRAM = {
    **dict.fromkeys(("digest", "name", "version", "kind", "title_zh", "title_en"), "x"),
    **dict.fromkeys(("author_did", "author_name", "connector_code"), "x"),
    "keywords": ["NAFLD"],
    "listed_at": "2026-01-01T00:00:00.000000Z",
}


@pytest.mark.parametrize("odd", [None, True, 7, 10**400, 1e300, [], [[]], {}, {"a": 1}, "x", ""])
def test_a_parents_odd_answer_is_told_by_the_errors_that_are_stated(odd: Any) -> None:
    """Whoever asks is told that the answer is odd; nothing fails inside this node."""
    for read, good in ((model.hit_from, HIT), (model.program_from, PROGRAM)):
        for name in good:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                read({**good, name: odd})
    detail = {"hit": HIT, "tables": [TABLE], "policy": None, "record": {}}
    for name in detail:
        with contextlib.suppress(KeyError, TypeError, ValueError):
            model.detail_from({**detail, name: odd})
    with contextlib.suppress(KeyError, TypeError, ValueError):
        model.detail_from({**detail, "tables": [odd]})

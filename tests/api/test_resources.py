"""What `yunhe publish` leans on: a product is checked on a draft, a resource may be taken back."""

from __future__ import annotations

from typing import Any

from api.conftest import Lone, problem

TEXTS = {"title_zh": "队列", "title_en": "Cohort", "description_zh": "随访", "description_en": "x"}


def _resource(lone: Lone) -> str:
    tables = [{"name": "patients", "paths": ["patients.parquet"], "entity_key": "id"}]
    made = lone.call("POST", "/resources", "provider", json={**TEXTS, "tables": tables})
    assert made.status_code == 201, made.text
    assert made.json()["state"] == "draft"
    return str(made.json()["id"])


def _product(resource: str, column: str) -> dict[str, Any]:
    terms = {"purposes": ["medical-research"], "columns": [column]}
    return {**TEXTS, "resource_ids": [resource], "terms": terms}


def test_a_product_is_checked_against_the_columns_of_a_draft(lone: Lone) -> None:
    resource = _resource(lone)
    wrong = _product(resource, "patients.agee")
    refused = problem(lone.call("POST", "/products", "provider", json=wrong))
    assert refused["code"] == "CATALOG_FORM_NOT_VALID"
    fault = refused["facts"]["faults"][0]
    assert fault["field"]
    assert fault["zh"]
    right = _product(resource, "patients.age")
    assert lone.call("POST", "/products", "provider", json=right).status_code == 201


def test_a_resource_is_taken_back_and_no_product_with_it(lone: Lone) -> None:
    resource = _resource(lone)
    path = f"/resources/{resource}/withdraw"
    assert problem(lone.call("POST", path, "user"))["status"] == 403
    assert lone.call("POST", path, "provider").json()["state"] == "withdrawn"
    used = _resource(lone)
    product = lone.call("POST", "/products", "provider", json=_product(used, "patients.age"))
    held = problem(lone.call("POST", f"/resources/{used}/withdraw", "provider"))
    assert held["code"] == "CATALOG_RESOURCE_IN_USE"
    wrong_kind = f"/resources/{product.json()['id']}/withdraw"
    assert 400 <= lone.call("POST", wrong_kind, "provider").status_code < 500
    assert lone.call("GET", f"/products/{product.json()['id']}").json()["state"] == "draft"

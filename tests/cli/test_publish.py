"""`yunhe publish` and `yunhe resources`: the whole form first, then the reviews, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sdk.fake_node import PROBLEM, FakeNode, fake_node
from yunhe.cli import app

FORM = """
[resource]
title_zh = "脂肪肝"
title_en = "NAFLD"
tables = [{ name = "patients", paths = ["p.parquet"], entity_key = "id" }]
[product]
title_zh = "队列"
title_en = "cohort"
[product.terms]
purposes = ["medical-research"]
columns = ["patients.age"]
"""
TABLE = {"name": "patients", "entity_key": "id", "columns": [{"name": "age", "type": "INTEGER"}]}
RESOURCE = {"id": "r", "title_zh": "脂肪肝", "title_en": "NAFLD", "tables": [TABLE]}
PRODUCT = {"id": "p", "title_zh": "队列", "title_en": "cohort", "resource_ids": ["r"]}


@pytest.fixture
def node() -> Iterator[FakeNode]:
    with fake_node() as found:
        one = {**RESOURCE, "state": "registered", "code": "R1"}
        product = {**PRODUCT, "code": "P1"}
        found.answers |= {
            "GET /registration": (200, {"state": "approved", "parent_did": "did:web:fn"}),
            "POST /resources": (201, {**RESOURCE, "state": "draft"}),
            "POST /resources/r/submit": (200, {**RESOURCE, "state": "submitted"}),
            "POST /resources/r/withdraw": (200, {**RESOURCE, "state": "withdrawn"}),
            "GET /resources/r": (200, one),
            "GET /resources": (200, {"items": []}),
            "GET /products": (200, {"items": []}),
            "POST /products": (201, {**PRODUCT, "state": "draft"}),
            "POST /products/p/submit": (200, {**PRODUCT, "state": "submitted"}),
            "POST /products/p/list": (200, {**product, "state": "submitted"}),
            "GET /products/p": [
                (200, {**product, "state": "registered"}),
                (200, {**product, "state": "listed"}),
            ],
        }
        yield found


def run(node: FakeNode, *arguments: str) -> Any:
    environ = {"YUNHE_URL": node.url, "YUNHE_TOKEN": "t", "LC_ALL": "C"}
    return CliRunner().invoke(app, [*arguments], env=environ)


@pytest.fixture
def form(tmp_path: Path) -> str:
    path = tmp_path / "form.toml"
    path.write_text(FORM, encoding="utf-8")
    return str(path)


def test_each_step_is_told(node: FakeNode, form: str) -> None:
    told = run(node, "publish", form).stderr
    for line in (
        "resource r submitted, waiting for review at did:web:fn",
        "resource r registered: R1",
        "product p submitted, waiting for review at did:web:fn",
        "product p registered: P1",
        "listing of product p submitted",
    ):
        assert line in told


def test_what_a_person_has_to_look_at_is_told_to_who_waits(node: FakeNode, form: str) -> None:
    warning = {"field": "security_level", "rule": "K5", "en": "004 needs a reviewer", "zh": "须审"}
    waiting = {**RESOURCE, "state": "submitted", "reasons": [{**warning, "weight": "reviewer"}]}
    node.answers["POST /resources/r/submit"] = (200, waiting)
    told = run(node, "publish", form).stderr
    assert "a person has to look at: security_level: 004 needs a reviewer (K5)" in told


def test_a_product_that_is_refused_sends_nothing_to_review(node: FakeNode, form: str) -> None:
    fault = {"field": "policy", "rule": "K6", "en": "no column age2", "zh": "无此列"}
    facts = {"faults": [fault], "fields": "policy"}
    node.answers["POST /products"] = (400, {**PROBLEM, "code": "X_FORM", "facts": facts})
    result = run(node, "publish", form)
    assert "policy: no column age2 (K6)" in result.stderr
    sent = [key for key, *_ in node.seen]
    assert "POST /resources/r/submit" not in sent
    assert sent[-1] == "POST /resources/r/withdraw"


def test_a_resource_given_by_id_is_used_again_when_it_is_the_same(
    node: FakeNode, form: str
) -> None:
    assert run(node, "publish", form, "--resource", "r").exit_code == 0
    assert "POST /resources" not in [key for key, *_ in node.seen]
    node.answers["GET /resources/r"] = (200, {**RESOURCE, "title_en": "x", "state": "registered"})
    other = run(node, "publish", form, "--resource", "r")
    assert other.exit_code == 2
    assert "title_en" in other.stderr


TERMS = {"purposes": ["medical-research"], "columns": ["patients.age"]}


@pytest.mark.parametrize(
    ("state", "code", "sent"),
    [
        ("submitted", None, ["POST /products/p/list"]),  # it waits for its review
        ("registered", "P1", ["POST /products/p/list"]),  # it has had it
        ("submitted", "P1", []),  # its listing waits
        ("listed", "P1", []),
    ],
)
def test_who_comes_back_goes_on_with_what_was_sent(
    node: FakeNode, form: str, state: str, code: str | None, sent: list[str]
) -> None:
    sold = {**PRODUCT, "terms": TERMS, "code": code, "state": state}
    node.answers["GET /products"] = (200, {"items": [sold]})
    if code:
        node.answers["GET /products/p"] = (200, {**sold, "state": "listed"})
    assert run(node, "publish", form, "--resource", "r").exit_code == 0
    assert [key for key, *_ in node.seen if key.startswith("POST ")] == sent


def test_a_form_on_other_terms_is_a_product_of_its_own(node: FakeNode, form: str) -> None:
    other = {**PRODUCT, "terms": {**TERMS, "uses_max": 5}, "code": "P0", "state": "listed"}
    node.answers["GET /products"] = (200, {"items": [other]})
    assert run(node, "publish", form, "--resource", "r").exit_code == 0
    assert "POST /products" in [key for key, *_ in node.seen]


def test_a_try_that_was_returned_is_mended_and_not_left_behind(node: FakeNode, form: str) -> None:
    left = {**RESOURCE, "state": "returned"}
    node.answers |= {
        "GET /resources": (200, {"items": [left]}),
        "PATCH /resources/r": (200, {**left, "state": "draft"}),
        "GET /products": (200, {"items": [{**PRODUCT, "terms": TERMS, "state": "draft"}]}),
        "PATCH /products/p": (200, {**PRODUCT, "state": "draft"}),
    }
    assert run(node, "publish", form).exit_code == 0
    sent = [key for key, *_ in node.seen]
    assert "POST /resources" not in sent
    assert "POST /products" not in sent


def test_who_is_no_member_yet_is_told_to_register_first(node: FakeNode, form: str) -> None:
    standing = {"state": "none", "parent_did": "did:web:fn"}
    node.answers["GET /registration"] = (200, standing)
    result = run(node, "publish", form)
    assert result.exit_code == 1
    assert "NOT_A_MEMBER_YET" in result.stderr
    assert "yunhe register --wait 600" in result.stderr
    assert [key for key, *_ in node.seen] == ["GET /registration"]


def test_reasons_of_a_return_are_told_whatever_their_form(node: FakeNode, form: str) -> None:
    fault = {"field": "keywords", "rule": "K1", "en": "too many", "zh": "过多"}
    returned = {**RESOURCE, "state": "returned", "reasons": [fault, "no years"]}
    node.answers["GET /resources/r"] = (200, returned)
    result = run(node, "publish", form)
    assert result.exit_code == 1
    assert "keywords: too many (K1); no years" in result.stderr


def test_resources_are_listed_shown_and_withdrawn(node: FakeNode) -> None:
    node.answers["GET /resources"] = (200, {"items": [{**RESOURCE, "state": "registered"}]})
    assert "NAFLD" in run(node, "resources", "list").stdout
    shown = run(node, "resources", "show", "r").stdout
    assert "patients.age" in shown
    assert "INTEGER" in shown
    assert "withdrawn" in run(node, "resources", "withdraw", "r").stdout

"""A form that does not fit is refused in the reader's language, member by member."""

from __future__ import annotations

import pytest

from api.conftest import Lone


@pytest.mark.parametrize(
    ("body", "en", "zh"),
    [
        (
            {"name": "n", "roles": ["boss"]},
            "roles.0: it is one of",
            "'user'、'auditor'、",
        ),
        ({"name": "n", "rules": []}, "roles: it is required", "roles：必须填写"),
        (
            {"name": "n", "roles": ["user"], "kewords": 1},
            "kewords: there is no such member",
            "kewords：没有此成员",
        ),
        (
            {"name": 7, "roles": ["user"]},
            "name: it is a text",
            "name：应为文本",
        ),
    ],
)
def test_a_member_that_does_not_fit_is_named(lone: Lone, body: object, en: str, zh: str) -> None:
    answer = lone.call("POST", "/tokens", json=body)
    assert answer.status_code == 400
    assert en in answer.json()["detail"]
    assert zh in answer.json()["zh"]["detail"]


@pytest.mark.parametrize(
    ("term", "en", "zh"),
    [
        (
            {"aggregates": "labs.value=median,min"},
            "terms.aggregates: 'labs.value=median,min' needs a step for min, max, median or",
            "terms.aggregates：“labs.value=median,min”含 min、max、median 或 quantile，须给出步长",
        ),
        (
            {"aggregates": "value=avg"},
            "'value=avg' does not begin with table.column=",
            "“value=avg”应以 表.列= 开头",
        ),
        ({"aggregates": "labs.value=average"}, "lists other words than count, sum", "以外的词"),
        ({"aggregates": "labs.value=avg/5"}, "has a step, which only", "带有步长"),
        (
            {"aggregates": "labs.value=median/0.1,min/0.1"},
            "it is written as in pay.salary=avg,count,max,median/100",
            "写法如 pay.salary=avg,count,max,median/100",
        ),
        ({"columns": ["value"]}, "it is written as in patients.age", "写法如 patients.age"),
        (
            {"hours": "Mon-Fri 25:00-26:00 Asia/Shanghai"},
            "no hours of use; written as in Mon-Fri",
            "不是有效的使用时段；写法如 Mon-Fri",
        ),
        ({"release": "everything"}, "written as in aggregate;k=10", "写法如 aggregate;k=10"),
    ],
)
def test_a_term_that_is_written_otherwise_is_told_how(
    lone: Lone, term: dict[str, object], en: str, zh: str
) -> None:
    terms = {"purposes": ["p"], "columns": ["labs.value"]} | term
    text = {"title_zh": "甲", "title_en": "A", "description_zh": "乙", "description_en": "B"}
    body = {"resource_ids": ["r"], **text, "keywords": [], "terms": terms}
    answer = lone.call("POST", "/products", json=body)
    assert answer.status_code == 400
    assert en in answer.json()["detail"]
    assert zh in answer.json()["zh"]["detail"]
    assert "Value error" not in answer.text
    assert "^[" not in answer.text

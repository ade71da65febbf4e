"""A form that does not fit is refused in the reader's language, member by member."""

from __future__ import annotations

import pytest

from api.conftest import Lone


@pytest.mark.parametrize(
    ("body", "en", "zh"),
    [
        ({"name": "n", "roles": ["boss"]}, "roles.0: it is one of", "roles.0：应为以下之一"),
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

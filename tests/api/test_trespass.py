"""Who asks for what its role does not give leaves an entry in the log, each time (DESIGN 4.6)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yunhe.contracts import Side

MADE = {"name": "x", "roles": ["admin"], "ttl_s": 60}


def trespasses(lone: Any) -> list[dict[str, Any]]:
    """What the log holds of them, the newest first."""
    return [entry.body for entry in lone.node.evidence.find("identity.refused")]


def test_a_call_without_its_role_is_logged_once_with_who_and_what(lone: Any) -> None:
    before = len(trespasses(lone))
    assert lone.call("POST", "/tokens", "user", json=MADE).status_code == 403
    assert lone.call("DELETE", "/tokens/0123456789abcdef", "provider").status_code == 403
    last, first, *_ = trespasses(lone)
    assert len(trespasses(lone)) == before + 2
    who = lone.call("GET", "/me", "user").json()
    said = {"token_id": who["id"], "name": "user", "code": "ROLE_MISSING"}
    assert first == {**said, "what": "POST /tokens"}
    assert (last["name"], last["what"]) == ("provider", "DELETE /tokens/{token_id}")  # no id


def test_the_wrong_side_is_logged_as_well(lone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(role=Side.PROVIDER)
    monkeypatch.setattr(lone.node.contracts, "contract", lambda _key: found)
    before = len(trespasses(lone))
    answer = lone.call("POST", "/contracts/c1/terminate", "user", json={"reason": "x"})
    assert answer.json()["code"] == "ROLE_MISSING"
    assert len(trespasses(lone)) == before + 1
    assert trespasses(lone)[0]["what"] == "POST /contracts/{key}/terminate"


def test_strangers_and_other_refusals_leave_no_such_entry(lone: Any) -> None:
    before = len(trespasses(lone))
    assert lone.call("GET", "/tokens", "").status_code == 401
    assert lone.call("GET", "/contracts/none", "user").status_code == 404
    assert lone.call("GET", "/tokens", "admin").status_code == 200
    assert len(trespasses(lone)) == before

"""Who buys data for a node does not sell the node's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from yunhe.contracts import Side

VERBS = (
    ("/contracts/c1/terminate", {"reason": "x"}),
    ("/transfers/t1/suspend", {"reason": "x"}),
    ("/negotiations/n1/terminate", {"reason": "x"}),
    ("/negotiations/n1/accept", {}),
    ("/negotiations/n1/counter", {"terms": {"columns": ["t.a"], "purposes": ["p"]}}),
)


@pytest.mark.parametrize(("path", "body"), VERBS)
@pytest.mark.parametrize(
    ("side", "role", "status"),
    [
        (Side.PROVIDER, "user", 403),
        (Side.PROVIDER, "provider", 404),  # let through: and then there is no such contract
        (Side.CONSUMER, "provider", 403),
        (Side.CONSUMER, "user", 404),
        (Side.PROVIDER, "admin", 404),
    ],
)
def test_each_side_has_its_role(
    lone: Any,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: dict[str, Any],
    side: Side,
    role: str,
    status: int,
) -> None:
    found = SimpleNamespace(role=side)
    for name in ("contract", "negotiation", "transfer"):
        monkeypatch.setattr(lone.node.contracts, name, lambda _key: found)
    answer = lone.call("POST", path, role, json=body)
    assert (answer.status_code, path) == (status, path), answer.text


def test_a_query_is_explained_at_the_provider(lone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bought = SimpleNamespace(role=Side.CONSUMER, id="c1", peer_did="did:web:x")
    monkeypatch.setattr(lone.node.contracts, "contract", lambda _key: bought)
    answer = lone.call("POST", "/contracts/c1/explain", "provider", json={"sql": "SELECT 1"})
    assert answer.status_code == 409
    assert answer.json()["code"] == "EXPLAINED_AT_THE_PROVIDER"
    assert "yunhe fabric explain" in answer.json()["remedy"]

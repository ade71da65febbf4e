"""Abuses of the fabric: keys of one provider's people, sent to another's node with a question.

A second provider is the first under another name: that is all by which the planner knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from attack.world import ROWS, Target
from flow.world import PURPOSE

_STRANGER: Final = "did:web:stranger.example"
_SQL: Final = "SELECT l.value FROM few.patients p JOIN many.labs l ON l.id = p.id WHERE p.age = 31"

_KEPT: Final = (
    "SELECT l.value, p.age FROM many.labs l LEFT JOIN few.patients p ON l.id = p.id AND p.age = 31"
)


def _told(keys_to: str, sql: str = _SQL) -> Callable[[Target], str]:
    """Whether keys under a contract that names `keys_to` go to the stranger."""

    def act(aim: Target) -> str:
        of_keys = aim.agree(replace(ROWS, keys_to=(keys_to,) if keys_to else ()))
        many = aim.contracts["rows"]
        fabric = aim.world["r"].node.fabric
        member = fabric._member

        def named(contract: Any) -> Any:
            found = member(contract)
            return replace(found, provider_did=_STRANGER) if contract.id == many.id else found

        fabric._member = named  # type: ignore[method-assign]
        try:
            plan, _ = fabric._checked(sql, {"few": [of_keys.id], "many": [many.id]}, PURPOSE)
        finally:
            fabric._member = member  # type: ignore[method-assign]
        keyed = [part for part in plan.parts if part.keys is not None]
        return "KEYS GO" if keyed else "KEYS STAY"

    return act


FABRIC: Final = {
    ("keys to a node that no contract names", "KEYS STAY"): _told(""),
    ("keys to a node like the one that is named", "KEYS STAY"): _told(f"{_STRANGER}.org"),
    ("keys to the node that is named", "KEYS GO"): _told(_STRANGER),
    ("keys of rows that the join keeps anyhow", "KEYS STAY"): _told(_STRANGER, _KEPT),
}

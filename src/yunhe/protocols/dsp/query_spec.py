"""The filter that Eclipse EDC sends with every catalogue request: its own QuerySpec.

In: the object. Out: filters of ours; `offset` and `limit` among them say which part of the list is
asked for. DSP leaves filters to the implementation; a criterion other than on the id is refused.
"""

from __future__ import annotations

from typing import Any, Final

from yunhe.kernel import limits
from yunhe.protocols.dsp.errors import FilterUnsupported

TYPE: Final = "QuerySpec"
WINDOW: Final = ("offset", "limit")
_ID: Final = ("id", "https://w3id.org/edc/v0.0.1/ns/id")
_EQUALS: Final = ("=", "eq")


def is_query_spec(item: Any) -> bool:
    """Whether a filter is EDC's; its prefix does not matter."""
    said = item.get("@type") if isinstance(item, dict) else None
    return isinstance(said, str) and said.rpartition(":")[2].rpartition("/")[2] == TYPE


def read(item: dict[str, Any]) -> list[tuple[str, str]]:
    """Its id, offset and limit; raises FilterUnsupported."""
    found = []
    for name in WINDOW:
        value = item.get(name, 0)
        if not isinstance(value, int) or not 0 <= value <= limits.DSP_CATALOG_OFFSET_MAX:
            raise FilterUnsupported(why=f"{name} is not a number up to the bound")
        if value:
            found.append((name, str(value)))
    criteria = item.get("filterExpression") or []
    criteria = criteria if isinstance(criteria, list) else [criteria]
    return found + [_criterion(each) for each in criteria[: limits.DSP_FILTERS_MAX + 1]]


def _criterion(item: Any) -> tuple[str, str]:
    said = item if isinstance(item, dict) else {}
    value = said.get("operandRight")
    if said.get("operandLeft") not in _ID or said.get("operator") not in _EQUALS:
        raise FilterUnsupported(why="a criterion is neither on the id nor an equality")
    if not isinstance(value, str) or len(value) > limits.PID_CHARS_MAX:
        raise FilterUnsupported(why="the id of a criterion is not a short text")
    return "id", value

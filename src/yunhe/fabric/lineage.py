"""Column lineage across nodes: from which provider's column each output column comes.

In: a resolved query. Out: per output the contracts, tables and columns behind it, and how they are
shown (masked or not).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage

from yunhe.fabric.resolve import Resolved
from yunhe.kernel import limits


def columns(resolved: Resolved) -> dict[str, tuple[dict[str, Any], ...]]:
    """Output name -> its sources; an output that no column feeds (a count) has none."""
    tree = resolved.tree
    first = tree
    while not isinstance(first, exp.Select):
        first = first.this
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for item in first.selects[: limits.FABRIC_LINEAGE_COLUMNS_MAX]:
        name = item.alias_or_name
        found[resolved.spelled.get(name.lower(), name)] = _of(resolved, name)
    return found


def stands_on(found: Mapping[str, Any], product: str, column: str) -> bool:
    """Whether an output of a kept lineage comes from the product and "table.column" named."""
    return any(
        product in ("", source.get("product_code")) and column in ("", source.get("column"))
        for sources in found.values()
        for source in sources
    )


def _of(resolved: Resolved, name: str) -> tuple[dict[str, Any], ...]:
    try:
        root = lineage(name, resolved.tree.copy(), schema=resolved.schema(), dialect="duckdb")
    except (SqlglotError, ValueError, KeyError) as error:
        # A shape that the tracer cannot follow is told as such, never as "from nowhere".
        return ({"unknown": type(error).__name__},)
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for node in root.walk():
        if isinstance(node.source, exp.Table) and node.source.name in resolved.tables:
            named = resolved.tables[node.source.name]
            low = node.name.rpartition(".")[2].strip('"')
            for member in named.members if low in named.shape.columns else ():
                shape = member.tables[named.table]
                field = f"{shape.name}.{shape.spelled[low]}"
                masks = [m.method for m in member.terms.masks if m.column == field]
                seen[(member.contract_id, field)] = {
                    "contract_id": member.contract_id,
                    "product_code": member.product_code,
                    "provider_did": member.provider_did,
                    "column": field,
                    "mask": masks[0] if masks else None,
                    "noise": member.terms.privacy is not None,
                }
    return tuple(seen.values())

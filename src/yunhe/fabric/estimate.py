"""How many rows a sub-query may answer with, from what the catalogue says; a guess, told as one."""

from __future__ import annotations

import math
from typing import Final

from sqlglot import exp

from yunhe.fabric.arms import conjuncts
from yunhe.fabric.model import Member

_EQUAL: Final = 0.1
_OTHER: Final = 0.3


def estimate(query: exp.Expr, member: Member) -> int | None:
    """Rows of `query` at `member`; None where the catalogue does not count the table."""
    select = query
    while not isinstance(select, exp.Select):
        select = select.this
    names = [table.name.lower() for table in select.find_all(exp.Table)]
    rows = [member.tables[name].rows for name in names if name in member.tables]
    if not rows or any(each is None for each in rows):
        return None
    aggregates = any(item.find(exp.AggFunc) for item in select.selects)
    if aggregates and not select.args.get("group"):
        return 1
    size = float(max(each for each in rows if each is not None))
    where = select.args.get("where")
    for term in conjuncts(where.this if where else None):
        size *= _EQUAL if isinstance(term.unnest(), (exp.EQ, exp.In)) else _OTHER
    if select.args.get("group"):
        # Nobody tells how many values a key has: few, where nothing is known. Groups of fewer
        # entities than the contract's minimum never come.
        size = min(size / max(1, member.terms.minimum_group), 10 + math.sqrt(size))
    limit = select.args.get("limit")
    if limit is not None:
        size = min(size, float(limit.expression.name))
    return max(1, int(size))

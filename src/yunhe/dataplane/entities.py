"""Who is who across tables: which joins keep entities apart, and one value of each for all prints.

In: the tables of an aggregate-only query as its contract shows them. Out: refusals of joins that
are not by entity, and the type in which an entity's key is hashed. The overlap audit compares
answers over different tables by these hashes: equal people must have equal ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from yunhe.dataplane.errors import AggregateJoin, AggregateSelfJoin
from yunhe.dataplane.errors_groups import EntityKeysUnlike
from yunhe.dataplane.views import View, built

WHOLE = "BIGINT"
_WHOLE = (
    *(exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT),
    *(exp.DType.UTINYINT, exp.DType.USMALLINT, exp.DType.UINT),
)
_DIGITS = 18  # every number of so many is a BIGINT


def alike(kind: str) -> str:
    """What entity keys of a type are compared as: all whole numbers as one type, else their own.

    Text is no number: `007` and `7` are one person to a join, and two to anybody who counts.
    """
    said = built(kind)
    sizes = [int(size.name) for size in said.expressions] if said.is_type(exp.DType.DECIMAL) else []
    if said.is_type(*_WHOLE) or (len(sizes) == 2 and sizes[0] <= _DIGITS and sizes[1] == 0):
        return WHOLE
    return str(said.sql("duckdb"))


def is_entity(column: exp.Expr, views: Mapping[str, View], *, joinable: bool = False) -> bool:
    """Whether it is the entity key of one of `views`, by alias; and one that can be joined by."""
    view = views.get(column.table) if isinstance(column, exp.Column) else None
    if view is None or not view.is_entity(column.name):
        return False
    return view.entity_joinable or not joinable


def check_joins(tree: exp.Select, views: Mapping[str, View]) -> None:
    """Each join equates entity keys of one type, and no table joins itself.

    Joined n times over, an entity of m rows has m^n: one of k would be the whole average, and
    the time it takes would tell that it is there. Raises AggregateSelfJoin, AggregateJoin,
    EntityKeysUnlike.
    """
    names = [view.table for view in views.values()]
    for name in names:
        if names.count(name) > 1:
            raise AggregateSelfJoin(table=name)
    keys = ", ".join(sorted({str(view.entity_key) for view in views.values()}))
    for join in tree.args.get("joins") or []:
        alias, on = join.this.alias_or_name, join.args.get("on")
        if on is None or join.kind.upper() not in ("", "INNER", "OUTER"):
            raise AggregateJoin(keys=keys)
        linked = False
        for part in on.flatten() if isinstance(on, exp.And) else [on]:
            part = part.unnest()
            sides = (part.this, part.expression) if isinstance(part, exp.EQ) else ()
            if len(sides) != 2 or not all(isinstance(side, exp.Column) for side in sides):
                raise AggregateJoin(keys=keys)
            tables = {side.table for side in sides}
            entities = all(is_entity(side, views, joinable=True) for side in sides)
            linked = linked or (entities and alias in tables and len(tables) == 2)
        if not linked:
            raise AggregateJoin(keys=keys)
    first, *others = views.values()
    for view in others:
        if alike(view.entity_kind) != alike(first.entity_kind):
            kinds = {"kind": first.entity_kind, "other_kind": view.entity_kind}
            raise EntityKeysUnlike(table=first.table, other=view.table, **kinds)

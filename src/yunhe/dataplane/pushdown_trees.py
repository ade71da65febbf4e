"""Trees of governed queries, as every engine that is asked in place cuts them up.

In: a query over policy subqueries. Out: its groups, aggregates and conditions, the same tree
without what nobody looks at, and what is left for our own engine once groups came.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlglot
from sqlglot import exp

from yunhe.dataplane.pushdown_prints import here
from yunhe.dataplane.pushdown_words import NotPushed

ONE = "__one"  # what is shipped where only the number of rows matters


def policy_table(source: exp.Expr) -> exp.Table | None:
    """The table of a policy subquery; None for anything else."""
    if not isinstance(source, exp.Subquery) or not isinstance(source.this, exp.Select):
        return None
    start = source.this.args.get("from_")
    table = start.this if start is not None else None
    return table if isinstance(table, exp.Table) and table.db == "data" else None


def pruned(tree: exp.Expr) -> exp.Expr:
    """The policy subqueries without the columns nobody looks at: what is not shown is not read."""
    for source in list(tree.find_all(exp.Subquery)):
        outer = source.parent_select
        if policy_table(source) is None or outer is None:
            continue
        used = {c.name for c in outer.find_all(exp.Column) if c.table == source.alias_or_name}
        kept = [item for item in source.this.selects if item.alias in used]
        one = exp.alias_(exp.Literal.number(1), ONE, quoted=True)
        source.this.set("expressions", kept or [one])
    return tree


def aggregates_of(tree: exp.Select) -> list[exp.Expr]:
    """The aggregates of a query; raises NotPushed where one of its parts is a query."""
    found: list[exp.Expr] = []
    for name in ("expressions", "having", "order"):
        part = tree.args.get(name)
        for node in part if isinstance(part, list) else [part] if part is not None else []:
            found += list(node.find_all(exp.AggFunc))
            if node.find(exp.Query):
                raise NotPushed("a query within stays here")
    return found


def keys_of(tree: exp.Select) -> list[exp.Expr]:
    """What it groups by; a constant groups nothing."""
    group = tree.args.get("group")
    if group is not None and not group.args.get("all"):
        keys = [key.unnest() for key in group.expressions]
    elif group is not None or tree.args.get("distinct"):
        keys = [item.unalias().unnest() for item in tree.selects if not item.find(exp.AggFunc)]
    else:
        keys = []
    return list(dict.fromkeys(key for key in keys if key.find(exp.Column)))


def left_over(
    tree: exp.Select, swaps: Sequence[tuple[exp.Expr, exp.Expr]], name: str, wide: set[str]
) -> str:
    """What our own engine does with the groups; raises NotPushed where a raw column is left."""
    made = exp.Select()
    for part in ("expressions", "having", "order", "limit", "offset", "distinct"):
        value = tree.args.get(part)
        if isinstance(value, list):
            made.set(part, [_swapped(each, swaps, wide) for each in value])
        elif value is not None:
            made.set(part, _swapped(value, swaps, wide))
    if having := made.args.pop("having", None):
        made.set("where", exp.Where(this=having.this))
    made.set("from_", exp.From(this=exp.table_(name, db="data", quoted=True)))
    for column in made.find_all(exp.Column):
        if column.table:
            raise NotPushed(f"{column.name} stays here")
    return rendered(made)


def _swapped(
    node: exp.Expr, swaps: Sequence[tuple[exp.Expr, exp.Expr]], wide: set[str]
) -> exp.Expr:
    for old, new in swaps:
        if node == old:
            made = new.copy()
            if isinstance(made, exp.Column) and made.name in wide:
                return exp.cast(made, "INT128", dialect="duckdb")
            return exp.paren(made) if not isinstance(made, exp.Column) else made
    copy = node.copy()
    pairs = zip(list(copy.iter_expressions()), list(node.iter_expressions()), strict=True)
    for mine, theirs in pairs:
        mine.replace(_swapped(theirs, swaps, wide))
    return copy


def parsed(sql: str) -> exp.Expr:
    """The tree of a text of our own."""
    made = sqlglot.parse_one(sql, dialect="duckdb")
    assert isinstance(made, exp.Expr)  # noqa: S101 - our own text
    return made


def rendered(tree: exp.Expr) -> str:
    """The text of a tree for our own engine."""
    return str(here(tree).sql(dialect="duckdb", comments=False))


def conjuncts(select: exp.Select) -> list[exp.Expr]:
    """The conditions that its rows have to meet, one by one."""
    where = select.args.get("where")
    if where is None:
        return []
    root = where.this.unnest()
    return [part.unnest() for part in root.flatten()] if isinstance(root, exp.And) else [root]

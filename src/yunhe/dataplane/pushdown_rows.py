"""Which columns and rows a table must ship where its query cannot be done there.

In: the policy subqueries that read it. Out: the columns that are looked at, conditions that every
row must meet to be seen by anybody, and the first rows where these are enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from yunhe.dataplane.pushdown_trees import conjuncts
from yunhe.dataplane.pushdown_words import BASE, NotPushed, Placed, Words, family
from yunhe.dataplane.views import ROW


def needed(selects: Sequence[exp.Select], placed: Placed) -> list[str]:
    """Names of columns in the table's order; raises NotPushed for one that is not there."""
    used = {c.name for each in selects for c in each.find_all(exp.Column) if c.table == BASE}
    for name in sorted(used):
        placed.column(name)
    return [name for name in (*placed.columns, ROW) if name in used]


def conditions(policy: exp.Select, words: Words) -> list[str]:
    """What every row must meet that the query can see through this policy subquery."""
    said = []
    for part in conjuncts(policy):
        try:
            said.append(words.say(part))
        except NotPushed:
            continue  # applied here, over what is shipped
    for part in _outer_conjuncts(policy):
        try:
            said.append(words.say(part))
        except NotPushed:
            continue
    return list(dict.fromkeys(said))


def _outer_conjuncts(policy: exp.Select) -> list[exp.Expr]:
    """The user's own conditions on this one table, over its base columns.

    Only where the table's rows are not made NULL by an outer join, and its shown values are its
    own: then a row that fails one of them is seen by nobody.
    """
    source = policy.parent
    outer = source.parent_select if isinstance(source, exp.Subquery) else None
    if source is None or outer is None:
        return []
    joins = outer.args.get("joins") or []
    if any(str(join.side).upper() in ("RIGHT", "FULL") for join in joins):
        return []
    if any(
        join.this is source and (join.side or join.kind.upper() in ("SEMI", "ANTI"))
        for join in joins
    ):
        return []
    plain = {
        item.alias: item.unalias()
        for item in policy.selects
        if isinstance(item.unalias(), exp.Column)
    }
    found = []
    for part in conjuncts(outer):
        columns = list(part.find_all(exp.Column))
        mine = all(c.table == source.alias_or_name and c.name in plain for c in columns)
        if columns and mine and not part.find(exp.Query):
            found.append(part.copy().transform(_to_base, plain))
    return found


def _to_base(node: exp.Expr, plain: Mapping[str, exp.Expr]) -> exp.Expr:
    if not isinstance(node, exp.Column) or node.table == BASE:
        return node
    base = plain[node.name].copy()
    base.type = node.type
    return base


def tail(tree: exp.Expr, policy: exp.Select | None, words: Words) -> str:
    """ORDER BY and LIMIT, where the first rows there are the first rows here."""
    if policy is None or not isinstance(tree, exp.Select) or policy.parent_select is not tree:
        return ""
    limit, offset = tree.args.get("limit"), tree.args.get("offset")
    refused = ("joins", "group", "having", "distinct", "with_")
    if limit is None or any(tree.args.get(name) for name in refused):
        return ""
    if tree.find(exp.AggFunc, exp.Window) or len(list(tree.find_all(exp.Select))) != 2:
        return ""
    every = [*conjuncts(policy), *conjuncts(tree)]
    try:
        for part in conjuncts(policy):
            words.say(part)
        outer = _outer_conjuncts(policy)
        for part in outer:
            words.say(part)
        if len(outer) + len(conjuncts(policy)) != len(every):
            return ""
        order = _order(tree, policy, words)
    except NotPushed:
        return ""
    most = int(limit.expression.name) + (int(offset.expression.name) if offset else 0)
    return f"{order} LIMIT {most}"


def _order(tree: exp.Select, policy: exp.Select, words: Words) -> str:
    order = tree.args.get("order")
    if order is None:
        return ""
    shown = {item.alias: item.unalias() for item in policy.selects}
    named = {item.alias: item.unalias() for item in tree.selects if isinstance(item, exp.Alias)}
    said = []
    for each in order.expressions:
        column = each.this
        if isinstance(column, exp.Column) and not column.table:
            column = named.get(column.name, column)
        if not isinstance(column, exp.Column) or column.name not in shown:
            raise NotPushed("the order stays here")
        base = shown[column.name]
        if family(base) not in ("int", "decimal", "double", "text", "date", "timestamp"):
            raise NotPushed("the order stays here")
        way = "DESC" if each.args.get("desc") else "ASC"
        nulls = "FIRST" if each.args.get("nulls_first") else "LAST"
        words.key_columns(base)
        said.append(words.spelling.order(words.ordered(base), way, nulls))
    return f" ORDER BY {', '.join(said)}"

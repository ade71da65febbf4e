"""Entities put together by the places of a print, in the database's own words.

In: the query around one that gives a row per group and entity (bounding.py), and that one as the
database says it. Out: the text of both, so that what leaves the database is a row per group and
place: sums, maxima, counts of entities, sums of prints. No entity leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from yunhe.dataplane.pushdown_words import NotPushed, Words, family
from yunhe.sources import PRINT, quoted

_NUMBERS = ("int", "decimal", "double")


def around(
    outer: exp.Select, leaf: exp.Select, inner: str, kinds: Mapping[str, str], kind: str, mark: str
) -> str:
    """`outer`, which reads `leaf` and nothing else, over `inner`; raises NotPushed.

    `kinds`: the types of the columns of `leaf`.
    """
    start = outer.args["from_"].this
    refused = ("joins", "having", "order", "limit", "offset", "distinct", "with_", "qualify")
    if not isinstance(start, exp.Subquery) or start.this is not leaf:
        raise NotPushed("more than entities is put together")
    if any(outer.args.get(name) for name in refused):
        raise NotPushed("entities are not only put together")
    parts = [
        *outer.selects,
        *(outer.args[name] for name in ("where", "group") if name in outer.args),
    ]
    for part in parts:
        for column in part.find_all(exp.Column) if part is not None else ():
            if column.name in kinds:
                column.type = exp.DataType.build(kinds[column.name], dialect="duckdb")
    words = _Over(kind, mark)
    named = {item.alias_or_name: item.unalias() for item in outer.selects}
    items = [f"{words.item(node)} AS {quoted(name)}" for name, node in named.items()]
    where, group = outer.args.get("where"), outer.args.get("group")
    said = f" WHERE {words.say(where.this)}" if where is not None else ""
    if group is not None:
        keys = [
            named[each.name] if isinstance(each, exp.Column) and each.name in named else each
            for each in group.expressions
        ]
        said += f" GROUP BY {', '.join(words.item(key) for key in keys)}"
    alias = quoted(start.alias_or_name)
    return f"SELECT {', '.join(items)} FROM ({inner}) AS {alias}{said}"  # noqa: S608


class _Over(Words):
    """Words over the columns of one query within."""

    def item(self, node: exp.Expr) -> str:
        """A column, a place, or an aggregate of numbers; raises NotPushed."""
        if isinstance(node, exp.Filter) and isinstance(node.this, exp.Count):
            return f"COUNT(CASE WHEN {self.say(node.expression.this)} THEN 1 END)"
        if isinstance(node, exp.Count) and isinstance(node.this, exp.Star):
            return "COUNT(*)"
        if isinstance(node, (exp.Sum, exp.Max)) and family(node.this) in _NUMBERS:
            return f"{node.key.upper()}({self.say(node.this)})"
        if isinstance(node, exp.AggFunc):
            raise NotPushed(f"{node.key.upper()} of entities stays here")
        return self.say(node) if isinstance(node, exp.Case) else self.ordered(node)

    def say(self, node: exp.Expr) -> str:
        """As `Words.say`, and a place of a print."""
        return self._place(node) if isinstance(node, exp.Mod) else super().say(node)

    def _place(self, node: exp.Mod) -> str:
        printed, size = node.this.unnest(), node.expression.unnest()
        if not isinstance(printed, exp.Anonymous) or printed.name != PRINT:
            raise NotPushed("arithmetic stays here")
        if not isinstance(size, exp.Literal) or not size.is_int:
            raise NotPushed("arithmetic stays here")
        return f"MOD({self.say(printed)}, {int(size.name)})"

    def _column(self, node: exp.Column) -> str:
        return quoted(node.name)

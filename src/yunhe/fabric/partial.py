"""Partial aggregates: what each part counts and adds, and how that becomes the whole.

In: an aggregating SELECT over one partitioned source. Out: the SELECT of partials that each part
answers, and the SELECT over their union; or why the aggregates cannot be taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

_TAKEN_APART = (exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max)


@dataclass(frozen=True)
class Split:
    """`partial` goes to every part; `final` reads the slot of their answers."""

    partial: exp.Select
    final: exp.Select


@dataclass(frozen=True)
class Whole:
    """The aggregates need all rows in one place; `why` says which and why."""

    why: str
    why_zh: str


def is_aggregate(select: exp.Select) -> bool:
    """Whether a SELECT groups or aggregates."""
    return bool(select.args.get("group")) or any(
        item.find(exp.AggFunc) for item in select.selects if not item.find(exp.Window)
    )


def split(select: exp.Select, slot: str) -> Split | Whole:
    """Take `select` apart over the slot's name; it holds no nested query."""
    if select.find(exp.Window):
        return Whole("a window needs every row", "窗口函数需要全部明细行")
    for node in select.find_all(exp.AggFunc):
        if type(node) not in _TAKEN_APART:
            name = node.sql_name().lower()
            return Whole(f"{name} cannot be added up from parts", f"{name} 无法由各部分合并")
        if isinstance(node.this, exp.Distinct):
            return Whole(
                "the same value may be at several nodes, so counts of distinct ones do not add up",
                "同一取值可能出现在多个节点，去重计数不能相加",
            )
    made = _Splitter(select, slot)
    return Split(made.partial(), made.final())


class _Splitter:
    def __init__(self, select: exp.Select, slot: str) -> None:
        self.select, self.slot = select, slot
        self.keys = _keys(select)
        self.aggregates: list[exp.Expr] = []  # the partial ones, p0, p1, ...
        self._final = self._lifted()

    def partial(self) -> exp.Select:
        made = exp.Select()
        items = [_named(key.copy(), f"k{at}") for at, key in enumerate(self.keys)]
        items += [_named(each.copy(), f"p{at}") for at, each in enumerate(self.aggregates)]
        made.set("expressions", items)
        for name in ("from_", "where"):
            if part := self.select.args.get(name):
                made.set(name, part.copy())
        made.set("joins", [join.copy() for join in self.select.args.get("joins") or []])
        if self.keys:
            made.set("group", exp.Group(expressions=[key.copy() for key in self.keys]))
        return made

    def final(self) -> exp.Select:
        return self._final

    def _lifted(self) -> exp.Select:
        made = exp.Select()
        made.set(
            "expressions",
            [
                _named(self._lift(item.unalias()), item.alias_or_name)
                for item in self.select.selects
            ],
        )
        made.set("from_", exp.From(this=exp.to_table(self.slot)))
        if self.keys:
            keys = [self._column(f"k{at}") for at in range(len(self.keys))]
            made.set("group", exp.Group(expressions=keys))
        for name in ("having", "order"):
            if part := self.select.args.get(name):
                made.set(name, self._children(part))
        for name in ("limit", "offset", "distinct"):
            if part := self.select.args.get(name):
                made.set(name, part.copy())
        if not self.aggregates:  # only keys: a part still has to say which it has
            self.aggregates.append(exp.Count(this=exp.Star()))
        return made

    def _lift(self, node: exp.Expr) -> exp.Expr:
        bare = node.unnest()
        for at, key in enumerate(self.keys):
            if bare == key:
                return self._column(f"k{at}")
        return self._combined(node) if isinstance(node, exp.AggFunc) else self._children(node)

    def _children(self, node: exp.Expr) -> exp.Expr:
        copy = node.copy()
        for mine, theirs in zip(
            list(copy.iter_expressions()), list(node.iter_expressions()), strict=True
        ):
            mine.replace(self._lift(theirs))
        return copy

    def _combined(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Count):
            total: exp.Expr = exp.Coalesce(
                this=exp.Sum(this=self._partial(node)), expressions=[exp.Literal.number(0)]
            )
            return exp.cast(total, "BIGINT")
        if isinstance(node, exp.Avg):
            total = exp.Sum(this=self._partial(exp.Sum(this=node.this.copy())))
            number = exp.Sum(this=self._partial(exp.Count(this=node.this.copy())))
            return exp.paren(exp.Div(this=exp.cast(total, "DOUBLE"), expression=number))
        return type(node)(this=self._partial(node))

    def _partial(self, node: exp.Expr) -> exp.Expr:
        for at, known in enumerate(self.aggregates):
            if known == node:
                return self._column(f"p{at}")
        self.aggregates.append(node.copy())
        return self._column(f"p{len(self.aggregates) - 1}")

    def _column(self, name: str) -> exp.Expr:
        return exp.column(name, table=self.slot, quoted=True)


def _keys(select: exp.Select) -> list[exp.Expr]:
    group = select.args.get("group")
    if group is None:
        return []
    if group.args.get("all"):
        items = [item.unalias().unnest() for item in select.selects]
        return [item for item in items if not item.find(exp.AggFunc) and item.find(exp.Column)]
    return [key.unnest() for key in group.expressions]


def _named(node: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=node, alias=exp.to_identifier(name, quoted=True))

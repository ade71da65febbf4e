"""How large a query becomes when its aliases and stars are written out, before anyone does so.

In: a checked tree and the views. Out: nothing, or SqlTooLong. The qualifier puts an alias's whole
expression where it is used: `a+a b, b+b c, c+c d ...` doubles with each, in the node's own process.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from yunhe.dataplane.errors import SqlTooLong
from yunhe.dataplane.views import View
from yunhe.kernel import limits


def check(tree: exp.Expr, seen: Mapping[str, View]) -> None:
    """Raise SqlTooLong where the written-out query has over SQL_NODES_WRITTEN_MAX elements."""
    _Growth(seen).query(tree, {})


class _Growth:
    def __init__(self, seen: Mapping[str, View]) -> None:
        self._tables = {name: len(view.columns) for name, view in seen.items()}
        self._total = 0

    def _add(self, size: int) -> None:
        self._total += size
        if self._total > limits.SQL_NODES_WRITTEN_MAX:
            raise SqlTooLong(
                what="the query, written out,", limit=f"{limits.SQL_NODES_WRITTEN_MAX} elements"
            )

    def query(self, node: exp.Expr, known: Mapping[str, int]) -> int:
        """Count `node` and all inside it; returns how many columns it gives."""
        names = dict(known)
        for cte in node.args["with_"].expressions if node.args.get("with_") else ():
            names[cte.alias.lower()] = self.query(cte.this, names)
        if isinstance(node, exp.SetOperation):
            width = self.query(node.this, names)
            self.query(node.expression, names)
            return width
        return (
            self._select(node, names) if isinstance(node, exp.Select) else self._into(node, names)
        )

    def _into(self, node: exp.Expr, names: Mapping[str, int]) -> int:
        return self.query(node.this, names) if isinstance(node.this, exp.Expr) else 0

    def _select(self, select: exp.Select, names: Mapping[str, int]) -> int:
        joins = select.args.get("joins") or []
        start = select.args.get("from_")
        sources = [*([start.this] if start else []), *(join.this for join in joins)]
        star = sum(self._source(source, names) for source in sources)
        sizes: dict[str, int] = {}
        places: list[int] = []
        for item in select.selects:
            size = star if item.is_star else self._size(item, sizes, names)
            self._add(size)
            places.append(size)
            if item.alias:
                sizes[item.alias.lower()] = size
        for name in ("where", "group", "having", "order"):
            if part := select.args.get(name):
                self._add(self._size(part, sizes, names))
                for each in part.expressions:
                    key = each.this if isinstance(each, exp.Ordered) else each
                    at = int(key.name) if isinstance(key, exp.Literal) and key.is_int else 0
                    self._add(places[at - 1] if 0 < at <= len(places) else 0)
        for join in joins:
            self._add(self._size(join.args["on"], {}, names) if join.args.get("on") else 0)
        return sum(star if item.is_star else 1 for item in select.selects)

    def _source(self, source: exp.Expr, names: Mapping[str, int]) -> int:
        if isinstance(source, exp.Table):
            name = source.name.lower()
            return names.get(name, self._tables.get(name, 0))
        return self.query(source, names)

    def _size(self, part: exp.Expr, sizes: Mapping[str, int], names: Mapping[str, int]) -> int:
        total = 0
        for node in part.walk(prune=lambda each: isinstance(each, exp.Query)):
            total += 1
            if isinstance(node, exp.Query):
                self.query(node, names)
            elif isinstance(node, exp.Column) and not node.table:
                total += sizes.get(node.name.lower(), 0)
        return total

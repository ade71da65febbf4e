"""Whole SELECTs of a governed query in Spark's words, or not at all.

In: a query of our own SQL over policy subqueries. Out: one text for Spark Connect in which every
table, column and alias has a name of ours (`t3`, `c7`); of the provider's only a base table and its
columns stay, quoted. Raises NotSent for a construct that does not stand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from sqlglot import exp

from yunhe.dataplane.pushdown_words import Placed
from yunhe.dataplane.spark_args import check_args
from yunhe.dataplane.spark_values import HASHED, NotSent, Said, decimal, spark_type
from yunhe.dataplane.spark_words import Oracle, Words
from yunhe.sources import quoted

_JOINS: Final[Mapping[tuple[str, str], str]] = {
    **dict.fromkeys((("", ""), ("", "CROSS"), ("", "INNER")), "JOIN"),
    **dict.fromkeys((("LEFT", ""), ("LEFT", "OUTER")), "LEFT JOIN"),
    **dict.fromkeys((("RIGHT", ""), ("RIGHT", "OUTER")), "RIGHT JOIN"),
    **dict.fromkeys((("FULL", ""), ("FULL", "OUTER")), "FULL JOIN"),
    **dict.fromkeys((("", "SEMI"), ("LEFT", "SEMI")), "LEFT SEMI JOIN"),
    **dict.fromkeys((("", "ANTI"), ("LEFT", "ANTI")), "LEFT ANTI JOIN"),
}
_SUMMED: Final = ("TINYINT", "SMALLINT", "INTEGER")


@dataclass(frozen=True)
class Column:
    """One column a query gives: its name there, and what it is."""

    name: str  # as our own SQL calls it
    said: Said  # its `sql` is the name there


@dataclass(frozen=True)
class Made:
    """One query for the engine."""

    sql: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Env:
    """What names mean within one SELECT; `outer` is the one around it."""

    sources: dict[str, dict[str, Said]] = field(default_factory=dict)
    ctes: dict[str, tuple[str, tuple[Column, ...]]] = field(default_factory=dict)
    outputs: dict[str, Said] = field(default_factory=dict)
    outer: Env | None = None

    def column(self, node: exp.Column) -> Said:
        """What a column stands for; raises NotSent."""
        if not node.table:
            if node.name in self.outputs:
                return self.outputs[node.name]
            raise NotSent(f"{node.name} stays here")
        at: Env | None = self
        while at is not None:
            if node.table in at.sources:
                found = at.sources[node.table].get(node.name)
                if found is None:
                    raise NotSent(f"column {node.name} is not there")
                return found
            at = at.outer
        raise NotSent(f"{node.table}.{node.name} stays here")

    def cte(self, name: str) -> tuple[str, tuple[Column, ...]] | None:
        """A WITH query by its name."""
        at: Env | None = self
        while at is not None:
            if name in at.ctes:
                return at.ctes[name]
            at = at.outer
        return None


class Queries:
    """Says the queries of one governed statement; `placed` are its tables at the engine."""

    def __init__(self, placed: Mapping[str, Placed], oracle: Oracle) -> None:
        self._placed, self._oracle = placed, oracle
        self._numbers = count()
        self.tables: dict[str, Placed] = {}  # those that were read

    def say(self, tree: exp.Expr, outer: Env | None = None) -> Made:
        """A SELECT or set operation; raises NotSent."""
        check_args(tree)
        if isinstance(tree, exp.Subquery) and not tree.args.get("alias"):
            tree = tree.this
        if isinstance(tree, exp.SetOperation):
            return self._set(tree, outer)
        if not isinstance(tree, exp.Select):
            raise NotSent(f"{tree.key.upper()} stays here")
        return self._select(tree, outer)

    def words(self, env: Env) -> Words:
        """The words of one SELECT."""

        def ask(query: exp.Expr) -> tuple[str, list[Said]]:
            made = self.say(query, env)
            return made.sql, [column.said for column in made.columns]

        return Words(self._oracle, env.column, ask)

    def source(self, env: Env, tree: exp.Select) -> str:
        """FROM and its joins; the columns they bring stand in `env` afterwards."""
        check_args(tree)
        start = tree.args.get("from_")
        if start is None:
            raise NotSent("a SELECT without FROM stays here")
        said = f"FROM {self._relation(start.this, env)}"
        joins = tree.args.get("joins") or []
        for join in joins:
            said += self._join(join, env)
        if joins and not linked(tree):
            raise NotSent(
                "a join without an equality stays here"
            )  # engines cannot be stopped in it
        return said

    def _select(self, tree: exp.Select, outer: Env | None) -> Made:
        env = Env(outer=outer)
        head = self._with(tree, env)
        body = self.source(env, tree)
        words = self.words(env)
        if where := tree.args.get("where"):
            body += f" WHERE {words.truth(where.this)}"
        keys = [(key, words.key(key)) for key in _keys(tree)]
        words = Aggregates(words, keys)
        items = [(item.alias_or_name, words.say(item.unalias())) for item in tree.selects]
        if keys:
            body += f" GROUP BY {', '.join(said.sql for _, said in keys)}"
        if having := tree.args.get("having"):
            body += f" HAVING {words.truth(having.this)}"
        columns, said = self._outputs(items)
        env.outputs.update({column.name: column.said for column in columns})
        if tree.args.get("distinct"):
            if any(column.said.family == "double" for column in columns):
                raise NotSent("DISTINCT of inexact numbers stays here")
            said = "DISTINCT " + said
        elif (keys or _aggregated(tree)) and tree.args.get("order"):
            return Made(head + self._sorted(tree, words, said, body), columns)
        return Made(f"{head}SELECT {said} {body}{self._tail(tree, words)}", columns)

    def _sorted(self, tree: exp.Select, words: Words, said: str, body: str) -> str:
        """Groups, and around them their order: an engine may not know an aggregate it does not
        show."""
        shown, ways = [], []
        for each in tree.args["order"].expressions:
            value, way = _ordered(words, each)
            name = f"c{next(self._numbers)}"
            if re.fullmatch(r"c\d+", value.sql):
                name = value.sql
            else:
                shown.append(f", {value.sql} AS {name}")
            ways.append(f"{name} {way}")
        named = ", ".join(re.findall(r"AS (c\d+)(?:, |$)", said))
        groups = f"(SELECT {said}{''.join(shown)} {body}) AS t{next(self._numbers)}"
        return f"SELECT {named} FROM {groups} ORDER BY {', '.join(ways)}{_first(tree)}"  # noqa: S608

    def _outputs(self, items: list[tuple[str, Said]]) -> tuple[tuple[Column, ...], str]:
        columns, texts = [], []
        for name, said in items:
            given = f"c{next(self._numbers)}"
            columns.append(Column(name, Said(given, said.kind, said.width)))
            kind = said.kind if said.kind != "NULL" else "INTEGER"
            value = f"CAST(NULL AS {spark_type(kind)})" if said.sql == "NULL" else said.sql
            texts.append(f"{value} AS {given}")
        return tuple(columns), ", ".join(texts)

    def _set(self, tree: exp.SetOperation, outer: Env | None) -> Made:
        env = Env(outer=outer)
        head = self._with(tree, env)
        left, right = self.say(tree.this, env), self.say(tree.expression, env)
        kinds = [[column.said.kind for column in side.columns] for side in (left, right)]
        if kinds[0] != kinds[1] or "DOUBLE" in kinds[0] or HASHED in kinds[0]:
            raise NotSent("a set operation of unlike or inexact columns stays here")
        word = tree.key.upper() + ("" if tree.args.get("distinct") else " ALL")
        env.outputs.update({column.name: column.said for column in left.columns})
        tail = self._tail(tree, self.words(env))
        return Made(f"{head}({left.sql}) {word} ({right.sql}){tail}", left.columns)

    def _with(self, tree: exp.Expr, env: Env) -> str:
        made = tree.args.get("with_")
        if made is None:
            return ""
        if made.args.get("recursive"):
            raise NotSent("a recursive query stays here")
        said = []
        for cte in made.expressions:
            query = self.say(cte.this, env)
            name = f"t{next(self._numbers)}"
            env.ctes[cte.alias] = (name, query.columns)
            said.append(f"{name} AS ({query.sql})")
        return f"WITH {', '.join(said)} "

    def _relation(self, node: exp.Expr, env: Env) -> str:
        name = f"t{next(self._numbers)}"
        if isinstance(node, exp.Subquery):
            made = self.say(node.this, env)  # it may look outwards where it is correlated
            env.sources[node.alias] = _seen(name, made.columns)
            return f"({made.sql}) AS {name}"
        if not isinstance(node, exp.Table):
            raise NotSent(f"FROM {node.key.upper()} stays here")
        if node.db != "data":
            found = env.cte(node.name)
            if node.db or found is None:
                raise NotSent("another table stays here")
            env.sources[node.alias_or_name] = _seen(name, found[1])
            return f"{found[0]} AS {name}"
        placed = self._placed.get(node.name)
        if placed is None:
            raise NotSent(f"{node.name} lies elsewhere")
        if any(each.place != placed.place for each in self.tables.values()):
            raise NotSent("its tables lie in several places")
        self.tables[node.name] = placed
        env.sources[node.alias_or_name] = {
            column.name: _base(name, column.name, column.type) for column in placed.columns.values()
        }
        return f"{'.'.join(quoted(part, '`') for part in placed.relation)} AS {name}"

    def _join(self, join: exp.Join, env: Env) -> str:
        side, kind = str(join.side).upper(), str(join.kind).upper()
        word, on = _JOINS.get((side, kind)), join.args.get("on")
        if word is None or join.method or join.args.get("using"):
            raise NotSent(f"{side} {kind} JOIN stays here".replace("  ", " ").strip())
        relation = self._relation(join.this, env)
        if on is None:
            if word != "JOIN":
                raise NotSent(f"{word} without ON stays here")
            return f" CROSS JOIN {relation}"
        return f" {word} {relation} ON {self.words(env).truth(on)}"

    def _tail(self, tree: exp.Expr, words: Words) -> str:
        said = ""
        if order := tree.args.get("order"):
            said += f" ORDER BY {_orders(words, order)}"
        return said + _first(tree)


class Aggregates(Words):
    """Words in which an aggregate may stand: projections, HAVING and ORDER BY of groups."""

    def __init__(self, words: Words, keys: list[tuple[exp.Expr, Said]]) -> None:
        """`keys`: what is grouped by, as it is said there."""
        super().__init__(words._oracle, words._find, words._ask)
        self._keys = keys

    def say(self, node: exp.Expr) -> Said:
        """As `Words.say`, and keys, aggregates and windows."""
        for key, said in self._keys:
            if node == key or node.unnest() == key:
                return said
        if isinstance(node, exp.AggFunc) and not isinstance(node, exp.RowNumber):
            return aggregate(Words(self._oracle, self._find, self._ask), node)
        if isinstance(node, exp.Window):
            return _window(self, node)
        return super().say(node)


def aggregate(words: Words, node: exp.Expr) -> Said:
    """COUNT, SUM, AVG, MIN or MAX with our types; raises NotSent."""
    inner = node.this
    if node.args.get("expressions"):
        raise NotSent(f"{node.key.upper()} stays here")
    if isinstance(node, exp.Count):
        return Said(_count(words, inner), "BIGINT")
    if isinstance(inner, exp.Distinct) or not isinstance(
        node, (exp.Sum, exp.Avg, exp.Min, exp.Max)
    ):
        raise NotSent(f"{node.key.upper()} stays here")
    value = words.say(inner)
    if isinstance(node, (exp.Min, exp.Max)):
        if value.family not in ("int", "decimal", "double", "text", "date", "timestamp"):
            raise NotSent(f"{node.key.upper()} of {value.kind} stays here")
        return Said(f"{node.key.upper()}({value.sql})", value.kind, value.width)
    total = _sum(value)
    if isinstance(node, exp.Sum):
        return total
    counted = f"NULLIF(COUNT({value.sql}), 0)"
    return Said(f"(CAST({total.sql} AS DOUBLE) / CAST({counted} AS DOUBLE))", "DOUBLE")


def _sum(value: Said) -> Said:
    if value.family == "double":
        return Said(f"SUM({value.sql})", "DOUBLE")
    if value.kind in _SUMMED:
        return Said(f"SUM(CAST({value.sql} AS BIGINT))", "HUGEINT", (19, 0))
    if value.kind in ("BIGINT", HASHED):
        return Said(f"SUM(CAST({value.sql} AS DECIMAL(19,0)))", "HUGEINT", (29, 0))
    if value.family != "decimal" or value.digits[0] > 28:
        raise NotSent(f"SUM of {value.kind} stays here")
    width = value.digits[0] + 10, value.digits[1]
    kind = "HUGEINT" if value.kind == "HUGEINT" else f"DECIMAL(38,{width[1]})"
    return Said(f"SUM({value.sql})", kind, width)


def _count(words: Words, inner: exp.Expr) -> str:
    if isinstance(inner, exp.Star):
        return "COUNT(*)"
    if isinstance(inner, exp.Distinct):
        if len(inner.expressions) != 1:
            raise NotSent("COUNT over several columns stays here")
        return f"COUNT(DISTINCT {words.key(inner.expressions[0]).sql})"
    return f"COUNT({words.say(inner).sql})"


def _window(words: Words, node: exp.Window) -> Said:
    function, order = node.this, node.args.get("order")
    known = {exp.Rank: "RANK", exp.DenseRank: "DENSE_RANK"}  # ROW_NUMBER breaks ties by chance
    word = known.get(type(function))
    if word is None or order is None or node.args.get("spec") or function.expressions:
        raise NotSent(f"the window {function.key.upper()} stays here")
    parts = [words.key(part).sql for part in node.args.get("partition_by") or []]
    said = f"PARTITION BY {', '.join(parts)} " if parts else ""
    said += f"ORDER BY {_orders(words, order)}"
    return Said(f"CAST({word}() OVER ({said}) AS BIGINT)", "BIGINT")


def _orders(words: Words, order: exp.Expr) -> str:
    pairs = [_ordered(words, each) for each in order.expressions]
    return ", ".join(f"{value.sql} {way}" for value, way in pairs)


def _ordered(words: Words, node: exp.Expr) -> tuple[Said, str]:
    said = words.say(node.this)
    if said.literal or said.family == "other":
        raise NotSent("an order by such a value stays here")
    way = "DESC" if node.args.get("desc") else "ASC"
    return said, f"{way} NULLS {'FIRST' if node.args.get('nulls_first') else 'LAST'}"


def _first(tree: exp.Expr) -> str:
    said = ""
    if limit := tree.args.get("limit"):
        said += f" LIMIT {int(limit.expression.name)}"
    if offset := tree.args.get("offset"):
        said += f" OFFSET {int(offset.expression.name)}"
    return said


def _aggregated(tree: exp.Select) -> bool:
    return any(item.find(exp.AggFunc) and not item.find(exp.Window) for item in tree.selects)


def _keys(tree: exp.Select) -> list[exp.Expr]:
    group = tree.args.get("group")
    if group is None:
        return []
    if group.args.get("all"):
        items = [item.unalias() for item in tree.selects]
        keys = [item for item in items if not item.find(exp.AggFunc, exp.Window)]
    else:
        keys = [key.unnest() for key in group.expressions]
    if not all(key.find(exp.Column) for key in keys) or not keys:
        raise NotSent("a group by a constant stays here")
    return keys


def linked(tree: exp.Select) -> bool:
    """Whether equalities link all that is joined; an outer join must have its own."""
    joins = tree.args.get("joins") or []
    groups = [{each.this.alias_or_name} for each in (tree.args["from_"], *joins)]
    where = tree.args.get("where")
    pairs = _pairs(where.this) if where is not None else set()
    for join in joins:
        own = _pairs(join.args["on"]) if join.args.get("on") is not None else set()
        must = str(join.side) or str(join.kind).upper() in ("SEMI", "ANTI")
        if must and not any(join.this.alias_or_name in pair for pair in own):
            return False
        pairs |= own
    for pair in pairs:
        met = [group for group in groups if group & pair]
        groups = [group for group in groups if not group & pair] + [set().union(*met)]
    return len(groups) == 1


def _pairs(node: exp.Expr) -> set[frozenset[str]]:
    """The pairs of tables that a condition equates a column or value of each of."""
    node = node.unnest()
    if isinstance(node, exp.And):
        return set().union(*(_pairs(part) for part in node.flatten()))
    if isinstance(node, exp.Or):
        return set.intersection(*(_pairs(part) for part in node.flatten()))
    if not isinstance(node, (exp.EQ, exp.NullSafeEQ)) or node.find(exp.Query):
        return set()
    sides = [{c.table for c in side.find_all(exp.Column)} for side in (node.this, node.expression)]
    if all(len(side) == 1 for side in sides) and sides[0] != sides[1]:
        return {frozenset(sides[0] | sides[1])}
    return set()


def _seen(alias: str, columns: tuple[Column, ...]) -> dict[str, Said]:
    return {
        column.name: Said(f"{alias}.{column.said.sql}", column.said.kind, column.said.width)
        for column in columns
    }


def _base(alias: str, name: str, kind: str) -> Said:
    return Said(f"{alias}.{quoted(name, '`')}", kind, decimal(kind))

"""What of a governed query a Spark Connect engine does: the plan.

In: a `Governed` query (policy subqueries inside), the tables that lie at engines. Out: a `Plan` as
for databases: queries of ours for the engines, and what is left for our own engine over their
answers. Four ways, the first that fits: the whole query there; its groups there; each SELECT's
joined and filtered rows there; each table's rows. Groups of a minimum size are counted there and
judged here; noise is made here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlglot import exp

from yunhe.dataplane.pushdown import Fetch, Plan
from yunhe.dataplane.pushdown_trees import (
    aggregates_of,
    conjuncts,
    keys_of,
    left_over,
    parsed,
    pruned,
)
from yunhe.dataplane.pushdown_words import NotPushed, Placed
from yunhe.dataplane.spark_oracle import Engine, Types
from yunhe.dataplane.spark_query import Env, Queries
from yunhe.dataplane.spark_values import HASHED, NotSent, key_mark, text
from yunhe.sources import arrow_type

KIND: Final = "spark"
_NULL: Final = '"NULL"'  # the type of a NULL that has none
_QUERIES: Final = (exp.Select, exp.SetOperation)
_Way = Callable[[exp.Expr, str], exp.Expr]
Understands = Callable[[str, str], bool]  # a locator and a text: whether the engine takes it


def plan(
    sql: str,
    groups_sql: str | None,
    placed: Mapping[str, Placed],
    types: Types,
    understands: Understands,
    strict: bool = False,
) -> Plan:
    """Plan one governed query; `types` has all tables of the product, `placed` those at engines.

    `strict`: nothing but a whole query, or whole groups, is done at all. Raises NotSent where the
    engine cannot do what must not be done elsewhere, NotPushed where a column is not there.
    """
    with Engine(types) as engine:
        made = _Planner(placed, engine, understands, strict)
        if groups_sql is None:
            return Plan(made.rows(sql), None, tuple(made.fetches))
        return Plan(sql, made.groups(groups_sql), tuple(made.fetches))


def with_mask(sql: str, mask_key: str) -> str:
    """The text with the contract's key of masks where a mark of ours stands."""
    return sql.replace(f"'{key_mark('mask_key')}'", text(mask_key))


class _Planner:
    def __init__(
        self, placed: Mapping[str, Placed], engine: Engine, understands: Understands, strict: bool
    ) -> None:
        self._placed, self._engine = placed, engine
        self._understands, self._strict = understands, strict
        self._mark = secrets.token_hex(16)  # where the key of prints comes
        self.fetches: list[Fetch] = []

    def rows(self, sql: str) -> str:
        """Plan a query of rows; what is left of it."""
        tree = self._read(sql)
        try:
            return _render(self._whole(tree, "the whole query"))
        except NotSent as why:
            ways: list[_Way] = [self._grouped]
            if not self._strict:
                ways = [self._whole, self._grouped, self._joined]
            left = self._cut(tree, ways, f"a part; {why}")
            self._check_done(left, str(why))
            return _render(left)

    def groups(self, sql: str) -> str:
        """Plan the statement that counts who stands behind each group.

        Each SELECT in it that reads tables is the engine's, whole: a print of rows made here would
        not equal one made there, and that two answers overlap would not be seen.
        """
        tree = self._read(sql)
        if tree.find(exp.CTE):  # of rows (ranks.py), whose prints would be made here
            raise NotSent("places in an order and spreads are not asked of an engine")
        left = self._cut(tree, [self._whole], "groups")
        self._check_done(left, "what stands behind its groups cannot be counted there")
        return _render(left)

    def _read(self, sql: str) -> exp.Expr:
        """The statement, without columns nobody looks at; those it looks at must be there."""
        tree = pruned(parsed(sql))
        for table in tree.find_all(exp.Table):
            select = table.parent_select
            if table.db == "data" and table.name in self._placed and select is not None:
                for column in select.find_all(exp.Column):
                    if column.table == table.alias_or_name:
                        self._placed[table.name].column(column.name)
        return tree

    def _check_done(self, tree: exp.Expr, why: str) -> None:
        for table in tree.find_all(exp.Table):
            if table.db == "data" and table.name in self._placed:
                raise NotSent(why)

    def _cut(self, tree: exp.Expr, ways: Sequence[_Way], told: str) -> exp.Expr:
        """From the outside, each SELECT that one of `ways` takes is replaced by what it leaves."""
        if isinstance(tree, exp.Select) and self._reads(tree):
            for way in ways:
                try:
                    return way(tree, told)
                except NotSent:
                    continue
        if not (self._strict and isinstance(tree, exp.Select)):
            for child in _queries_within(tree):
                made = self._cut(child, ways, told)
                if made is not child:
                    child.replace(made)
        return tree

    def _reads(self, tree: exp.Expr) -> bool:
        return any(
            table.db == "data" and table.name in self._placed for table in tree.find_all(exp.Table)
        )

    def _whole(self, tree: exp.Expr, told: str) -> exp.Select:
        """The query there; a SELECT of its answer with the names and types it has here."""
        queries = Queries(self._placed, self._engine)
        made = queries.say(tree)
        if any(column.said.kind == HASHED for column in made.columns):
            raise NotSent("a print of rows alone stays here")
        kinds = [kind for _, kind in self._engine.describe(_render(tree))]
        columns = [
            (column.said.sql, "INTEGER" if kind == _NULL else kind)
            for column, kind in zip(made.columns, kinds, strict=True)
        ]
        name = self._fetch(queries, made.sql, columns, told)
        shown = [
            exp.alias_(_back(column.said.sql, kind), column.name, quoted=True)
            for column, kind in zip(made.columns, kinds, strict=True)
        ]
        return exp.Select(expressions=shown, from_=_from(name))

    def _grouped(self, tree: exp.Expr, told: str) -> exp.Expr:
        """FROM, WHERE and GROUP BY there; projection, HAVING, order and limit here."""
        assert isinstance(tree, exp.Select)  # noqa: S101 - `_cut` looked
        if tree.args.get("with_") or tree.find(exp.Window):
            raise NotSent("WITH and windows stay here")
        try:
            wanted = [*keys_of(tree), *dict.fromkeys(aggregates_of(tree))]
        except NotPushed as why:
            raise NotSent(str(why)) from why
        if not wanted:
            raise NotSent("it makes no groups")
        asked = exp.Select(
            expressions=[
                exp.alias_(node.copy(), f"__g{at}", quoted=True) for at, node in enumerate(wanted)
            ]
        )
        for part in ("from_", "where"):
            asked.set(part, tree.args[part].copy() if tree.args.get(part) else None)
        asked.set("joins", [join.copy() for join in tree.args.get("joins") or []])
        keys = [node.copy() for node in wanted if not isinstance(node, exp.AggFunc)]
        asked.set("group", exp.Group(expressions=keys) if keys else None)
        inner = self._whole(asked, f"groups; {told}")
        swaps = [(node, exp.column(f"__g{at}", quoted=True)) for at, node in enumerate(wanted)]
        last = self.fetches[-1]
        try:
            left = parsed(left_over(tree, swaps, last.name, set()))
        except NotPushed as why:
            self.fetches.pop()
            raise NotSent(str(why)) from why
        left.args["from_"].replace(exp.From(this=inner.subquery(exp.to_identifier("__groups"))))
        return left

    def _joined(self, tree: exp.Expr, told: str) -> exp.Expr:
        """FROM and what can be said of WHERE there; all else here over the columns it looks at."""
        assert isinstance(tree, exp.Select)  # noqa: S101 - `_cut` looked
        if tree.args.get("with_"):
            raise NotSent("WITH stays here")
        queries, env = Queries(self._placed, self._engine), Env()
        body = queries.source(env, tree)
        words = queries.words(env)
        said, kept = [], []
        for part in conjuncts(tree):
            try:
                said.append(words.truth(part))
            except NotSent:
                kept.append(part)
        left = tree.copy()
        for name in ("from_", "joins", "where"):
            left.set(name, None)
        if kept:
            left.set("where", exp.Where(this=exp.and_(*[part.copy() for part in kept])))
        if any(True for _ in left.find_all(exp.Query) if _ is not left):
            raise NotSent("a query within stays here")
        used = list(dict.fromkeys(c for c in left.find_all(exp.Column) if c.table in env.sources))
        items, columns = [], []
        asked = exp.Select(from_=tree.args["from_"].copy())
        asked.set("joins", [join.copy() for join in tree.args.get("joins") or []])
        for at, column in enumerate(used):
            value = env.column(column)
            if value.kind == HASHED:
                raise NotSent("a print of rows alone stays here")
            items.append(f"{value.sql} AS r{at}")
            asked.append("expressions", exp.alias_(column.copy(), f"r{at}", quoted=True))
        if used:
            columns = self._engine.describe(_render(asked))
        else:
            items, columns = ["1 AS r0"], [("r0", "INTEGER")]
        where = f" WHERE {' AND '.join(said)}" if said else ""
        sql = f"SELECT {', '.join(items)} {body}{where}"
        name = self._fetch(queries, sql, columns, f"rows with {len(used)} columns; {told}")
        rows = exp.Select(
            expressions=[
                exp.alias_(_back(column, kind), column, quoted=True) for column, kind in columns
            ],
            from_=_from(name),
        )
        left.set("from_", exp.From(this=rows.subquery(exp.to_identifier("__rows"))))
        places = {column: f"r{at}" for at, column in enumerate(used)}
        for column in [c for c in left.find_all(exp.Column) if c in places]:
            column.replace(exp.column(places[column], table="__rows", quoted=True))
        return left

    def _fetch(self, queries: Queries, sql: str, columns: list[tuple[str, str]], told: str) -> str:
        for name, kind in columns:
            try:
                arrow_type(kind)
            except KeyError as error:
                raise NotSent(f"{name} of type {kind} is not shipped") from error
        if not queries.tables:
            raise NotSent("it reads no table")
        source = next(iter(queries.tables.values())).source
        if not self._understands(source, sql):
            raise NotSent("the engine does not take it")
        name = f"__spark{len(self.fetches)}"
        self.fetches.append(
            Fetch(
                name,
                source,
                tuple(queries.tables),
                sql.replace(key_mark("audit_key"), self._mark),
                tuple(columns),
                told,
                self._mark,
            )
        )
        self._engine.add(name, columns)
        return name


def _queries_within(tree: exp.Expr) -> list[exp.Expr]:
    """The nearest SELECTs and set operations below a node."""
    found: list[exp.Expr] = []
    for node in tree.walk(prune=lambda n: n is not tree and isinstance(n, _QUERIES)):
        if node is not tree and isinstance(node, _QUERIES):
            found.append(node)
    return found


def _back(name: str, kind: str) -> exp.Expr:
    """A shipped column; what travels as a decimal becomes a whole number again."""
    column = exp.column(name, quoted=True)
    if kind == _NULL:
        return exp.Null()
    return exp.cast(column, "INT128", dialect="duckdb") if kind == "HUGEINT" else column


def _from(name: str) -> exp.From:
    return exp.From(this=exp.table_(name, db="data", quoted=True))


def _render(tree: exp.Expr) -> str:
    return str(tree.sql(dialect="duckdb", comments=False))


__all__ = ["KIND", "NotSent", "plan", "with_mask"]

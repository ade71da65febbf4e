"""What of a governed query a database can do itself: the plan, pure.

In: a `Governed` query (policy subqueries inside), the tables as they lie. Out: a `Plan`: queries
for the databases and what is left for our own engine over their answers. Groups are made there
where joins, filters, keys and aggregates can all be said there; else each table ships only the
columns and rows that the query can see. Nothing here widens what the gate allowed: policy filters
are pushed and, where rows are shipped, applied once more.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.schema import MappingSchema

from yunhe.dataplane import pushdown_sums as sums
from yunhe.dataplane.pushdown_places import around
from yunhe.dataplane.pushdown_prints import printed
from yunhe.dataplane.pushdown_rows import conditions, needed, tail
from yunhe.dataplane.pushdown_trees import (
    ONE,
    aggregates_of,
    keys_of,
    left_over,
    parsed,
    policy_table,
    pruned,
    rendered,
)
from yunhe.dataplane.pushdown_words import BASE, NotPushed, Placed, Words, family, family_of
from yunhe.dataplane.views import ROW
from yunhe.sources import arrow_type, quoted


@dataclass(frozen=True)
class Fetch:
    """One query for one database; its answer becomes the table `name` of schema `data`."""

    name: str
    source: str  # the locator of a table there
    tables: tuple[str, ...]
    sql: str = field(repr=False)
    columns: tuple[tuple[str, str], ...]  # name -> DuckDB type
    told: str  # for `explain`
    mark: str = field(repr=False)  # in `sql`, where the key of prints comes


@dataclass(frozen=True)
class Plan:
    """What the databases do, and the statements that finish the work over what they shipped."""

    sql: str
    groups_sql: str | None
    fetches: tuple[Fetch, ...]


def plan(sql: str, groups_sql: str | None, placed: Mapping[str, Placed], types: Types) -> Plan:
    """Plan one governed query; `types` has all tables of the product, `placed` those in databases.

    Raises NotPushed only where a table is not there as it was described.
    """
    made = _Planner(placed, types)
    if groups_sql is None:
        return Plan(made.statement(sql), None, tuple(made.fetches))
    return Plan(sql, made.within(groups_sql), tuple(made.fetches))


Types = Mapping[str, Mapping[str, str]]  # table -> column -> DuckDB type


class _Planner:
    def __init__(self, placed: Mapping[str, Placed], types: Types) -> None:
        self.placed = placed
        self.types = {
            name: {**columns, ROW: "BIGINT"} if name in placed else columns
            for name, columns in types.items()
        }
        self.mark = secrets.token_hex(16)
        self.fetches: list[Fetch] = []

    def statement(self, sql: str) -> str:
        """Plan one statement; what is left of it."""
        tree = _typed(pruned(parsed(sql)), self.types)
        if isinstance(tree, exp.Select):
            try:
                return self._grouped(tree)
            except NotPushed as why:
                self._rows(tree, str(why))
        else:
            self._rows(tree, "a set operation stays here")
        return rendered(tree)

    def within(self, sql: str) -> str:
        """Plan what fills the groups of an aggregate-only query; what is left of it.

        Its innermost queries make one row per group, or per group and entity; where these can be
        made there, and the places of a print with them, nothing else leaves the database.
        """
        tree, self.placed = printed(parsed(sql), self.placed)
        tree, why = _typed(pruned(tree), self.types), "its groups are made here"
        for leaf in [each for each in tree.find_all(exp.Select) if _only_policies(each)]:
            if not leaf.args.get("group") and not leaf.find(exp.AggFunc):
                why = "places in an order and spreads are made here"  # ranks.py
                continue
            try:
                self._by_places(leaf)
            except NotPushed:
                try:
                    leaf.replace(parsed(self._grouped(leaf)))
                except NotPushed as error:
                    why = str(error)
        self._rows(tree, why)
        return rendered(tree)

    def _by_places(self, leaf: exp.Select) -> None:
        """Replace the query around `leaf`, that sums its entities by places of a print."""
        outer = leaf.parent_select
        core = _Core(leaf, self.placed, self.mark)
        if not isinstance(outer, exp.Select) or core.spelling.small_sums:
            raise NotPushed("entities are put together here")
        kinds = dict(self._described(leaf))
        inner = core.select(leaf)
        columns = self._described(outer)
        asked = around(outer, leaf, inner, kinds, core.kind, self.mark)
        name = self._name()
        self._add(core.source, core.tables, asked, columns, "groups, entities by their places")
        shown = ", ".join(
            f"CAST({quoted(each)} AS {kind}) AS {quoted(each)}" for each, kind in columns
        )
        outer.replace(parsed(f"SELECT {shown} FROM data.{quoted(name)}"))  # noqa: S608

    def _grouped(self, tree: exp.Select) -> str:
        """The whole FROM, WHERE and GROUP BY there; projection, HAVING and order here."""
        if tree.args.get("with_") or any(tree.find_all(exp.Window)):
            raise NotPushed("WITH and windows stay here")
        aggregates = list(dict.fromkeys(aggregates_of(tree)))
        keys = keys_of(tree)
        if not aggregates and not keys:
            raise NotPushed("it makes no groups")
        core = _Core(tree, self.placed, self.mark)
        items: list[tuple[str, str, str]] = []  # name, in our own SQL, in the database's
        swaps: list[tuple[exp.Expr, exp.Expr]] = []
        for at, key in enumerate(keys):
            items.append((f"__k{at}", rendered(key), core.key(key)))
            swaps.append((key, exp.column(f"__k{at}", quoted=True)))
        for at, aggregate in enumerate(aggregates):
            parts, made = core.aggregate(aggregate, f"__a{at}")
            items += parts
            swaps.append((aggregate, made))
        columns = self._columns(tree, [(name, ours) for name, ours, _ in items])
        said = ", ".join(f"{theirs} AS {quoted(name)}" for name, _, theirs in items)
        asked = f"SELECT {said} {core.body()}"
        if keys:
            asked += f" GROUP BY {', '.join(core.key(key) for key in keys)}"
        wide = {name for name, kind in columns if kind == "HUGEINT"}
        left = left_over(tree, swaps, self._name(), wide)
        self._add(core.source, core.tables, asked, columns, "groups")
        return left

    def _rows(self, tree: exp.Expr, why: str) -> None:
        """Each table ships the rows and columns that the query can see of it; in place."""
        uses: dict[str, list[exp.Table]] = {}
        for table in tree.find_all(exp.Table):
            if table.db == "data" and table.name in self.placed:
                uses.setdefault(table.name, []).append(table)
        for name, tables in uses.items():
            placed = self.placed[name]
            words = Words(placed.kind, self.mark, placed)
            selects = [table.find_ancestor(exp.Select) for table in tables]
            columns_needed = needed([each for each in selects if each is not None], placed)
            wanted = [frozenset(conditions(each, words)) for each in selects if each is not None]
            common = sorted(frozenset.intersection(*wanted))
            end = tail(tree, selects[0], words) if len(tables) == 1 else ""
            columns = [(column, self.types[name][column]) for column in columns_needed]
            said = [f"{words.raw(column)} AS {quoted(column)}" for column in columns_needed]
            if not columns:
                columns, said = [(ONE, "BIGINT")], [f"1 AS {quoted(ONE)}"]
            where = f" WHERE {' AND '.join(common)}" if common else ""
            relation = ".".join(map(quoted, placed.relation))
            asked = f"SELECT {', '.join(said)} FROM {relation} AS {BASE}{where}{end}"  # noqa: S608
            for table in tables:
                table.set("this", exp.to_identifier(self._name(), quoted=True))
            _supported(columns)
            told = f"rows with {len(columns_needed)} columns and {len(common)} conditions; {why}"
            self._add(placed.source, (name,), asked, columns, told)

    def _name(self) -> str:
        return f"__fetch{len(self.fetches)}"

    def _add(
        self,
        source: str,
        tables: Sequence[str],
        sql: str,
        columns: Sequence[tuple[str, str]],
        told: str,
    ) -> None:
        made = Fetch(self._name(), source, tuple(tables), sql, tuple(columns), told, self.mark)
        self.fetches.append(made)

    def _columns(self, tree: exp.Select, items: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """The types our own engine would give: what is shipped is cast to exactly these."""
        asked = exp.Select()
        for name in ("from_", "joins", "where"):
            if part := tree.args.get(name):
                asked.set(name, part.copy() if name != "joins" else [j.copy() for j in part])
        text = ", ".join(f"{ours} AS {quoted(name)}" for name, ours in items)
        grouped = ", ".join(ours for name, ours in items if name.startswith("__k"))
        body = rendered(asked).removeprefix("SELECT")
        tail = f" GROUP BY {grouped}" if grouped else ""
        return self._described(parsed(f"SELECT {text}{body}{tail}"))

    def _described(self, tree: exp.Expr) -> list[tuple[str, str]]:
        """Names and types that our own engine gives a query over the tables."""
        with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as con:
            con.execute("CREATE SCHEMA data")
            for table, columns in self.types.items():
                listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns.items())
                con.execute(f"CREATE TABLE data.{quoted(table)} ({listed})")
            try:
                found = con.execute(f"DESCRIBE {rendered(tree)}").fetchall()
            except duckdb.Error as error:
                raise NotPushed("its types are not plain") from error
        typed = [(str(name), str(kind)) for name, kind, *_ in found]
        _supported(typed)
        return typed


class _Core:
    """FROM, joins and WHERE of one SELECT in the words of the one database they all lie in."""

    def __init__(self, tree: exp.Select, placed: Mapping[str, Placed], mark: str) -> None:
        sources = [tree.args["from_"].this, *(j.this for j in tree.args.get("joins") or [])]
        self._placed = [_placed_of(each, placed) for each in sources]
        first = self._placed[0]
        if any(each.place != first.place for each in self._placed):
            raise NotPushed("its tables lie in several places")
        self.source, self._tree, self._sources = first.source, tree, sources
        self.tables = tuple(
            dict.fromkeys(str(each.this.args["from_"].this.name) for each in sources)
        )
        self.kind, self._mark = first.kind, mark
        self._words = Words(first.kind, mark)
        self.spelling = self._words.spelling
        where = tree.args.get("where")
        self._where = "" if where is None else f" WHERE {self._words.say(where.this)}"
        self._from = self._joined()

    def body(self) -> str:
        """FROM to WHERE."""
        return f"FROM {self._from}{self._where}"

    def select(self, tree: exp.Select) -> str:
        """The whole query in the database's words, each column by its alias."""
        items = [f"{self._item(each.unalias())} AS {quoted(each.alias)}" for each in tree.selects]
        keys = [self.key(key) for key in keys_of(tree)]
        grouped = f" GROUP BY {', '.join(keys)}" if keys else ""
        return f"SELECT {', '.join(items)} {self.body()}{grouped}"

    def _item(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Abs):
            return f"ABS({self._weight(node.this)})"
        if not isinstance(node, exp.AggFunc):
            return self.key(node)
        parts, made = self.aggregate(node, ONE)
        if len(parts) != 1 or not isinstance(made, exp.Column):
            raise NotPushed(f"{node.key.upper()} is made of several")
        return parts[0][2]

    def _weight(self, node: exp.Expr) -> str:
        """A sum that is compared with sums of the same column only: all by one power of two."""
        if not isinstance(node, exp.Sum):
            raise NotPushed("what is no weight stays here")
        return sums.of_weights(self._number(node.this))

    def key(self, node: exp.Expr) -> str:
        """What is grouped by."""
        if isinstance(node, exp.Literal) or family(node) == "unknown":
            raise NotPushed("a key of unknown type stays here")
        return self._words.ordered(node)

    def aggregate(self, node: exp.Expr, name: str) -> tuple[list[tuple[str, str, str]], exp.Expr]:
        """What is shipped of an aggregate (name, ours, theirs), and how it is made of that here."""
        inner, words = node.this, self._words
        column = exp.column(name, quoted=True)
        if isinstance(node, exp.Count):
            return [(name, rendered(node), self._count(inner))], column
        if node.args.get("expressions") or isinstance(inner, exp.Distinct):
            raise NotPushed(f"{node.key.upper()} stays here")
        kind = family(inner)
        if isinstance(node, (exp.Min, exp.Max)):
            if kind not in ("int", "decimal", "double", "text", "date", "timestamp"):
                raise NotPushed(f"{node.key.upper()} of a {kind} stays here")
            said = f"{node.key.upper()}({words.ordered(inner)})"
            return [(name, rendered(node), said)], column
        if not isinstance(node, (exp.Sum, exp.Avg)) or kind not in ("int", "decimal", "double"):
            raise NotPushed(f"{node.key.upper()} of a {kind} stays here")
        total = rendered(exp.Sum(this=inner.copy()))
        if _is_double(inner):
            shipped, made = sums.of_doubles(self._number(inner), total, name)
        elif kind == "int" and self.spelling.small_sums:
            shipped, made = sums.of_whole_numbers(self._words.say(inner), rendered(inner), name)
        else:
            shipped, made = [(name, total, f"SUM({self._number(inner)})")], quoted(name)
        if isinstance(node, exp.Sum):
            return shipped, parsed(made)
        counted = rendered(exp.Count(this=inner.copy()))
        shipped.append((f"{name}n", counted, f"COUNT({self._number(inner)})"))
        return shipped, parsed(f'CAST({made} AS DOUBLE) / "{name}n"')

    def _number(self, node: exp.Expr) -> str:
        """What is summed; a number of any kind as DOUBLE, where it is said to be."""
        if isinstance(node, exp.TryCast) and family_of(node.to) == "double":
            if family(node.this) not in ("int", "decimal", "double"):
                raise NotPushed("what is no number stays here")
            return self.spelling.double(self._words.say(node.this))
        return self._words.say(node)

    def _count(self, inner: exp.Expr) -> str:
        if isinstance(inner, (exp.Star, exp.Literal)):
            return "COUNT(*)"
        if isinstance(inner, exp.Distinct):
            if len(inner.expressions) != 1:
                raise NotPushed("COUNT over several columns stays here")
            return f"COUNT(DISTINCT {self._words.ordered(inner.expressions[0])})"
        return f"COUNT({self._words.say(inner)})"

    def _joined(self) -> str:
        said = self._policy(0)
        for at, join in enumerate(self._tree.args.get("joins") or [], 1):
            side, kind = str(join.side).upper(), str(join.kind).upper()
            on = join.args.get("on")
            if side not in ("", "LEFT") or kind not in ("", "INNER", "OUTER", "CROSS"):
                raise NotPushed(f"{side} {kind} JOIN stays here".strip())
            if join.args.get("using") or (on is None and (side or kind != "CROSS")):
                raise NotPushed("a join without ON stays here")
            word = f"{side or 'INNER'} JOIN" if on is not None else "CROSS JOIN"
            said += f" {word} {self._policy(at)}"
            said += f" ON {self._words.say(on)}" if on is not None else ""
        return said

    def _policy(self, at: int) -> str:
        """A policy subquery: the columns that are used of it, and its filter."""
        source, placed = self._sources[at], self._placed[at]
        words, select = Words(placed.kind, self._mark, placed), source.this
        for item in select.selects:
            words.key_columns(item)
        items = [f"{words.say(item.unalias())} AS {quoted(item.alias)}" for item in select.selects]
        where = select.args.get("where")
        tail = "" if where is None else f" WHERE {words.say(where.this)}"
        relation = ".".join(map(quoted, placed.relation))
        alias = quoted(source.alias_or_name)
        return f"(SELECT {', '.join(items)} FROM {relation} AS {BASE}{tail}) AS {alias}"  # noqa: S608


def _is_double(node: exp.Expr) -> bool:
    said = isinstance(node, exp.TryCast) and family_of(node.to) == "double"
    return said or family(node) == "double"


def _only_policies(select: exp.Select) -> bool:
    """Whether it reads the tables of the contract and nothing else."""
    start = select.args.get("from_")
    joins = select.args.get("joins") or []
    sources = [*([start.this] if start is not None else []), *(join.this for join in joins)]
    return bool(sources) and all(policy_table(each) is not None for each in sources)


def _placed_of(source: exp.Expr, placed: Mapping[str, Placed]) -> Placed:
    table = policy_table(source)
    found = None if table is None else placed.get(table.name)
    if found is None:
        raise NotPushed("it reads more than tables of a database")
    return found


def _typed(tree: exp.Expr, types: Types) -> exp.Expr:
    schema = MappingSchema(
        {"data": {table: dict(columns) for table, columns in types.items()}},
        dialect="duckdb",
        normalize=False,
    )
    try:
        return annotate_types(tree, schema=schema, dialect="duckdb")
    except SqlglotError as error:
        raise NotPushed("its types are not known") from error


def _supported(columns: Sequence[tuple[str, str]]) -> None:
    for name, kind in columns:
        try:
            arrow_type(kind)
        except KeyError as error:
            raise NotPushed(f"{name} of type {kind} is not shipped") from error


__all__ = ["Fetch", "NotPushed", "Placed", "Plan", "plan"]

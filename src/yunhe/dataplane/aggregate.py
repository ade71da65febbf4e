"""Aggregate-only queries: nothing leaves but groups of at least k entities.

In: a checked and qualified SELECT. Out: `rows`, what it asks of each row, of which `bounding` makes
the table `groups`, and `figures` for what cannot be put together of parts; the worker deletes the
groups below k. `final` computes projections, HAVING, ORDER BY and LIMIT from what is left, so that
none of them can probe a withheld group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from yunhe.contracts import RANKED, SPREAD, USUAL, Aggregates, Privacy, Terms
from yunhe.dataplane.bounding import Figure, Shape
from yunhe.dataplane.entities import WHOLE, alike, check_joins, is_entity
from yunhe.dataplane.errors import (
    AggregateArgument,
    AggregateDistinct,
    AggregateFunction,
    AggregateGroupingSets,
    AggregateNeeded,
    AggregateNotAgreed,
    AggregateRawColumn,
    AggregateSetOperation,
    AggregateSubquery,
    AggregateWindow,
    ConstructRefused,
    EntityKeyMissing,
    EntityKeyUsed,
    PrivacyNotCountable,
)
from yunhe.dataplane.functions import AGGREGATE_NAMES
from yunhe.dataplane.noise import Bounds, Stat
from yunhe.dataplane.partials import Partials
from yunhe.dataplane.ranges import check_ranges
from yunhe.dataplane.ranks import Cell, Collected, cell, refuse_sifted, share
from yunhe.dataplane.total import make_total, never_over
from yunhe.dataplane.views import ENTITY, ROW, View

GROUPS = "groups"


def check_shape(tree: exp.Expr, terms: Terms) -> None:
    """Refuse, each with its own reason, every shape that could show less than a group."""
    allowed = None if terms.privacy is not None else terms.aggregates
    listed = USUAL if allowed is None else allowed.names
    if isinstance(tree, exp.SetOperation):
        raise AggregateSetOperation()
    for node in tree.walk():
        if isinstance(node, exp.SetOperation):
            raise AggregateSetOperation()
        if node is not tree and isinstance(node, (exp.Query, exp.With)):
            raise AggregateSubquery()
        if isinstance(node, (exp.Window, exp.Qualify)):
            raise AggregateWindow()
        if isinstance(node, (exp.Rollup, exp.Cube, exp.GroupingSets)):
            raise AggregateGroupingSets()
        if isinstance(node, (exp.Filter, exp.WithinGroup)):
            raise AggregateArgument(got=node.sql("duckdb", comments=False)[:80])
        if isinstance(node, exp.AggFunc) and AGGREGATE_NAMES.get(type(node)) not in listed:
            raise AggregateFunction(function=node.sql_name())
    if tree.args.get("distinct"):
        raise AggregateDistinct()


@dataclass(frozen=True)
class Split:
    """The statements of one query, and which columns it takes sums of.

    `rows` and `whole` are for `bounding`, `figures` and `people` for `partials`.
    """

    rows: exp.Select
    whole: exp.Select | None
    shape: Shape
    figures: exp.Select
    people: exp.Select
    partials: Partials
    final: exp.Select
    summed: tuple[str, ...]  # "table.column"


@dataclass(frozen=True)
class Noisy:
    """A query under a privacy budget: `people` gives `v0`.. of `stats` per group and entity."""

    people: exp.Select
    final: exp.Select
    keys: int
    stats: tuple[Stat, ...]
    answers: tuple[tuple[str, ...], ...]  # a0..: ("count", at) or ("sum", at) or ("avg", at, by)


def split(tree: exp.Expr, seen: Mapping[str, View], terms: Terms) -> Split:
    """The statements that answer `tree`; raises subclasses of AggregateOnly."""
    assert isinstance(tree, exp.Select)  # noqa: S101 - check_shape has passed
    return _Split(tree, seen, terms).statements()


def noisy(tree: exp.Expr, seen: Mapping[str, View], terms: Terms, privacy: Privacy) -> Noisy:
    """The statements that answer `tree` with noise; raises subclasses of AggregateOnly."""
    assert isinstance(tree, exp.Select)  # noqa: S101 - check_shape has passed
    return _Split(tree, seen, terms).noisy(privacy)


class _Split:
    """One rewriting; `keys` and `aggregates` become columns k0.. and a0.. of `groups`."""

    def __init__(self, tree: exp.Select, seen: Mapping[str, View], terms: Terms) -> None:
        self.tree = tree
        self.allowed = terms.aggregates or Aggregates(())
        self.told: set[tuple[str, str]] = set()  # (alias, column) of figures beside the sums
        tables = [tree.args["from_"].this, *(join.this for join in tree.args.get("joins") or [])]
        self.views = {table.alias_or_name: seen[table.name] for table in tables}
        self.keys = self._group_keys()
        self.aggregates: list[exp.Expr] = []
        self.counted: dict[str, set[str]] = {alias: set() for alias in self.views}
        self.summed: set[tuple[str, str]] = set()  # (alias, column)
        self.values: dict[tuple[str, str], exp.Column] = {}  # v0.. of the rows
        self.projected = {item.alias.lower(): item.this for item in tree.selects}

    def statements(self) -> Split:
        final = self._final()
        refuse_sifted(self.tree, self.keys, self.told)
        named = {(of, name) for of, names in self.counted.items() for name in names - {""}}
        check_ranges(self.tree, self.keys, self.summed, named)
        self.aggregates = [never_over(node) for node in self.aggregates]
        counted, summed = self._bounded()
        beside = Collected()
        figures = tuple(self._figure(at, node, beside) for at, node in enumerate(self.aggregates))
        told = {(column.table, column.name) for column in summed} | self.told
        for column in summed:
            self._value(column)
        fields = sorted((self.views[alias].field(name), (alias, name)) for alias, name in told)
        valued = [(list(self.values).index(key), key) for _, key in fields]
        shape = Shape(
            len(self.keys),
            tuple(self._value(column) for column in counted),
            tuple(self._value(column) for column in summed),
            frozenset(at for at, column in enumerate(self.values.values()) if _is_double(column)),
            figures,
            beside.made(),
            tuple((at, self._hashed(key[0])) for at, key in valued),
        )
        people, partials = self._people([list(self.values.values())[at] for at, _ in valued])
        return Split(
            self._rows(),
            self._whole(figures),
            shape,
            self._figures(range(len(self.aggregates))),
            people,
            partials,
            final,
            tuple(name for name, _ in fields),
        )

    def _final(self) -> exp.Select:
        for view in self.views.values():
            if view.entity_key is None:
                raise EntityKeyMissing(table=view.table)
        self._check_joins()
        for part in (self.tree.args.get("where"), *self.keys):
            self._refuse_entity(part)
        final = exp.Select()
        final.set("expressions", [self._output(item) for item in self.tree.selects])
        final.set("from_", exp.From(this=exp.to_table(GROUPS)))
        if having := self.tree.args.get("having"):
            final.set("where", exp.Where(this=self._lift(having.this)))
        if order := self.tree.args.get("order"):
            final.set("order", self._lift_children(order))
        for name in ("limit", "offset"):
            if part := self.tree.args.get(name):
                final.set(name, part.copy())
        if not self.keys and not self.aggregates:
            raise AggregateNeeded()
        make_total(final)
        return final

    def noisy(self, privacy: Privacy) -> Noisy:
        final = self._final()
        bounds = Bounds(privacy)
        answers = tuple(self._answer(node, bounds) for node in self.aggregates)
        people = make_total(self._grouped(self.keys))
        assert isinstance(people, exp.Select)  # noqa: S101 - a Select has no parent to swap
        keys = [key.this.copy() for key in people.selects]
        entity = self._entity()
        people.append("expressions", _named(entity, "__e"))
        for at, value in enumerate(bounds.values):
            people.append("expressions", _named(value, f"v{at}"))
        people.set("group", exp.Group(expressions=[*keys, entity.copy()]))
        return Noisy(people, final, len(self.keys), tuple(bounds.stats), answers)

    def _answer(self, node: exp.Expr, bounds: Bounds) -> tuple[str, ...]:
        inner = node.this
        if isinstance(inner, exp.Distinct):
            if not self._is_entity(inner.expressions[0]):
                raise PrivacyNotCountable(column=inner.sql("duckdb", comments=False)[:80])
            return ("count", str(bounds.entities()))
        if not isinstance(inner, exp.Column):
            return ("count", str(bounds.rows(exp.Star())))
        if isinstance(node, exp.Count):
            return ("count", str(bounds.rows(inner)))
        field = self.views[inner.table].field(inner.name)
        total = bounds.total(inner, field)
        if isinstance(node, exp.Sum):
            return ("sum", str(total))
        return ("avg", str(total), str(bounds.rows(inner)))

    def _figure(self, at: int, node: exp.Expr, beside: Collected) -> Figure:
        """How an aggregate is put together of what `bounding` adds up by place."""
        inner, name = node.this, AGGREGATE_NAMES[type(node)]
        if name in SPREAD:
            of_all = isinstance(node, exp.StddevPop)
            beside.spread(at, self._value(inner), name == "stddev", of_all)
            return Figure("beside", at)
        if name in RANKED:
            told = self._cell(inner)
            assert told is not None  # noqa: S101 - `_aggregate` looked
            own = name if name in ("min", "max") else "middle"
            beside.rank(at, self._value(inner), own, told, share(node))
            return Figure("beside", at)
        if isinstance(inner, exp.Distinct):
            inner = inner.expressions[0]
            if len(self.views) == 1 and self._is_entity(inner):
                view = self.views[inner.table]
                if view.entity_shown:
                    return Figure("entities")
        elif isinstance(inner, exp.Column):
            if not isinstance(node, exp.Avg) or _is_double(inner):
                return Figure(node.key, self._value(inner))
        elif not isinstance(inner, exp.TryCast):  # of a wide number: see `never_over`
            return Figure("rows")
        # The engine divides sums of whole numbers and decimals more finely than a double can.
        return Figure("whole", self.aggregates.index(node))

    def _value(self, column: exp.Column) -> int:
        """Which of v0.. has `column`; a new one where none has."""
        key = (column.table, column.name)
        self.values.setdefault(key, column)
        return list(self.values).index(key)

    def _whole(self, figures: tuple[Figure, ...]) -> exp.Select | None:
        """The keys, and the aggregates that only the engine itself can put together."""
        wanted = [each.of for each in figures if each.kind == "whole"]
        return self._figures(wanted) if wanted else None

    def _figures(self, wanted: Iterable[int]) -> exp.Select:
        figures = self._grouped(self.keys)
        for at in wanted:
            figures.append("expressions", _named(self.aggregates[at].copy(), f"a{at}"))
        make_total(figures)
        return figures

    def _grouped(self, keys: list[exp.Expr]) -> exp.Select:
        """The query's rows, grouped by `keys`, which are its only columns."""
        made = exp.Select()
        made.set("expressions", [_named(key.copy(), f"k{at}") for at, key in enumerate(keys)])
        for name in ("from_", "where"):
            if part := self.tree.args.get(name):
                made.set(name, part.copy())
        made.set("joins", [join.copy() for join in self.tree.args.get("joins") or []])
        if keys:
            made.set("group", exp.Group(expressions=[key.copy() for key in keys]))
        return made

    def _bounded(self) -> tuple[list[exp.Column], list[exp.Column]]:
        """What no entity may have too many of, and too much of.

        Each joined table, and each aggregated column by itself: a sum whose column is NULL for all
        but one shows the one.
        """
        counted: list[exp.Column] = []
        summed: list[exp.Column] = []
        typed = {
            (column.table, column.name): column
            for node in self.aggregates
            for column in node.find_all(exp.Column)
        }
        for alias, columns in self.counted.items():
            for name in sorted(columns - {""}):
                counted.append(typed[alias, name])
                if (alias, name) in self.summed:
                    summed.append(typed[alias, name])
            # One table's rows all have their entity.
            if not columns - {""} and len(self.views) > 1:
                counted.append(exp.column(ENTITY, table=alias, quoted=True))
        return counted, summed

    def _hashed(self, alias: str) -> str:
        """Which column of the rows has the hash of this table's."""
        return f"__w{list(self.views).index(alias)}" if len(self.views) > 1 else "__r"

    def _rows(self) -> exp.Select:
        """The query's rows: keys, `__e` the entity, `__r` a hash of the row, the values; of a join
        `__w0`.. hashes of the rows of each table, as `__r` has them of one alone."""
        rows = make_total(self._grouped(self.keys))
        assert isinstance(rows, exp.Select)  # noqa: S101 - a Select has no parent to swap
        hashes = [exp.column(ROW, table=alias, quoted=True) for alias in self.views]
        alone = hashes if len(hashes) > 1 else []
        rows.set("group", None)
        entity = self._entity()
        if self._narrow():
            entity = exp.Cast(this=entity, to=exp.DataType.build(WHOLE))
        for item in (
            _named(entity, "__e"),
            _named(exp.Anonymous(this="HASH", expressions=hashes), "__r"),
            *(_named(each.copy(), f"v{at}") for at, each in enumerate(self.values.values())),
            *(
                _named(exp.Anonymous(this="HASH", expressions=[each.copy()]), f"__w{at}")
                for at, each in enumerate(alone)
            ),
        ):
            rows.append("expressions", item)
        return rows

    def _people(self, valued: list[exp.Column]) -> tuple[exp.Select, Partials]:
        """One row per group and entity: `__e`, its rows `__n`, a hash of them `__r`, how often each
        joined table or aggregated column is there (see `_bounded`), the size of each sum, and a
        hash of the rows of its own table that have a value of each of `valued`."""
        people = make_total(self._grouped(self.keys))
        assert isinstance(people, exp.Select)  # noqa: S101 - a Select has no parent to swap
        presences: list[exp.Expr] = []
        sums: list[exp.Expr] = []
        for alias, columns in self.counted.items():
            for name in sorted(columns - {""}):
                column = exp.column(name, table=alias, quoted=True)
                presences.append(exp.Count(this=column))
                if (alias, name) in self.summed:
                    double = exp.TryCast(this=column.copy(), to=exp.DataType.build("DOUBLE"))
                    sums.append(exp.Abs(this=exp.Sum(this=double)))
            if not columns - {""}:
                presences.append(exp.Count(this=exp.column(ENTITY, table=alias, quoted=True)))
        entity = self._entity()
        rows = [exp.column(ROW, table=alias, quoted=True) for alias in self.views]
        hashed = exp.Anonymous(this="HASH", expressions=rows)
        items = [
            _named(entity, "__e"),
            _named(exp.Count(this=exp.Star()), "__n"),
            _named(exp.Sum(this=hashed), "__r"),
            *(_named(part, f"p{at}") for at, part in enumerate(presences)),
            *(_named(part, f"s{at}") for at, part in enumerate(sums)),
            *(_named(_rows_with(column), f"x{at}") for at, column in enumerate(valued)),
        ]
        for item in items:
            people.append("expressions", item)
        keys = [key.this.copy() for key in people.selects[: len(self.keys)]]
        people.set("group", exp.Group(expressions=[*keys, entity.copy()]))
        counts = len(self.keys), len(presences), len(sums), len(valued)
        return people, Partials(*counts, self._narrow())

    def _entity(self) -> exp.Expr:
        """The entity of a row. All joins equate entities; an outer one may leave out either."""
        keys: list[exp.Expr] = [
            exp.column(ENTITY, table=alias, quoted=True) for alias in self.views
        ]
        sides = {str(join.side).upper() for join in self.tree.args.get("joins") or []}
        if not sides & {"RIGHT", "FULL"}:
            return keys[0]
        return exp.Coalesce(this=keys[0], expressions=keys[1:])

    def _narrow(self) -> bool:
        """Whether entities are whole numbers, some of less than WHOLE: the engine's hash of a
        number is that of its type."""
        kinds = {view.entity_kind for view in self.views.values()}
        return kinds != {WHOLE} and all(alike(kind) == WHOLE for kind in kinds)

    def _group_keys(self) -> list[exp.Expr]:
        group = self.tree.args.get("group")
        if group is None:
            return []
        if group.args.get("all"):
            items = [item.unalias() for item in self.tree.selects]
            return [item for item in items if not item.find(exp.AggFunc) and item.find(exp.Column)]
        return [key.unnest() for key in group.expressions]

    def _check_joins(self) -> None:
        check_joins(self.tree, self.views)

    def _check_agreed(self, node: exp.Expr, column: exp.Column) -> None:
        """Whether the terms allow this aggregate of the column, and its type has it."""
        field = self.views[column.table].field(column.name)
        name, allowed = AGGREGATE_NAMES[type(node)], self.allowed.of(field).names
        if name not in allowed:
            raise AggregateNotAgreed(function=name, column=field, allowed=", ".join(allowed))
        if name in RANKED:
            share(node)
            fits = self._cell(column) is not None
        else:
            # Text would be cast while summing, and whether that failed would tell of a single row.
            fits = name == "count" or _is_number(column)
        if not fits:
            raise AggregateArgument(got=node.sql("duckdb", comments=False)[:80])

    def _cell(self, column: exp.Column) -> Cell | None:
        field = self.views[column.table].field(column.name)
        return cell(column.type, self.allowed.of(field).step)

    def _is_entity(self, column: exp.Expr) -> bool:
        return is_entity(column, self.views)

    def _refuse_entity(self, part: exp.Expr | None) -> None:
        for column in part.find_all(exp.Column) if part is not None else ():
            if self._is_entity(column):
                raise EntityKeyUsed(column=column.name)

    def _output(self, item: exp.Expr) -> exp.Expr:
        return _named(self._lift(item.unalias()), item.alias_or_name)

    def _lift(self, node: exp.Expr) -> exp.Expr:
        """`node` over the columns of `groups`; raises where a raw column would be left."""
        bare = node.unnest()
        for at, key in enumerate(self.keys):
            if bare == key:
                return _lifted(f"k{at}", key)
        if isinstance(node, exp.AggFunc):
            return _lifted(f"a{self._aggregate(node)}", node)
        if isinstance(node, exp.Column):
            if not node.table and node.name.lower() in self.projected:  # by alias
                return self._lift(self.projected[node.name.lower()])
            if self._is_entity(node):
                raise EntityKeyUsed(column=node.name)
            raise AggregateRawColumn(column=node.name)
        return self._lift_children(node)

    def _lift_children(self, node: exp.Expr) -> exp.Expr:
        copy = node.copy()
        for mine, theirs in zip(
            list(copy.iter_expressions()), list(node.iter_expressions()), strict=True
        ):
            mine.replace(self._lift(theirs))
        return copy

    def _aggregate(self, node: exp.Expr) -> int:
        inner = node.this
        if isinstance(inner, exp.Distinct) and isinstance(node, exp.Count):
            if len(inner.expressions) != 1:
                raise AggregateArgument(got=node.sql("duckdb"))
            inner = inner.expressions[0]
        if isinstance(inner, exp.Column) and inner.table in self.views:
            entity = self._is_entity(inner)
            if entity and not isinstance(node, exp.Count):
                raise EntityKeyUsed(column=inner.name)
            self._check_agreed(node, inner)
            self.counted[inner.table].add("" if entity else inner.name)
            if isinstance(node, (exp.Sum, exp.Avg)):
                self.summed.add((inner.table, inner.name))
            elif not isinstance(node, exp.Count):
                self.told.add((inner.table, inner.name))
        elif not (isinstance(node, exp.Count) and isinstance(inner, (exp.Star, exp.Literal))):
            raise AggregateArgument(got=node.sql("duckdb", comments=False)[:80])
        if any(value for name, value in node.args.items() if name not in _ARGUMENTS):
            raise ConstructRefused(construct=node.sql("duckdb")[:80])
        for at, known in enumerate(self.aggregates):
            if known == node:
                return at
        self.aggregates.append(node)
        return len(self.aggregates) - 1


_ARGUMENTS = ("this", "quantile", "expression", "big_int")


def _named(node: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=node, alias=exp.to_identifier(name, quoted=True))


def _is_number(node: exp.Expr) -> bool:
    return node.type is not None and node.type.is_type(*exp.DataType.NUMERIC_TYPES)


def _is_double(node: exp.Expr) -> bool:
    return node.type is not None and node.type.is_type(exp.DType.FLOAT, exp.DType.DOUBLE)


def _rows_with(column: exp.Column) -> exp.Expr:
    """The hash of those rows of a column's table that have a value of it."""
    row = exp.column(ROW, table=column.table, quoted=True)
    has: exp.Expr = exp.Not(this=exp.Is(this=column.copy(), expression=exp.Null()))
    if _is_double(column):
        has = exp.and_(has, exp.Anonymous(this="ISFINITE", expressions=[column.copy()]))
    hashed = exp.Anonymous(this="HASH", expressions=[row])
    return exp.Sum(this=exp.Case(ifs=[exp.If(this=has, true=hashed)]))


def _lifted(name: str, source: exp.Expr) -> exp.Expr:
    column = exp.column(name, quoted=True)
    column.type = source.type
    return column

"""Whose tables a query names: `alias.table` becomes one flat name over our contracts.

In: SQL and the members behind each alias. Out: `Resolved`: the query, checked by the gate's own
language and fully qualified. The same rules hold here as at a provider, so nothing reaches a
planner or a local engine that a provider's gate would not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from yunhe import dataplane
from yunhe.contracts import Terms
from yunhe.fabric.errors import FabricNameUnknown, FabricPartsDiffer, FabricSqlRefused
from yunhe.fabric.model import Member, Shape
from yunhe.kernel import limits


@dataclass(frozen=True)
class Named:
    """One table of the query: the members that hold it, or each a part of it."""

    alias: str
    table: str  # lower case
    members: tuple[Member, ...]

    @property
    def shape(self) -> Shape:
        """Its columns, which are those of every part."""
        return self.members[0].tables[self.table]


@dataclass(frozen=True)
class Resolved:
    """A query over flat names; `spelled` gives an output's name as the user wrote it."""

    tree: exp.Expr
    tables: Mapping[str, Named]
    spelled: Mapping[str, str]

    def schema(self) -> dict[str, object]:
        """The tables as sqlglot wants them."""
        return {flat: dict(named.shape.columns) for flat, named in self.tables.items()}


def wanted(sql: str) -> frozenset[str]:
    """The aliases that a query names before a dot; raises as the gate does."""
    tables = dataplane.read(sql).find_all(exp.Table)
    return frozenset(table.db for table in tables if table.db)


def resolve(sql: str, aliases: Mapping[str, tuple[Member, ...]]) -> Resolved:
    """Read `sql` over `aliases` (lower case); raises the gate's refusals and FABRIC_*."""
    tree = dataplane.read(sql)
    ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    tables: dict[str, Named] = {}
    for table in list(tree.find_all(exp.Table)):
        if not table.db and table.name.lower() in ctes:
            continue
        named = _named(table, aliases)
        flat = f"{named.alias}__{named.table}"
        tables[flat] = named
        alias = table.alias or table.name
        table.replace(exp.alias_(exp.to_table(f'"{flat}"', dialect="duckdb"), alias, table=True))
    dataplane.name_outputs(tree)
    text = tree.sql("duckdb", comments=False)
    columns = {flat: named.shape.columns for flat, named in tables.items()}
    try:
        outputs = check_language(text, columns)
    except dataplane.ColumnNotAgreed as error:
        raise _as_written(error, tables) from error
    schema: dict[str, object] = {flat: dict(types) for flat, types in columns.items()}
    try:
        tree = qualify(
            dataplane.read(text), schema=schema, dialect="duckdb", quote_identifiers=True
        )
    except SqlglotError as error:
        raise FabricSqlRefused(str(error), why="it is ambiguous", why_zh="存在歧义") from error
    return Resolved(tree, tables, {name.lower(): name for name in outputs})


def _as_written(
    error: dataplane.ColumnNotAgreed, tables: Mapping[str, Named]
) -> dataplane.ColumnNotAgreed:
    """The refusal with tables named as the user names them, not by our flat names."""
    facts = dict(error.facts)
    for flat in sorted(tables, key=len, reverse=True):
        written = f"{tables[flat].alias}.{tables[flat].table}."
        facts = {name: str(told).replace(f"{flat}.", written) for name, told in facts.items()}
    return dataplane.ColumnNotAgreed(error.detail, **facts)


def check_language(text: str, tables: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """Hold `text` to the gate's language over tables of the given columns; the output names."""
    return govern_local(text, tables).names


def govern_local(text: str, tables: Mapping[str, Mapping[str, str]]) -> dataplane.Governed:
    """`text` as our own local engine may run it: regenerated, and total on every value."""
    bindings = {name: dataplane.TableBinding(dict(types)) for name, types in tables.items()}
    every = tuple(f"{name}.{column}" for name, types in tables.items() for column in types)
    return dataplane.govern(text, bindings, Terms(purposes=(), columns=every))


def _named(table: exp.Table, aliases: Mapping[str, tuple[Member, ...]]) -> Named:
    name = table.name.lower()
    visible = sorted({f"{alias}.{each}" for alias, of in aliases.items() for each in of[0].tables})
    found = [alias for alias, members in aliases.items() if name in members[0].tables]
    if table.db:
        found = [alias for alias in found if alias == table.db.lower()]
    if len(found) != 1 or table.catalog or not isinstance(table.this, exp.Identifier):
        told = ", ".join(visible[: limits.SQL_NAMES_TOLD_MAX]) or "-"
        raise FabricNameUnknown(name=table.sql("duckdb", comments=False)[:200], visible=told)
    members = aliases[found[0]]
    first = members[0].tables[name].columns
    for other in members[1:]:
        theirs = other.tables[name].columns if name in other.tables else {}
        if dict(theirs) != dict(first):
            missing = sorted(set(first.items()) ^ set(theirs.items()))[:3]
            why = f"{other.product_code}: {', '.join(' '.join(each) for each in missing)}"
            raise FabricPartsDiffer(name=f"{found[0]}.{name}", why=why)
    return Named(found[0], name, members)

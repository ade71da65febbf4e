"""Arms: what one member contributes to one source of a query.

In: a source of a FROM (a table of an alias, or a UNION ALL of plain selects). Out: its arms, and
the sub-query of one arm: real table names, the arm's own columns and filter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from yunhe.fabric.model import Member
from yunhe.fabric.resolve import Named


@dataclass(frozen=True)
class Arm:
    """One member's table behind a source; `columns`: name in the source -> name in the table."""

    member: Member
    table: str
    columns: Mapping[str, str]
    where: exp.Expr | None = None


@dataclass(frozen=True)
class Source:
    """One source of a FROM whose rows are the arms', one after the other.

    `alias_of`: the user's alias where it is a table of one, so that its parts are the same as
    those of the alias's other tables; empty for a UNION ALL written out.
    """

    alias: str
    arms: tuple[Arm, ...] = field(repr=False)
    alias_of: str = ""


def source(node: exp.Expr, tables: Mapping[str, Named]) -> Source | None:
    """The arms of one FROM item; None where it is anything else."""
    if isinstance(node, exp.Table):
        named = tables.get(node.name)
        if named is None:
            return None
        same = {low: low for low in named.shape.columns}
        arms = tuple(Arm(member, named.table, same) for member in named.members)
        return Source(node.alias_or_name, arms, named.alias)
    if isinstance(node, exp.Subquery) and node.alias and isinstance(node.this, exp.SetOperation):
        arms_of = union_arms(node.this, tables)
        return None if arms_of is None else Source(node.alias, arms_of)
    return None


def union_arms(node: exp.Expr, tables: Mapping[str, Named]) -> tuple[Arm, ...] | None:
    """The arms of a UNION ALL of plain selects of one table each; None for any other query."""
    found = _arms(node, tables)
    if found is None:
        return None
    names = [name for name, _ in found[0][1]]
    if len(set(names)) < len(names):
        return None
    arms = []
    for arm, columns in found:
        if len(columns) != len(names):
            return None
        inner = {name: low for name, (_, low) in zip(names, columns, strict=True)}
        arms.append(Arm(arm.member, arm.table, inner, arm.where))
    return tuple(arms)


_Found = list[tuple[Arm, list[tuple[str, str]]]]


def _arms(node: exp.Expr, tables: Mapping[str, Named]) -> _Found | None:
    node = node.unnest()
    if isinstance(node, exp.Union):
        plain = not any(node.args.get(name) for name in ("distinct", "order", "limit", "offset"))
        if not plain or node.args.get("with_"):
            return None
        left, right = _arms(node.this, tables), _arms(node.expression, tables)
        return None if left is None or right is None else left + right
    if not isinstance(node, exp.Select) or {k for k, v in node.args.items() if v} - {
        "expressions",
        "from_",
        "where",
    }:
        return None
    start = node.args["from_"].this if node.args.get("from_") else None
    named = tables.get(start.name) if isinstance(start, exp.Table) else None
    where = node.args["where"].this if node.args.get("where") else None
    if named is None or (where is not None and where.find(exp.Query)):
        return None
    columns = []
    for item in node.selects:
        inner = item.unalias()
        if not isinstance(inner, exp.Column):
            return None
        columns.append((item.alias_or_name, inner.name))
    return [(Arm(member, named.table, {}, where), columns) for member in named.members]


def for_arm(select: exp.Select, sources: Sequence[Source], at: int) -> exp.Select:
    """`select`, written over the sources, as the sub-query of arm `at` of each of them."""
    made = select.copy()
    wheres = []
    for each in sources:
        arm = each.arms[at]
        shape = arm.member.tables[arm.table]
        for node in _from_items(made):
            if node.alias_or_name == each.alias:
                real = exp.to_table(_quoted(shape.name), dialect="duckdb")
                node.replace(exp.alias_(real, each.alias, table=True, quoted=True))
        for column in list(made.find_all(exp.Column)):
            if column.table == each.alias:
                low = arm.columns[column.name]
                column.set("this", exp.to_identifier(shape.spelled[low], quoted=True))
        if arm.where is not None:
            wheres.append(_moved(arm.where, each.alias, shape.spelled))
    return made.where(*wheres) if wheres else made


def _from_items(select: exp.Select) -> list[exp.Expr]:
    return [select.args["from_"].this, *(join.this for join in select.args.get("joins") or [])]


def _moved(where: exp.Expr, alias: str, spelled: Mapping[str, str]) -> exp.Expr:
    moved = where.copy()
    for column in moved.find_all(exp.Column):
        column.set("this", exp.to_identifier(spelled[column.name], quoted=True))
        column.set("table", exp.to_identifier(alias, quoted=True))
    return exp.paren(moved)


def from_items(select: exp.Select) -> list[exp.Expr]:
    """The sources of a SELECT in order."""
    return _from_items(select)


def conjuncts(part: exp.Expr | None) -> list[exp.Expr]:
    """The terms of an AND, each without its brackets."""
    if part is None:
        return []
    whole = part.unnest()
    return list(whole.flatten()) if isinstance(whole, exp.And) else [whole]


def columns_of(nodes: Iterable[exp.Expr | None], aliases: frozenset[str]) -> list[exp.Column]:
    """The columns of `aliases` under `nodes`, each once, in order."""
    found: dict[tuple[str, str], exp.Column] = {}
    for node in nodes:
        for column in node.find_all(exp.Column) if node is not None else ():
            if column.table in aliases:
                found.setdefault((column.table, column.name), column)
    return list(found.values())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

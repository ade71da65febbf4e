"""The part of the data plane for programs that run beside the data.

In: an admitted application, the tables it declares, a folder of its own. Out: governed tables as
Arrow files in that folder, and the groups that are large enough to be told of, counted by the gate.
The rows come through the same gate as any query: columns, filters and masks of the contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlglot import exp

from yunhe.contracts import ReleaseKind, Term, Terms
from yunhe.control import Given
from yunhe.dataplane.errors import AggregateArgument, InputTooLarge
from yunhe.dataplane.gate import read
from yunhe.kernel import limits


@dataclass(frozen=True)
class Wanted:
    """What an application reads: columns of tables; `groups`: "table.column"s of one table, by
    which its output is grouped, or None where its output is no table of groups."""

    tables: Mapping[str, tuple[str, ...]]
    groups: tuple[str, ...] | None = None
    grouped: str = ""  # the table whose entities are counted

    def rows_sql(self, table: str) -> str:
        """The query for the rows of a table."""
        columns = ", ".join(map(_quoted, self.tables[table]))
        return f"SELECT {columns} FROM {_quoted(table)}"  # noqa: S608  the gate reads it

    def groups_sql(self) -> str:
        """The query for the groups; the gate leaves those of enough entities."""
        keys = [_quoted(name.partition(".")[2]) for name in self.groups or ()]
        select = ", ".join([*keys, "count(*) AS n"])
        by = f" GROUP BY {', '.join(keys)}" if keys else ""
        return f"SELECT {select} FROM {_quoted(self.grouped)}{by}"  # noqa: S608


@dataclass(frozen=True)
class Laid:
    """A governed table on disk."""

    path: Path
    rows: int
    bytes: int


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def as_released(terms: Terms, application: str) -> Terms:
    """The terms for what an application's SQL gives away: groups only, where the rule says so."""
    rule = terms.release
    if not application or rule is None or rule.kind is not ReleaseKind.AGGREGATE:
        return terms
    return replace(terms, minimum_group=max(terms.minimum_group, rule.k))


def computed(sql: str) -> frozenset[int]:
    """The places of a grouped query's result that are made of aggregates, not of its keys.

    Raises AggregateArgument for one that is cast to anything but an inexact number: as a whole
    number or a text it would keep every digit, whatever a release rule leaves of numbers. Raises
    as the gate does on what it cannot read.
    """
    tree = read(sql)
    items = tree.selects if isinstance(tree, exp.Select) else []
    places: set[int] = set()
    names: set[str] = set()
    for _ in items:  # an item may name an earlier or a later one
        for at, item in enumerate(items):
            named = (each.name.lower() for each in item.find_all(exp.Column) if not each.table)
            if item.find(exp.AggFunc) or not names.isdisjoint(named):
                places.add(at)
                names.add(item.alias_or_name.lower())
    for at in places:
        for cast in items[at].find_all(exp.Cast):  # a TRY_CAST is one, too
            inside = cast.find_ancestor(exp.AggFunc)
            if inside is None and not cast.to.is_type(exp.DType.FLOAT, exp.DType.DOUBLE):
                raise AggregateArgument(got=cast.sql("duckdb", comments=False)[:80])
    return frozenset(places)


def environment(terms: Terms, application: str) -> Mapping[str, Given]:
    """What control is told of the program that asks; empty where none does."""
    if not application:
        return {}
    said: dict[str, Given] = {Term.APPLICATION: frozenset({application})}
    if terms.release is not None:
        said[Term.RELEASE_RULE] = str(terms.release)
    return said


def bounded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks as they come; raises InputTooLarge once they are more than an input may be."""
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > limits.APP_INPUT_BYTES_MAX:
            raise InputTooLarge(limit=limits.APP_INPUT_BYTES_MAX)
        yield chunk

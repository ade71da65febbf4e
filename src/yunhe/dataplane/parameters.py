"""Parameters of a prepared query: typed values put into its tree as literals, never into its text.

In: SQL with `?` or `$1`, values. Out: SQL in which each is a literal. It is governed after that
like any other query, so a value can neither be SQL nor reach behind the gate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal

from sqlglot import exp

from yunhe.dataplane.errors import ParameterRefused, ParametersDiffer
from yunhe.dataplane.gate import read
from yunhe.kernel import limits


def wanted(sql: str) -> int:
    """How many parameters the query takes; raises as the gate does on what it cannot read."""
    return _count(read(sql))


def bind(sql: str, values: Sequence[object]) -> str:
    """The query with its parameters in it.

    Raises ParametersDiffer where there are more or fewer values than parameters, ParameterRefused
    for a value that has no literal, and what the gate raises on SQL that it cannot read.
    """
    tree = read(sql)
    count = _count(tree)
    if count != len(values):
        raise ParametersDiffer(wanted=count, given=len(values))
    if not count:
        return sql
    literals = [_literal(at, value) for at, value in enumerate(values, 1)]
    for at, place in enumerate(_places(tree)):
        number = int(place.name) - 1 if place.this else at
        place.replace(literals[number].copy())
    return str(tree.sql(dialect="duckdb", comments=False))


def bind_named(sql: str, values: Mapping[str, object]) -> str:
    """As `bind`, for parameters written `$name`; each of `values` may stand any number of times.

    Raises ParameterRefused for a name that has no value, and as `bind`.
    """
    tree = read(sql)
    names = list(values)
    literals = {name: _literal(at, values[name]) for at, name in enumerate(names, 1)}
    places = _places(tree)
    for at, place in enumerate(places, 1):
        if not place.this or place.name not in literals:
            raise ParameterRefused(at=at, why="no parameter has this name")
        place.replace(literals[place.name].copy())
    return str(tree.sql(dialect="duckdb", comments=False)) if places else sql


def _places(tree: exp.Expr) -> list[exp.Expr]:
    """The placeholders in the order of the text."""
    return list(tree.find_all(exp.Placeholder, bfs=False))


def _count(tree: exp.Expr) -> int:
    named = [place.name for place in _places(tree) if place.this]
    if not named:
        return len(_places(tree))
    numbers = {int(name) for name in named if name.isascii() and name.isdigit() and len(name) < 5}
    if len(numbers) != len(set(named)) or len(named) != len(_places(tree)):
        raise ParameterRefused(at=1, why="write every parameter as ? or every one as $1, $2, …")
    if numbers != set(range(1, len(numbers) + 1)):
        raise ParameterRefused(at=1, why="numbers must go from 1 on without a gap")
    return len(numbers)


def _literal(at: int, value: object) -> exp.Expr:
    """A value as a literal of its own type."""
    if value is None:
        return exp.null()
    if isinstance(value, bool):
        return exp.true() if value else exp.false()
    if isinstance(value, int) and abs(value) < 1 << 127:
        return _number(str(value))
    if isinstance(value, Decimal) and value.is_finite() and abs(value.adjusted()) < 38:
        return _number(f"{value:f}")
    if isinstance(value, float) and math.isfinite(value):
        return exp.cast(_number(repr(value)), "DOUBLE")
    if isinstance(value, str) and len(value) <= limits.SQL_BYTES_MAX and "\0" not in value:
        return exp.Literal.string(value)
    if isinstance(value, datetime):
        kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
        return exp.cast(exp.Literal.string(value.isoformat(sep=" ")), kind)
    if isinstance(value, date):
        return exp.cast(exp.Literal.string(value.isoformat()), "DATE")
    if isinstance(value, time):
        return exp.cast(exp.Literal.string(value.isoformat()), "TIME")
    raise ParameterRefused(at=at, why="its type or size has no literal")


def _number(text: str) -> exp.Expr:
    if text.startswith("-"):
        return exp.paren(exp.Neg(this=exp.Literal.number(text[1:])))
    return exp.Literal.number(text)

"""Make a query total: nothing in it can raise on a value, so no error tells of a hidden row.

DuckDB may evaluate a user's predicate on rows the policy hides (measured on 2.0), and whether it
raised is one bit about them. So casts become TRY_CAST, and whatever can raise goes into TRY.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

import duckdb
from sqlglot import exp

from yunhe.dataplane.errors import BadLiteral, TypesDiffer
from yunhe.dataplane.functions import COMPARISONS, PARTIAL

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DIGITS_SUMMED: Final = 28  # ten thousand million numbers of so many have a sum of 38
_WHOLE: Final = re.compile(r"-?\d{1,9}", re.ASCII)


def make_total(tree: exp.Expr) -> exp.Expr:
    """Rewrite `tree` (types annotated) in place and return it; raises TypesDiffer.

    Left alone: constants (they fail for everyone alike) and expressions over aggregates or
    windows (computed after every row filter; TRY cannot hold them).
    """
    for cast in list(tree.find_all(exp.Cast)):
        if type(cast) is exp.Cast:
            safe = exp.TryCast(this=cast.this, to=cast.to)
            safe.type = cast.type
            tree = _swap(tree, cast, safe)
    partial: list[exp.Expr] = []  # outermost ones; the walk does not go below them
    for node in tree.walk(bfs=False, prune=lambda n: bool(partial) and n is partial[-1]):
        if _can_raise(node) and node.find(exp.Column):
            if node.find(exp.Query):
                raise TypesDiffer(what=node.key.upper())
            if not node.find(exp.AggFunc, exp.Window):
                partial.append(node)
    for node in partial:
        wrapped = exp.Anonymous(this="TRY", expressions=[node.copy()])
        tree = _swap(tree, node, wrapped)
    return tree


def _swap(tree: exp.Expr, old: exp.Expr, new: exp.Expr) -> exp.Expr:
    if old is tree:
        return new
    old.replace(new)
    return tree


def _can_raise(node: exp.Expr) -> bool:
    if type(node) in PARTIAL:
        return True
    if type(node) not in COMPARISONS:
        return False
    kinds = {kind for part in _compared(node) if (kind := _kind(part)) != "any"}
    return len(kinds) > 1 or "unknown" in kinds


def _compared(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Case):
        subject = node.args.get("this")
        tests = [branch.this for branch in node.args["ifs"]] if subject else []
        if subject:
            return [subject, *tests]
        results = [branch.args["true"] for branch in node.args["ifs"]]
        return [*results, *([node.args["default"]] if node.args.get("default") else [])]
    if isinstance(node, exp.In) and node.args.get("query"):
        query = node.args["query"]
        inner = query.this if isinstance(query, exp.Subquery) else query
        return [node.this, *inner.selects]
    return [part for part in node.iter_expressions() if not isinstance(part, exp.Identifier)]


def _kind(node: exp.Expr) -> str:
    """The family within which DuckDB compares without a cast that could fail."""
    if isinstance(node, exp.Null) or (isinstance(node, exp.Literal) and node.is_string):
        return "any"  # a text literal is cast while binding, before any row is read: check_literals
    kind = node.type
    if kind is None:
        return "unknown"
    if kind.is_type(*exp.DataType.TEXT_TYPES):
        return "text"
    if kind.is_type(*exp.DataType.NUMERIC_TYPES):
        return "number"
    if kind.is_type(exp.DType.UNKNOWN, exp.DType.NULL):
        return "unknown"
    return str(kind.this.value)


def check_literals(tree: exp.Expr) -> None:
    """Refuse a text literal that is no value of the type it is compared with or cast to.

    The engine would fail while binding, with nothing to say which literal it was. Types must be
    annotated. Raises BadLiteral.
    """
    asked: dict[tuple[str, str], None] = {}
    for node in tree.walk():
        if type(node) is exp.Cast and node.to.is_type(*exp.DataType.TEMPORAL_TYPES):
            _ask(node.this.unnest(), node.to, asked)
        if type(node) not in COMPARISONS:
            continue
        parts = [part.unnest() for part in _compared(node)]
        kinds = [part.type for part in parts if part.type is not None and not _is_text(part)]
        for literal in parts:
            if kinds and _is_text(literal):
                _ask(literal, kinds[0], asked)
    if asked:
        _check_castable(asked)


def clash(tree: exp.Expr) -> str | None:
    """The first comparison that could raise on a row's value, as text; types annotated."""
    for node in tree.walk():
        if type(node) in COMPARISONS:
            kinds = {_kind(part.unnest()) for part in _compared(node)} - {"any", "unknown"}
            times = {kind for kind in kinds if kind.startswith(("DATE", "TIME"))}
            if len(kinds) > 1 and ("text" in kinds or (times and kinds != times)):
                return str(node.sql("duckdb"))[:80]
    return None


def _is_text(node: exp.Expr) -> bool:
    return isinstance(node, exp.Literal) and bool(node.is_string)


def _ask(literal: exp.Expr, kind: exp.DataType, asked: dict[tuple[str, str], None]) -> None:
    """Put a text literal down to be tried, unless it plainly is a value of its type."""
    if not _is_text(literal) or not kind.is_type(
        *exp.DataType.TEMPORAL_TYPES, *exp.DataType.NUMERIC_TYPES, exp.DType.BOOLEAN
    ):
        return
    text = str(literal.this)
    if not _plain(text, kind):
        asked[text, str(kind.sql("duckdb"))] = None


def _plain(text: str, kind: exp.DataType) -> bool:
    """Whether `text` plainly is a date or whole number; spares asking the engine."""
    if kind.is_type(exp.DType.INT, exp.DType.BIGINT, exp.DType.DOUBLE):
        return _WHOLE.fullmatch(text) is not None
    if _DATE.fullmatch(text) and kind.is_type(exp.DType.DATE, exp.DType.TIMESTAMP):
        try:
            date.fromisoformat(text)
        except ValueError:
            return False
        return True
    return False


def _check_castable(asked: Iterable[tuple[str, str]]) -> None:
    """What the engine itself says; it alone knows every spelling of a date it takes."""
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as con:
        for text, target in asked:
            try:
                # `target` is a type's name as we rendered it, the text is a parameter.
                row = con.execute(f"SELECT TRY_CAST($1 AS {target}) IS NOT NULL", [text]).fetchone()
            except duckdb.Error:
                row = None
            if not (row and row[0]):
                raise BadLiteral(literal=text, type=target)


def never_over(node: exp.Expr) -> exp.Expr:
    """A sum that no engine refuses: one beyond 38 digits would tell of a group that is withheld.

    Numbers of up to _DIGITS_SUMMED digits are summed exactly, however many there are; others, and
    no measured quantity is one, as DOUBLE.
    """
    column, kind = node.this, node.this.type if isinstance(node.this, exp.Column) else None
    if not isinstance(node, (exp.Sum, exp.Avg)) or kind is None:
        return node
    sized = kind.is_type(exp.DType.DECIMAL) and kind.expressions
    wide = sized and int(kind.expressions[0].name) > _DIGITS_SUMMED
    if not wide and not kind.is_type(exp.DType.INT128, exp.DType.UINT128):
        return node
    made = node.copy()
    made.set("this", exp.TryCast(this=column.copy(), to=exp.DataType.build("DOUBLE")))
    return made

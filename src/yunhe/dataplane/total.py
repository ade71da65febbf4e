"""Make a query total: nothing in it can raise on a value, so no error tells of a hidden row.

DuckDB may evaluate a user's predicate on rows the policy hides (measured on 2.0), and whether it
raised is one bit about them. So casts become TRY_CAST, and whatever can raise goes into TRY. Nor
may it matter what the engine leaves out, as it does by the least and greatest value of a column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date
from types import NoneType
from typing import Final

import duckdb
from sqlglot import exp

from yunhe.dataplane.errors import BadLiteral, TypesDiffer
from yunhe.dataplane.functions import COMPARISONS, PARTIAL

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DIGITS_SUMMED: Final = 28  # ten thousand million numbers of so many have a sum of 38
_DIGITS_MAX: Final = 38
_DIGITS: Final = {
    exp.DType.TINYINT: 3, exp.DType.SMALLINT: 5, exp.DType.INT: 10, exp.DType.BIGINT: 19,
    exp.DType.UTINYINT: 3, exp.DType.USMALLINT: 5, exp.DType.UINT: 10, exp.DType.UBIGINT: 20,
}  # fmt: skip
# What evaluates all of its operands, whatever is known of their values.
_STRICT: Final = (*PARTIAL, exp.Paren, exp.TryCast, exp.DPipe)
_WHOLE: Final = re.compile(r"-?\d{1,9}", re.ASCII)


def make_total(tree: exp.Expr) -> exp.Expr:
    """Rewrite `tree` (types annotated) in place and return it; raises TypesDiffer.

    Left alone: expressions over aggregates or windows, which TRY cannot hold (see `hasty`).
    """
    for cast in list(tree.find_all(exp.Cast)):
        if type(cast) is exp.Cast:
            safe = exp.TryCast(this=cast.this, to=cast.to)
            safe.type = cast.type
            tree = _swap(tree, cast, safe)
    for node in list(tree.walk()):
        for truth in list(_truths(node)):
            truth.replace(exp.TryCast(this=truth.copy(), to=exp.DataType.build("BOOLEAN")))
    partial: list[exp.Expr] = []  # an outer one stands before those within it
    _collect(tree, partial, tried=False)
    for node in reversed(partial):
        wrapped = exp.Anonymous(this="TRY", expressions=[node.copy()])
        tree = _swap(tree, node, wrapped)
    return tree


def _truths(node: exp.Expr) -> Iterator[exp.Expr]:
    """The texts that `node` takes for true or false, which the engine would cast."""
    parts: list[exp.Expr | None] = []
    if isinstance(node, (exp.And, exp.Or)):
        parts = [node.this, node.expression]
    elif isinstance(node, exp.Is):
        parts = [node.this] if isinstance(node.expression, exp.Boolean) else []
    elif isinstance(node, (exp.Not, exp.Where, exp.Having)):
        parts = [node.this]
    elif isinstance(node, exp.If):
        case = node.parent
        parts = [] if isinstance(case, exp.Case) and case.this else [node.this]
    elif isinstance(node, exp.Join):
        parts = [node.args.get("on")]
    for part in parts:
        if part is not None and _kind(part) == "text":
            yield part


def _collect(node: exp.Expr, partial: list[exp.Expr], *, tried: bool) -> None:
    """What of `node` is to be tried; `tried`: all of it is evaluated within one that is.

    Between a TRY and what can raise in it stands nothing whose answer may be known without: from
    the least and greatest of a column, hidden rows and all, the engine knows how a comparison
    ends. It evaluates neither side then, and the error that is missed tells of these.
    """
    if _can_raise(node):
        if node.find(exp.Query):
            if _differs(node) and node.find(exp.Column):
                raise TypesDiffer(what=node.key.upper())
        elif not tried and not node.find(exp.AggFunc, exp.Window):
            partial.append(node)
            tried = True
    tried = tried and isinstance(node, _STRICT)
    for part in node.iter_expressions():
        _collect(part, partial, tried=tried)


def hasty(tree: exp.Expr) -> bool:
    """Whether something in a total `tree` can raise, and not in every plan of the engine alike.

    What is left over aggregates, windows and queries: where the whole answer is made of it, every
    plan evaluates it; below a comparison, or in another query, some do.
    """
    for node in tree.walk(prune=_is_tried):
        if not _is_tried(node) and (_can_raise(node) or _overflows(node)):
            above: exp.Expr | None = node.parent
            while above is not None and isinstance(above, (*_STRICT, exp.Alias)):
                above = above.parent
            if above is not tree or not isinstance(tree, exp.Select):
                return True
    return False


def _is_tried(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name == "TRY"


def _overflows(node: exp.Expr) -> bool:
    """Whether an aggregate, a query within, or a place in an order, can raise on some values."""
    if isinstance(node, exp.SetOperation):
        pairs = list(zip(node.this.selects, node.expression.selects, strict=False))
        mixed = ({_kind(one), _kind(other)} - {"any"} for one, other in pairs)
        wide = any(_wide([one.unalias(), other.unalias()]) for one, other in pairs)
        return wide or any(len(kinds) > 1 and "text" not in kinds for kinds in mixed)
    if isinstance(node, exp.Subquery):
        return not isinstance(node.parent, (exp.From, exp.Join, exp.In)) and not _is_single(node)
    if isinstance(node, (exp.Lag, exp.Lead)):
        return not isinstance(node.args.get("offset"), (exp.Literal, NoneType)) or bool(
            node.args.get("default")
        )
    if isinstance(node, (exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.Interval)):
        return True
    if not isinstance(node, (exp.Sum, exp.Avg)):
        return False
    kind = node.this.type
    if kind is None or isinstance(node.this, exp.Distinct):
        return True
    if kind.is_type(exp.DType.DECIMAL):
        return not kind.expressions or int(kind.expressions[0].name) > _DIGITS_SUMMED
    return not kind.is_type(*_DIGITS, exp.DType.FLOAT, exp.DType.DOUBLE)


def _is_single(node: exp.Subquery) -> bool:
    """Whether a query that stands for a value has one row, whatever there is."""
    query = node.unnest()
    if not isinstance(query, exp.Select) or query.args.get("group"):
        return False
    return all(item.find(exp.AggFunc) and not item.find(exp.Window) for item in query.selects)


def _swap(tree: exp.Expr, old: exp.Expr, new: exp.Expr) -> exp.Expr:
    if old is tree:
        return new
    old.replace(new)
    return tree


def _can_raise(node: exp.Expr) -> bool:
    return _differs(node) or (type(node) in COMPARISONS and _wide(_compared(node)))


def _differs(node: exp.Expr) -> bool:
    if type(node) in PARTIAL:  # a number with a sign is one
        return not (isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal))
    if type(node) not in COMPARISONS:
        return False
    kinds = {kind for part in _compared(node) if (kind := _kind(part)) != "any"}
    return len(kinds) > 1 or "unknown" in kinds


def _wide(parts: Iterable[exp.Expr]) -> bool:
    """Whether one of these numbers may be no value of the type that all become.

    A whole number of 20 digits and a decimal with 30 behind its point need 50; there are 38.
    """
    sizes = [_size(part) for part in parts if _kind(part) == "number"]
    if not any(behind for _, behind in sizes) or (0, 0) in sizes:
        return False
    return max(whole for whole, _ in sizes) + max(behind for _, behind in sizes) > _DIGITS_MAX


def _size(node: exp.Expr) -> tuple[int, int]:
    """Of a number, the most digits before and behind its point; (0, 0): it has any, as a double."""
    if isinstance(node, (exp.Neg, exp.Paren, exp.Alias)):
        return _size(node.this)
    if isinstance(node, exp.Literal):
        said = str(node.this).lower()
        before, _, after = said.partition(".")
        return (0, 0) if "e" in said else (max(len(before), 1), len(after))
    kind = node.type
    if isinstance(node, exp.Div) or kind is None:
        return (0, 0) if isinstance(node, exp.Div) else (_DIGITS_MAX, _DIGITS_MAX)
    if isinstance(node, (exp.Column, exp.TryCast)):
        if kind.is_type(exp.DType.FLOAT, exp.DType.DOUBLE):
            return 0, 0
        if kind.is_type(exp.DType.DECIMAL) and len(kind.expressions) > 1:
            most, behind = (int(each.name) for each in kind.expressions)
            return most - behind, behind
        return _DIGITS.get(kind.this, _DIGITS_MAX + 1), 0
    # What is calculated may be wider than the annotator knows: it takes 0.5 for a double.
    return _DIGITS_MAX + 1, 0 if kind.is_type(*exp.DataType.INTEGER_TYPES) else _DIGITS_MAX


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

"""One range of a summed column: a group never mixes values that its filter has picked.

In: a checked and qualified SELECT, and the columns that it sums or counts. Out: nothing, or a
refusal. `sum(v) WHERE v = 17.3 OR name = 'x'` would be so many times 17.3 and one person's value.
So a condition on a summed column stands by itself, beside the others by AND, and all conditions and
keys together leave each group one range of its values, but for at most one value left out. Of what
is counted only, a condition stands by itself. What this does not cover: docs/privacy.md; why:
docs/decisions/0025-ranges-of-summed-columns.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from operator import and_, or_
from typing import Final

from sqlglot import exp

from yunhe.dataplane.errors_groups import AggregatePicked

_NUMBER: Final = re.compile(r"\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE: Final = re.compile(r"-?\d{1,18}", re.ASCII)
_STEPS_MAX: Final = 4  # of arithmetic in a key: with factors as below nothing finite is beyond a
_FACTOR_MAX: Final = 10**9  # DOUBLE, which would put both ends of the values into one group
_DIGITS_MIN: Final = -6  # of rounding, which overflows near both ends of a type
_WIDTHS: Final = (exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT)
_NARROW: Final = (
    *(exp.DType.TINYINT, exp.DType.SMALLINT, exp.DType.UTINYINT, exp.DType.USMALLINT),
)
_FLIPPED: Final[dict[type[exp.Expr], type[exp.Expr]]] = {
    exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE,
}  # fmt: skip
_Cut = tuple[Fraction, bool]  # just below a number, or (True) just above


@dataclass(frozen=True)
class Values:
    """A set of numbers: whether it has the least of all, and where that changes, ascending."""

    least: bool
    cuts: tuple[_Cut, ...] = ()

    def inverse(self) -> Values:
        """All others."""
        return Values(not self.least, self.cuts)

    def joined(self, other: Values, how: Callable[[bool, bool], bool]) -> Values:
        """Those that are in both, or in either, as `how` has it."""
        mine, theirs = set(self.cuts), set(other.cuts)
        one, two = self.least, other.least
        within = least = how(one, two)
        cuts = []
        for cut in sorted(mine | theirs):
            one, two = one ^ (cut in mine), two ^ (cut in theirs)
            if how(one, two) != within:
                within = not within
                cuts.append(cut)
        return Values(least, tuple(cuts))

    def holes(self) -> int | None:
        """How many single values are left out of one range; None where more is."""
        inside = self.cuts if self.least else self.cuts[1:]
        found = 0
        for (start, above), (end, _) in zip(inside[::2], inside[1::2], strict=False):
            if start != end or above:
                return None
            found += 1
        return found


ALL: Final = Values(True)
NONE: Final = Values(False)


def check_ranges(
    tree: exp.Select,
    keys: Collection[exp.Expr],
    summed: Collection[tuple[str, str]],
    counted: Collection[tuple[str, str]],
) -> None:
    """Raise AggregatePicked where the filter, a join or a key picks values of a column that is
    `summed` (alias, name), or those of one that is `counted` beside other columns: how many values
    there are, and how many none, tells of one person's, too."""
    found = dict.fromkeys(summed, (ALL, 0))  # what the filter leaves, holes of keys
    for join in tree.args.get("joins") or []:
        if on := join.args.get("on"):
            for column in _among(on, found):
                raise _refusal(column, on)
    where = tree.args.get("where")
    parts = list(_parts(where.this)) if where is not None else []
    for part in (*parts, *keys):
        for column in _among(part, counted):
            if len(_columns(part)) > 1:
                raise _refusal(column, part)
    for part in parts:
        for column in _among(part, found):
            left, holes = found[column]
            found[column] = (left.joined(_alone(part, column), and_), holes)
    for key in keys:
        for column in _among(key, found):
            left, holes = found[column]
            found[column] = (left, holes + _key_holes(key, column))
    for column, (left, holes) in found.items():
        own = left.holes()
        if own is None or own + holes > 1:
            raise _refusal(column, where if where is not None else tree)


def _parts(node: exp.Expr) -> Iterable[exp.Expr]:
    """What is put together by AND, however it is bracketed."""
    waiting = [node]
    while waiting:
        part = waiting.pop().unnest()
        if isinstance(part, exp.And):
            waiting += [part.this, part.expression]
        else:
            yield part


def _columns(part: exp.Expr) -> set[tuple[str, str]]:
    return {(column.table, column.name) for column in part.find_all(exp.Column)}


def _among(part: exp.Expr, of: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    return _columns(part).intersection(of)


def _refusal(column: tuple[str, str], got: exp.Expr) -> AggregatePicked:
    return AggregatePicked(column=column[1], got=got.sql("duckdb", comments=False)[:80])


def _alone(part: exp.Expr, column: tuple[str, str]) -> Values:
    """The values that fulfil a predicate of this column alone."""
    made = _fulfil(part)
    if made is None or _columns(part) != {column}:
        raise _refusal(column, part)
    return made


def _fulfil(node: exp.Expr) -> Values | None:
    """The numbers for which a predicate of one column is true; None where that is not plain.

    Rows without a value stand in no sum: that they may come in or stay out is all one.
    """
    node = node.unnest()
    if isinstance(node, (exp.And, exp.Or)):
        made: Values | None = None
        for part in node.flatten():
            values = _fulfil(part)
            if values is None:
                return None
            how = and_ if isinstance(node, exp.And) else or_
            made = values if made is None else made.joined(values, how)
        return made
    if isinstance(node, exp.Not):
        values = _fulfil(node.this)
        return None if values is None else values.inverse()
    if isinstance(node, exp.Is) and isinstance(node.this.unnest(), exp.Column):
        return NONE if isinstance(node.expression, exp.Null) else None
    if isinstance(node, exp.Boolean):
        return ALL if node.this else NONE
    return _compared(node)


def _compared(node: exp.Expr) -> Values | None:
    """Of a comparison of a column with numbers."""
    kind, one = type(node), node.this.unnest() if isinstance(node.this, exp.Expr) else None
    if isinstance(node, exp.In) and isinstance(one, exp.Column) and not node.args.get("query"):
        numbers = [_number(each) for each in node.expressions]
        cuts = sorted({(n, above) for n in numbers if n is not None for above in (False, True)})
        return None if None in numbers else Values(False, tuple(cuts))
    if isinstance(node, exp.Between) and isinstance(one, exp.Column):
        low, high = _number(node.args["low"]), _number(node.args["high"])
        if low is None or high is None or node.args.get("symmetric"):
            return None
        return _side(exp.GTE, low).joined(_side(exp.LTE, high), and_)
    if not isinstance(node, exp.Binary):
        return None
    other = node.expression.unnest()
    if isinstance(other, exp.Column):
        one, other, kind = other, one, _FLIPPED.get(kind, kind)
    number = _number(other) if isinstance(one, exp.Column) and other is not None else None
    if number is None:
        return None
    if kind in _FLIPPED:
        return _side(kind, number)
    point = Values(False, ((number, False), (number, True)))
    if kind in (exp.EQ, exp.NullSafeEQ):
        return point
    return point.inverse() if kind in (exp.NEQ, exp.NullSafeNEQ) else None


def _side(kind: type[exp.Expr], number: Fraction) -> Values:
    return Values(kind in (exp.LT, exp.LTE), ((number, kind in (exp.GT, exp.LTE)),))


def _number(node: exp.Expr) -> Fraction | None:
    """A number as it is written, or as DOUBLE where it is said to be one."""
    node = node.unnest()
    if isinstance(node, exp.Neg):
        number = _number(node.this)
        return None if number is None else -number
    if isinstance(node, (exp.Cast, exp.TryCast)) and node.to.is_type(exp.DType.DOUBLE):
        return _number(node.this)
    if not isinstance(node, exp.Literal) or node.is_string or not _NUMBER.fullmatch(node.name):
        return None
    return Fraction(node.name)


def _key_holes(key: exp.Expr, column: tuple[str, str]) -> int:
    """How many single values are left out of the range of a group of this key, at most."""
    if _columns(key) != {column}:
        raise _refusal(column, key)
    key = key.unnest()
    if isinstance(key, exp.If):
        key = exp.Case(ifs=[key], default=key.args.get("false"))
    labelled = _labelled(key) if isinstance(key, exp.Case) else None
    if labelled is None:
        if _steps(key) is not None:
            return 0
        values = _fulfil(key)
        labelled = None if values is None else [values, values.inverse()]
    if labelled is None:
        raise _refusal(column, key)
    found = [values.holes() for values in labelled]
    if None in found:
        raise _refusal(column, key)
    return max(each or 0 for each in found)


def _labelled(case: exp.Case) -> list[Values] | None:
    """What falls under each label of a CASE over ranges; None where that is not plain."""
    if case.this is not None:
        return None
    left, by_label = ALL, dict[str, Values]()
    branches = [(each.this, each.args["true"]) for each in case.args["ifs"]]
    for condition, label in [*branches, (exp.true(), case.args.get("default") or exp.null())]:
        values, name = _fulfil(condition), _label(label)
        if values is None or name is None:
            return None
        own = by_label.get(name, NONE)
        by_label[name] = own.joined(left.joined(values, and_), or_)
        left = left.joined(values.inverse(), and_)
    kinds = {name[0] for name in by_label} - {"-"}
    return list(by_label.values()) if len(kinds) <= 1 else None


def _label(node: exp.Expr) -> str | None:
    """A label such that two are equal where their texts are: a text, a whole number, or NULL."""
    node = node.unnest()
    if isinstance(node, exp.Null):
        return "-"
    if isinstance(node, exp.Literal) and node.is_string:
        return f"t{node.name}"
    text = node.sql("duckdb") if isinstance(node, (exp.Literal, exp.Neg)) else ""
    return f"n{int(text)}" if _WHOLE.fullmatch(text) else None


def _steps(node: exp.Expr) -> tuple[int, bool] | None:
    """Of what rises (or falls) with its column: how much arithmetic it has, and whether it is a
    DOUBLE; None for all else, of which a group might have both ends of the values.

    Whole numbers overflow: what does so at one end alone is one group more.
    """
    node = node.unnest()
    if isinstance(node, exp.Column):
        return 0, node.type is not None and node.type.is_type(exp.DType.DOUBLE)
    if isinstance(node, (exp.Cast, exp.TryCast)):
        inner = _steps(node.this)
        if inner and node.to.is_type(exp.DType.DOUBLE):
            return inner[0], True
        return (inner[0], False) if inner and _fits(node) else None
    if isinstance(node, (exp.Floor, exp.Ceil, exp.Round)):
        inner = _steps(node.this)
        return inner if inner and _rounds(node, inner[1]) else None
    if not isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Div)):
        return None
    one, other = node.this, node.expression
    if not isinstance(node, exp.Div) and _number(other) is None:
        one, other = other, one
    inner, number = _steps(one), _number(other)
    if inner is None or number is None or inner[0] >= _STEPS_MAX:
        return None
    steps, double = inner[0] + 1, inner[1] or isinstance(node, exp.Div)
    if isinstance(node, (exp.Add, exp.Sub)):
        return (steps, double) if double or steps == 1 else None
    small = number and 1 / Fraction(_FACTOR_MAX) <= abs(number) <= _FACTOR_MAX
    return (steps, double) if double and small else None


def _fits(cast: exp.Cast) -> bool:
    """Whether a cast to a whole number is of one that was as wide, and has only been divided."""
    node = cast.this.unnest()
    while isinstance(node, (exp.Floor, exp.Ceil, exp.Round, exp.Div)):
        number = _number(node.expression) if isinstance(node, exp.Div) else None
        if isinstance(node, exp.Div) and (number is None or abs(number) < 1):
            return False
        node = node.this.unnest()
    return node.type is not None and any(
        node.type.is_type(*_WIDTHS[: at + 1]) and cast.to.is_type(*_WIDTHS[at:])
        for at in range(len(_WIDTHS))
    )


def _rounds(node: exp.Expr, double: bool) -> bool:
    """Whether a rounding overflows nowhere, or far out only."""
    if not isinstance(node, exp.Round):
        return True
    digits = _number(node.args["decimals"]) if node.args.get("decimals") else Fraction(0)
    if digits is None or digits.denominator != 1 or digits < _DIGITS_MIN:
        return False
    kind = node.this.unnest().type
    return double or not (digits < 0 and (kind is None or kind.is_type(*_NARROW)))

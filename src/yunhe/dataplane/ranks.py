"""Figures that stand in no sum: places in an order (min, max, median, quantile), and the spread.

In: the rows that a query asks of (keys, `__e` the entity, values v0..). Out: for each value one
statement that gives, by group, the figures and whether they may be shown at all. Every entity is
one value, however many rows it has. Told are only ranks that lie at least k entities from either
end and from each other, in steps; so all that can be asked of one group is a histogram of at least
k entities a bar. The rules and what they leave open: docs/privacy.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from sqlglot import exp

from yunhe.dataplane.errors import AggregateSifted, QuantileShare

PARTS: Final = 10_000  # a quantile's share is so fine
MIDDLE: Final = PARTS // 2
_DIGITS_MORE: Final = 6  # of floating point, beyond those of the step
_DIGITS_MAX: Final = 18
_SHARE: Final = re.compile(r"(?:0(?:\.[0-9]{1,4})?|1(?:\.0{1,4})?)", re.ASCII)
_EQUAL: Final = "1e-24"  # below this share of their squares, values are all one but for rounding
_WHOLE: Final = ("TINYINT", "SMALLINT", "INT", "BIGINT", "UTINYINT", "USMALLINT", "UINT")


@dataclass(frozen=True)
class Cell:
    """How a value is told: SQL with the place `{v}` that gives the lower end of its step, or NULL
    for what is no finite value; and SQL that makes of that, `{o}`, what is told."""

    down: str
    back: str = "{o}"


def cell(kind: exp.DataType | None, step: str) -> Cell | None:
    """How values of a type are told in steps of `step`; None where they cannot be."""
    if kind is None:
        return None
    name = str(kind.this.value)
    if kind.is_type(exp.DType.DATE, exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ):
        return _days(step)
    if not kind.is_type(*exp.DataType.NUMERIC_TYPES):
        return None
    real = kind.is_type(exp.DType.FLOAT, exp.DType.DOUBLE)
    if step == "0":
        return Cell("CASE WHEN isfinite({v}) THEN {v} END" if real else "{v}")
    digits = len(step.partition(".")[2])
    if name in _WHOLE and not digits:
        return Cell(_lower("CAST({v} AS BIGINT)", f"CAST({step} AS BIGINT)"))
    scale = digits
    if real:
        scale = min(digits + _DIGITS_MORE, _DIGITS_MAX)
    elif len(kind.expressions) > 1:  # of a decimal
        scale = max(digits, int(kind.expressions[1].name))
    told = "DOUBLE" if real or (digits and not kind.is_type(exp.DType.DECIMAL)) else ""
    down = _lower(
        f"TRY_CAST({{v}} AS DECIMAL(38, {scale}))", f"CAST('{step}' AS DECIMAL(38, {scale}))"
    )
    return Cell(down, f"CAST({{o}} AS {told})" if told else "{o}")


def share(node: exp.Expr) -> int:
    """Which share of PARTS an aggregate's place in an order is; raises QuantileShare."""
    if isinstance(node, exp.Min):
        return 0
    if isinstance(node, exp.Max):
        return PARTS
    if isinstance(node, exp.Median):
        return MIDDLE
    said = node.args.get("quantile") or node.args.get("expression")
    text = str(said.this) if isinstance(said, exp.Literal) and not said.is_string else ""
    if not _SHARE.fullmatch(text):
        raise QuantileShare(got=node.sql("duckdb", comments=False)[:80])
    return int(Decimal(text) * PARTS)


def _days(step: str) -> Cell | None:
    if step == "0":
        return Cell("CASE WHEN isfinite({v}) THEN {v} END")
    if not step.isdecimal():
        return None
    epoch = "CAST('1970-01-01' AS DATE)"
    days = f"DATE_DIFF('DAY', {epoch}, CAST({{v}} AS DATE))"
    down = _lower(days, f"CAST({step} AS BIGINT)")
    return Cell(f"CASE WHEN isfinite({{v}}) THEN {down} END", f"TRY({epoch} + CAST({{o}} AS INT))")


def _lower(value: str, step: str) -> str:
    """The greatest multiple of `step` that is not above `value`; NULL where that is not told."""
    return f"TRY({value} - ((({value} % {step}) + {step}) % {step}))"


def refuse_sifted(
    tree: exp.Select, keys: Iterable[exp.Expr], told: Collection[tuple[str, str]]
) -> None:
    """Refuse a filter, join or key by a column that is `told` (alias, name) by rank or spread.

    `WHERE v < 100 OR v > 900 OR name = 'x'` leaves k - 1 above a person and nobody between: the
    k-th largest is the person's own. Raises AggregateSifted.
    """
    joins = (join.args.get("on") for join in tree.args.get("joins") or [])
    for part in (tree.args.get("where"), *joins, *keys):
        for column in part.find_all(exp.Column) if part is not None else ():
            if (column.table, column.name) in told:
                raise AggregateSifted(column=column.name)


@dataclass(frozen=True)
class Ranks:
    """Ranks of entities by one value of each: its `own` "min", "max" or "middle" of value `of`.

    `asked`: which figure is which share of `PARTS`.
    """

    of: int
    own: str
    cell: Cell
    asked: tuple[tuple[int, int], ...]

    def statement(self, keys: list[str], k: int) -> str:
        """By group: `__n` entities, `o{figure}`."""
        listed = "".join(f"{key}, " for key in keys)
        within = f"PARTITION BY {', '.join(keys)}" if keys else ""
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        told = self.cell.down.format(v=f"v{self.of}")
        celled = f"SELECT {listed}__e, {told} AS c FROM asked WHERE __e IS NOT NULL"  # noqa: S608
        whole = f"({celled}) AS celled WHERE c IS NOT NULL"
        people = f"SELECT {listed}{self.own}(c) AS c FROM {whole} GROUP BY {listed}__e"  # noqa: S608
        if self.own == "middle":  # by windows: a median of each of millions takes too much memory
            one = f"PARTITION BY {listed}__e"
            people = (
                f"SELECT {listed}c FROM (SELECT {listed}c, count(*) OVER ({one}) AS __of, "  # noqa: S608
                f"row_number() OVER ({one} ORDER BY c) AS __at FROM {whole}) AS own "
                "WHERE __at = (__of + 1) // 2"
            )
        cells = f"SELECT {listed}c, count(*) AS __m FROM ({people}) AS people GROUP BY {listed}c"  # noqa: S608
        runs = (
            f"SELECT {listed}c, sum(__m) OVER ({within} ORDER BY c) AS __upto, "  # noqa: S608
            f"sum(__m) OVER ({within}) AS __n FROM ({cells}) AS cells"
        )
        less = 2 * k - 1
        spans = (
            f"SELECT *, __n - {less} AS __span, 2 * ((__n - {less}) // {2 * k}) AS __steps "  # noqa: S608
            f"FROM ({runs}) AS runs"
        )
        figures = ", ".join(
            f"min(c) FILTER (WHERE __upto >= {_rank(share, k)}) AS o{at}"
            for at, share in self.asked
        )
        return f"SELECT {listed}max(__n) AS __n, {figures} FROM ({spans}) AS spans{group}"  # noqa: S608

    def held(self, alias: str, k: int) -> str:
        """Whether enough entities stand behind these figures."""
        alone = all(part == MIDDLE for _, part in self.asked)
        return f"{alias}.__n >= {2 * k - 1 if alone else 4 * k - 1}"

    def figures(self, alias: str) -> dict[int, str]:
        """What is told as each figure."""
        return {at: self.cell.back.format(o=f"{alias}.o{at}") for at, _ in self.asked}


def _rank(part: int, k: int) -> str:
    """Of `__n` entities, the rank that is told for a part of PARTS: of the ranks k to n - k + 1,
    evenly spread at least k apart and the middle one among them, the nearest to that asked for."""
    if part == MIDDLE:
        return "(__n + 1) // 2"
    asked = f"greatest(1, ({part} * __n + {PARTS - 1}) // {PARTS}) - {k}"
    inside = f"least(greatest({asked}, 0), __span)"
    # Where there are no steps nothing is told, and a division by zero would raise.
    nearest = f"(2 * {inside} * __steps + __span) // (2 * greatest(__span, 1))"
    return f"{k} + ({nearest} * __span) // greatest(__steps, 1)"


@dataclass(frozen=True)
class Spread:
    """Variances and standard deviations of value `of`; `asked`: which figure is a root."""

    of: int
    asked: tuple[tuple[int, bool, bool], ...]  # figure, its root is told, of all (not a sample)

    def statement(self, keys: list[str], k: int) -> str:
        """By group: of finite values the rows `__n`, the entities `__all`, most rows of one
        `__rows`, squared deviations `__q`, most of one `__most`, and the squares `__x`."""
        listed = "".join(f"{key}, " for key in keys)
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        same = " AND ".join(f"x.{key} IS NOT DISTINCT FROM m.{key}" for key in keys) or "true"
        double = f"TRY_CAST(v{self.of} AS DOUBLE)"
        finite = (
            f"SELECT {listed}__e, {double} AS x FROM asked "  # noqa: S608 our own names
            f"WHERE isfinite({double})"
        )
        means = f"SELECT {listed}avg(x) AS __mean FROM ({finite}) AS finite{group}"  # noqa: S608
        mine = "".join(f"x.{key}, " for key in keys)
        people = (
            f"SELECT {mine}x.__e, count(*) AS __n, sum(x.x * x.x) AS __x, "  # noqa: S608
            f"sum((x.x - m.__mean) * (x.x - m.__mean)) AS __q FROM ({finite}) AS x "
            f"JOIN ({means}) AS m ON {same} GROUP BY {mine}x.__e"
        )
        return (
            f"SELECT {listed}CAST(sum(__n) AS BIGINT) AS __n, sum(__q) AS __q, "  # noqa: S608
            f"count(*) FILTER (WHERE __e IS NOT NULL) AS __all, max(__n) AS __rows, "
            f"max(__q) AS __most, sum(__x) AS __x FROM ({people}) AS people{group}"
        )

    def held(self, alias: str, k: int) -> str:
        """Whether enough entities have finite values, none too many of them nor more than half of
        the deviations, and there are any.

        Below three entities there is nothing to hide behind: with the mean, the spread of two is
        both their values.
        """
        half, least = (2 if k >= 3 else 1), (max(k, 3) if k > 1 else 1)
        return (
            f"{alias}.__all >= {least} AND {alias}.__n >= {(k + 1) // 2} * {alias}.__rows "
            f"AND isfinite({alias}.__q) AND {alias}.__q > {_EQUAL} * {alias}.__x "
            f"AND {alias}.__q >= {half} * {alias}.__most AND {alias}.__n > 1"
        )

    def figures(self, alias: str) -> dict[int, str]:
        """What is told as each figure."""
        said = {}
        for at, root, of_all in self.asked:
            rows = f"{alias}.__n" if of_all else f"greatest({alias}.__n - 1, 1)"
            said[at] = f"sqrt({alias}.__q / {rows})" if root else f"{alias}.__q / {rows}"
        return said


Beside = Ranks | Spread


class Collected:
    """The figures of one query that stand beside its sums; one statement for each value and way."""

    def __init__(self) -> None:
        self._ranks: dict[tuple[int, str, Cell], list[tuple[int, int]]] = {}
        self._spreads: dict[int, list[tuple[int, bool, bool]]] = {}

    def rank(self, at: int, of: int, own: str, told: Cell, part: int) -> None:
        """Figure `at` is a rank of value `of`."""
        self._ranks.setdefault((of, own, told), []).append((at, part))

    def spread(self, at: int, of: int, root: bool, of_all: bool) -> None:
        """Figure `at` is a spread of value `of`."""
        self._spreads.setdefault(of, []).append((at, root, of_all))

    def made(self) -> tuple[Beside, ...]:
        """All of them."""
        ranks = [Ranks(*key, tuple(asked)) for key, asked in self._ranks.items()]
        return (*ranks, *(Spread(of, tuple(asked)) for of, asked in self._spreads.items()))

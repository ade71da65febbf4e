"""Answers under a privacy budget: what one entity can change is bounded, the rest is noise.

In: the aggregates of a query and the agreed `Privacy`. Out: SQL that computes, per group, whole
numbers each of which one entity can change by at most `reach`, and a `Recipe` by which the worker
adds discrete Laplace noise, or Gaussian noise where the budget is of rho (OpenDP). All is whole
numbers, as floating point would tell (Mironov 2012).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sqlglot import exp

from yunhe.contracts import MICRO, RHO, Privacy
from yunhe.dataplane.errors import PrivacyNoBounds
from yunhe.kernel.canonical import sha256_hex

STEPS = 1 << 20  # a sum is counted in steps of the most one entity adds, over this


@dataclass(frozen=True)
class Stat:
    """One statistic: `of` for people; an entity changes it by at most `reach` in each group; a
    step is worth `step`."""

    of: str
    reach: int
    step: float


@dataclass(frozen=True)
class Recipe:
    """What the worker does to each group; `scales[0]` is for the number of entities."""

    keys: int
    scales: tuple[float, ...]
    least: int  # a group is shown when so many entities, with noise, stand behind it
    columns: str  # k0.. and a0.. of `groups`, over k0.. and v0..
    noise: str  # "laplace" or "gaussian"
    told: dict[str, Any]  # beside the result: cost, and scale and 95 % interval of each statistic
    digest: str  # of the question; with the version of the data, the key of its answer

    def to_json(self) -> dict[str, Any]:
        """For the worker."""
        return asdict(self)


class Bounds:
    """Collects the statistics of one query and how each is bounded per entity."""

    def __init__(self, privacy: Privacy) -> None:
        self.privacy = privacy
        self.stats: list[Stat] = [Stat("entities", 1, 1.0)]
        self.values: list[exp.Expr] = [exp.Literal.number(1)]

    def entities(self) -> int:
        """The number of entities, which every query has."""
        return 0

    def rows(self, counted: exp.Expr) -> int:
        """So many rows of an entity as agreed, at most."""
        name = "count(*)" if isinstance(counted, exp.Star) else f"count({counted.name})"
        return self._add(name, self.privacy.rows, 1.0, self._rows(counted))

    def total(self, column: exp.Column, field: str) -> int:
        """The clamped mean of an entity's values, times its rows; raises PrivacyNoBounds."""
        clamp = self.privacy.clamp(field)
        if clamp is None:
            raise PrivacyNoBounds(column=field)
        step = clamp.size * self.privacy.rows / STEPS
        double = exp.TryCast(this=column.copy(), to=exp.DataType.build("DOUBLE"))
        low, high = (exp.Literal.number(text) for text in (clamp.low, clamp.high))
        mean = exp.Greatest(
            this=low,
            expressions=[
                exp.Least(this=high, expressions=[exp.Avg(this=double)], ignore_nulls=True)
            ],
            ignore_nulls=True,
        )
        steps = exp.Mul(
            this=mean, expression=exp.Div(this=self._rows(column), expression=_number(step))
        )
        whole = exp.TryCast(this=exp.Round(this=steps), to=exp.DataType.build("BIGINT"))
        none = exp.EQ(this=self._rows(column), expression=exp.Literal.number(0))
        zero = exp.Literal.number(0)
        value = exp.Case(ifs=[exp.If(this=none, true=zero)], default=whole)
        return self._add(f"sum({column.name})", STEPS, step, value)

    def _rows(self, counted: exp.Expr) -> exp.Expr:
        return exp.Least(
            this=exp.Count(this=counted.copy()),
            expressions=[exp.Literal.number(self.privacy.rows)],
            ignore_nulls=True,
        )

    def _add(self, of: str, reach: int, step: float, value: exp.Expr) -> int:
        if value in self.values:
            return self.values.index(value)
        self.stats.append(Stat(of, reach, step))
        self.values.append(value)
        return len(self.values) - 1


def statement(people: str, keys: int, stats: tuple[Stat, ...], privacy: Privacy) -> str:
    """The exact groups: keys k0.. and v0... An entity stands in at most `privacy.groups` of them,
    chosen by a keyed hash."""
    names = [f"k{at}" for at in range(keys)]
    sums = [f"CAST(COALESCE(sum(v{at}), 0) AS BIGINT) AS v{at}" for at in range(len(stats))]
    order = ", ".join(["GETVARIABLE('audit_key')", "__e", *names])
    chosen = (
        f" QUALIFY row_number() OVER (PARTITION BY __e ORDER BY hash({order})) <= {privacy.groups}"
        if keys
        else ""
    )
    return (
        f"SELECT {', '.join([*names, *sums])} FROM (SELECT * FROM ({people}) AS people "  # noqa: S608
        f"WHERE __e IS NOT NULL{chosen}) AS bounded"
        + (f" GROUP BY {', '.join(names)}" if keys else "")
    )


def recipe(
    exact: str,
    keys: int,
    stats: tuple[Stat, ...],
    answers: tuple[tuple[str, ...], ...],
    privacy: Privacy,
    k: int,
) -> Recipe:
    """The noise of one answer. Its epsilon (or rho) is shared evenly by its statistics.

    A group that one entity alone makes appears with at most the answer's delta.
    """
    # Only where there are keys can a group's being there tell of an entity.
    groups = privacy.groups if keys else 1
    delta = privacy.query_femto / 1e15
    drawn = _gaussian if privacy.measure == RHO else _laplace
    scales, tail, spread = drawn(privacy.query_micro / MICRO / len(stats), groups, stats, delta)
    least = 1 + math.ceil(tail) if keys else 1
    noises = [(stat.of, scale * stat.step) for stat, scale in zip(stats, scales, strict=True)]
    told = {
        privacy.measure: privacy.query,
        "delta": f"{delta:g}",
        "statistics": [
            {"of": of, "scale": f"{noise:g}", "ci95": f"{noise * spread:g}"} for of, noise in noises
        ],
    }
    digest = sha256_hex({"exact": exact, "privacy": str(privacy), "k": k})
    named = (f"{_answer(answer, stats)} AS a{at}" for at, answer in enumerate(answers))
    columns = ", ".join([*(f"k{at}" for at in range(keys)), *named]) or "1 AS one"
    noise = "gaussian" if privacy.measure == RHO else "laplace"
    return Recipe(keys, scales, max(least, k), columns, noise, told, digest)


_Drawn = tuple[tuple[float, ...], float, float]  # scales, what a lone entity's noise stays below
# but for delta, and half of the 95 % interval over the scale


def _laplace(epsilon: float, groups: int, stats: tuple[Stat, ...], delta: float) -> _Drawn:
    """For an epsilon: what one entity changes in all groups adds up."""
    scales = tuple(stat.reach * groups / epsilon for stat in stats)
    return scales, scales[0] * math.log(groups / delta), math.log(20)


def _gaussian(rho: float, groups: int, stats: tuple[Stat, ...], delta: float) -> _Drawn:
    """For a rho: what one entity changes adds up by its squares. The discrete Gaussian's tail lies
    below exp(-t^2 / 2 sigma^2) (Canonne, Kamath, Steinke 2020)."""
    scales = tuple(stat.reach * math.sqrt(groups / (2 * rho)) for stat in stats)
    return scales, scales[0] * math.sqrt(2 * math.log(groups / delta)), 1.96


def _answer(answer: tuple[str, ...], stats: tuple[Stat, ...]) -> str:
    kind, at = answer[0], int(answer[1])
    if kind == "count":
        return f"v{at}"
    total = f"v{at} * CAST('{stats[at].step!r}' AS DOUBLE)"
    return total if kind == "sum" else f"CASE WHEN v{answer[2]} > 0 THEN {total} / v{answer[2]} END"


def shape(exact: str, made: Recipe) -> str:
    """What has the columns of `groups`, to be bound and never run."""
    return f"SELECT {made.columns} FROM ({exact}) AS exact"  # noqa: S608


def _number(value: float) -> exp.Expr:
    return exp.Cast(this=exp.Literal.string(repr(value)), to=exp.DataType.build("DOUBLE"))

"""Which aggregates a contract allows of which column, where groups only may leave.

In: the text of the term `aggregates`, `pay.salary=avg,count,max,median/100;pay.age=count`. Out:
`Aggregates`, whose `str` is that text again. A column that is not named has the usual ones. What
shows a place in an order (min, max, median, quantile) is told in steps, which the term must name:
whole days of a date, `0` where one entity's value may be told as it is. docs/privacy.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

USUAL: Final = ("count", "sum", "avg")
RANKED: Final = ("min", "max", "median", "quantile")
SPREAD: Final = ("stddev", "variance")
_ALL: Final = (*USUAL, *SPREAD, *RANKED)
_STEP: Final = re.compile(r"0|(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,6})?", re.ASCII)
_COLUMN: Final = re.compile(r"[^.;=]{1,255}\.[^;=]{1,255}")
_COLUMNS_MAX: Final = 500


class NoAggregates(ValueError):
    """A text that is no such list; `why` and `why_zh` tell what of it is wrong."""

    def __init__(self, why: str, why_zh: str) -> None:
        super().__init__(why)
        self.why, self.why_zh = why, why_zh


@dataclass(frozen=True)
class Allowed:
    """Of `column` ("table.column") these aggregates; `step`: a decimal number, "" where none."""

    column: str
    names: tuple[str, ...]
    step: str = ""

    def __str__(self) -> str:
        return f"{self.column}={','.join(self.names)}" + (f"/{self.step}" if self.step else "")


@dataclass(frozen=True)
class Aggregates:
    """An allow-list: of a named column exactly what it says, of any other the usual ones."""

    columns: tuple[Allowed, ...]

    def __str__(self) -> str:
        return ";".join(map(str, self.columns))

    def of(self, column: str) -> Allowed:
        """What is allowed of "table.column"."""
        found = (each for each in self.columns if each.column == column)
        return next(found, Allowed(column, USUAL))

    @property
    def names(self) -> frozenset[str]:
        """All that is allowed of some column."""
        return frozenset(USUAL).union(*(each.names for each in self.columns))

    @classmethod
    def parse(cls, text: str) -> Aggregates:
        """The inverse of `str`, in this spelling only; raises NoAggregates."""
        columns = tuple(map(_allowed, text.split(";")))
        if len({each.column for each in columns}) != len(columns) or len(columns) > _COLUMNS_MAX:
            raise NoAggregates(
                f"a column stands in it twice, or there are more than {_COLUMNS_MAX}",
                f"同一列出现两次，或超过 {_COLUMNS_MAX} 列",
            )
        return cls(columns)


def _allowed(part: str) -> Allowed:
    column, _, said = part.partition("=")
    listed, slash, step = said.partition("/")
    names, shown = tuple(listed.split(",")), part[:80]
    if not _COLUMN.fullmatch(column):
        raise NoAggregates(
            f"{shown!r} does not begin with table.column=", f"“{shown}”应以 表.列= 开头"
        )
    if len(set(names)) != len(names) or not set(names) <= {*_ALL}:
        words = ", ".join(_ALL)
        raise NoAggregates(
            f"{shown!r} lists other words than {words}, or one twice",
            f"“{shown}”含有 {words} 以外的词，或有重复",
        )
    stepped = not set(names).isdisjoint(RANKED)
    if stepped and not slash:
        raise NoAggregates(
            f"{shown!r} needs a step for min, max, median or quantile: {shown}/10, or {shown}/0 "
            "for values as they are",
            f"“{shown}”含 min、max、median 或 quantile，须给出步长：{shown}/10；{shown}/0 为原值",
        )
    if slash and not stepped:
        raise NoAggregates(
            f"{shown!r} has a step, which only min, max, median and quantile take",
            f"“{shown}”带有步长，而仅 min、max、median、quantile 使用步长",
        )
    # As it is, in one spelling only: a zero is "0".
    if slash and (not _STEP.fullmatch(step) or (step != "0" and not Decimal(step))):
        raise NoAggregates(
            f"the step of {shown!r} is no plain decimal number of at most six places",
            f"“{shown}”的步长应为最多六位小数的十进制数",
        )
    return Allowed(column, names, step)


def fewer(offered: Aggregates | None, worst: Aggregates | None) -> bool:
    """Whether `offered` allows less than `worst` of some column, or tells it more coarsely."""
    have, want = offered or Aggregates(()), worst or Aggregates(())
    for column in {each.column for each in (*have.columns, *want.columns)}:
        one, other = have.of(column), want.of(column)
        if not set(other.names) <= set(one.names):
            return True
        if other.step and Decimal(one.step) > Decimal(other.step):
            return True
    return False


__all__ = ["RANKED", "SPREAD", "USUAL", "Aggregates", "Allowed", "NoAggregates", "fewer"]

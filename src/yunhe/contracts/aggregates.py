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
        """The inverse of `str`, in this spelling only; raises ValueError."""
        columns = tuple(map(_allowed, text.split(";")))
        if len({each.column for each in columns}) != len(columns) or len(columns) > _COLUMNS_MAX:
            raise ValueError(text[:80])
        return cls(columns)


def _allowed(part: str) -> Allowed:
    column, _, said = part.partition("=")
    listed, slash, step = said.partition("/")
    names = tuple(listed.split(","))
    if not _COLUMN.fullmatch(column) or len(set(names)) != len(names) or not set(names) <= {*_ALL}:
        raise ValueError(part[:80])
    stepped = not set(names).isdisjoint(RANKED)
    if stepped != bool(slash) or (slash and not _STEP.fullmatch(step)):
        raise ValueError(part[:80])
    if slash and step != "0" and not Decimal(step):
        raise ValueError(part[:80])  # as it is: one spelling only
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


__all__ = ["RANKED", "SPREAD", "USUAL", "Aggregates", "Allowed", "fewer"]

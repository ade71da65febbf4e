"""A privacy budget: how much may be learnt of one entity, over all answers and by each.

In: the text of the term `privacyBudget`, `epsilon=1;delta=0.000001;query=0.1;groups=1;rows=1;
pay.salary=0..20000`. Out: `Privacy`, whose `str` is that text again, digit for digit. Amounts are
whole millionths (epsilon) and whole 10^-15 (delta), so that a ledger of them adds up exactly.
`rho=` in place of `epsilon=` counts by zero-concentrated differential privacy (Bun, Steinke 2016).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_AMOUNT: Final = re.compile(r"(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,15})?", re.ASCII)
_WHOLE: Final = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_BOUND: Final = re.compile(r"(-?[0-9]{1,12}(?:\.[0-9]{1,6})?)\.\.(-?[0-9]{1,12}(?:\.[0-9]{1,6})?)")
_COLUMN: Final = re.compile(r"[^.;=]{1,255}\.[^;=]{1,255}")
_NAMES: Final = ("delta", "query", "groups", "rows")
EPSILON: Final = "epsilon"  # pure: discrete Laplace noise, epsilons add up
RHO: Final = "rho"  # zero-concentrated: discrete Gaussian noise, rhos add up
MICRO: Final = 1_000_000
FEMTO: Final = 10**15
ANSWERS_MAX: Final = 10_000  # of one budget; each is kept


@dataclass(frozen=True)
class Clamp:
    """Values of `column` ("table.column") count as if they lay within `low` and `high`."""

    column: str
    low: str
    high: str

    @property
    def size(self) -> float:
        """The most one value can be, without its sign."""
        return max(abs(float(self.low)), abs(float(self.high)))


@dataclass(frozen=True)
class Privacy:
    """Differential privacy for entities: `epsilon` and `delta` in all, `query` epsilon an answer.

    `measure`: whether the amounts are of epsilon or of rho. Of rho, half of delta is for groups
    that show by chance, and half for telling rho as an epsilon. An entity stands in at most
    `groups` groups of an answer, with at most `rows` rows in each; sums and means are only of
    columns with a clamp.
    """

    epsilon: str
    delta: str
    query: str
    groups: int = 1
    rows: int = 1
    clamps: tuple[Clamp, ...] = ()
    measure: str = EPSILON

    def __str__(self) -> str:
        said = [f"{self.measure}={self.epsilon}", f"delta={self.delta}", f"query={self.query}"]
        said += [f"groups={self.groups}", f"rows={self.rows}"]
        return ";".join(said + [f"{each.column}={each.low}..{each.high}" for each in self.clamps])

    @classmethod
    def parse(cls, text: str) -> Privacy:
        """The inverse of `str`, in this order and spelling only; raises ValueError."""
        parts = [part.partition("=") for part in text.split(";")]
        measure, *names = (name for name, _, _ in parts[:5])
        if measure not in (EPSILON, RHO) or names != list(_NAMES) or len(parts) > 260:
            raise ValueError(text)
        epsilon, delta, query, groups, rows = (value for _, _, value in parts[:5])
        amounts = all(map(_AMOUNT.fullmatch, (epsilon, delta, query)))
        if not (amounts and _WHOLE.fullmatch(groups) and _WHOLE.fullmatch(rows)):
            raise ValueError(text)
        clamps = tuple(map(_clamp, parts[5:]))
        made = cls(epsilon, delta, query, int(groups), int(rows), clamps, measure)
        columns = [each.column for each in made.clamps]
        bad = len(set(columns)) != len(columns) or not 0 < made.query_micro <= made.epsilon_micro
        many = made.query_micro * ANSWERS_MAX < made.epsilon_micro
        if bad or many or not 0 < made.delta_femto < FEMTO // 100 or made.query_femto < 1:
            raise ValueError(text)
        return made

    @property
    def epsilon_micro(self) -> int:
        """The whole budget in millionths."""
        return _whole(self.epsilon, MICRO)

    @property
    def query_micro(self) -> int:
        """What one answer costs, in millionths."""
        return _whole(self.query, MICRO)

    @property
    def delta_femto(self) -> int:
        """The whole delta in 10^-15."""
        return _whole(self.delta, FEMTO)

    @property
    def query_femto(self) -> int:
        """The delta of one answer: its share of what answers may spend, as of epsilon."""
        return self.answers_femto * self.query_micro // self.epsilon_micro

    @property
    def answers_femto(self) -> int:
        """The delta that all answers together may spend."""
        return self.delta_femto // 2 if self.measure == RHO else self.delta_femto

    def clamp(self, column: str) -> Clamp | None:
        """The clamp of "table.column", or None."""
        return next((each for each in self.clamps if each.column == column), None)


def _clamp(part: tuple[str, str, str]) -> Clamp:
    column, _, bounds = part
    match = _BOUND.fullmatch(bounds)
    if match is None or _COLUMN.fullmatch(column) is None:
        raise ValueError(column)
    made = Clamp(column, match[1], match[2])
    if Decimal(made.low) > Decimal(made.high) or not made.size:
        raise ValueError(bounds)
    return made


def _whole(text: str, unit: int) -> int:
    amount = Decimal(text) * unit
    if amount != int(amount):
        raise ValueError(text)
    return int(amount)

"""Noise in an answer: what providers told of their parts, and what it comes to in the whole.

In: `yunhe.noise` of each part, a stranger's text. Out: what is kept of it, and for statistics that
add up over the parts the interval of their sum. A group that some parts do not have has less.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

_STATISTICS_MAX: Final = 64
_CHARS_MAX: Final = 80
# Half of the 95 % interval of a sum of independent draws, over its standard deviation: 1.96 for
# Gaussian ones; of Laplace ones that of a single draw (ln 20 / sqrt 2) is the widest.
_GAUSSIAN: Final = 1.96
_LAPLACE: Final = math.log(20) / math.sqrt(2)


def read(text: str) -> dict[str, Any] | None:
    """What is kept of a part's word; None where it is of another shape."""
    try:
        told = json.loads(text)
        statistics = [
            {
                "of": str(each["of"])[:_CHARS_MAX],
                "scale": _positive(each["scale"]),
                "ci95": _positive(each["ci95"]),
            }
            for each in told["statistics"][:_STATISTICS_MAX]
        ]
        measure = "rho" if "rho" in told else "epsilon"
        return {measure: _positive(told[measure]), "statistics": statistics}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _positive(value: object) -> float:
    number = float(str(value))
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(value)
    return number


def combined(told: Mapping[str, Mapping[str, Any]], parts: int) -> dict[str, Any]:
    """Of `parts` parts those with noise, and the intervals of sums over them; empty without any."""
    if not told:
        return {}
    variances: dict[str, float] = {}
    gaussian = all("rho" in each for each in told.values())
    for each in told.values():
        mine: dict[str, float] = {}  # of two statistics of one name the wider
        for of in each["statistics"]:
            spread = of["scale"] ** 2 * (1 if "rho" in each else 2)
            mine[of["of"]] = max(spread, mine.get(of["of"], 0.0))
        for name, spread in mine.items():
            variances[name] = variances.get(name, 0.0) + spread
    wide = _GAUSSIAN if gaussian else _LAPLACE
    return {
        "parts": {name: dict(each) for name, each in told.items()},
        "parts_without": parts - len(told),
        "statistics": [
            {"of": of, "ci95": f"{wide * math.sqrt(variance):g}"}
            for of, variance in variances.items()
        ],
    }

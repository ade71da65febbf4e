"""What may leave the place where an application runs: the release rule of a contract.

In: the text of the term `releaseRule`, e.g. `aggregate;k=10;rows=100;digits=4;bytes=65536`. Out:
`Release`, whose `str` is that text again. One spelling only, every bound stated: a rule that
leaves something open is no rule, and is refused where the contract is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ReleaseKind(StrEnum):
    """What is looked at before anything leaves."""

    AGGREGATE = "aggregate"  # rows that each stand for `k` entities
    METRICS = "model-metrics"  # a few declared numbers
    PREDICTIONS = "predictions-to-host"  # nothing leaves but a count of rows
    REVIEW = "review"  # held until a person of the host lets it go


# kind -> its bounds in the order they are written
_BOUNDS: Final[dict[str, tuple[str, ...]]] = {
    ReleaseKind.AGGREGATE: ("k", "rows", "digits", "bytes"),
    ReleaseKind.METRICS: ("rows", "digits", "bytes"),
    ReleaseKind.PREDICTIONS: ("rows", "bytes"),
    ReleaseKind.REVIEW: ("rows", "bytes"),
}
_RANGES: Final = {
    "k": (2, 10**6),
    "rows": (1, 10**6),
    "digits": (1, 9),
    "bytes": (256, 64 << 20),
    "bits": (1, 10**8),
}
_IN_ALL: Final = "bits"  # the one bound that may be left out; it stands last
_WHOLE: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class Release:
    """One release rule.

    `k`: entities behind each row; `rows`: rows of the output, or numbers of a model's metrics;
    `digits`: significant decimal digits a number keeps; `bytes`: of the whole output as Arrow.
    `bits`: of all runs of the contract together, what programs can have said by their choice of
    numbers. 0 where there is no such bound.
    """

    kind: ReleaseKind
    rows: int
    bytes: int
    k: int = 0
    digits: int = 0
    bits: int = 0

    def __str__(self) -> str:
        names = [*_BOUNDS[self.kind], *([_IN_ALL] if self.bits else [])]
        said = [f"{name}={getattr(self, name)}" for name in names]
        return ";".join([self.kind, *said])

    @classmethod
    def parse(cls, text: str) -> Release:
        """The inverse of `str`, in this order and spelling only; raises ValueError."""
        kind, *parts = text.split(";")
        names = _BOUNDS.get(kind)
        said = [part.partition("=") for part in parts]
        given = tuple(name for name, _, _ in said)
        if names is None or given not in (names, (*names, _IN_ALL)):
            raise ValueError(text)
        found: dict[str, int] = {}
        for name, _, value in said:
            least, most = _RANGES[name]
            if _WHOLE.fullmatch(value) is None or not least <= int(value) <= most:
                raise ValueError(text)
            found[name] = int(value)
        return cls(ReleaseKind(kind), **found)


def covers(agreed: str, asked: str) -> bool:
    """Whether the program reference `asked` lies within `agreed`: `id[@version][#alg:hex]`.

    A reference without a version or digest stands for all of that name (T14 4.3).
    """
    if asked == agreed:
        return True
    if "#" in agreed:
        return False
    return asked.startswith(f"{agreed}#") or ("@" not in agreed and asked.startswith(f"{agreed}@"))


def within(asked: Iterable[str], agreed: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `asked` that lie within one of `agreed`; none of them: all of `agreed`."""
    fits = tuple(each for each in asked if any(covers(one, each) for one in agreed))
    return fits or agreed

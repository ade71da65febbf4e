"""How often a contract may be used: so many uses a window, or a pause after each use.

In: constraints `frequency`, `timeWindow eq` and `timeInterval` of one rule (T14 Table 5.1, D1;
ODRL 2.2 timeInterval). Out: `Frequency`, one reading for what is signed and for what is enforced.
A number without its unit is no frequency (T14 U-05): it raises, and so denies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

_DURATION: Final = re.compile(
    r"P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,6})S)?)?", re.ASCII
)
_FREQUENCY: Final = re.compile(r"([0-9]{1,15})/(P[0-9WDTHMS]{1,40})")
_WINDOWED: Final = ("frequency", "count")
_VOLUMES: Final = ("dataSize", "dateRecord")


def duration_s(text: str) -> int:
    """Seconds of an ISO 8601 duration; years and months have no fixed length and are refused.

    Raises ValueError for anything else.
    """
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith("T") or not any(match.groups()):
        raise ValueError(text)
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds


@dataclass(frozen=True)
class Frequency:
    """At most `uses` uses in each window of the duration `window` (ISO 8601, as it was written).

    Windows follow one another from 00:00 UTC+8 of the day the contract came into force.
    """

    uses: int
    window: str

    @property
    def seconds(self) -> int:
        """The window's length; raises ValueError for a window that is no duration or empty."""
        found = duration_s(self.window)
        if found == 0:
            raise ValueError(self.window)
        return found

    @classmethod
    def parse(cls, text: str) -> Frequency:
        """Read `100/PT1M`; raises ValueError."""
        match = _FREQUENCY.fullmatch(text)
        if match is None:
            raise ValueError(text)
        found = cls(int(match[1]), match[2])
        _ = found.seconds
        return found

    def __str__(self) -> str:
        return f"{self.uses}/{self.window}"


class _Said(Protocol):
    @property
    def term(self) -> str: ...

    @property
    def operator(self) -> str: ...

    @property
    def value(self) -> str | tuple[str, ...]: ...


@dataclass(frozen=True)
class Window:
    """The quota window of one rule: its duration, and the term that it belongs to.

    `of`: "frequency", "count", or "timeWindow" itself, which then means one use a window.
    """

    duration: str
    of: str

    def frequency(self, number: int) -> Frequency:
        """`number` uses in this window; raises ValueError for one that is not usable."""
        found = Frequency(number, self.duration)
        _ = found.seconds
        return found


def window_of(constraints: Iterable[_Said]) -> Window | None:
    """The quota window that a rule's constraints state with `timeWindow eq` (T14 4.1); or None.

    Raises ValueError where it cannot be told what the window is of: two windows, or one beside a
    volume alone, which is then so much a window, and no node counts that.
    """
    said = list(constraints)
    windows = [c.value for c in said if (c.term, c.operator) == ("timeWindow", "eq")]
    if not windows:
        return None
    if len(windows) > 1 or not isinstance(windows[0], str):
        raise ValueError("one window a rule")
    plain = {
        c.term
        for c in said
        if c.term in (*_WINDOWED, *_VOLUMES) and not (isinstance(c.value, str) and "/" in c.value)
    }
    if "frequency" not in plain and plain & set(_VOLUMES):
        raise ValueError("a volume a window")
    of = next((term for term in _WINDOWED if term in plain), "timeWindow")
    return Window(windows[0], of)

"""Hours of use: on which weekdays, between which times of day, in which zone.

In: the text of the term `hours`, `Mon-Fri 09:00-12:00 13:30-18:00, Sat 09:00-12:00 Asia/Shanghai`.
Out: `Hours`, which keeps that text, digit for digit, and says of an instant whether it lies within
and when it does again. Without a zone it is Asia/Shanghai. T14's `timeWindow` is a duration and
cannot say this (Table 5.1, U-07).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOME: Final = "Asia/Shanghai"
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MINUTES: Final = 24 * 60
_WEEK_MINUTES: Final = 7 * _DAY_MINUTES
_WHOLE_WEEK: Final = (1 << _WEEK_MINUTES) - 1
_SPAN: Final = re.compile(
    r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)", re.ASCII
)
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z_]{1,30}(?:/[A-Z][A-Za-z_+-]{1,30}){1,2}", re.ASCII)
_OFFSET: Final = re.compile(r"([+-])(0[0-9]|1[0-4]):([0-5][0-9])", re.ASCII)
# Those that need no time zone database, which a small machine may not have.
_FIXED: Final = {HOME: timezone(timedelta(hours=8)), "UTC": UTC}
CHARS_MAX: Final = 500


@dataclass(frozen=True)
class Hours:
    """Weekly hours; equal where they are written alike. Raises ValueError for what is none."""

    text: str
    _minutes: int = field(init=False, repr=False, compare=False)  # a bit a minute of the week
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        minutes, zone = _read(self.text)
        object.__setattr__(self, "_minutes", minutes)
        object.__setattr__(self, "_zone", zone)

    def __str__(self) -> str:
        return self.text

    def holds(self, instant: datetime) -> bool:
        """Whether `instant` (with a zone) lies within."""
        return bool(self._minutes >> _minute(instant.astimezone(self._zone)) & 1)

    def again(self, instant: datetime) -> datetime:
        """The next instant from `instant` on that lies within, in UTC."""
        local = instant.astimezone(self._zone)
        if self.holds(instant):
            return instant.astimezone(UTC)
        at = _minute(local)
        turned = (self._minutes >> at) | (self._minutes << (_WEEK_MINUTES - at))
        ahead = ((turned & -turned).bit_length() - 1) % _WEEK_MINUTES
        # By the wall clock, so that a change to summer time on the way does not shift it.
        wall = local.replace(second=0, microsecond=0, tzinfo=None) + timedelta(minutes=ahead)
        found = wall.replace(tzinfo=self._zone).astimezone(UTC)
        while not self.holds(found):  # an hour that the change to summer time leaves out
            found += timedelta(minutes=1)
        return found

    def within(self, other: Hours) -> bool:
        """Whether every instant of these hours is one of `other`; certain for one zone only."""
        same = str(self._zone) == str(other._zone)
        return other._minutes == _WHOLE_WEEK or (same and not self._minutes & ~other._minutes)


def _minute(local: datetime) -> int:
    return local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute


@lru_cache(maxsize=256)
def _read(text: str) -> tuple[int, tzinfo]:
    if len(text) > CHARS_MAX:
        raise ValueError("hours of more than 500 characters")
    body, _, last = text.rpartition(" ")
    zone = _zone(last)
    if zone is None:
        body, zone = text, _FIXED[HOME]
    minutes = 0
    for part in body.split(", "):
        minutes |= _part(part, text)
    return minutes, zone


def _part(part: str, text: str) -> int:
    days, *spans = part.split(" ")
    if not spans:
        raise ValueError(text)
    minutes = 0
    for span in spans:
        match = _SPAN.fullmatch(span)
        if match is None:
            raise ValueError(text)
        start = int(match[1]) * 60 + int(match[2])
        end = _DAY_MINUTES if match[3] is None else int(match[3]) * 60 + int(match[4])
        length = end - start if end > start else end + _DAY_MINUTES - start  # over midnight
        if start == end:
            raise ValueError(text)
        for day in _weekdays(days, text):
            run = ((1 << length) - 1) << (day * _DAY_MINUTES + start)
            minutes |= (run & _WHOLE_WEEK) | (run >> _WEEK_MINUTES)
    return minutes


def _weekdays(days: str, text: str) -> list[int]:
    first, _, last = days.partition("-")
    if days == "Daily":
        return list(range(7))
    if first not in _DAYS or (last or first) not in _DAYS:
        raise ValueError(text)
    start, end = _DAYS.index(first), _DAYS.index(last or first)
    return [day % 7 for day in range(start, end + 1 if end >= start else end + 8)]


def _zone(word: str) -> tzinfo | None:
    """The zone a last word names; None where it is none; raises ValueError for an unknown one."""
    if (found := _FIXED.get(word)) is not None:
        return found
    if (match := _OFFSET.fullmatch(word)) is not None:
        ahead = timedelta(hours=int(match[2]), minutes=int(match[3]))
        return timezone(ahead if match[1] == "+" else -ahead)
    if _ZONE.fullmatch(word) is None:
        return None
    try:
        return ZoneInfo(word)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"no time zone {word}") from error

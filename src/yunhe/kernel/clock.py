"""Time: aware UTC, to the microsecond, never running backwards within a process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where services read the time; tests pass a ManualClock."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        ...


def machine() -> datetime:
    """What the machine's clock says."""
    return datetime.now(UTC)


class SystemClock:
    """The machine's clock with a monotonic guard: set back, it stands still (T15 §3.2).

    Not for ever: what ends by time would not end, and peers take a node that is ahead for a liar.
    `behind` says how long it would stand; whoever serves starts anew before that is long.
    """

    def __init__(self, read: Callable[[], datetime] | None = None) -> None:
        """`read`: what to stand on in place of `machine`; for tests."""
        self._read = read or machine
        self._lock = threading.Lock()
        self._last = self._read()

    def now(self) -> datetime:
        """The machine's time, or the last one given if the machine's went back."""
        with self._lock:
            self._last = max(self._last, self._read())
            return self._last

    def behind(self) -> timedelta:
        """How far the machine's clock is behind the time that was given last; mostly nothing."""
        with self._lock:
            return max(self._last - self._read(), timedelta(0))


class ManualClock:
    """A clock that moves only when told; for tests."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant it was last set to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds` (or back, to test the guard of a caller)."""
        self._now += timedelta(seconds=seconds)


def iso(moment: datetime) -> str:
    """`2026-11-21T09:00:00.000000Z`: fixed width, so text order is time order."""
    # isoformat is four times as fast as strftime; it always ends in +00:00 here.
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def to_second(moment: datetime) -> str:
    """`2026-11-21T09:00:00Z`: an instant as people read it."""
    return iso(moment)[:19] + "Z"


def parse_iso(text: str) -> datetime:
    """Read an ISO 8601 instant with a zone; raises ValueError where the zone is missing, or puts
    the instant before the year 1 or after 9999.
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"no instant of the years 1 to 9999: {text!r}") from error

"""What the Flight face keeps between two calls of one caller: statements and tickets.

A handle is 256 random bits and means nothing by itself: what it stands for lies here, bound to
who asked, for a time, and a ticket is taken out when it is used.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from yunhe.kernel import limits
from yunhe.protocols.flight.errors import TooManyStatements

T = TypeVar("T")


@dataclass(frozen=True)
class Ticket:
    """One query that may be run once."""

    contract_id: str
    sql: str
    purpose: str
    use_id: str
    schema: bytes  # as told in GetFlightInfo


@dataclass(frozen=True)
class Statement:
    """A prepared query; `values` once its parameters were sent."""

    contract_id: str
    sql: str
    purpose: str
    wanted: int = 0
    values: tuple[object, ...] = ()
    schema: bytes = b""  # empty where it depends on the parameters


class Kept(Generic[T]):
    """Values by handle, each of one owner and for a time; thread-safe and bounded."""

    def __init__(self, life_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._life_s, self._clock = life_s, clock
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, tuple[str, float, T]] = OrderedDict()  # oldest first

    def put(self, owner: str, value: T) -> bytes:
        """Keep it under a new handle; raises TooManyStatements. An owner's oldest makes room."""
        handle = secrets.token_bytes(32)
        with self._lock:
            self._forget_old()
            theirs = [key for key, (who, _, _) in self._held.items() if who == owner]
            if len(theirs) >= limits.FLIGHT_KEPT_EACH_MAX:
                del self._held[theirs[0]]
            elif len(self._held) >= limits.FLIGHT_KEPT_MAX:
                raise TooManyStatements(what="what is kept", limit=limits.FLIGHT_KEPT_MAX)
            self._held[handle] = (owner, self._clock() + self._life_s, value)
        return handle

    def get(self, owner: str, handle: bytes) -> T | None:
        """What the handle stands for, if it is that owner's and has not ended."""
        with self._lock:
            self._forget_old()
            who, _, value = self._held.get(handle, (None, 0.0, None))
            return value if who == owner else None

    def change(self, owner: str, handle: bytes, value: T) -> bool:
        """Put another value in its place; False where there is none."""
        with self._lock:
            who, ends, _ = self._held.get(handle, (None, 0.0, None))
            if who != owner:
                return False
            self._held[handle] = (owner, ends, value)
            return True

    def take(
        self, owner: str, handle: bytes, fits: Callable[[T], bool] = lambda _: True
    ) -> T | None:
        """As `get`, and it is gone: once only. What does not fit, or another's, stays."""
        with self._lock:
            self._forget_old()
            who, _, value = self._held.get(handle, (None, 0.0, None))
            if who != owner or value is None or not fits(value):
                return None
            del self._held[handle]
            return value

    def _forget_old(self) -> None:
        now = self._clock()
        while self._held and next(iter(self._held.values()))[1] <= now:
            self._held.popitem(last=False)

"""What the Flight face keeps between two calls of one caller: statements and tickets.

A handle is 256 random bits and means nothing by itself: what it stands for lies here, bound to
who asked, for a time, and a ticket is taken out when it is used. Before them stands which process
gave it, so that another one of the node, or the next after a restart, can say so.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Generic, TypeVar

from yunhe.dataplane import Parted
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
    parted: Parted | None = None  # of a result in parts: the part `at`
    at: int = 0


@dataclass(frozen=True)
class Statement:
    """A prepared query; `values` once its parameters were sent."""

    contract_id: str
    sql: str
    purpose: str
    wanted: int = 0
    values: tuple[object, ...] = ()
    schema: bytes = b""  # empty where it depends on the parameters


class Mint:
    """Makes the handles of one process; those of the node's others are told by their seal."""

    def __init__(self, secret: bytes = b"") -> None:
        """`secret`: the node's own; without it handles are told apart from none."""
        self._secret = secret or secrets.token_bytes(32)
        self._start = secrets.token_bytes(8)
        self._head = self._start + self._seal(self._start)

    def _seal(self, start: bytes) -> bytes:
        return hmac.digest(self._secret, b"flight\n" + start, "sha256")[:8]

    def new(self) -> bytes:
        """A handle."""
        return self._head + secrets.token_bytes(32)

    def elsewhere(self, handle: bytes) -> bool:
        """Whether another process of this node gave it, or this one before it was started anew."""
        start, seal = handle[:8], handle[8:16]
        return start != self._start and hmac.compare_digest(self._seal(start), seal)


class Kept(Generic[T]):
    """Values by handle, each of one owner and for a time; thread-safe and bounded."""

    def __init__(self, life_s: float, mint: Mint) -> None:
        self._life_s, self._mint = life_s, mint
        self._lock = threading.Lock()
        self._held: OrderedDict[bytes, tuple[str, float, T]] = OrderedDict()  # oldest first

    def put(self, owner: str, value: T) -> bytes:
        """Keep it under a new handle; raises TooManyStatements. An owner's oldest makes room."""
        handle = self._mint.new()
        with self._lock:
            self._forget_old()
            theirs = [key for key, (who, _, _) in self._held.items() if who == owner]
            if len(theirs) >= limits.FLIGHT_KEPT_EACH_MAX:
                del self._held[theirs[0]]
            elif len(self._held) >= limits.FLIGHT_KEPT_MAX:
                raise TooManyStatements(what="what is kept", limit=limits.FLIGHT_KEPT_MAX)
            self._held[handle] = (owner, monotonic() + self._life_s, value)
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
        now = monotonic()
        while self._held and next(iter(self._held.values()))[1] <= now:
            self._held.popitem(last=False)

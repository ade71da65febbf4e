"""The port every database implements; two members: SQLite and PostgreSQL."""

from __future__ import annotations

import logging
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from yunhe.kernel.clock import Clock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.errors import DatabaseBusy
from yunhe.kernel.db.tx import Tx
from yunhe.kernel.events import Events

T = TypeVar("T")
log = logging.getLogger(__name__)


class Places:
    """So many connections may be in use at once; one that comes free wakes who waits for one.

    The pool below would not: what is given back is kept beside it, and whoever waits for the pool
    hears nothing of it.
    """

    def __init__(self, number: int, wait_s: float) -> None:
        self._wait_s = wait_s
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def take(self) -> None:
        """Have a place, until `leave`; raises DatabaseBusy."""
        try:
            self._free.get(timeout=self._wait_s)
        except queue.Empty:
            raise DatabaseBusy(detail="every connection is in use") from None

    def leave(self) -> None:
        """The place is free."""
        self._free.put(None)


class Database(ABC):
    """One node's database. `write` is durable when it returns; `read` sees a snapshot."""

    dialect: str

    def __init__(self, clock: Clock, crash: CrashPoints) -> None:
        self.clock = clock
        self.crash = crash
        self.events = Events()
        self.before_commit: list[Callable[[Tx], None]] = []
        self.commits = 0
        self._here = threading.local()

    @property
    @abstractmethod
    def engine(self) -> sa.Engine:
        """The engine, for migrations and tests only."""

    @abstractmethod
    def _write(self, fn: Callable[[Tx], T]) -> T: ...

    @abstractmethod
    def _read(self, fn: Callable[[Tx], T]) -> T: ...

    @abstractmethod
    def check(self) -> None:
        """Raise what a verb that began now would meet (DatabaseBusy …); writes nothing."""

    @abstractmethod
    def close(self) -> None:
        """Finish the writes under way and let go of every connection."""

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn(tx)` in a transaction and return after the durable commit.

        A call from inside a verb joins it. `fn` may run more than once, so it does no network,
        file, sleep or randomness of its own. Any exception leaves no trace in the database.
        """
        tx: Tx | None = getattr(self._here, "tx", None)
        return fn(tx) if tx is not None else self._write(fn)

    def write_at_start(self, fn: Callable[[Tx], T]) -> T:
        """As `write`, while nobody else can be waiting for the writer: it may take its time."""
        return self.write(fn)

    def write_soon(self, fn: Callable[[Tx], None], then: Callable[[bool], None]) -> None:
        """Run `fn(tx)` as a verb that nobody waits for; `then` hears whether it was committed.

        It may share the next verb's commit, or wait for it a moment: only for what a crash may
        undo. `then` runs in the writer's thread and is short.
        """
        try:
            self.write(fn)
        except Exception:
            log.exception("a verb that nobody waited for failed")
            then(False)
        else:
            then(True)

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn(tx)` on a snapshot; inside a verb, on the verb's own state."""
        tx: Tx | None = getattr(self._here, "tx", None)
        return fn(tx) if tx is not None else self._read(fn)

    def _run(self, fn: Callable[[Tx], T], tx: Tx) -> T:
        self._here.tx = tx
        try:
            return fn(tx)
        finally:
            self._here.tx = None

    def _call_after(self, tx: Tx) -> None:
        for call in tx.after:
            try:
                call()
            except Exception:
                # The verb is committed; a failed wake-up is repaired by the timers.
                log.exception("after-commit call failed")

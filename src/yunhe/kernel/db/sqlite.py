"""SQLite with group commit: one writer at a time, a savepoint a verb, one fsync a group.

Callers queue verbs. Who finds nobody writing has the turn, and is the writer until its own verb
is done: a caller alone meets no other thread. The others wait; a thread of ours takes the turn for
those who are left. The writer runs what has gathered and the `before_commit` hooks (the evidence
sequencer), commits once with synchronous=FULL, then releases all of them. A verb that fails is
rolled back to its savepoint alone; a COMMIT that fails fails every caller in it.

Reads go beside it, each on a read-only connection of its own, kept open with its statements: what
a toolkit does around a connection lent out costs more than most of them.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from yunhe.kernel import limits
from yunhe.kernel.clock import Clock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.base import Database, Places
from yunhe.kernel.db.errors import DatabaseBusy, DatabaseFailed, StorageFull, translate
from yunhe.kernel.db.prepared import Prepared
from yunhe.kernel.db.tx import Tx

T = TypeVar("T")
log = logging.getLogger(__name__)


class _Job:
    """One queued verb, its waiting caller and what became of it."""

    __slots__ = ("done", "error", "fn", "result", "then", "tx")

    def __init__(self, fn: Callable[[Tx], Any], then: Callable[[bool], None] | None = None) -> None:
        self.fn = fn
        self.then = then  # of a verb that nobody waits for
        self.result: Any = None
        self.error: BaseException | None = None
        self.tx: Tx | None = None
        self.done = threading.Lock()  # a bare lock: a Future costs ten times as much
        self.done.acquire()


class _Reader:
    """One kept connection that only reads; used by one thread at a time."""

    __slots__ = ("connection", "prepared", "raw")

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.raw: Any = connection.connection.driver_connection
        self.prepared = Prepared(connection)


class SqliteDatabase(Database):
    """The default database of a node: one file beside its keys."""

    dialect = "sqlite"

    def __init__(self, path: Path, clock: Clock, crash: CrashPoints) -> None:
        super().__init__(clock, crash)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._engine = sa.create_engine(
            f"sqlite:///{path}",
            isolation_level="AUTOCOMMIT",  # we say BEGIN and COMMIT ourselves
            pool_size=limits.SQLITE_IDLE_MAX,
            max_overflow=limits.SQLITE_READERS_MAX + 2 - limits.SQLITE_IDLE_MAX,  # and the writer
            connect_args={"check_same_thread": False, "timeout": limits.SQLITE_BUSY_S_MAX},
            query_cache_size=2000,
        )
        sa.event.listen(self._engine, "connect", _pragmas)
        self._writer = self._engine.connect()
        self._writer.exec_driver_sql("PRAGMA query_only = OFF")
        # What a savepoint would put back lies in memory, not in a file: a crash needs none of it.
        self._writer.exec_driver_sql("PRAGMA temp_store = MEMORY")
        self._raw: Any = self._writer.connection.driver_connection
        self._prepared = Prepared(self._writer)
        self._readers: deque[_Reader] = deque()  # idle ones; the last used is used next
        self._places = Places(limits.SQLITE_READERS_MAX, limits.SQLITE_BUSY_S_MAX)
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._turn = threading.Lock()  # whoever has it is the writer
        # When the thread is to take the turn; None: for the last time. The marks spare it calls.
        self._calls: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._called = self._called_soon = False
        self._soon_until = math.inf  # of what nobody waits for and no group has begun with
        self._last_group = 1
        self._unhurried: Callable[[Tx], Any] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="sqlite-writer", daemon=True)
        self._thread.start()

    @property
    def engine(self) -> sa.Engine:
        """The engine; its pooled connections are read-only (`query_only`)."""
        return self._engine

    def close(self) -> None:
        """Finish queued verbs, then close."""
        if self._closed:
            return
        self._closed = True
        self._calls.put(None)
        self._thread.join()
        with self._turn:
            self._writer.close()
            while not self._jobs.empty():  # who came too late hears of it
                self._next_group(0)
        while self._readers:
            self._readers.pop().connection.close()
        self._engine.dispose()

    def check(self) -> None:
        """See Database: the writer's turn and the file's lock are to be had."""
        if self._closed or not self._turn.acquire(timeout=limits.SQLITE_BUSY_S_MAX):
            raise DatabaseBusy(detail="the writer is not to be had")
        try:
            self._raw.execute("BEGIN IMMEDIATE")
            self._raw.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise translate(DBAPIError("", None, error)) from error
        finally:
            self._turn.release()

    def _read(self, fn: Callable[[Tx], T]) -> T:
        try:
            reader = self._take_reader()
            try:
                reader.raw.execute("BEGIN")
                now = self.clock.now()
                tx = Tx(reader.connection, now, self.events, self.dialect, reader.prepared)
                return self._run(fn, tx)
            finally:
                self._give_back(reader)
        except DBAPIError as error:
            raise translate(error) from error
        except sqlite3.Error as error:
            raise translate(DBAPIError("", None, error)) from error

    def _take_reader(self) -> _Reader:
        self._places.take()
        with suppress(IndexError):  # none is idle
            return self._readers.pop()
        try:
            return _Reader(self._engine.connect())
        except BaseException:
            self._places.leave()
            raise

    def _give_back(self, reader: _Reader) -> None:
        kept = False
        try:
            if reader.raw.in_transaction:
                reader.raw.execute("ROLLBACK")
            kept = len(self._readers) < limits.SQLITE_IDLE_MAX and not self._closed
        finally:
            if kept:
                self._readers.append(reader)
            else:
                reader.connection.close()
            self._places.leave()

    def _write(self, fn: Callable[[Tx], T]) -> T:
        if self._closed:
            raise DatabaseBusy(detail="closed")
        if self._jobs.qsize() > limits.WRITE_QUEUE_MAX:
            raise DatabaseBusy(detail="the write queue is full")
        job = _Job(fn)
        self._jobs.put(job)
        if self._turn.acquire(blocking=False):
            try:
                while job.done.locked() and not self._jobs.empty():
                    self._next_group(0)
            finally:
                self._turn.release()
            if job.done.locked():  # an interrupt came between the queue and the group
                raise DatabaseFailed(detail="a verb was lost before it began")
        else:
            if not self._called:
                self._called = True
                self._calls.put(0.0)
            job.done.acquire()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def write_at_start(self, fn: Callable[[Tx], T]) -> T:
        """See Database: its length is no warning to anybody."""
        self._unhurried = fn
        try:
            return self.write(fn)
        finally:
            self._unhurried = None

    def write_soon(self, fn: Callable[[Tx], None], then: Callable[[bool], None]) -> None:
        """See Database: it shares the commit of the next verb, or waits SOON_S for one."""
        until = time.monotonic() + limits.SOON_S
        self._jobs.put(_Job(fn, then))
        self._soon_until = min(self._soon_until, until)
        if not self._called_soon:
            self._called_soon = True
            self._calls.put(until)

    # -- the turn of the thread -------------------------------------------------------------

    def _loop(self) -> None:
        soon = math.inf  # when a verb that nobody waits for has waited long enough
        while True:
            try:
                left = soon - time.monotonic()
                call = self._calls.get(timeout=None if left == math.inf else max(0.0, left))
            except queue.Empty:
                if time.monotonic() < self._soon_until < math.inf:
                    soon = self._soon_until  # that one went with a verb; a later one has time
                    continue
                # Before its turn: what comes from now on calls again.
                soon, self._called_soon = math.inf, False
                self._take_turn(0)
                continue
            if call is None:
                self._take_turn(0)
                return
            if call:
                soon = min(soon, call)
            else:
                self._called = False
                self._take_turn(limits.SOON_S)

    def _take_turn(self, patience_s: float) -> None:
        with self._turn:
            while not self._jobs.empty():
                self._next_group(patience_s)

    # -- whoever has the turn ---------------------------------------------------------------

    def _next_group(self, patience_s: float) -> None:
        """Run and commit what begins with the first in the queue; raises nothing."""
        group: list[_Job] = []
        try:
            self._gather(group, patience_s)
            self._group(group)
        except BaseException as error:  # noqa: BLE001  the log and every caller hear of it
            # The writer must outlive any verb.
            _told("a group failed", error)
            self._fail(group, _as_house(error))

    def _gather(self, group: list[_Job], patience_s: float) -> None:
        """What a group begins with: verbs that nobody waits for, and the first that is."""
        until = time.monotonic() + patience_s
        self._soon_until = math.inf
        group.append(self._jobs.get(block=False))
        while group[-1].then is not None and len(group) < limits.GROUP_VERBS_MAX:
            try:
                group.append(self._jobs.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                return

    def _group(self, group: list[_Job]) -> None:
        """Run and commit one group that begins with `group`."""
        self._raw.execute("BEGIN IMMEDIATE")
        deadline = time.monotonic() + limits.GROUP_MS_MAX / 1000
        for place, job in enumerate(group):
            self._verb(job, first=place == 0)
        awaited = sum(job.then is None for job in group)
        while len(group) < limits.GROUP_VERBS_MAX and time.monotonic() < deadline:
            following = self._next(awaited)
            if following is None:
                break
            group.append(following)
            awaited += following.then is None
            self._verb(following)
        self._commit(group)
        self._last_group = awaited

    def _next(self, have: int) -> _Job | None:
        """The next queued verb. Under load, wait a moment for the callers just released."""
        try:
            if have < self._last_group:
                return self._jobs.get(timeout=limits.GROUP_GATHER_S_MAX)
            return self._jobs.get(block=False)
        except queue.Empty:
            return None

    def _new_tx(self) -> Tx:
        return Tx(self._writer, self.clock.now(), self.events, self.dialect, self._prepared)

    def _verb(self, job: _Job, first: bool = False) -> None:
        raw = self._raw
        if not first:  # of the first all can be undone: nothing of another stands before it
            raw.execute("SAVEPOINT v")
        job.tx = self._new_tx()
        started = time.monotonic()
        try:
            job.result = self._run(job.fn, job.tx)
            if not first:
                raw.execute("RELEASE v")
        except BaseException as error:
            job.error = _as_house(error)
            job.tx = None
            if not raw.in_transaction:
                # SQLite itself rolled everything back (disk full): the whole group is void.
                raise
            if first:
                raw.execute("ROLLBACK")
                raw.execute("BEGIN IMMEDIATE")
            else:
                raw.execute("ROLLBACK TO v")
                raw.execute("RELEASE v")
        took = time.monotonic() - started
        if took > limits.GROUP_MS_MAX / 1000 and job.fn is not self._unhurried:
            log.warning("a verb held the writer for %.0f ms", took * 1000)

    def _commit(self, group: list[_Job]) -> None:
        good = [job for job in group if job.error is None]
        try:
            if good:
                tx = self._new_tx()
                for hook in self.before_commit:
                    self._run(hook, tx)
                self.crash.at("before_commit")
            self._raw.execute("COMMIT")
            self.commits += 1
        except BaseException as error:  # noqa: BLE001  the log and every caller hear of it
            _told("commit failed", error)
            self._fail(group, _as_house(error))
            return
        if good:
            self.crash.at("after_commit")
        # Who does not wait hears first: what the others enqueued may go on from there.
        for job in group:
            if job.then is not None:
                _release(job)
        for job in good:
            if job.tx is not None:
                self._call_after(job.tx)
        for job in group:
            if job.then is None:
                _release(job)

    def _fail(self, group: list[_Job], error: BaseException) -> None:
        if not self._writer.closed and self._raw.in_transaction:
            self._raw.execute("ROLLBACK")
        for job in group:
            job.error = job.error or error
            if job.done.locked():
                _release(job)


def _release(job: _Job) -> None:
    """Let the caller of a verb go on, or tell who does not wait for it."""
    job.done.release()
    if job.then is None:
        return
    if job.error is not None:
        log.error("a verb that nobody waited for failed", exc_info=job.error)
    try:
        job.then(job.error is None)
    except Exception:
        log.exception("what follows a verb that nobody waited for failed")


def _told(what: str, error: BaseException) -> None:
    """Write to the log that `what`; no traceback explains a full disk or a lock."""
    house = _as_house(error)
    if isinstance(house, StorageFull | DatabaseBusy):
        log.error("%s: %s (%s)", what, house.code, error)
    else:
        log.error(what, exc_info=error)


def _as_house(error: BaseException) -> BaseException:
    if isinstance(error, DBAPIError):
        return translate(error)
    if type(error).__module__ == "sqlite3":
        wrapped = DBAPIError("", None, error)
        return translate(wrapped)
    if isinstance(error, MemoryError):
        return DatabaseFailed(detail="out of memory")
    return error


def _pragmas(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit we acknowledged survives a power cut
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cache_size = -16000",
        "query_only = ON",  # only the writer turns it off
    ):
        connection.execute(f"PRAGMA {pragma}")

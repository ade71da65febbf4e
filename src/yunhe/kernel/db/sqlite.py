"""SQLite with group commit: one writer thread, a savepoint a verb, one fsync a group.

Callers queue verbs and wait; the writer runs what has gathered, runs the `before_commit` hooks
(the evidence sequencer), commits once with synchronous=FULL, then releases all of them. A verb
that fails is rolled back to its savepoint alone; a COMMIT that fails fails every caller in it.
"""

from __future__ import annotations

import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from yunhe.kernel import limits
from yunhe.kernel.clock import Clock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.base import Database
from yunhe.kernel.db.errors import DatabaseBusy, DatabaseFailed, translate
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
            pool_size=16,
            max_overflow=16,
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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._last_group = 1
        self._closed = self._told_to_stop = False
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
        self._jobs.put(None)
        self._thread.join()
        self._writer.close()
        self._engine.dispose()

    def _read(self, fn: Callable[[Tx], T]) -> T:
        try:
            with self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                prepared = connection.info.get("prepared")  # of this connection, for its life
                if prepared is None:
                    prepared = connection.info["prepared"] = Prepared(connection)
                raw.execute("BEGIN")
                try:
                    tx = Tx(connection, self.clock.now(), self.events, self.dialect, prepared)
                    return self._run(fn, tx)
                finally:
                    raw.execute("ROLLBACK")
        except DBAPIError as error:
            raise translate(error) from error
        except sqlite3.Error as error:
            raise translate(DBAPIError("", None, error)) from error

    def _write(self, fn: Callable[[Tx], T]) -> T:
        if self._closed:
            raise DatabaseBusy(detail="closed")
        if self._jobs.qsize() > limits.WRITE_QUEUE_MAX:
            raise DatabaseBusy(detail="the write queue is full")
        job = _Job(fn)
        self._jobs.put(job)
        job.done.acquire()
        if job.error is not None:
            raise job.error
        result: T = job.result
        return result

    def write_soon(self, fn: Callable[[Tx], None], then: Callable[[bool], None]) -> None:
        """See Database: it shares the commit of the next verb, or waits SOON_S for one."""
        self._jobs.put(_Job(fn, then))

    # -- the writer thread ------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._told_to_stop:
            group: list[_Job] = []
            try:
                self._gather(group)
                if group:
                    self._group(group)
            except BaseException as error:
                # The writer must outlive any verb: everyone in the group hears of it.
                log.exception("a group failed")
                self._fail(group, _as_house(error))

    def _gather(self, group: list[_Job]) -> None:
        """What a group begins with: verbs that nobody waits for, and the first that is."""
        job = self._take()
        until = time.monotonic() + limits.SOON_S
        while job is not None:
            group.append(job)
            left = until - time.monotonic()
            if job.then is None or left <= 0 or len(group) >= limits.GROUP_VERBS_MAX:
                return
            try:
                job = self._take(timeout=left)
            except queue.Empty:
                return

    def _take(self, **patience: Any) -> _Job | None:
        """The next queued verb; None where we are to stop. Raises queue.Empty."""
        job = self._jobs.get(**patience)
        self._told_to_stop = job is None
        return job

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
                return self._take(timeout=limits.GROUP_GATHER_S_MAX)
            return self._take(block=False)
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
        if (took := time.monotonic() - started) > limits.GROUP_MS_MAX / 1000:
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
        except BaseException as error:
            log.exception("commit failed")
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
        if self._raw.in_transaction:
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

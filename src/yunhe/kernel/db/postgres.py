"""PostgreSQL: a transaction a verb, retried when the server says two of them met.

Any number of replicas may share the database; nothing here lives in a process but connections,
each kept with its prepared statements, and BEGIN and COMMIT said by us: what a toolkit does
around a transaction costs more than a small one does.
"""

from __future__ import annotations

import logging
import queue
import random
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from yunhe.kernel import limits
from yunhe.kernel.clock import Clock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.base import Database, Places
from yunhe.kernel.db.errors import DatabaseBusy, DatabaseFailed, translate
from yunhe.kernel.db.prepared import Prepared
from yunhe.kernel.db.tx import Tx

T = TypeVar("T")
log = logging.getLogger(__name__)

_MET_ANOTHER = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_Soon = tuple[Callable[[Tx], None], Callable[[bool], None]]


@dataclass(frozen=True)
class _Line:
    """One kept connection; `raw` is the driver's, in autocommit."""

    connection: sa.Connection
    raw: psycopg.Connection[Any]
    prepared: Prepared

    def quiet(self) -> bool:
        """Whether it stands: what can be read from an idle one is its end, or news of it."""
        with suppress(OSError, ValueError, psycopg.Error):
            poll = select.poll()
            poll.register(self.raw.fileno(), select.POLLIN)
            return not poll.poll(0)
        return False


def _arguments() -> dict[str, Any]:
    """What libpq is told: commits are durable, and nothing is waited for without end."""
    settings = {"synchronous_commit": "on", "lock_timeout": f"{limits.PG_LOCK_S_MAX * 1000:.0f}"}
    return {
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "connect_timeout": limits.PG_CONNECT_S_MAX,
        "tcp_user_timeout": limits.PG_SILENCE_S_MAX * 1000,
        "keepalives_idle": limits.PG_SILENCE_S_MAX // 3,
        "keepalives_interval": limits.PG_SILENCE_S_MAX // 6,
    }


class PostgresDatabase(Database):
    """A node's database on PostgreSQL (psycopg 3)."""

    dialect = "postgresql"

    def __init__(self, url: str, clock: Clock, crash: CrashPoints) -> None:
        super().__init__(clock, crash)
        self._engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=limits.PG_IDLE_MAX,
            max_overflow=limits.PG_CONNECTIONS_MAX - limits.PG_IDLE_MAX,
            pool_timeout=limits.PG_LOCK_S_MAX,
            pool_pre_ping=True,
            connect_args=_arguments(),
        )
        self._plain = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._idle: deque[_Line] = deque()
        self._places = Places(limits.PG_CONNECTIONS_MAX, limits.PG_LOCK_S_MAX)
        self._soon: queue.SimpleQueue[_Soon | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._marker: threading.Thread | None = None

    @property
    def engine(self) -> sa.Engine:
        """The engine, for migrations and tests."""
        return self._engine

    def close(self) -> None:
        """Finish what nobody waits for, and let go of every connection."""
        with self._lock:
            marker, self._marker = self._marker, None
        if marker is not None:
            self._soon.put(None)
            marker.join()
        while self._idle:
            self._idle.pop().connection.close()
        self._engine.dispose()

    @contextmanager
    def _line(self) -> Iterator[_Line]:
        """A connection of one's own, kept for the next one unless it failed."""
        self._places.take()
        try:
            line = self._take()
            try:
                yield line
            except BaseException:
                self._give_back(line)
                raise
            if len(self._idle) < limits.PG_IDLE_MAX:
                self._idle.append(line)
            else:
                line.connection.close()
        finally:
            self._places.leave()

    def _take(self) -> _Line:
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                line = self._idle.pop()
                if line.quiet():
                    return line
                line.connection.invalidate()
                line.connection.close()
        connection = self._plain.connect()
        return _Line(
            connection,
            connection.connection.driver_connection,  # type: ignore[arg-type]  # psycopg's
            Prepared(connection),
        )

    def _give_back(self, line: _Line) -> None:
        """After a failure: rolled back and kept by the pool, or thrown away."""
        try:
            line.raw.execute("ROLLBACK")
        except psycopg.Error:
            line.connection.invalidate()
        with suppress(sa.exc.SQLAlchemyError):
            line.connection.close()

    def _read(self, fn: Callable[[Tx], T]) -> T:
        try:
            with self._line() as line:
                line.raw.execute(_SNAPSHOT)
                found = self._run(fn, self._tx(line))
                line.raw.execute("COMMIT")
                return found
        except sa.exc.TimeoutError as error:
            raise DatabaseBusy(detail=str(error)) from error
        except (DBAPIError, psycopg.Error) as error:
            told = _of_sqlalchemy(error)
            if isinstance(told.orig, psycopg.errors.ReadOnlySqlTransaction):
                raise DatabaseFailed(detail=str(told.orig)) from error  # of us: a read wrote
            raise translate(told) from error

    def check(self) -> None:
        """See Database: a server answers, and it is one that takes writes, not a standby."""
        try:
            with self._line() as line:
                line.raw.execute("BEGIN")
                only_reads = line.raw.execute("SHOW transaction_read_only").fetchone() != ("off",)
                line.raw.execute("ROLLBACK")
        except sa.exc.TimeoutError as error:
            raise DatabaseBusy(detail=str(error)) from error
        except (DBAPIError, psycopg.Error) as error:
            raise translate(_of_sqlalchemy(error)) from error
        if only_reads:
            raise DatabaseBusy(detail="it only reads")

    def _write(self, fn: Callable[[Tx], T]) -> T:
        for attempt in range(limits.PG_RETRIES_MAX):
            try:
                return self._once(fn)
            except sa.exc.TimeoutError as error:
                raise DatabaseBusy(detail=str(error)) from error
            except (DBAPIError, psycopg.Error) as error:
                raised = _of_sqlalchemy(error)
                state = getattr(raised.orig, "sqlstate", None)
                if state not in _MET_ANOTHER or attempt == limits.PG_RETRIES_MAX - 1:
                    raise translate(raised) from error
                time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311  jitter
        raise AssertionError("unreachable")

    def _once(self, fn: Callable[[Tx], T]) -> T:
        with self._line() as line:
            line.raw.execute("BEGIN")
            tx = self._tx(line)
            result = self._run(fn, tx)
            self.crash.at("before_commit")
            # A transaction that failed within, and was caught, is rolled back by its COMMIT.
            if line.raw.execute("COMMIT").statusmessage != "COMMIT":
                raise DatabaseFailed(detail="the verb went on after a statement had failed")
        self.commits += 1
        self.crash.at("after_commit")
        self._call_after(tx)
        return result

    def _tx(self, line: _Line) -> Tx:
        return Tx(line.connection, self.clock.now(), self.events, self.dialect, line.prepared)

    # -- verbs that nobody waits for ----------------------------------------------------------

    def write_soon(self, fn: Callable[[Tx], None], then: Callable[[bool], None]) -> None:
        """See Database: those that come while one is committed share the next commit."""
        with self._lock:
            if self._marker is None:
                self._marker = threading.Thread(target=self._mark, name="pg-soon", daemon=True)
                self._marker.start()
        self._soon.put((fn, then))

    def _mark(self) -> None:
        stop = False
        while not stop and (first := self._soon.get()) is not None:
            group = [first]
            while len(group) < limits.GROUP_VERBS_MAX and not self._soon.empty():
                following = self._soon.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._together(group)

    def _together(self, group: list[_Soon]) -> None:
        def all_of_them(tx: Tx) -> None:
            for fn, _ in group:
                fn(tx)

        try:
            self._write(all_of_them)
        except Exception:
            if len(group) > 1:  # each alone, so that one fails for itself
                for each in group:
                    self._together([each])
                return
            log.exception("a verb that nobody waited for failed")
            done = False
        else:
            done = True
        for _, then in group:
            try:
                then(done)
            except Exception:
                log.exception("what follows a verb that nobody waited for failed")


def _of_sqlalchemy(error: DBAPIError | psycopg.Error) -> DBAPIError:
    return error if isinstance(error, DBAPIError) else DBAPIError("", None, error)

"""PostgreSQL: a transaction a verb, retried when the server says two of them met.

Any number of replicas may share the database; nothing here lives in a process.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from yunhe.kernel import limits
from yunhe.kernel.clock import Clock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.base import Database
from yunhe.kernel.db.errors import translate
from yunhe.kernel.db.tx import Tx

T = TypeVar("T")

_MET_ANOTHER = {"40001", "40P01"}  # serialization_failure, deadlock_detected


class PostgresDatabase(Database):
    """A node's database on PostgreSQL (psycopg 3)."""

    dialect = "postgresql"

    def __init__(self, url: str, clock: Clock, crash: CrashPoints) -> None:
        super().__init__(clock, crash)
        self._engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"),
            pool_size=16,
            max_overflow=16,
            pool_pre_ping=True,
            connect_args={"options": "-c synchronous_commit=on"},
        )

    @property
    def engine(self) -> sa.Engine:
        """The engine, for migrations and tests."""
        return self._engine

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def _read(self, fn: Callable[[Tx], T]) -> T:
        try:
            with self._engine.connect() as connection:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                tx = Tx(connection, self.clock.now(), self.events, self.dialect)
                return self._run(fn, tx)
        except DBAPIError as error:
            raise translate(error) from error

    def _write(self, fn: Callable[[Tx], T]) -> T:
        for attempt in range(limits.PG_RETRIES_MAX):
            try:
                return self._once(fn)
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                if state not in _MET_ANOTHER or attempt == limits.PG_RETRIES_MAX - 1:
                    raise translate(error) from error
                time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311  jitter
        raise AssertionError("unreachable")

    def _once(self, fn: Callable[[Tx], T]) -> T:
        with self._engine.connect() as connection, connection.begin() as transaction:
            tx = Tx(connection, self.clock.now(), self.events, self.dialect)
            result = self._run(fn, tx)
            self.crash.at("before_commit")
            transaction.commit()
        self.commits += 1
        self.crash.at("after_commit")
        self._call_after(tx)
        return result

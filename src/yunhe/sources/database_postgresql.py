"""PostgreSQL by ADBC: read-only sessions, answers streamed as Arrow (binary COPY).

In: `[connections.NAME]` of kind postgresql. Out: `database.Database`. The password is read at the
moment of use; the session cannot write, and the server itself ends what takes too long.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from yunhe.kernel import limits
from yunhe.sources import database as base
from yunhe.sources.connections import Connection
from yunhe.sources.database import AWAY, FAILED, TIME, Bounds, Columns, DatabaseColumn, Failed, Stop
from yunhe.sources.errors import SourceExtraMissing
from yunhe.sources.locator import Locator
from yunhe.sources.model import TableProfile

if TYPE_CHECKING:
    from adbc_driver_manager import dbapi

log = logging.getLogger(__name__)

_IDLE_MAX: Final = 2
_IDLE_S: Final = 30.0
_TYPES: Final = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
}
_SHAPE: Final = """
SELECT a.attname::text, t.typname::text, a.atttypmod::int8,
       coalesce(not c.collisdeterministic, false),
       pg_catalog.current_setting('server_encoding')
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = {regclass}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_SETTLE: Final = """
SELECT set_config(name, CASE name WHEN 'statement_timeout' THEN '{most}' ELSE '30000' END, false)
FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', 'idle_session_timeout')
"""
_DISTINCT: Final = """
SELECT attname::text, n_distinct::float8 FROM pg_catalog.pg_stats
WHERE schemaname || '.' || tablename = (SELECT n.nspname || '.' || c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = {regclass}::pg_catalog.regclass)
"""


class PostgresTable(base.AtConnection):
    """One table or view of a PostgreSQL; thread-safe, keeps a session or two for a moment."""

    kind = "postgresql"

    def __init__(self, connection: Connection, locator: Locator) -> None:
        """Raises LocatorNotValid."""
        super().__init__(connection, locator, base.names_of(locator, 2))
        self._idle: list[tuple[float, dbapi.Connection]] = []
        weakref.finalize(self, _closed, self._idle)

    @property
    def relation(self) -> tuple[str, ...]:
        """Schema and table; the table alone lies in `public`."""
        return self._relation if len(self._relation) == 2 else ("public", *self._relation)

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns with their types; raises Failed."""
        found = self._ask(_SHAPE.format(regclass=self._regclass()))
        if not found:
            raise Failed(FAILED, "no such table")
        if found[0][4] != "UTF8":  # its texts stand in another order by their bytes than here
            raise Failed(FAILED, "its text is not UTF-8")
        return tuple(_column(*row[:4]) for row in found)

    def fetch(self, sql: str, columns: Columns, out: Path, bounds: Bounds, stop: Stop) -> int:
        """As `Database.fetch`."""
        until = monotonic() + bounds.seconds
        with self._session(bounds.seconds) as cursor:
            stop.by(cursor.adbc_cancel)
            try:
                cursor.execute(sql)
                return base.lay_down(cursor.fetch_record_batch(), columns, out, bounds)
            except (OSError, pa.ArrowException) as error:  # the stream's way of saying anything
                late = stop.asked or monotonic() > until
                raise Failed(TIME if late else FAILED) from error
            finally:
                stop.by(None)

    def profile(self) -> TableProfile:
        """Counted exactly; distinct values as the planner's statistics have them."""
        try:
            columns = self.shape()
            named = [f"count({base.quoted(column.name)})" for column in columns]
            table = ".".join(base.quoted(part) for part in self.relation)
            counts = self._ask(f"SELECT {', '.join(['count(*)', *named])} FROM {table}")[0]  # noqa: S608
            regclass = self._regclass()
            guessed = dict(self._ask(_DISTINCT.format(regclass=regclass)))
            size = self._ask(f"SELECT pg_catalog.pg_total_relation_size({regclass})")[0][0]
        except Failed as error:
            raise base.away(self._locator, error) from error
        # Below zero: as a share of the rows. Unknown before the first ANALYZE.
        many = [guessed.get(column.name, 0.0) for column in columns]
        distinct = [round(n if n >= 0 else -n * counts[0]) for n in many]
        return base.profiled(self, columns, counts, distinct, int(size))

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """The first rows, as text where JSON has no such value."""
        try:
            columns = self.shape()
            items = ", ".join(f"{base.quoted(column.name)}::text" for column in columns)
            table = ".".join(base.quoted(part) for part in self.relation)
            found = self._ask(f"SELECT {items} FROM {table} LIMIT {int(rows)}")  # noqa: S608
        except Failed as error:
            raise base.away(self._locator, error) from error
        return [dict(zip((c.name for c in columns), row, strict=True)) for row in found]

    def _regclass(self) -> str:
        named = ".".join(base.quoted(part) for part in self.relation)
        return "'" + named.replace("'", "''") + "'"

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._session(limits.SOURCE_ASK_S_MAX) as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    @contextlib.contextmanager
    def _session(self, seconds: float) -> Iterator[dbapi.Cursor]:
        """A cursor that can only read, for at most `seconds` a statement; raises Failed.

        What ended well is kept for the next use: connecting costs more than many a query.
        """
        try:
            from adbc_driver_manager.dbapi import Error
        except ImportError as error:
            raise SourceExtraMissing(what=str(self._locator), extra="databases") from error
        try:
            connection = self._taken(seconds) or self._connected(seconds)
            try:
                with connection.cursor() as cursor:
                    yield cursor
            except BaseException:
                connection.close()
                raise
            if len(self._idle) < _IDLE_MAX:
                self._idle.append((monotonic(), connection))
            else:
                connection.close()
        except Error as error:
            raise _failed(error) from error

    def _connected(self, seconds: float) -> dbapi.Connection:
        from adbc_driver_postgresql import dbapi as driver

        connection: dbapi.Connection = driver.connect(self._conninfo(), autocommit=True)
        try:
            self._settle(connection, seconds)
        except BaseException:
            connection.close()
            raise
        return connection

    def _taken(self, seconds: float) -> Any:
        """A session kept from before that still answers; None where there is none."""
        from adbc_driver_manager.dbapi import Error

        while True:
            try:
                since, connection = self._idle.pop()
            except IndexError:
                return None
            try:
                if monotonic() - since < _IDLE_S:
                    self._settle(connection, seconds)
                    return connection
            except Error:  # the server has ended it meanwhile
                log.debug("a kept session of %s is gone", self._connection.name)
            connection.close()

    def _settle(self, connection: dbapi.Connection, seconds: float) -> None:
        """Its bounds, for this use; the server itself ends what lies idle (PostgreSQL 14 on)."""
        allowed = min(float(self._connection.text("statement_s", str(seconds))), seconds)
        with connection.cursor() as cursor:
            cursor.execute(_SETTLE.format(most=max(1, round(allowed * 1000))))
            cursor.fetchall()

    def _conninfo(self) -> str:
        text = self._connection.text
        settings = {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{round(limits.SOURCE_ASK_S_MAX * 1000)}",
            "idle_in_transaction_session_timeout": f"{round(limits.STREAM_S_MAX * 1000)}",
            "DateStyle": "ISO",
            "IntervalStyle": "postgres",
            "TimeZone": "UTC",
            "standard_conforming_strings": "on",
            "extra_float_digits": "1",
            "client_encoding": "UTF8",
            "search_path": "pg_catalog",
        }
        words = {
            "host": text("host"),
            "port": text("port", "5432"),
            "dbname": text("database"),
            "user": text("user"),
            "sslmode": text("sslmode", "prefer"),
            "sslrootcert": text("sslrootcert"),
            "password": self._connection.secret("password") or "",
            "connect_timeout": str(limits.SOURCE_CONNECT_S_MAX),
            "application_name": "yunhe",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        }
        return " ".join(f"{name}={_word(value)}" for name, value in words.items() if value)


def _closed(idle: list[tuple[float, dbapi.Connection]]) -> None:
    while idle:
        idle.pop()[1].close()


def _word(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _column(name: str, kind: str, modifier: int, odd: bool) -> DatabaseColumn:
    if kind == "numeric":
        width, scale = (modifier - 4) >> 16, (modifier - 4) & 0x7FF
        if modifier >= 4 and 0 < width <= 38 and scale <= width:
            return DatabaseColumn(name, f"DECIMAL({width},{scale})")
        return DatabaseColumn(name, "DOUBLE", "double")
    known = _TYPES.get(kind)
    if known is None:
        return DatabaseColumn(name, "VARCHAR", "text")
    return DatabaseColumn(name, known, "binary" if odd else "plain")


def _failed(error: dbapi.Error) -> Failed:
    """Which of our words it is; the server's own words are dropped, they may hold values."""
    state = str(getattr(error, "sqlstate", "") or "")
    if state == "57014" or "CANCEL" in str(getattr(error, "status_code", "")):
        return Failed(TIME, state)
    if not state or state.startswith(("08", "28", "3D", "57", "53")):
        return Failed(AWAY, state)
    return Failed(FAILED, state)

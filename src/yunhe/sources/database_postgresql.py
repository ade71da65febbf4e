"""PostgreSQL by ADBC: one read-only session a query, its answer streamed as Arrow (binary COPY).

In: `[connections.NAME]` of kind postgresql. Out: `database.Database`. The password is read at the
moment of use; the session cannot write, and the server itself ends what takes too long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
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
       coalesce(not c.collisdeterministic, false)
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = {regclass}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_DISTINCT: Final = """
SELECT attname::text, n_distinct::float8 FROM pg_catalog.pg_stats
WHERE schemaname || '.' || tablename = (SELECT n.nspname || '.' || c.relname
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = {regclass}::pg_catalog.regclass)
"""


class PostgresTable:
    """One table or view of a PostgreSQL; thread-safe, holds no session."""

    def __init__(self, connection: Connection, locator: Locator) -> None:
        """Raises LocatorNotValid."""
        self._connection, self._locator = connection, locator
        self._relation = base.names_of(locator, 2)

    @property
    def locator(self) -> Locator:
        """Where it lies."""
        return self._locator

    @property
    def place(self) -> str:
        """The connection: one session sees all its tables."""
        return f"postgresql:{self._connection.name}"

    @property
    def relation(self) -> tuple[str, ...]:
        """Schema and table; the table alone lies in `public`."""
        return self._relation if len(self._relation) == 2 else ("public", *self._relation)

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns with their types; raises Failed."""
        found = self._ask(_SHAPE.format(regclass=self._regclass()))
        if not found:
            raise Failed(FAILED, "no such table")
        return tuple(_column(*row) for row in found)

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
        """A cursor that can only read, for at most `seconds` a statement; raises Failed."""
        try:
            from adbc_driver_manager.dbapi import Error
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise SourceExtraMissing(what=str(self._locator), extra="databases") from error
        try:
            with (
                dbapi.connect(self._conninfo(seconds), autocommit=True) as connection,
                connection.cursor() as cursor,
            ):
                yield cursor
        except Error as error:
            raise _failed(error) from error

    def _conninfo(self, seconds: float) -> str:
        text = partial(self._connection.text)
        allowed = float(text("statement_s", str(seconds)))
        settings = {
            "default_transaction_read_only": "on",
            "statement_timeout": f"{max(1, round(min(allowed, seconds) * 1000))}",
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

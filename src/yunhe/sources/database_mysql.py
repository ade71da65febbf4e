"""MySQL and MariaDB by PyMySQL: read-only sessions of a pinned mode, answers read row by row.

In: `[connections.NAME]` of kind mysql. Out: `database.Database`. The session says how text, time
and errors are meant, so that no setting of the server changes what a query means; the server ends
what takes too long, and another connection kills what is asked to stop.
"""

from __future__ import annotations

import contextlib
import datetime
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pyarrow as pa

from yunhe.kernel import limits
from yunhe.sources import database as base
from yunhe.sources.connections import Connection
from yunhe.sources.database import (
    AWAY,
    DRIFTED,
    FAILED,
    TIME,
    Bounds,
    Columns,
    DatabaseColumn,
    Failed,
    Stop,
)
from yunhe.sources.errors import SourceExtraMissing
from yunhe.sources.locator import Locator
from yunhe.sources.model import TableProfile

_BATCH_ROWS: Final = 16_384
_BATCH_BYTES: Final = 32 << 20
_KEY_BYTES: Final = 4_096  # the server groups by no more of a text than it was told
_SOME_ROWS: Final = 100_000  # distinct values are counted in so many
_MODE: Final = (
    "ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,"
    "NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO"
)
_TYPES: Final = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "mediumint": "INTEGER",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "date": "DATE",
    "time": "TIME",
    "datetime": "TIMESTAMP",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "year": "SMALLINT",
}
_UNSIGNED: Final = {
    "TINYINT": "SMALLINT",
    "SMALLINT": "INTEGER",
    "INTEGER": "BIGINT",
    "BIGINT": "DECIMAL(20,0)",
}
_TEXTS: Final = frozenset(
    {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}
)
_BYTES: Final = frozenset(
    {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point"}
)
# 1317, 3024, 1969, 1205: interrupted, or its time is over; 2013 and 2006: the line is gone.
_LATE: Final = frozenset({1317, 1969, 3024, 1205})
_GONE: Final = frozenset({1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1226, 1698})


class MysqlTable(base.AtConnection):
    """One table or view of a MySQL or MariaDB; thread-safe, holds no connection."""

    kind = "mysql"

    def __init__(self, connection: Connection, locator: Locator) -> None:
        """Raises LocatorNotValid."""
        super().__init__(connection, locator, base.names_of(locator, 2))

    @property
    def relation(self) -> tuple[str, ...]:
        """Database and table; the table alone lies in the connection's own database."""
        if len(self._relation) == 2:
            return self._relation
        return (self._connection.text("database"), *self._relation)

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns with their types; raises Failed."""
        owner, table = self.relation
        found = self._ask(  # our own texts, doubled
            "SELECT column_name, data_type, column_type, numeric_precision, numeric_scale, "  # noqa: S608
            "character_maximum_length FROM information_schema.columns "
            f"WHERE table_schema = {_text(owner)} AND table_name = {_text(table)} "
            "ORDER BY ordinal_position"
        )
        if not found:
            raise Failed(FAILED, "no such table")
        return tuple(_column(*row) for row in found)

    def fetch(self, sql: str, columns: Columns, out: Path, bounds: Bounds, stop: Stop) -> int:
        """As `Database.fetch`."""
        with self._session(bounds.seconds) as connection:
            thread = connection.thread_id()
            try:
                stop.by(lambda: self._kill(thread))
                cursor = _streaming(connection)
                cursor.execute(sql)
                return base.lay_down(_batches(cursor, columns), columns, out, bounds)
            finally:
                stop.by(None)
                if connection._result is not None:  # its rest is not read to the end
                    connection._result.unbuffered_active = False

    def profile(self) -> TableProfile:
        """Rows and values counted exactly, distinct values in the first of them."""
        table = self._table()
        try:
            columns = self.shape()
            named = [base.quoted(column.name) for column in columns]
            asked = ", ".join(["COUNT(*)", *(f"COUNT({name})" for name in named)])
            counts = self._ask(f"SELECT {asked} FROM {table}")[0]  # noqa: S608
            asked = ", ".join(f"COUNT(DISTINCT {name})" for name in named)
            some = f"SELECT * FROM {table} LIMIT {_SOME_ROWS}"  # noqa: S608
            distinct = self._ask(f"SELECT {asked} FROM ({some}) AS some")[0]  # noqa: S608
            owner, name = self.relation
            size = self._ask(
                "SELECT COALESCE(data_length + index_length, 0) FROM information_schema.tables "  # noqa: S608
                f"WHERE table_schema = {_text(owner)} AND table_name = {_text(name)}"
            )
        except Failed as error:
            raise base.away(self._locator, error) from error
        return base.profiled(self, columns, counts, distinct, int(size[0][0]) if size else 0)

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """The first rows, as text where JSON has no such value."""
        try:
            columns = self.shape()
            items = ", ".join(
                f"HEX({name})" if column.native == "bytes" else f"CAST({name} AS CHAR)"
                for column in columns
                for name in [base.quoted(column.name)]
            )
            found = self._ask(f"SELECT {items} FROM {self._table()} LIMIT {int(rows)}")  # noqa: S608
        except Failed as error:
            raise base.away(self._locator, error) from error
        return [dict(zip((c.name for c in columns), row, strict=True)) for row in found]

    def _table(self) -> str:
        return ".".join(map(base.quoted, self.relation))

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._session(limits.SOURCE_ASK_S_MAX) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def _kill(self, thread: int) -> None:
        """End what the session `thread` runs; it is the same user's, so no right is needed."""
        with contextlib.suppress(Failed), self._session(limits.SOURCE_CONNECT_S_MAX) as connection:
            connection.kill(thread)

    @contextlib.contextmanager
    def _session(self, seconds: float) -> Iterator[Any]:
        """A connection that can only read, for at most `seconds` a statement; raises Failed."""
        try:
            import pymysql
        except ImportError as error:
            raise SourceExtraMissing(what=str(self._locator), extra="databases") from error
        allowed = min(float(self._connection.text("statement_s", str(seconds))), seconds)
        until = monotonic() + allowed
        try:
            connection = pymysql.connect(**self._arguments(allowed))
            try:
                _settle(connection, allowed)
                yield connection
            finally:
                if connection.open:
                    connection.close()
        except pymysql.Error as error:
            raise _failed(error, monotonic() > until) from error
        except (OSError, RuntimeError, ValueError) as error:
            # A slow or broken line; a server that asks for a file of ours; settings of no use.
            late = isinstance(error, TimeoutError) or monotonic() > until
            raise Failed(TIME if late else AWAY) from error

    def _arguments(self, seconds: float) -> dict[str, Any]:
        text = self._connection.text
        host = text("host")
        where = (
            {"unix_socket": host}
            if host.startswith("/")
            else {"host": host, "port": self._connection.number("port", 3306), **self._tls()}
        )
        return {
            **where,
            "user": text("user"),
            "password": (self._connection.secret("password") or "").encode(),
            "database": text("database"),
            "charset": "utf8mb4",
            "connect_timeout": limits.SOURCE_CONNECT_S_MAX,
            "read_timeout": max(1.0, seconds + 1),
            "write_timeout": limits.SOURCE_CONNECT_S_MAX,
            "local_infile": False,
            "autocommit": True,
            "program_name": "yunhe",
            "auth_plugin_map": {b"mysql_clear_password": _NoClearText, b"dialog": _NoClearText},
        }

    def _tls(self) -> dict[str, Any]:
        """As PostgreSQL has them: disable, prefer, require, verify-ca, verify-full."""
        mode = self._connection.text("sslmode", "prefer")
        if mode == "disable":
            return {"ssl_disabled": True}
        if mode == "prefer":
            return {}
        if mode not in ("require", "verify-ca", "verify-full"):
            raise Failed(AWAY, "sslmode is none of the known")
        context = ssl.create_default_context(cafile=self._connection.text("sslrootcert") or None)
        context.check_hostname = mode == "verify-full"
        if mode == "require":
            context.verify_mode = ssl.CERT_NONE
        return {"ssl": context}


class _NoClearText:
    """A server that asks for the password itself is not told it."""

    def __init__(self, connection: object) -> None:
        del connection

    def authenticate(self, packet: object) -> object:
        """Raises ValueError."""
        del packet
        raise ValueError("the server asks for the password in clear")


def _settle(connection: Any, seconds: float) -> None:
    """How everything is meant in this session, and that it only reads."""
    with connection.cursor() as cursor:
        if "MariaDB" in connection.get_server_info():
            most = f"max_statement_time = {max(0.001, seconds):.3f}"
        else:
            most = f"max_execution_time = {max(1, round(seconds * 1000))}"
        cursor.execute(
            f"SET SESSION sql_mode = '{_MODE}', time_zone = '+00:00', "
            f"sql_select_limit = 18446744073709551615, max_sort_length = {_KEY_BYTES}, {most}"
        )
        cursor.execute("SET NAMES utf8mb4 COLLATE utf8mb4_bin")
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.execute("START TRANSACTION READ ONLY")


def _streaming(connection: Any) -> Any:
    from pymysql.cursors import SSCursor

    return connection.cursor(SSCursor)


def _text(value: str) -> str:
    """A text literal: a backslash means nothing in our sessions."""
    return "'" + value.replace("'", "''") + "'"


def _column(
    name: str, kind: str, full: str, precision: int | None, scale: int | None, length: int | None
) -> DatabaseColumn:
    """The type of a column by its declaration; booleans are TINYINT(1) and BIT(1) there."""
    kind, full = kind.lower(), full.lower()
    unsigned = "unsigned" in full
    if full.startswith(("tinyint(1)", "bit(1)")) and not unsigned:
        return DatabaseColumn(name, "BOOLEAN", "truth")
    if kind == "float":
        return DatabaseColumn(name, "FLOAT", "double")
    if kind == "decimal":
        if precision is not None and scale is not None and precision <= 38:
            return DatabaseColumn(name, f"DECIMAL({precision},{scale})")
        return DatabaseColumn(name, "DOUBLE", "double")
    if (known := _TYPES.get(kind)) is not None:
        return DatabaseColumn(name, _UNSIGNED.get(known, known) if unsigned else known)
    if kind in _TEXTS:
        short = length is not None and int(length) * 4 <= _KEY_BYTES
        return DatabaseColumn(name, "VARCHAR", "text" if short else "long")
    return DatabaseColumn(name, "VARCHAR", "bytes" if kind in _BYTES else "long")


def _batches(cursor: Any, columns: Columns) -> Iterator[pa.RecordBatch]:
    """Rows as they come, some thousands or some megabytes at a time."""
    names = [name for name, _ in columns]
    texts = [at for at, (_, kind) in enumerate(columns) if kind == "VARCHAR"]
    rows: list[tuple[Any, ...]] = []
    held = 0
    while (row := cursor.fetchone()) is not None:
        rows.append(row)
        held += sum(len(row[at] or "") for at in texts)
        if len(rows) >= _BATCH_ROWS or held >= _BATCH_BYTES:
            yield _batch(rows, columns, names)
            rows, held = [], 0
    if rows:
        yield _batch(rows, columns, names)


def _batch(rows: list[tuple[Any, ...]], columns: Columns, names: list[str]) -> pa.RecordBatch:
    parts = zip(zip(*rows, strict=True), columns, strict=True)
    return pa.RecordBatch.from_arrays([_array(part, kind) for part, (_, kind) in parts], names)


def _array(values: tuple[Any, ...], kind: str) -> pa.Array:
    made = _MADE.get(kind)
    try:
        if made is not None:
            values = tuple(None if value is None else made(value) for value in values)
        return pa.array(values, base.arrow_type(kind))
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise Failed(DRIFTED, "a value is not of its type") from error


def _as_text(value: Any) -> str:
    if len(value) > limits.PULL_VALUE_BYTES_MAX:
        raise ValueError("a text is too long")
    return value.decode() if isinstance(value, bytes) else str(value)


def _as_time(value: Any) -> datetime.time:
    """A time of day; there it may be one of many days, or below zero."""
    if not isinstance(value, datetime.timedelta) or not (
        datetime.timedelta() <= value < datetime.timedelta(days=1)
    ):
        raise ValueError("no time of a day")
    whole = value // datetime.timedelta(seconds=1)
    hours, rest = divmod(whole, 3600)
    return datetime.time(hours, rest // 60, rest % 60, value.microseconds)


def _as_truth(value: Any) -> bool:
    return value != b"\0" and bool(value)


_MADE: Final[dict[str, Callable[[Any], Any]]] = {
    "VARCHAR": _as_text,
    "BOOLEAN": _as_truth,
    "TIME": _as_time,
}


def _failed(error: Exception, late: bool) -> Failed:
    """Which of our words it is; the server's own words are dropped, they may hold values."""
    first = error.args[0] if error.args else 0
    code = first if isinstance(first, int) else 0
    if code in _LATE or late:
        return Failed(TIME, f"code {code}")
    if code in _GONE or 2000 <= code < 3000:
        return Failed(AWAY, f"code {code}")
    return Failed(FAILED, f"code {code}")

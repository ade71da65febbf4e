"""SQLite files, read by the library that Python brings: read only, interruptible, checked.

In: `[connections.NAME]` of kind sqlite. Out: `database.Database`. SQLite has no column types, only
habits: a column gets a type where every value of it is of that type, asked again whenever the
file has changed; a value that strays since then ends the query, never becomes another value.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sqlite3
import threading
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
from yunhe.sources.locator import Locator
from yunhe.sources.model import TableProfile

_STEPS: Final = 10_000  # engine steps between two looks at the clock
_BATCH_ROWS: Final = 16_384
# What a value must be to be of the type; the first type all values fit is the column's.
_FITS: Final = {
    "BIGINT": "typeof({c}) = 'integer'",
    "DOUBLE": "typeof({c}) = 'real'",
    "BOOLEAN": "typeof({c}) = 'integer' AND {c} IN (0, 1)",
    "DATE": "typeof({c}) = 'text' AND date({c}) IS {c} AND substr({c}, 1, 4) >= '0001'",
    "TIMESTAMP": "typeof({c}) = 'text' AND datetime({c}) IS {c} AND substr({c}, 1, 4) >= '0001'",
    "VARCHAR": "typeof({c}) = 'text'",
}
_ARROW: Final[dict[str, tuple[pa.DataType, Callable[[Any], Any] | None]]] = {
    "BOOLEAN": (pa.bool_(), bool),
    "DATE": (pa.date32(), datetime.date.fromisoformat),
    "TIMESTAMP": (pa.timestamp("us"), datetime.datetime.fromisoformat),
}


class SqliteTable(base.AtConnection):
    """One table or view of a SQLite file; thread-safe, holds no connection."""

    kind = "sqlite"

    def __init__(self, connection: Connection, locator: Locator) -> None:
        """Raises LocatorNotValid."""
        super().__init__(connection, locator, base.names_of(locator, 1))
        self._lock = threading.Lock()
        self._seen: tuple[str, tuple[DatabaseColumn, ...]] | None = None

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns with the types all their values have; raises Failed."""
        now = self._fingerprint()
        with self._lock:
            if self._seen is not None and self._seen[0] == now:
                return self._seen[1]
        with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as con:
            found = self._typed(con)
        with self._lock:
            self._seen = (now, found)
        return found

    def fetch(self, sql: str, columns: Columns, out: Path, bounds: Bounds, stop: Stop) -> int:
        """As `Database.fetch`."""
        with self._session(bounds.seconds, stop) as con:
            cursor = con.execute(sql)
            return base.lay_down(_batches(cursor, columns), columns, out, bounds)

    def profile(self) -> TableProfile:
        """Counted exactly."""
        try:
            columns = self.shape()
            named = [base.quoted(column.name) for column in columns]
            asked = ["count(*)", *(f"count({name})" for name in named)]
            asked += [f"count(DISTINCT {name})" for name in named]
            with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as con:
                found = con.execute(f"SELECT {', '.join(asked)} FROM {self._table()}").fetchone()  # noqa: S608
            size = Path(self._connection.text("file")).stat().st_size
        except Failed as error:
            raise base.away(self._locator, error) from error
        most = 1 + len(columns)
        return base.profiled(self, columns, found[:most], found[most:], size)

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """The first rows as they lie there."""
        try:
            columns = self.shape()
            named = ", ".join(base.quoted(column.name) for column in columns)
            with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as con:
                asked = f"SELECT {named} FROM {self._table()} LIMIT {int(rows)}"  # noqa: S608
                found = con.execute(asked).fetchall()
        except Failed as error:
            raise base.away(self._locator, error) from error
        return [dict(zip((c.name for c in columns), row, strict=True)) for row in found]

    def _table(self) -> str:
        return base.quoted(self._relation[0])

    def _fingerprint(self) -> str:
        parts = []
        for tail in ("", "-wal"):
            try:
                found = os.stat(self._connection.text("file") + tail)
            except OSError:
                parts.append("-")
                continue
            parts.append(f"{found.st_size}.{found.st_mtime_ns}.{found.st_ino}")
        return " ".join(parts)

    def _typed(self, con: sqlite3.Connection) -> tuple[DatabaseColumn, ...]:
        if con.execute("PRAGMA encoding").fetchone()[0] != "UTF-8":
            raise Failed(FAILED, "its text is not UTF-8")
        declared = con.execute(f"PRAGMA table_info({self._table()})").fetchall()
        if not declared:
            raise Failed(FAILED, "no such table")
        names = [(name, _declared(kind)) for _, name, kind, *_ in declared]
        plain = {name for _, name, kind, *_ in declared if _is_text(kind)}
        asked = []
        for name, kind in names:
            for fit in (kind, "VARCHAR"):
                asked.append(f"count(*) FILTER (WHERE {_FITS[fit].format(c=base.quoted(name))})")
            asked.append(f"count({base.quoted(name)})")
        counts = con.execute(f"SELECT {', '.join(asked)} FROM {self._table()}").fetchone()  # noqa: S608
        found = []
        for at, (name, kind) in enumerate(names):
            typed, texts, values = counts[3 * at : 3 * at + 3]
            if kind != "VARCHAR" and typed == values:
                found.append(DatabaseColumn(name, kind))
            elif texts == values:
                # Of another affinity, SQLite would compare it with '5' as with the number.
                found.append(DatabaseColumn(name, "VARCHAR", "plain" if name in plain else "text"))
            else:
                raise Failed(DRIFTED, "a column mixes kinds of values", name)
        return tuple(found)

    @contextlib.contextmanager
    def _session(self, seconds: float, stop: Stop) -> Iterator[sqlite3.Connection]:
        """A connection that can only read, ended after `seconds`; raises Failed."""
        file = Path(self._connection.text("file"))
        allowed = float(self._connection.text("statement_s", str(seconds)))
        until = monotonic() + min(seconds, allowed)
        ended = False

        def late() -> int:
            nonlocal ended
            ended = stop.asked or monotonic() > until
            return int(ended)

        try:
            with contextlib.closing(
                sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, timeout=5)
            ) as con:
                con.execute("PRAGMA query_only = ON")
                con.execute("PRAGMA trusted_schema = OFF")  # a view calls no function of ours
                con.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
                con.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.PULL_VALUE_BYTES_MAX)
                con.create_function(base.PRINT, -1, base.digest, deterministic=True)
                con.set_progress_handler(late, _STEPS)
                yield con
        except sqlite3.OperationalError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            why = AWAY if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY) else FAILED
            raise Failed(TIME if ended else why, f"code {code}") from error
        except sqlite3.Error as error:
            raise Failed(FAILED, f"code {getattr(error, 'sqlite_errorcode', 0)}") from error


def _is_text(kind: str) -> bool:
    """Whether a declaration gives TEXT affinity (SQLite, "Datatypes", section 3.1)."""
    upper = kind.upper()
    return "INT" not in upper and any(word in upper for word in ("CHAR", "CLOB", "TEXT"))


def _declared(kind: str) -> str:
    """The type a declaration means, by SQLite's own rules of affinity and the usual names."""
    upper = kind.upper()
    for word, meant in (
        ("BOOL", "BOOLEAN"),
        ("INT", "BIGINT"),
        ("CHAR", "VARCHAR"),
        ("CLOB", "VARCHAR"),
        ("TEXT", "VARCHAR"),
        ("REAL", "DOUBLE"),
        ("FLOA", "DOUBLE"),
        ("DOUB", "DOUBLE"),
        ("DATETIME", "TIMESTAMP"),
        ("TIMESTAMP", "TIMESTAMP"),
        ("DATE", "DATE"),
    ):
        if word in upper:
            return meant
    return "VARCHAR"


def _batches(cursor: sqlite3.Cursor, columns: Columns) -> Iterator[pa.RecordBatch]:
    names = [name for name, _ in columns]
    while rows := cursor.fetchmany(_BATCH_ROWS):
        parts = zip(zip(*rows, strict=True), columns, strict=True)
        yield pa.RecordBatch.from_arrays([_array(part, kind) for part, (_, kind) in parts], names)


def _array(values: tuple[Any, ...], kind: str) -> pa.Array:
    special, made = _ARROW.get(kind, (base.arrow_type(kind), None))
    try:
        if made is not None:
            values = tuple(None if value is None else made(value) for value in values)
        return pa.array(values, special)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise Failed(DRIFTED, "a value is not of its type") from error

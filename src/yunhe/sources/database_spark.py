"""Tables of a Spark Connect engine (Apache Spark, Sail): named ones, or Parquet it can reach.

In: `[connections.NAME]` of kind spark. Out: `database.Database`. What may be read is the operator's
word: tables of `schemas`, Parquet below `files`. Only text made by `dataplane.spark` is sent.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from yunhe.kernel import limits
from yunhe.sources import database as base
from yunhe.sources.connections import Connection
from yunhe.sources.database import FAILED, Bounds, Columns, DatabaseColumn, Failed, Stop
from yunhe.sources.errors import LocatorNotValid
from yunhe.sources.locator import Locator
from yunhe.sources.model import TableProfile
from yunhe.sources.spark_connect import Address, Session

_PART: Final = re.compile(r"[^\W\d][\w-]{0,127}")
_PATH: Final = re.compile(r"[\w=+-][\w.=+ -]*(/[\w=+-][\w.=+ -]*)*/?")
_ROOT: Final = re.compile(r"([a-z][a-z0-9+]{0,15}:/)?/[\w./=+ -]*")
# A first part that names a format makes Spark read the second as a path: never a schema of ours.
_FORMATS: Final = frozenset(
    [
        "parquet",
        "csv",
        "json",
        "text",
        "orc",
        "avro",
        "delta",
        "iceberg",
        "hudi",
        "xml",
        "binaryfile",
        "image",
        "jdbc",
        "libsvm",
        "kafka",
        "rate",
        "socket",
        "memory",
        "console",
        "noop",
        "hive",
        "python",
        "arrow",
        "vortex",
    ]
)
_UNSPEAKABLE: Final = re.compile(r"[`$\x00-\x1f\x7f]")


def quoted(name: str) -> str:
    """An identifier as Spark reads it."""
    return base.quoted(name, "`")


class SparkTable(base.AtConnection):
    """One table of a Spark Connect server; thread-safe, holds no session."""

    kind = "spark"

    def __init__(self, connection: Connection, locator: Locator) -> None:
        """Raises LocatorNotValid."""
        if Address.of(connection) is None:
            raise _bad(
                locator,
                "its connection's url is not sc://host:port",
                "连接的 url 应为 sc://主机:端口",
            )
        relation = _files(connection, locator) or _named(connection, locator)
        super().__init__(connection, locator, relation)

    @property
    def refuses(self) -> bool:
        """Whether the operator wants nothing shipped that the engine could not finish itself."""
        return self._connection.text("otherwise", "ship") == "refuse"

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns that can be read, with their types; raises Failed."""
        with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as session:
            found = session.columns(f"SELECT * FROM {self._table()}")  # noqa: S608
        names = [name.lower() for name, _ in found]
        made = tuple(
            DatabaseColumn(name, kind)
            for name, kind in found
            if kind and not _UNSPEAKABLE.search(name) and names.count(name.lower()) == 1
        )
        if not made:
            raise Failed(FAILED, "no such table")
        return made

    def understands(self, sql: str) -> bool:
        """Whether the engine's analyser takes a text of ours; nothing runs. Raises Failed."""
        with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as session:
            try:
                return bool(session.columns(sql))
            except Failed as error:
                if error.why == FAILED:
                    return False
                raise

    def fetch(self, sql: str, columns: Columns, out: Path, bounds: Bounds, stop: Stop) -> int:
        """As `Database.fetch`."""
        with self._session(bounds.seconds, stop) as session:
            return base.lay_down(session.run(sql), columns, out, bounds)

    def profile(self) -> TableProfile:
        """Counted exactly; distinct values approximately."""
        try:
            columns = self.shape()
            named = [quoted(column.name) for column in columns]
            asked = ["count(*)", *(f"count({name})" for name in named)]
            asked += [f"approx_count_distinct(CAST({name} AS STRING))" for name in named]
            items = ", ".join(f"{item} AS c{at}" for at, item in enumerate(asked))
            with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as session:
                (row,) = session.rows(f"SELECT {items} FROM {self._table()}")  # noqa: S608
        except Failed as error:
            raise base.away(self._locator, error) from error
        found = [int(value) for value in row.values()]
        most = 1 + len(columns)
        return base.profiled(self, columns, found[:most], found[most:], 0)

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """The first rows, as text."""
        try:
            columns = self.shape()
            items = ", ".join(
                f"CAST({quoted(column.name)} AS STRING) AS c{at}"
                for at, column in enumerate(columns)
            )
            with self._session(limits.SOURCE_ASK_S_MAX, Stop()) as session:
                found = session.rows(f"SELECT {items} FROM {self._table()} LIMIT {int(rows)}")  # noqa: S608
        except Failed as error:
            raise base.away(self._locator, error) from error
        names = [column.name for column in columns]
        return [dict(zip(names, row.values(), strict=True)) for row in found]

    def _table(self) -> str:
        return ".".join(map(quoted, self._relation))

    def _session(self, seconds: float, stop: Stop) -> Session:
        allowed = min(float(self._connection.text("statement_s", str(seconds))), seconds)
        return Session(self._connection, str(self._locator), allowed, stop)


def spark_table(database: base.Database) -> SparkTable:
    """The table of an engine behind what remembers its shape."""
    found = getattr(database, "database", database)
    assert isinstance(found, SparkTable)  # noqa: S101 - asked for tables of this kind only
    return found


def _files(connection: Connection, locator: Locator) -> tuple[str, ...]:
    """Parquet below the connection's `files`; empty where the locator names a table."""
    if not locator.options:
        return ()
    root = connection.text("files").rstrip("/")
    if locator.options.get("format") != "parquet":
        raise _bad(locator, "the format read there is parquet", "可读取的格式为 parquet")
    if not root or not _ROOT.fullmatch(root) or ".." in root.split("/"):
        raise _bad(locator, "its connection has no folder `files`", "连接未设置目录 files")
    if not _PATH.fullmatch(locator.path) or ".." in locator.path.split("/"):
        why = "a path of letters, digits and . = + - _ below the connection's folder"
        raise _bad(locator, why, "应为连接目录下由字母、数字及 . = + - _ 组成的路径")
    return "parquet", f"{root}/{locator.path}"


def _named(connection: Connection, locator: Locator) -> tuple[str, ...]:
    parts = base.names_of(locator, 2)
    allowed = connection.values.get("schemas", ())
    if len(parts) != 2 or not isinstance(allowed, tuple) or parts[0] not in allowed:
        why = "write schema.table, of a schema that its connection lists in `schemas`"
        raise _bad(locator, why, "应写为 模式.表，且该模式列于连接的 schemas 中")
    if parts[0].lower() in _FORMATS or not all(_PART.fullmatch(part) for part in parts):
        why = "a schema and a table are named by letters, digits, _ and -"
        raise _bad(locator, why, "模式与表名应由字母、数字、_ 和 - 组成")
    return parts


def _bad(locator: Locator, why: str, why_zh: str) -> LocatorNotValid:
    return LocatorNotValid(locator=str(locator)[:200], why=why, why_zh=why_zh)

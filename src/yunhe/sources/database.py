"""Databases asked where they are: what every engine must do, and the bounds it does it under.

In: a connection and a table there; SQL that `dataplane.pushdown` made. Out: the table's shape and
profile, and the answer of one query as one Parquet file with the types that were asked for. What
an engine says when it fails never leaves here: a `Failed` carries one of six words.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yunhe.kernel import limits
from yunhe.sources.connections import Connection
from yunhe.sources.errors import LocatorNotValid, SourceAway
from yunhe.sources.locator import Locator
from yunhe.sources.model import ColumnProfile, Drift, TableProfile

PRINT: Final = "yunhe_print"  # a keyed hash that every engine makes alike: `digest`
AWAY, FAILED, TIME, ROWS, DRIFTED = "away", "failed", "time", "rows", "drifted"
UNTESTED = "untested"


class Failed(Exception):
    """A query of ours did not end well: `why` is away, failed, time, rows, drifted or untested.

    `column`: where one of its values is of no type that it may have.
    """

    def __init__(self, why: str, detail: str = "", column: str = "") -> None:
        super().__init__(f"{why} {detail}".strip())
        self.why, self.column = why, column


@dataclass(frozen=True)
class DatabaseColumn:
    """One column: its DuckDB type, and how its values become of that type there.

    `native`: plain (they are), text or double (by an explicit cast), binary (a text whose own
    collation would call different texts equal).
    """

    name: str
    type: str
    native: str = "plain"


@dataclass(frozen=True)
class Bounds:
    """What one query may take: seconds in the engine, rows and bytes laid down here."""

    seconds: float
    rows: int = limits.PULL_ROWS_MAX
    bytes: int = limits.PULL_BYTES_MAX


class Stop:
    """Ends what runs in another thread, at once or as soon as it has begun."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._how: Callable[[], object] | None = None
        self.asked = False

    def by(self, how: Callable[[], object] | None) -> None:
        """From now on `how` ends it; None: nothing runs any more. Raises Failed if asked to."""
        with self._lock:
            self._how = how
            if self.asked and how is not None:
                raise Failed(TIME, "stopped before it began")

    def now(self) -> None:
        """End it. Idempotent, from any thread."""
        with self._lock:
            self.asked = True
            if self._how is not None:
                self._how()


class Database(Protocol):
    """One table of a database: `port.Live`, and what the data plane asks of it."""

    @property
    def locator(self) -> Locator:
        """Where it lies."""
        ...

    @property
    def place(self) -> str:
        """Equal for tables that one query can join."""
        ...

    @property
    def relation(self) -> tuple[str, ...]:
        """The table's name there: schema and table, or the table alone."""
        ...

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns as they are now; raises Failed."""
        ...

    def fetch(self, sql: str, columns: Columns, out: Path, bounds: Bounds, stop: Stop) -> int:
        """Run one query, read only, and lay its answer down at `out`; the rows. Raises Failed."""
        ...

    def profile(self) -> TableProfile:
        """As `port.Live`; raises SourceAway."""
        ...

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """As `port.Live`; raises SourceAway."""
        ...


class AtConnection:
    """What every engine's table has: where it lies, and at which connection."""

    kind: ClassVar[str]

    def __init__(self, connection: Connection, locator: Locator, relation: tuple[str, ...]) -> None:
        self._connection, self._locator, self._relation = connection, locator, relation

    @property
    def locator(self) -> Locator:
        """Where it lies."""
        return self._locator

    @property
    def place(self) -> str:
        """The connection: one session sees all its tables."""
        return f"{self.kind}:{self._connection.name}"

    @property
    def relation(self) -> tuple[str, ...]:
        """The table's name there, as it was given."""
        return self._relation


class Looked:
    """A `Database` whose shape, once seen, counts for a moment; thread-safe."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._seen: tuple[float, tuple[DatabaseColumn, ...]] | None = None

    @property
    def locator(self) -> Locator:
        """As `Database`."""
        return self.database.locator

    @property
    def place(self) -> str:
        """As `Database`."""
        return self.database.place

    @property
    def relation(self) -> tuple[str, ...]:
        """As `Database`."""
        return self.database.relation

    def shape(self) -> tuple[DatabaseColumn, ...]:
        """The columns as they were at most `SOURCE_CHECK_S` ago; raises Failed."""
        with self._lock:
            seen = self._seen
        if seen is not None and monotonic() < seen[0]:
            return seen[1]
        found = self.database.shape()
        with self._lock:
            self._seen = (monotonic() + limits.SOURCE_CHECK_S, found)
        return found

    def fetch(self, sql: str, columns: Columns, out: Path, bounds: Bounds, stop: Stop) -> int:
        """As `Database`."""
        return self.database.fetch(sql, columns, out, bounds, stop)

    def profile(self) -> TableProfile:
        """As `Database`."""
        return self.database.profile()

    def sample(self, rows: int) -> list[dict[str, Any]]:
        """As `Database`."""
        return self.database.sample(rows)


Columns = Sequence[tuple[str, str]]  # name -> DuckDB type, in order

_ARROW: Final = {
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "HUGEINT": pa.decimal128(38, 0),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type that DuckDB reads back as `kind` (HUGEINT: as DECIMAL(38,0))."""
    if kind.startswith("DECIMAL("):
        width, scale = (int(part) for part in kind[8:-1].split(","))
        return pa.decimal128(width, scale)
    return _ARROW[kind]


def lay_down(batches: Iterable[pa.RecordBatch], columns: Columns, out: Path, bounds: Bounds) -> int:
    """Write batches as one Parquet file of exactly these columns; how many rows.

    Raises Failed where a bound is met or a value is not of its column's type.
    """
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in columns])
    rows = held = 0
    with pq.ParquetWriter(out, schema, compression="snappy", write_statistics=False) as writer:
        for batch in batches:
            rows += batch.num_rows
            held += batch.nbytes
            if rows > bounds.rows or held > bounds.bytes:
                raise Failed(ROWS, "more would be shipped than one use may")
            if batch.num_rows:
                writer.write_batch(typed(batch, schema))
    return rows


def typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch under `schema`, every value kept; raises Failed."""
    if batch.num_columns != len(schema):
        raise Failed(FAILED, "another number of columns")
    try:
        made = [
            _cast(column, field.type) for column, field in zip(batch.columns, schema, strict=True)
        ]
    except (pa.ArrowException, ValueError) as error:
        raise Failed(FAILED, "a value is not of its type") from error
    return pa.RecordBatch.from_arrays(made, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if column.type == kind:
        return column
    if pa.types.is_string(column.type) and pa.types.is_timestamp(kind):
        return pc.cast(pc.cast(column, pa.timestamp("us")), kind)
    return pc.cast(column, kind)


def drifted(locator: Locator, found: Sequence[DatabaseColumn], pinned: Mapping[str, str]) -> Drift:
    """How a table differs from what was described; `pinned`: column -> DuckDB type."""
    now = {column.name: column.type for column in found}
    return Drift(
        gone=tuple(name for name in pinned if name not in now),
        changed={
            name: f"{locator}: {now[name]}"
            for name, kind in pinned.items()
            if name in now and now[name] != kind
        },
        extra=tuple(name for name in now if name not in pinned),
    )


def digest(*parts: object) -> int:
    """The first 60 bits of the MD5 of the parts, joined by `|`; the first is the key."""
    joined = "|".join("" if part is None else str(part) for part in parts)
    return int(hashlib.md5(joined.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def names_of(locator: Locator, most: int) -> tuple[str, ...]:
    """The parts of `schema.table`, at most `most`; raises LocatorNotValid."""
    parts = tuple(locator.path.split("."))
    if not 1 <= len(parts) <= most or not all(parts) or "\0" in locator.path:
        why, why_zh = "write table, or schema.table", "应写为 表 或 模式.表"
        raise LocatorNotValid(locator=str(locator)[:200], why=why, why_zh=why_zh)
    return parts


def quoted(name: str, mark: str = '"') -> str:
    """An identifier as the engine reads it."""
    return mark + name.replace(mark, mark * 2) + mark


def away(locator: Locator, error: Failed) -> SourceAway:
    """To the provider: that it failed and how, in our words."""
    why, why_zh = _WORDS[error.why]
    return SourceAway(str(error), path=str(locator), why=why, why_zh=why_zh)


_WORDS: Final = {
    AWAY: ("it cannot be reached, or refuses the user", "无法连接，或拒绝该用户"),
    FAILED: (
        "it refuses to read the table, which may not be there or not be its user's to read",
        "拒绝读取该表：表可能不存在，或该用户无权读取",
    ),
    TIME: ("it takes too long", "耗时过长"),
    ROWS: ("the answer is over a bound", "结果超出限制"),
    UNTESTED: ("its engine is of a version that was not tested", "其引擎版本未经测试"),
    DRIFTED: ("a value is not of its column's type", "有值与其列的类型不符"),
}


def profiled(
    database: Database,
    columns: Sequence[DatabaseColumn],
    counts: Sequence[int],
    distinct: Sequence[int],
    size: int,
) -> TableProfile:
    """A profile from what was counted: `counts` are rows, then those not NULL per column."""
    rows = counts[0]
    made = tuple(
        ColumnProfile(
            column.name,
            column.type,
            round(1 - counted / rows, 6) if rows else 0.0,
            min(many, rows),
        )
        for column, counted, many in zip(columns, counts[1:], distinct, strict=True)
    )
    return TableProfile(made, rows, size, (), str(database.locator))

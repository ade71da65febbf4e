"""What a verb sees of the database: SQL, the time, fresh ids, events, after-commit calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunhe.kernel.events import Events

Params = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Inserts:
    """Prepared single-row INSERTs of one SQLite writer: text and bind processors, made once."""

    def __init__(self, connection: sa.Connection) -> None:
        self._execute = connection.connection.driver_connection.execute  # type: ignore[union-attr]
        self._dialect = connection.dialect
        self._made: dict[sa.Table, tuple[str, list[tuple[str, Any]]]] = {}

    def insert(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert `values`; a column that is left out takes its database default or NULL."""
        made = self._made.get(table)
        if made is None:
            made = self._made[table] = self._make(table)
        text, columns = made
        self._execute(
            text,
            [
                process(values.get(name)) if process else values.get(name)
                for name, process in columns
            ],
        )

    def _make(self, table: sa.Table) -> tuple[str, list[tuple[str, Any]]]:
        columns = [
            (c.name, c.type.dialect_impl(self._dialect).bind_processor(self._dialect))
            for c in table.columns
        ]
        names = ", ".join(name for name, _ in columns)
        marks = ", ".join("?" for _ in columns)
        return f"INSERT INTO {table.name} ({names}) VALUES ({marks})", columns  # noqa: S608


class Tx:
    """One verb's transaction. Valid only inside the function that got it."""

    def __init__(
        self,
        connection: sa.Connection,
        now: datetime,
        events: Events,
        dialect: str,
        inserts: Inserts | None = None,
    ) -> None:
        self.connection = connection
        self.now = now
        self.dialect = dialect
        self._inserts = inserts
        self.after: list[Callable[[], None]] = []
        self._events = events

    def new_id(self) -> str:
        """A fresh UUID (version 4) as text."""
        raw = bytearray(os.urandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        text = raw.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def new_secret(self) -> bytes:
        """32 random bytes; with `new_id` the only randomness a verb may use."""
        return os.urandom(32)

    def insert(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert one row on a hot path: on SQLite past SQLAlchemy's machinery, with its types."""
        if self._inserts is None:
            self.execute(sa.insert(table), values)
        else:
            self._inserts.insert(table, values)

    def execute(self, statement: sa.Executable, params: Params = None) -> sa.CursorResult[Any]:
        """Run a Core statement; `rowcount` of an UPDATE is reliable on both engines."""
        if params is None:
            return self.connection.execute(statement)
        return self.connection.execute(statement, params)

    def one(self, statement: sa.Executable, params: Params = None) -> sa.Row[Any] | None:
        """The first row, or None."""
        return self.execute(statement, params).first()

    def all(self, statement: sa.Executable, params: Params = None) -> Sequence[sa.Row[Any]]:
        """Every row."""
        return self.execute(statement, params).all()

    def scalar(self, statement: sa.Executable, params: Params = None) -> Any:
        """The first column of the first row, or None."""
        return self.execute(statement, params).scalar()

    def insert_once(self, table: sa.Table, values: Mapping[str, Any]) -> bool:
        """Insert unless a unique key is taken; True if this call inserted the row."""
        maker = postgresql.insert if self.dialect == "postgresql" else sqlite.insert
        once = maker(table).on_conflict_do_nothing().returning(sa.literal(1))
        return self.execute(once, values).first() is not None

    def emit(self, event: object) -> None:
        """Run the event's handlers now, inside this transaction."""
        self._events.emit(self, event)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Run `call` once the commit is durable: wake-ups and rebuildable caches only."""
        self.after.append(call)

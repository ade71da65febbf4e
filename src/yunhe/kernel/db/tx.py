"""What a verb sees of the database: SQL, the time, fresh ids, events, after-commit calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from yunhe.kernel.events import Events

Params = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Tx:
    """One verb's transaction. Valid only inside the function that got it."""

    def __init__(
        self, connection: sa.Connection, now: datetime, events: Events, dialect: str
    ) -> None:
        self.connection = connection
        self.now = now
        self.dialect = dialect
        self.after: list[Callable[[], None]] = []
        self._events = events

    def new_id(self) -> str:
        """A fresh UUID text; the only randomness a verb may use."""
        return str(uuid.uuid4())

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

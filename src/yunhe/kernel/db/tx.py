"""What a verb sees of the database: SQL, the time, fresh ids, events, after-commit calls."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from yunhe.kernel.db.prepared import Prepared
from yunhe.kernel.events import Events

_ALONE = sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("key", type_=sa.BigInteger)))
Params = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


@functools.cache  # a statement a table, and there are as many tables as the house declares
def _insert_once(table: sa.Table) -> sa.Executable:
    return postgresql.insert(table).on_conflict_do_nothing().returning(sa.literal(1))


class Tx:
    """One verb's transaction. Valid only inside the function that got it."""

    def __init__(
        self,
        connection: sa.Connection,
        now: datetime,
        events: Events,
        dialect: str,
        prepared: Prepared | None = None,
    ) -> None:
        self.connection = connection
        self.now = now
        self.dialect = dialect
        self._prepared = prepared
        self._after: dict[object, Callable[[], None]] = {}
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

    # The next four, and `insert_once`, are for hot paths: they go past SQLAlchemy, with its types.

    def insert(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert one row; a column that is left out has its default, or NULL."""
        if self._prepared is None:
            self.execute(sa.insert(table), values)
        else:
            self._prepared.insert(table, values)

    def change(self, statement: sa.Executable, values: Mapping[str, Any]) -> int:
        """Run a statement that is built once, at import; how many rows it changed."""
        if self._prepared is None:
            return self.execute(statement, values).rowcount
        return self._prepared.change(statement, values)

    def change_each(self, statement: sa.Executable, values: Sequence[Mapping[str, Any]]) -> None:
        """As `change`, once for each of `values`."""
        if self._prepared is None:
            self.execute(statement, values)
        else:
            self._prepared.change_each(statement, values)

    def rows(self, statement: sa.Executable, values: Mapping[str, Any]) -> Sequence[Any]:
        """The rows of a SELECT of columns that is built once, at import; as tuples."""
        if self._prepared is None:
            return self.all(statement, values)
        return self._prepared.rows(statement, values)

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

    def scalar(self, statement: sa.Executable) -> Any:
        """The first column of the first row, or None."""
        return self.execute(statement).scalar()

    def insert_once(self, table: sa.Table, values: Mapping[str, Any]) -> bool:
        """Insert unless a unique key is taken; True if this call inserted the row."""
        if self._prepared is not None:
            return self._prepared.insert_once(table, values)
        return self.execute(_insert_once(table), values).first() is not None

    def alone(self, *names: str) -> None:
        """Until this transaction ends, no other says the same `names`: for what is read, and made
        where it is not there. It waits for one that did; what it reads then is what that one left.

        Nothing on SQLite, where verbs run one at a time anyhow. Raises DatabaseBusy.
        """
        if self.dialect == "postgresql":
            said = hashlib.sha256(json.dumps(names).encode()).digest()
            self.rows(_ALONE, {"key": int.from_bytes(said[:8], "big", signed=True)})

    def emit(self, event: object) -> None:
        """Run the event's handlers now, inside this transaction."""
        self._events.emit(self, event)

    @property
    def after(self) -> Iterable[Callable[[], None]]:
        """What is to be called after the commit."""
        return self._after.values()

    def after_commit(self, call: Callable[[], None], key: object = None) -> None:
        """Run `call` once the commit is durable: wake-ups and rebuildable caches only.

        Of the calls with one `key`, only the last is made.
        """
        self._after[object() if key is None else key] = call

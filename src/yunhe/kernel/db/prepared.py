"""Core statements prepared once for a connection: their text, and the house's column types.

In: a statement built at import, and values by name. Out: rows as tuples, or the number of rows
changed. What SQLAlchemy does again for every execution costs more than the database's own work;
the hot statements of a verb pay it once here and keep their meaning, on SQLite (values by their
place) and on PostgreSQL (values by name).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

Values = Mapping[str, Any]
_Converter = Callable[[Any], Any] | None
_Given = list[Any] | dict[str, Any]


class Prepared:
    """The prepared statements of one connection; used by one thread at a time."""

    def __init__(self, connection: sa.Connection) -> None:
        self._raw: Any = connection.connection.driver_connection
        self._dialect = connection.dialect
        self._made: dict[object, _Statement] = {}
        self._inserts: dict[tuple[sa.Table, bool, tuple[str, ...]], _Statement] = {}

    def insert(self, table: sa.Table, values: Values) -> None:
        """Insert one row; a column that is left out has its default, or NULL."""
        made = self._insert(table, False, values)
        self._raw.execute(made.text, made.bind(values))

    def insert_once(self, table: sa.Table, values: Values) -> bool:
        """As `insert`, unless a unique key is taken; True if this call inserted the row."""
        made = self._insert(table, True, values)
        inserted: int = self._raw.execute(made.text, made.bind(values)).rowcount
        return inserted == 1

    def change(self, statement: sa.Executable, values: Values) -> int:
        """Run an INSERT, UPDATE or DELETE; how many rows it changed."""
        made = self._statement(statement)
        changed: int = self._raw.execute(made.text, made.bind(values)).rowcount
        return changed

    def change_each(self, statement: sa.Executable, values: Sequence[Values]) -> None:
        """Run an INSERT, UPDATE or DELETE once for each of `values`."""
        made = self._statement(statement)
        self._raw.cursor().executemany(made.text, [made.bind(each) for each in values])

    def rows(self, statement: sa.Executable, values: Values) -> list[tuple[Any, ...]]:
        """Run a SELECT of columns."""
        made = self._statement(statement)
        return made.read(self._raw.execute(made.text, made.bind(values)).fetchall())

    def _insert(self, table: sa.Table, once: bool, values: Values) -> _Statement:
        key = table, once, tuple(values)
        made = self._inserts.get(key)
        if made is None:
            made = self._inserts[key] = _Insert(table, once, key[2], self._dialect)
        return made

    def _statement(self, statement: sa.Executable) -> _Statement:
        # By identity: the statement is kept here, so its id is not given to another.
        made = self._made.get(statement)
        if made is None:
            made = self._made[statement] = _Compiled(statement, self._dialect)
        return made


class _Statement:
    """SQL text, the converter of each of its parameters, and of each column it returns."""

    text: str
    named = False  # the text has its parameters by name
    names: list[tuple[str, Any, _Converter]]  # parameter, what it is if not given, converter
    columns: list[tuple[int, Callable[[Any], Any]]]  # by place: the converters that there are

    def bind(self, values: Values) -> _Given:
        """The parameters in the order of the text, or by their names."""
        if self.named:
            return {
                name: convert(values.get(name, default)) if convert else values.get(name, default)
                for name, default, convert in self.names
            }
        return [
            convert(values.get(name, default)) if convert else values.get(name, default)
            for name, default, convert in self.names
        ]

    def read(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows with the column types' values."""
        if not self.columns:
            return rows
        found = []
        for row in rows:
            values = list(row)
            for at, convert in self.columns:
                values[at] = convert(values[at])
            found.append(tuple(values))
        return found


class _Insert(_Statement):
    def __init__(
        self, table: sa.Table, once: bool, given: tuple[str, ...], dialect: sa.Dialect
    ) -> None:
        self.named = not dialect.positional
        self.names = [(name, None, _to_database(table.c[name].type, dialect)) for name in given]
        columns = ", ".join(given)
        marks = ", ".join(f"%({name})s" if self.named else "?" for name in given)
        self.text = f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"  # noqa: S608
        if once:
            self.text += " ON CONFLICT DO NOTHING"
        self.columns = []


class _Compiled(_Statement):
    def __init__(self, statement: sa.Executable, dialect: sa.Dialect) -> None:
        made = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.named = not dialect.positional
        self.text = made.string
        self.names = [
            (name, made.params[name], _to_database(made.binds[name].type, dialect))
            for name in (made.params if self.named else made.positiontup or ())
        ]
        selected = statement.selected_columns if isinstance(statement, sa.Select) else ()
        converters = (
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in selected
        )
        self.columns = [(at, each) for at, each in enumerate(converters) if each is not None]


def _to_database(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> _Converter:
    return kind.dialect_impl(dialect).bind_processor(dialect)

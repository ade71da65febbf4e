"""Core statements prepared once for the SQLite writer: their text, and the house's column types.

In: a statement built at import, and values by name. Out: rows as tuples, or the number of rows
changed. What SQLAlchemy does again for every execution costs more than SQLite's own work; the
hot statements of a verb pay it once here and keep their meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

Values = Mapping[str, Any]
_Converter = Callable[[Any], Any] | None


class Prepared:
    """The prepared statements of one connection; used by its writer thread alone."""

    def __init__(self, connection: sa.Connection) -> None:
        self._raw: Any = connection.connection.driver_connection
        self._dialect = connection.dialect
        self._made: dict[object, _Statement] = {}
        self._inserts: dict[tuple[sa.Table, bool], _Statement] = {}

    def insert(self, table: sa.Table, values: Values) -> None:
        """Insert one row; a column that is left out becomes NULL."""
        made = self._insert(table, False)
        self._raw.execute(made.text, made.bind(values))

    def insert_once(self, table: sa.Table, values: Values) -> bool:
        """As `insert`, unless a unique key is taken; True if this call inserted the row."""
        made = self._insert(table, True)
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
        self._raw.executemany(made.text, [made.bind(each) for each in values])

    def rows(self, statement: sa.Executable, values: Values) -> list[tuple[Any, ...]]:
        """Run a SELECT of columns."""
        made = self._statement(statement)
        return made.read(self._raw.execute(made.text, made.bind(values)).fetchall())

    def _insert(self, table: sa.Table, once: bool) -> _Statement:
        made = self._inserts.get((table, once))
        if made is None:
            made = self._inserts[table, once] = _Insert(table, once, self._dialect)
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
    names: list[tuple[str, Any, _Converter]]  # parameter, what it is if not given, converter
    columns: list[_Converter]

    def bind(self, values: Values) -> list[Any]:
        """The parameters in the order of the text."""
        return [
            convert(values.get(name, default)) if convert else values.get(name, default)
            for name, default, convert in self.names
        ]

    def read(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The rows with the column types' values."""
        if not any(self.columns):
            return rows
        return [
            tuple(
                convert(value) if convert else value
                for value, convert in zip(row, self.columns, strict=True)
            )
            for row in rows
        ]


class _Insert(_Statement):
    def __init__(self, table: sa.Table, once: bool, dialect: sa.Dialect) -> None:
        self.names = [(c.name, None, _to_database(c.type, dialect)) for c in table.columns]
        columns = ", ".join(c.name for c in table.columns)
        marks = ", ".join("?" for _ in table.columns)
        self.text = f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"  # noqa: S608
        if once:
            self.text += " ON CONFLICT DO NOTHING"
        self.columns = []


class _Compiled(_Statement):
    def __init__(self, statement: sa.Executable, dialect: sa.Dialect) -> None:
        made = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self.text = made.string
        self.names = [
            (name, made.params[name], _to_database(made.binds[name].type, dialect))
            for name in made.positiontup or ()
        ]
        selected = statement.selected_columns if isinstance(statement, sa.Select) else ()
        self.columns = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in selected
        ]


def _to_database(kind: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> _Converter:
    return kind.dialect_impl(dialect).bind_processor(dialect)

"""What our own engine says of expressions and queries without a row: types, constants.

In: text of our own SQL. Out: DuckDB's answer over empty tables, under the settings of a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb

from yunhe.dataplane.spark_values import NotSent
from yunhe.sources import quoted

Types = Mapping[str, Mapping[str, str]]  # table -> column -> DuckDB type


class Engine:
    """One connection over empty tables; use as a context manager, from one thread."""

    def __init__(self, types: Types) -> None:
        self._con = duckdb.connect(
            ":memory:", config={"enable_external_access": "false", "threads": 1}
        )
        self._kinds: dict[str, str] = {}
        for text in ("SET TimeZone = 'UTC'", "CREATE SCHEMA data"):
            self._con.execute(text)
        for name in ("mask_key", "audit_key"):
            self._con.execute(f"SET VARIABLE {name} = ''")
        for table, columns in types.items():
            self.add(table, tuple(columns.items()))

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self._con.close()

    def add(self, table: str, columns: Sequence[tuple[str, str]]) -> None:
        """One more empty table."""
        listed = ", ".join(f"{quoted(name)} {kind}" for name, kind in columns)
        self._con.execute(f"CREATE TABLE data.{quoted(table)} ({listed})")

    def kind(self, sql: str) -> str:
        """The type of an expression without columns; raises NotSent."""
        if sql not in self._kinds:
            try:
                found = self._con.execute(f"DESCRIBE SELECT {sql} AS x").fetchall()
            except duckdb.Error as error:
                raise NotSent("its types are not plain") from error
            self._kinds[sql] = str(found[0][1])
        return self._kinds[sql]

    def constant(self, sql: str) -> tuple[str, str | None]:
        """Type and text of an expression without columns; raises NotSent."""
        try:
            asked = f"SELECT typeof(x), CAST(x AS VARCHAR) FROM (SELECT {sql} AS x)"  # noqa: S608
            found = self._con.execute(asked).fetchall()
        except duckdb.Error as error:
            raise NotSent("a constant that fails stays here") from error
        return str(found[0][0]), None if found[0][1] is None else str(found[0][1])

    def describe(self, sql: str) -> list[tuple[str, str]]:
        """Names and types of a query's columns; raises NotSent."""
        try:
            found = self._con.execute(f"DESCRIBE {sql}").fetchall()
        except duckdb.Error as error:
            raise NotSent("its types are not plain") from error
        return [(str(name), str(kind)) for name, kind, *_ in found]

"""A real Sail server as a process of its own, and the same tables here and there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.sail import server

from yunhe.contracts import Terms
from yunhe.dataplane import Databases, Governed, GroupTooSmall, TableBinding, govern
from yunhe.dataplane.pushdown import Plan
from yunhe.sources import Connections, Stop, open_live, parse
from yunhe.sources.spark_connect import Session

KEYS = {"mask_key": "5a1f", "audit_key": "77c0"}


class Lake:
    """Tables as Parquet that Sail reads, and the same files as our own engine reads them."""

    def __init__(self, url: str, folder: Path, **more: Any) -> None:
        self.folder = folder / "lake"
        self.folder.mkdir()
        lake = {"kind": "spark", "url": url, "files": str(self.folder), **more}
        self.connections = Connections({"lake": lake})
        self.files: dict[str, TableBinding] = {}
        self.stored: dict[str, TableBinding] = {}
        self.databases = Databases(self.open, folder / "pulled")
        self.con = engine()

    def open(self, source: str) -> Any:
        return open_live(parse(source), self.connections)

    def add(self, name: str, table: pa.Table, key: str | None = "id") -> None:
        """One more table."""
        file = self.folder / f"{name}-{len(os.listdir(self.folder))}.parquet"
        pq.write_table(table, file)
        source = f"spark:lake/{file.name}?format=parquet"
        types = {column.name: column.type for column in self.open(source).shape()}
        here = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        assert types.items() <= {row[0]: row[1] for row in here}.items()
        key = key if key in types else None
        self.files[name] = TableBinding(types, (str(file),), key)
        self.stored[name] = TableBinding(types, (), key, (source,))

    def here(self, sql: str, terms: Terms) -> pa.Table:
        """The answer of our own engine over the files."""
        governed = govern(sql, self.files, terms)
        plan = governed.sql, governed.groups_sql, governed.k
        return bare(self.con, plan, _paths(self.files))

    def plan(self, sql: str, terms: Terms) -> tuple[Governed, Plan]:
        governed = govern(sql, self.stored, terms)
        planned = self.databases.planned(governed, self.stored)
        assert planned is not None
        return governed, planned

    def there(self, sql: str, terms: Terms) -> tuple[pa.Table, Plan]:
        """The answer where the tables are Sail's."""
        governed, planned = self.plan(sql, terms)
        keys = KEYS["audit_key"], KEYS["mask_key"]
        with self.databases.ship(planned, self.stored, lambda: None, *keys) as shipped:
            plan = planned.sql, planned.groups_sql, governed.k
            return bare(self.con, plan, dict(shipped.tables)), planned

    def asked(self, sql: str) -> list[dict[str, Any]]:
        """Straight to Sail, by the tests alone."""
        connection = self.connections.get("lake", "spark")
        with Session(connection, "test", 20, Stop()) as session:
            return session.rows(sql)


def _paths(tables: Mapping[str, TableBinding]) -> dict[str, tuple[str, ...]]:
    return {name: each.source for name, each in tables.items()}


def engine() -> duckdb.DuckDBPyConnection:
    """Our own engine as a worker has it."""
    con = duckdb.connect(config={"threads": "1"})
    con.execute("SET TimeZone = 'UTC'")
    with contextlib.suppress(duckdb.CatalogException):
        con.execute("SET error_on_division_by_zero = false")
    for name, value in KEYS.items():
        con.execute(f"SET VARIABLE {name} = '{value}'")
    return con


def bare(
    con: duckdb.DuckDBPyConnection,
    plan: tuple[str, str | None, int],
    files: Mapping[str, tuple[str, ...]],
) -> pa.Table:
    """What a worker does with `sql`, `groups_sql` and k, without a process around it."""
    sql, groups_sql, k = plan
    con.execute("DROP SCHEMA IF EXISTS data CASCADE; CREATE SCHEMA data")
    for name, paths in files.items():
        con.execute(f'CREATE VIEW data."{name}" AS SELECT * FROM read_parquet({list(paths)})')
    if groups_sql is not None:
        con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {groups_sql}")
        con.execute("DELETE FROM groups WHERE __entities < ?", [k])
        if not con.execute("SELECT count(*) FROM groups").fetchall()[0][0]:
            raise GroupTooSmall
    return con.sql(sql).to_arrow_table()


@contextlib.contextmanager
def lake(**more: Any) -> Iterator[Lake]:
    """A server, and a lake without tables."""
    with tempfile.TemporaryDirectory(prefix="yunhe-sail-") as home:
        folder = Path(home)
        given = os.environ.get("YUNHE_SPARK_URL")  # another engine, held against the same corpus
        if given:
            yield Lake(given, folder, **more)
            return
        try:
            with server(folder) as url:
                yield Lake(url, folder, **more)
        except FileNotFoundError as error:
            pytest.skip(str(error))


__all__ = ["Lake", "bare", "engine", "lake"]

"""The same tables as files and in databases, and the questions asked of both."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pymysql
import sqlalchemy as sa

from dataplane.hospital import ROWS, Hospital
from yunhe.contracts import Terms
from yunhe.dataplane import Binding, Job, Pool, TableBinding, govern
from yunhe.dataplane.pushdown_fetch import Databases
from yunhe.sources.connections import Connection
from yunhe.sources.database import Database
from yunhe.sources.database_mysql import MysqlTable
from yunhe.sources.database_postgresql import PostgresTable
from yunhe.sources.database_sqlite import SqliteTable
from yunhe.sources.locator import parse

PATIENTS = """
    SELECT i::BIGINT AS id, 20 + i % 60 AS "Age",
        CASE WHEN i % 10 = 0 THEN 'CANARY-' || i WHEN i % 7 = 0 THEN '中' || i WHEN i % 11 = 0
            THEN 'a''b' ELSE 'Name ' || i END AS name,
        CASE WHEN i % 10 = 0 THEN 'west' ELSE 'east' END AS region,
        (CASE WHEN i % 10 = 0 THEN 77777 ELSE 66666 END)::BIGINT AS salary,
        DATE '1950-01-01' + (i * 37 % 20000)::INT AS birth,
        CASE WHEN i % 2 = 0 THEN 'f' WHEN i % 5 = 0 THEN NULL ELSE 'M' END AS sex,
        '44-' || i AS phone, i % 3 = 0 AS smoker
    FROM range(1, 301) t(i)
"""
LABS = """
    SELECT (i % 310 + 1)::BIGINT AS id, ((i * 7 % 100) / 8.0)::DOUBLE AS value,
        (i % 4)::BIGINT AS code, (9000000000000000000 + i)::BIGINT AS big,
        TIMESTAMP '2020-01-01 00:00:00' + INTERVAL 1 HOUR * i AS seen,
        (CASE WHEN i % 5 = 0 THEN NULL ELSE i END)::BIGINT AS rare
    FROM range(900) t(i)
"""
TERMS = replace(
    ROWS,
    columns=tuple(
        f"{table}.{column}"
        for table, columns in (
            ("patients", ("id", "Age", "name", "birth", "sex", "phone", "smoker")),
            ("labs", ("id", "value", "code", "big", "seen", "rare")),
        )
        for column in columns
    ),
    row_filters=(("patients", "region = 'east' AND salary < 77000"),),
)
CLEAR = replace(TERMS, masks=())
# SQL, and how many tables' worth of rows may be shipped: True where groups are made there.
QUERIES = [
    ("SELECT count(*) FROM patients", True),
    ("SELECT sex, count(*) n FROM patients GROUP BY sex ORDER BY sex", True),
    ("SELECT sex, count(*) n FROM patients GROUP BY ALL ORDER BY n DESC, sex NULLS FIRST", True),
    ("SELECT code, sum(value), avg(value), min(value), max(value) FROM labs GROUP BY code", True),
    ("SELECT code, sum(big) s, avg(big) a, avg(rare) FROM labs GROUP BY code ORDER BY code", True),
    ("SELECT sum(-1 * id) FROM labs", False),
    ("SELECT count(DISTINCT sex), count(DISTINCT name), count(sex) FROM patients", True),
    ("SELECT min(name), max(name) FROM patients", True),
    ("SELECT birth, count(*) FROM patients GROUP BY birth HAVING count(*) > 1 ORDER BY 1", True),
    ("SELECT sum(rare) * 2 + count(*) x FROM labs WHERE code IN (1, 2)", True),
    ("SELECT round(avg(value), 2) FROM labs WHERE value BETWEEN 1.5 AND 9", True),
    ("SELECT DISTINCT code FROM labs ORDER BY code DESC", True),
    ("SELECT max(id) AS a1, code FROM labs GROUP BY code ORDER BY max(value), 2 LIMIT 2", True),
    ("SELECT p.sex, avg(l.value) FROM patients p JOIN labs l ON p.id = l.id GROUP BY 1", True),
    (("SELECT p.sex, count(l.rare) FROM patients p LEFT JOIN labs l ON p.id = l.id AND l.code = 1 "
     "GROUP BY p.sex"), True),
    ("SELECT smoker, count(*) FROM patients WHERE smoker OR sex = 'f' GROUP BY smoker", True),
    ("SELECT count(*) FROM patients WHERE sex <> 'f' AND NOT (smoker IS TRUE)", True),
    ("SELECT count(*) FROM patients WHERE name > 'Z' OR name = 'a''b'", True),
    ("SELECT count(*) FROM labs WHERE seen >= '2020-01-05' AND rare IS NOT NULL", True),
    (("SELECT CASE WHEN value > 5 THEN 'high' ELSE 'low' END AS band, count(*) FROM labs "
     "GROUP BY 1"), True),
    ("SELECT year(seen) y, month(seen) m, count(*) FROM labs GROUP BY 1, 2", True),
    ("SELECT coalesce(sex, 'none') s, count(*) FROM patients GROUP BY 1", True),
    ("SELECT count(*) FROM labs WHERE rare = NULL", True),
    ("SELECT code / 3 q, count(*) FROM labs GROUP BY 1", False),
    ("SELECT lower(name) FROM patients WHERE id < 20", False),
    ("SELECT * FROM labs WHERE id = 7", False),
    ("SELECT id, name FROM patients ORDER BY name LIMIT 5", False),
    ("SELECT id, sex FROM patients ORDER BY sex DESC, id LIMIT 5 OFFSET 3", False),
    ("SELECT id FROM labs WHERE value > 3 ORDER BY seen DESC LIMIT 4", False),
    ("SELECT median(value) FROM labs WHERE code = 2", False),
    ("SELECT id, row_number() OVER (ORDER BY seen) r FROM labs WHERE code = 1", False),
    (("WITH x AS (SELECT id, value FROM labs WHERE code = 3) SELECT a.id, b.value FROM x a "
     "JOIN x b ON a.id = b.id WHERE a.value < 2"), False),
    ("SELECT id FROM patients WHERE id IN (SELECT id FROM labs WHERE code = 1)", False),
    ("SELECT id FROM labs WHERE id < 5 UNION SELECT id FROM patients WHERE id < 9", False),
    (("SELECT name, sum(value) FROM patients p JOIN labs l ON p.id = l.id "
     "WHERE p.id < 9 AND l.value > 1 GROUP BY name"), None),
]  # fmt: skip


@dataclass
class Twin:
    """The same tables twice: as files and in a database."""

    files: dict[str, TableBinding]
    stored: dict[str, TableBinding]
    databases: Databases
    pool: Pool
    known: dict[Any, pa.Table] = field(default_factory=dict)  # what the files say, for all kinds

    def here(self, sql: str, terms: Terms) -> pa.Table:
        key = (sql, terms, str({name: each.columns for name, each in self.files.items()}))
        if key not in self.known:
            self.known[key] = Hospital(self.files, self.pool, Path()).ask(sql, terms)
        return self.known[key]

    def there(self, sql: str, terms: Terms) -> tuple[pa.Table, list[tuple[str, int]]]:
        """The answer, and what was shipped: SQL and rows of each fetch."""
        return self.printed(sql, terms)[:2]

    def printed(self, sql: str, terms: Terms) -> tuple[pa.Table, list[tuple[str, int]], list[Any]]:
        """As `there`, and the prints of the groups."""
        governed = govern(sql, self.stored, terms)
        plan = self.databases.planned(governed, self.stored)
        assert plan is not None
        with self.databases.ship(plan, self.stored, lambda: None, "salt") as shipped:
            rows = [
                (
                    fetch.sql,
                    duckdb.sql(
                        f"SELECT count(*) FROM '{dict(shipped.tables)[fetch.name][0]}'"
                    ).fetchall()[0][0],
                )
                for fetch in plan.fetches
            ]
            job = Job(plan.sql, plan.groups_sql, governed.k, None)
            running = self.pool.run(Binding("c2", shipped.tables, "pepper", "salt"), job)
            return pa.ipc.open_stream(b"".join(running)).read_all(), rows, running.prints


def frames() -> dict[str, pa.Table]:
    return {
        "patients": duckdb.sql(PATIENTS).to_arrow_table(),
        "labs": duckdb.sql(LABS).to_arrow_table(),
    }


def make_twin(kind: str, folder: Path, pool: Pool, url: str) -> Twin:
    laid = frames()
    connection = fill(kind, folder, url, laid)
    files, stored = {}, {}
    for name, frame in laid.items():
        file = folder / f"{name}.parquet"
        duckdb.sql("SELECT * FROM frame").write_parquet(str(file))
        table = opened(connection, name)
        types = {column.name: column.type for column in table.shape()}
        files[name] = TableBinding(types, (str(file),), "id")
        pa.parquet.write_table(cast(frame, types), file)
        stored[name] = TableBinding(types, (str(table.locator),), "id")

    def open_(source: str) -> Database:
        return opened(connection, parse(source).path)

    return Twin(files, stored, Databases(open_, folder / "pulled"), pool)


def cast(frame: pa.Table, types: dict[str, str]) -> pa.Table:
    items = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in types.items())
    return duckdb.sql(f"SELECT {items} FROM frame").to_arrow_table()


def opened(connection: Connection, name: str) -> Database:
    locator = parse(f"{connection.kind}:{connection.name}/{name}")
    if connection.kind == "sqlite":
        return SqliteTable(connection, locator)
    if connection.kind == "mysql":
        return MysqlTable(connection, locator)
    return PostgresTable(connection, locator)


def fill(kind: str, folder: Path, url: str, frames: dict[str, pa.Table]) -> Connection:
    """Lay the tables down in a new database; the connection to it."""
    if kind == "sqlite":
        file = folder / "hospital.db"
        con = sqlite3.connect(file)
        names = {"int64": "INTEGER", "int32": "INTEGER", "double": "REAL", "bool": "BOOLEAN",
                 "date32[day]": "DATE", "timestamp[us]": "DATETIME"}  # fmt: skip
        for name, frame in frames.items():
            columns = ", ".join(
                f'"{f.name}" {names.get(str(f.type), "TEXT")}' for f in frame.schema
            )
            con.execute(f'CREATE TABLE "{name}" ({columns})')
            rows = [
                [str(v) if hasattr(v, "isoformat") else v for v in row.values()]
                for row in frame.to_pylist()
            ]
            marks = ", ".join("?" * len(frame.schema))
            con.executemany(f'INSERT INTO "{name}" VALUES ({marks})', rows)
        con.commit()
        con.close()
        return Connection("his", "sqlite", MappingProxyType({"file": str(file)}))
    if kind == "mysql":
        return _fill_mysql(url, frames)
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    names = {"int64": "BIGINT", "int32": "INTEGER", "double": "DOUBLE PRECISION",
             "bool": "BOOLEAN", "date32[day]": "DATE", "timestamp[us]": "TIMESTAMP"}  # fmt: skip
    with engine.begin() as con:
        for name, frame in frames.items():
            columns = ", ".join(
                f'"{f.name}" {names.get(str(f.type), "TEXT")}' for f in frame.schema
            )
            con.exec_driver_sql(f'CREATE TABLE "{name}" ({columns})')
            marks = ", ".join(["%s"] * len(frame.schema))
            con.exec_driver_sql(
                f'INSERT INTO "{name}" VALUES ({marks})',
                [tuple(row.values()) for row in frame.to_pylist()],
            )
    engine.dispose()
    found = sa.make_url(url)
    return Connection(
        "his",
        "postgresql",
        MappingProxyType(
            {"host": str(found.query["host"]), "database": str(found.database), "user": "yunhe"}
        ),
    )


def _fill_mysql(socket: str, frames: dict[str, pa.Table]) -> Connection:
    """In the Chinese national encoding, under a collation that calls `a`, `A` and `a ` equal."""
    names = {"int64": "BIGINT", "int32": "INTEGER", "double": "DOUBLE", "bool": "BOOLEAN",
             "date32[day]": "DATE", "timestamp[us]": "DATETIME"}  # fmt: skip
    con = pymysql.connect(unix_socket=socket, user="yunhe", password="pw", database="pushed",
                          charset="utf8mb4", autocommit=False)  # fmt: skip
    with con, con.cursor() as cursor:
        for name, frame in frames.items():
            columns = ", ".join(
                f"`{f.name}` {names.get(str(f.type), 'VARCHAR(100)')}" for f in frame.schema
            )
            cursor.execute(f"DROP TABLE IF EXISTS `{name}`")
            cursor.execute(f"CREATE TABLE `{name}` ({columns}) CHARACTER SET gbk")
            marks = ", ".join(["%s"] * len(frame.schema))
            rows = [tuple(row.values()) for row in frame.to_pylist()]
            cursor.executemany(f"INSERT INTO `{name}` VALUES ({marks})", rows)
        con.commit()
    values = {"host": socket, "database": "pushed", "user": "yunhe"}
    return Connection(
        "his",
        "mysql",
        MappingProxyType(values),
        MappingProxyType({"password": "env:MARIADB_TEST_PASSWORD"}),
    )

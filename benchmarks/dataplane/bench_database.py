"""A governed aggregate over five million rows in PostgreSQL, against psql doing it there.

Ours is the whole way of a use's data: gate, plan, the database, the shipped groups, a worker, Arrow
bytes. psql is the client of the same server, asked for the same groups with the policy's filter.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.common import Result, paired
from benchmarks.postgres import binaries, server
from yunhe.contracts import Terms
from yunhe.dataplane import Binding, Databases, Job, Pool, TableBinding, govern
from yunhe.sources import Connections, open_live, parse

ROWS = 5_000_000
RUNS = 7
TARGET = 1.3
FILL = f"""
    CREATE TABLE labs AS SELECT i::bigint AS id, mod(i::bigint * 7919, 1000) / 8.0::float8 AS value,
        mod(i, 20)::int AS code, CASE WHEN mod(i, 10) = 0 THEN 'west' ELSE 'east' END AS region
    FROM generate_series(1, {ROWS}) t(i)
"""
ASKED = "SELECT code, count(*) AS n, avg(value) AS mean, max(value) AS top FROM labs GROUP BY code"
TERMS = Terms(
    purposes=("research",),
    columns=("labs.id", "labs.value", "labs.code"),
    row_filters=(("labs", "region = 'east'"),),
)


@contextmanager
def _filled() -> Iterator[tuple[str, int]]:
    with server() as started:
        url, _ = started.database("bench")
        engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as con:
            con.exec_driver_sql(FILL)
            con.exec_driver_sql("VACUUM ANALYZE labs")
        engine.dispose()
        yield url, started.port


def run() -> list[Result]:
    """One row: ours over psql's."""
    with _filled() as (url, port), tempfile.TemporaryDirectory() as home, Pool(2, 1) as pool:
        table = {"kind": "postgresql", "host": "127.0.0.1", "port": port, "database": "bench"}
        connections = Connections({"his": {**table, "user": "yunhe"}})
        databases = Databases(
            lambda text: open_live(parse(text), connections), Path(home) / "pulled"
        )
        source = "postgresql:his/labs"
        shape = open_live(parse(source), connections).shape()
        tables = {"labs": TableBinding({c.name: c.type for c in shape}, (), "id", (source,))}
        psql = [str(binaries() / "psql"), url, "-XAtc"]
        plain = ASKED.replace("GROUP", "WHERE region = 'east' GROUP")

        def ours() -> None:
            governed = govern(ASKED, tables, TERMS)
            job = Job(governed.sql, governed.groups_sql, governed.k, None)
            binding = Binding("bench", (), "key")
            for _ in databases.run(pool, binding, job, governed, tables, lambda: None):
                pass

        def theirs() -> None:
            subprocess.run([*psql, plain], check=True, capture_output=True)

        mine, floor, ratio = paired(ours, theirs, RUNS)
    return [
        Result(
            "PostgreSQL: aggregate over 5 M rows",
            f"{mine * 1000:.0f} ms",
            f"psql on the same server: {floor * 1000:.0f} ms",
            ratio,
            f"<= {TARGET}",
            ratio <= TARGET,
        )
    ]

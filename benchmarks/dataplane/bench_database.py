"""Governed aggregates over five million rows in PostgreSQL, against psql doing them there.

Ours is the whole way of a use's data: gate, plan, the database, its answer, a worker, Arrow bytes.
psql is the client of the same server, asked for the same groups with the policy's filter; under a
minimum group, for those of enough patients, which is the least of what ours makes sure of: that
nobody outweighs a group, and that its answer differs from none before by a few, it does not ask.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from benchmarks.common import Result, paired
from benchmarks.postgres import binaries, server
from yunhe.contracts import Terms
from yunhe.dataplane import Binding, Databases, Job, Pool, TableBinding, govern
from yunhe.sources import Connections, open_live, parse

ROWS = 5_000_000
PATIENTS = 50_000
K = 10
RUNS = 7
TARGET = 1.3
FILL = f"""
    CREATE TABLE labs AS SELECT i::bigint AS id, mod(i::bigint * 7919, 1000) / 8.0::float8 AS value,
        mod(i, 20)::int AS code, mod(i::bigint * 7919, {PATIENTS}) AS patient,
        CASE WHEN mod(i, 10) = 0 THEN 'west' ELSE 'east' END AS region
    FROM generate_series(1, {ROWS}) t(i)
"""
ASKED = "SELECT code, count(*) AS n, avg(value) AS mean, max(value) AS top FROM labs GROUP BY code"
TERMS = Terms(
    purposes=("research",),
    columns=("labs.id", "labs.value", "labs.code"),
    row_filters=(("labs", "region = 'east'"),),
)
GUARDED = replace(TERMS, minimum_group=K)
SUMMED = "SELECT code, count(*) AS n, sum(value) AS total FROM labs GROUP BY code"


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
    """Two rows: ours over psql's, without and under a minimum group."""
    with _filled() as (url, port), tempfile.TemporaryDirectory() as home, Pool(2, 1) as pool:
        table = {"kind": "postgresql", "host": "127.0.0.1", "port": port, "database": "bench"}
        connections = Connections({"his": {**table, "user": "yunhe"}})
        databases = Databases(
            lambda text: open_live(parse(text), connections), Path(home) / "pulled"
        )
        source = "postgresql:his/labs"
        shape = open_live(parse(source), connections).shape()
        types = {column.name: column.type for column in shape}
        tables = {"labs": TableBinding(types, (), "patient", (source,))}
        psql = [str(binaries() / "psql"), url, "-XAtc"]

        def ours(sql: str, terms: Terms) -> None:
            governed = govern(sql, tables, terms)
            job = Job(governed.sql, governed.groups_sql, governed.k, None)
            binding = Binding("bench", (), "key", "key")
            for _ in databases.run(pool, binding, job, governed, tables, lambda: None):
                pass

        def theirs(sql: str) -> None:
            asked = sql.replace("GROUP", "WHERE region = 'east' GROUP")
            subprocess.run([*psql, asked], check=True, capture_output=True)

        plain = paired(lambda: ours(ASKED, TERMS), lambda: theirs(ASKED), RUNS)
        enough = f"{SUMMED} HAVING count(DISTINCT patient) >= {K}"
        guarded = paired(lambda: ours(SUMMED, GUARDED), lambda: theirs(enough), RUNS)
    return [
        _row("PostgreSQL: aggregate over 5 M rows", "psql on the same server", plain, TARGET),
        _row("PostgreSQL: the same, minimum group 10", "psql, count(DISTINCT)", guarded, None),
    ]


def _row(
    name: str, baseline: str, found: tuple[float, float, float], target: float | None
) -> Result:
    mine, floor, ratio = found
    return Result(
        name,
        f"{mine * 1000:.0f} ms",
        f"{baseline}: {floor * 1000:.0f} ms",
        ratio,
        "" if target is None else f"<= {target}",
        None if target is None else ratio <= target,
    )

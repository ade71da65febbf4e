"""What a program costs that runs beside the data: its SQL through the host, and raw in DuckDB.

Ours: three node processes; a run asked for at the consumer's node until its released result lies
there: message, admission, gate and worker of the aggregate rule (k = 10 patients, bounded, printed
for the audit), release, digest, evidence, charge, fetch, receipt. Start-up: the same run over 1,000
rows, where there is next to nothing to compute; without it: what is left of the large one. Floors:
the same text on raw DuckDB in this process, and SQL by hand that protects as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from benchmarks import data
from benchmarks.common import Result, seconds
from benchmarks.world import PURPOSE, World, listed, world
from yunhe.dataplane.bounding import share
from yunhe.sdk import Terms

K: Final = 10
ROWS: Final = 10_000_000
FEW: Final = 1_000
RUNS: Final = 7
SQL: Final = (
    "SELECT ward, count(*) AS n, avg(value) AS mean FROM visits WHERE year >= $since"
    " GROUP BY ward ORDER BY ward"
)
PYTHON: Final = """
import numpy as np

def run(inputs, parameters):
    return {"n": int(np.sum(inputs["visits"]["year"].to_numpy() >= parameters["since"]))}
"""
SINCE: Final = {"since": {"type": "integer", "minimum": 2000, "maximum": 2100}}
OVER: Final = ("released", "held", "refused", "failed")
Run = Callable[[], Any]


def forms() -> tuple[dict[str, Any], dict[str, Any]]:
    """The manifests: of the SQL, of the Python program."""
    numbers = {"numbers": ["n"]}
    sql = {"name": "by-ward", "version": "1", "kind": "sql", "parameters": SINCE}
    inputs = {"visits": {"year": "INTEGER"}}
    python = sql | {"name": "since", "kind": "python", "inputs": inputs, "libraries": ["numpy"]}
    return sql | {"output": {"numbers": ["n", "mean"]}}, python | {"output": numbers}


def deployed(made: World, app: dict[str, Any], file: str, rule: str) -> Run:
    """One run of a version over a file of visits, under a contract of its own."""
    tables = [{"name": "visits", "paths": [file], "entity_key": "patient"}]
    columns = tuple(f"visits.{name}" for name in ("patient", "ward", "value", "year"))
    terms = Terms((PURPOSE,), columns, per_use_fen=1, applications=(app["reference"],))
    terms = Terms.from_json(terms.to_json() | {"release": rule})
    apps = made.consumer.apps
    offer = made.consumer.offer(listed(made.spaces, tables, terms))
    key = apps.deploy(app["digest"], made.consumer.negotiate(offer))["id"]

    def run() -> Any:
        job = apps.start(key, PURPOSE, {"since": 2016})
        while job["state"] not in OVER:
            time.sleep(0.005)
            job = apps.job(job["id"])
        if job["state"] != "released":
            raise RuntimeError(job["code"])
        return apps.result(job["id"])

    return run


def medians(*works: Run) -> list[float]:
    """Of each in seconds, taken in turns."""
    for work in works:
        work()
    taken = [[seconds(work) for work in works] for _ in range(RUNS)]
    return [statistics.median(each) for each in zip(*taken, strict=True)]


def by_hand(file: Path) -> str:
    """What protects as well as the rule does: groups of k patients, none of them most of one."""
    source = f"FROM read_parquet('{file}') WHERE year >= 2016 GROUP BY ward, patient"
    return (
        "SELECT ward, sum(n) AS n, sum(s) / sum(c) AS mean FROM (SELECT ward, count(*) AS n,"
        f" count(value) AS c, sum(value) AS s {source}) GROUP BY ward HAVING count(*) >= {K}"
        f" AND {share(K)} * max(n) <= sum(n) AND {share(K)} * max(c) <= sum(c)"
        " AND 2 * max(abs(s)) <= sum(abs(s)) ORDER BY ward"
    )


def rows(made: World, con: duckdb.DuckDBPyConnection) -> Iterator[Result]:
    """The figures."""
    large, few = (made.file(name) for name in ("large", "few"))
    data.visits(large, ROWS)
    data.visits(few, FEW)
    sql, python = forms()
    apps = made.consumer.apps
    app = apps.publish(sql, SQL)
    rule = f"aggregate;k={K};rows=100;digits=9;bytes=65536"
    ours = deployed(made, app, large.name, rule)
    start = deployed(made, app, few.name, rule)
    text = SQL.replace("$since", "2016").replace("FROM visits", f"FROM read_parquet('{large}')")

    def bare() -> pa.Table:
        return con.sql(text).to_arrow_table()

    def safe() -> pa.Table:
        return con.sql(by_hand(large)).to_arrow_table()

    got, due = (table.to_pydict()["n"] for table in (ours(), bare()))
    if got != due:
        raise RuntimeError(f"{got} instead of {due}")
    whole, begun, raw, hand = medians(ours, start, bare, safe)
    said = f"{ROWS // 10**6} M rows"
    for name, took, floor, of in (
        ("an application's SQL, whole run", whole, raw, "raw DuckDB"),
        ("without its start-up", whole - begun, raw, "raw DuckDB"),
        ("without its start-up", whole - begun, hand, "DuckDB, as safe by hand"),
    ):
        told = f"{floor * 1000:.0f} ms {of}, {said}"
        yield Result(name, f"{took * 1000:.0f} ms", told, took / floor, "reported", None)
    counted = deployed(
        made, apps.publish(python, PYTHON), few.name, "model-metrics;rows=1;digits=9;bytes=4096"
    )
    (program,) = medians(counted)
    for name, took in (("SQL", begun), ("Python with numpy", program)):
        told = f"asked until fetched, {FEW:,} rows"
        yield Result(f"start-up of a run, {name}", f"{took * 1000:.0f} ms", told, None, "", None)


def run() -> Iterator[Result]:
    """The rows of `make bench-dataplane`."""
    with world() as made, duckdb.connect() as con:
        con.execute("SET threads = 2")
        yield from rows(made, con)

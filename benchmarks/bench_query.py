"""Governed queries: over ten million rows in a worker, and a small one on its whole path.

Aggregate: our gate, worker process and pipe against the governed SQL a careful person would
write by hand (row filter, groups of fewer than k patients dropped), run by DuckDB in this process
with as many threads. In that SQL one patient may be nearly all of a group, in ours not; so beside
it stands SQL that protects as well (but makes no print for the overlap audit). Small query: SDK ->
own node -> provider -> back, durable evidence and meter at both ends, against as many empty HTTP
hops and durable commits, and the query on raw DuckDB.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa

from benchmarks import data, world
from benchmarks.common import Result, paired
from benchmarks.empty import Floor
from yunhe.contracts import Terms
from yunhe.dataplane import Binding, Job, Pool, TableBinding, WorkerLimits, govern
from yunhe.dataplane.bounding import share

K = 10
ASKED = (
    "SELECT ward, count(*) AS n, avg(value) AS mean, sum(value) AS total"
    " FROM visits GROUP BY ward ORDER BY ward"
)
THREADS = 2


def aggregate() -> list[Result]:
    """Ten million rows, aggregate-only with k = 10 patients."""
    with tempfile.TemporaryDirectory() as name, duckdb.connect() as con:
        file = str(data.visits(Path(name) / "visits.parquet", data.ROWS_AGGREGATE))
        columns = {"patient": "INTEGER", "ward": "INTEGER", "value": "DOUBLE", "year": "INTEGER"}
        tables = {"visits": TableBinding(columns, (file,), "patient")}
        terms = Terms(
            ("benchmark",),
            tuple(f"visits.{name}" for name in columns),
            row_filters=(("visits", "year >= 2016"),),
            minimum_group=K,
        )
        con.execute(f"SET threads = {THREADS}")
        source = f"FROM read_parquet('{file}') WHERE year >= 2016 GROUP BY ward"
        measures = "SELECT ward, count(*) AS n, avg(value) AS mean, sum(value) AS total"
        by_hand = f"{measures} {source} HAVING count(DISTINCT patient) >= {K} ORDER BY ward"
        weighed = (
            "SELECT ward, sum(n) AS n, sum(s) / sum(c) AS mean, sum(s) AS total FROM (SELECT ward,"
            f" patient, count(*) AS n, count(value) AS c, sum(value) AS s {source}, patient)"
            f" GROUP BY ward HAVING count(*) >= {K} AND {share(K)} * max(n) <= sum(n)"
            f" AND {share(K)} * max(c) <= sum(c) AND 2 * max(abs(s)) <= sum(abs(s)) ORDER BY ward"
        )
        bare = f"{measures} {source} ORDER BY ward"
        binding = Binding("bench", (("visits", (file,)),))
        with Pool(1, 1, WorkerLimits(threads=THREADS)) as pool:

            def ours() -> pa.Table:
                governed = govern(ASKED, tables, terms)
                job = Job(governed.sql, governed.groups_sql, governed.k, 1000)
                body = b"".join(pool.run(binding, job))
                return pa.ipc.open_stream(body).read_all()

            def raw(sql: str) -> pa.Table:
                return con.sql(sql).to_arrow_table()

            got = [(row["ward"], row["n"]) for row in ours().to_pylist()]
            for sql in (by_hand, weighed):
                assert got == [(row["ward"], row["n"]) for row in raw(sql).to_pylist()]
            governed_s, hand_s, ratio = paired(ours, lambda: raw(by_hand), 7)
            as_much_s, weighed_s, alike = paired(ours, lambda: raw(weighed), 7)
            plain_s, bare_s, price = paired(ours, lambda: raw(bare), 5)
    return [
        Result(
            "governed aggregate, 10 M synthetic rows",
            f"{governed_s * 1000:.0f} ms",
            f"hand-written governed SQL: {hand_s * 1000:.0f} ms",
            ratio,
            "<= 1.05",
            ratio <= 1.05,
        ),
        Result(
            "  against as much protection by hand",
            f"{as_much_s * 1000:.0f} ms",
            f"and nobody outweighs: {weighed_s * 1000:.0f} ms",
            alike,
            "<= 1.05",
            alike <= 1.05,
        ),
        Result(
            "  price over the bare row filter",
            f"{plain_s * 1000:.0f} ms",
            f"row filter alone: {bare_s * 1000:.0f} ms",
            price,
            "",
            None,
        ),
    ]


def small(home: world.World, runs: int = 40) -> list[Result]:
    """The whole path of a small query, p50; `home` is running."""
    _, contract = home.contract()

    def ours() -> None:
        home.consumer.sql(world.SMALL, contract, world.PURPOSE)

    ours()
    hops, commits = home.on_path(ours)
    file = home.file("small")
    raw = world.SMALL.replace("FROM small", f"FROM read_parquet('{file}') WHERE year >= 2016")
    with Floor(home.folder) as floor, duckdb.connect() as con:
        con.execute("SET parquet_metadata_cache = true")

        def base() -> None:
            floor.hops(hops)
            floor.commits(commits)
            con.sql(raw).to_arrow_table()

        ours_s, floor_s, ratio = paired(ours, base, runs)
    return [
        Result(
            "small governed query, whole path, p50",
            f"{ours_s * 1000:.1f} ms",
            f"{hops} hops + {commits} commits + raw: {floor_s * 1000:.1f} ms",
            ratio,
            "<= 3",
            ratio <= 3,
        )
    ]


if __name__ == "__main__":
    for result in aggregate():
        print(result.line())
    with world.world() as running:
        for result in small(running):
            print(result.line())

"""From the provider's catalogue to the first batch under a fresh contract, and contracts a second.

Ours: read the offer, negotiate over DSP until both have signed, open the transfer, run the first
query, all between processes. Floor: as many empty HTTP hops and durable commits as the nodes
counted on that path, one after the other, and the query on raw DuckDB.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

import duckdb

from benchmarks import world
from benchmarks.common import Result, seconds
from benchmarks.empty import Floor

_REST_S = 0.4  # the provider starts the next spare worker meanwhile


def first_batch(home: world.World, runs: int = 15) -> list[Result]:
    """Catalogue -> agreement -> first batch, p50."""

    def ours() -> None:
        _, contract = home.contract()
        with home.consumer.sql_stream(world.SMALL, contract, world.PURPOSE) as batches:
            next(iter(batches))

    ours()
    hops, commits = home.on_path(ours)
    file = home.file("small")
    raw = world.SMALL.replace("FROM small", f"FROM read_parquet('{file}') WHERE year >= 2016")
    with Floor(home.folder) as floor, duckdb.connect() as con:

        def base() -> None:
            floor.hops(hops)
            floor.commits(commits)
            con.sql(raw).to_arrow_table()

        def rested(work: Callable[[], None]) -> float:
            home.settle()  # the p50 of one agreement, not of a queue of them
            time.sleep(_REST_S)  # both sides begin after the same rest
            return seconds(work)

        base()
        pairs = [(rested(ours), rested(base)) for _ in range(runs)]
    ours_s, floor_s = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return [
        Result(
            "catalogue -> agreement -> first batch, p50",
            f"{ours_s * 1000:.0f} ms",
            f"{hops} hops + {commits} commits + raw: {floor_s * 1000:.0f} ms",
            ratio,
            "<= 3",
            ratio <= 3,
        )
    ]


def rate(home: world.World, callers: int, period_s: float = 5.0) -> Result:
    """Negotiations finished a second, from offer to a contract signed by both."""
    offer = home.consumer.offer(home.code)
    done = [0] * callers
    until = time.perf_counter() + period_s

    def work(me: int) -> None:
        while time.perf_counter() < until:
            home.consumer.negotiate(offer)
            done[me] += 1

    threads = [threading.Thread(target=work, args=(me,)) for me in range(callers)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    name = f"negotiations a second, {callers} at once"
    return Result(name, f"{sum(done) / took:.1f}/s", "none", None, "", None)


def run(home: world.World) -> list[Result]:
    """All lines of this file; `home` is running."""
    return [*first_batch(home), rate(home, 1), rate(home, 16)]


if __name__ == "__main__":
    with world.world() as running:
        for result in run(running):
            print(result.line())

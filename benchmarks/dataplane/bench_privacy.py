"""What the privacy of aggregates costs, and how often differencing and averaging succeed.

Cost: one governed aggregate by a worker against the same SQL bare on DuckDB in this process, over
1 million rows of 100,000 entities. Attacks: random neighbours, answered or not, as the audit of the
node says (control.overlap); before it, every pair was answered.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import duckdb

from benchmarks.common import Result, paired
from yunhe.contracts import Privacy, Terms
from yunhe.control import Answered, answered
from yunhe.control.overlap import overlaps
from yunhe.dataplane import Binding, Job, Pool, TableBinding, WorkerLimits, govern
from yunhe.dataplane.bounding import buckets

ROWS: Final = 1_000_000
K: Final = 10
TRIALS: Final = 60
THREADS: Final = 2
QUERY: Final = "SELECT g, count(*) AS n, sum(x) AS s, avg(y) AS m FROM t GROUP BY g"
BUDGET: Final = Privacy.parse(
    "epsilon=1;delta=0.000001;query=0.1;groups=7;rows=10;t.x=0..100;t.y=0..1"
)


def terms(*, private: bool = False, k: int = K) -> Terms:
    """The contract of the rows."""
    columns = ("t.e", "t.g", "t.x", "t.y", "t.z")
    return Terms(("research",), columns, minimum_group=k, privacy=BUDGET if private else None)


class Plane:
    """One table, its pool, and what the worker says of each group."""

    def __init__(self, pool: Pool, file: Path) -> None:
        shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        bound = TableBinding({row[0]: row[1] for row in shape}, (str(file),), "e")
        self.tables: Mapping[str, TableBinding] = {"t": bound}
        self.pool = pool
        self.binding = Binding("c1", (("t", (str(file),)),), "mask", "audit")

    def ask(self, sql: str, agreed: Terms) -> Answered | None:
        """Run it; the answer as the audit sees it, or None where it was withheld."""
        made = govern(sql, self.tables, agreed)
        recipe = None if made.recipe is None else made.recipe.to_json()
        running = self.pool.run(self.binding, Job(made.sql, made.groups_sql, made.k, None, recipe))
        b"".join(running)
        return answered("t", made.k or 1, "f", made.summed, running.prints, buckets(made.k or 1))


def costs(plane: Plane, con: duckdb.DuckDBPyConnection) -> list[Result]:
    """The same figures by rows, by minimum group and under a budget."""
    found = []
    for name, agreed in (
        ("aggregate, rows agreed", terms(k=0)),
        ("aggregate, bounded and audited", terms()),
        ("aggregate, privacy budget", terms(private=True)),
    ):
        ours, floor, ratio = paired(
            lambda agreed=agreed: plane.ask(QUERY, agreed),  # type: ignore[misc]
            lambda: con.execute(QUERY).fetchall(),
            5,
        )
        said = f"{ours * 1000:.0f} ms", f"{floor * 1000:.0f} ms bare DuckDB, 1 M rows"
        found.append(Result(name, *said, ratio, "reported", None))
    return found


def differencing(plane: Plane) -> Result:
    """The whole of a random predicate, and the same less one to nine entities."""
    chance = random.Random(11)  # noqa: S311 the same trials each time
    won = tried = 0
    for _ in range(TRIALS):
        low, size = chance.randrange(50_000), chance.randrange(1, K)
        where = f"e >= {low}"
        cut = f"z >= {low + 1_000} AND z < {low + 1_000 + size}"
        whole = plane.ask(f"SELECT sum(x) AS s FROM t WHERE z >= {low}", terms())
        less = plane.ask(f"SELECT sum(x) AS s FROM t WHERE z >= {low} AND NOT ({cut})", terms())
        if whole is None or less is None:
            raise AssertionError(where)
        tried += 1
        won += not overlaps(less, [whole])
    name = "differencing attacks that succeed"
    return Result(name, f"{won}/{tried}", f"{tried}/{tried} before the audit", None, "0", won == 0)


def run() -> list[Result]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "t.parquet"
        text = (
            f"SELECT i % 100000 AS e, i % 7 AS g, (i * 7919) % 100 AS x,"
            f" ((i * 31) % 1000) / 1000.0 AS y, i % 100000 AS z FROM range({ROWS}) t(i)"
        )
        duckdb.execute(f"COPY ({text}) TO '{file}' (FORMAT parquet)")
        con = duckdb.connect(config={"threads": THREADS})
        con.execute(f"CREATE VIEW t AS SELECT * FROM '{file}'")
        with Pool(2, 1, WorkerLimits(threads=THREADS)) as pool:
            plane = Plane(pool, file)
            return [*costs(plane, con), differencing(plane)]

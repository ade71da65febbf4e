"""TPC-H at scale factor 1 under a policy that touches every table, and what each policy kind costs.

Ours: the gate (which reads a question once, as in a node; that cost has a row of its own), a worker
process and its pipe, to an Arrow table here. Baseline: the same policy written by hand as views on
raw DuckDB in this process, as many threads. All 22 answers must be equal. The price rows compare
one governed query with the bare one, where nothing is hidden.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from benchmarks.common import Result, paired
from yunhe.contracts import Mask, Terms
from yunhe.dataplane import Binding, Job, Pool, TableBinding, WorkerLimits, govern
from yunhe.dataplane.kept import KeptGate

THREADS: Final = 2
RUNS: Final = 3
KEY: Final = "pepper"
TABLES: Final = (
    "customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier",
)  # fmt: skip
FILTERS: Final = {
    "customer": "c_mktsegment <> 'MACHINERY'",
    "lineitem": "l_shipmode <> 'FOB' AND l_quantity < 50",
    "nation": "n_nationkey <> 21",
    "orders": "o_orderpriority <> '5-LOW'",
    "part": "p_size BETWEEN 1 AND 48",
    "partsupp": "ps_availqty > 100",
    "region": "r_regionkey >= 0",
    "supplier": "s_acctbal > -900",
}
# column -> the mask of the contract, and what a careful person writes for it
MASKS: Final = {
    "customer.c_name": ("hash", f"left(sha256('{KEY}' || c_name), 32)"),
    "customer.c_address": ("null", "NULL::VARCHAR"),
    "customer.c_phone": ("left:2", "left(c_phone, 2)"),
    "lineitem.l_comment": ("null", "NULL::VARCHAR"),
    "nation.n_comment": ("null", "NULL::VARCHAR"),
    "orders.o_clerk": ("hash", f"left(sha256('{KEY}' || o_clerk), 32)"),
    "part.p_retailprice": ("round:10", "round(p_retailprice / 10) * 10"),
    "partsupp.ps_comment": ("null", "NULL::VARCHAR"),
    "region.r_comment": ("null", "NULL::VARCHAR"),
    "supplier.s_phone": ("left:2", "left(s_phone, 2)"),
}
PROBE: Final = (
    "SELECT max(o_clerk) AS a, max(o_comment) AS b, max(o_orderdate) AS c, sum(o_totalprice) AS d"
    " FROM orders"
)
KINDS: Final[Mapping[str, dict[str, Any]]] = {
    "no policy": {},
    "row filter": {"row_filters": (("orders", FILTERS["orders"]),)},
    "mask null": {"masks": (Mask("orders.o_clerk", "null"),)},
    "mask left": {"masks": (Mask("orders.o_clerk", "left:6"),)},
    "mask hash": {"masks": (Mask("orders.o_clerk", "hash"),)},
    "mask year": {"masks": (Mask("orders.o_orderdate", "year"),)},
    "mask round": {"masks": (Mask("orders.o_totalprice", "round:100"),)},
}


@dataclass(frozen=True)
class Data:
    """The files and their columns."""

    tables: Mapping[str, TableBinding]

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, as a contract spells them."""
        return tuple(f"{t}.{c}" for t, bound in self.tables.items() for c in bound.columns)

    def binding(self, name: str) -> Binding:
        """A worker's."""
        return Binding(name, tuple((t, b.source) for t, b in self.tables.items()), KEY)


def queries() -> list[str]:
    """The 22 texts."""
    text = Path(__file__).with_name("tpch.sql").read_text("utf-8")
    return [part.partition("\n")[2].strip().rstrip(";") for part in text.split("-- Q")[1:]][-22:]


def generate(folder: Path) -> Data:
    """Scale factor 1 as Parquet."""
    program = Path(sys.executable).with_name("tpchgen-cli")
    if not program.exists():
        raise SystemExit("tpchgen-cli is missing: pip install -c constraints.txt 'yunhe[dev]'")
    subprocess.run(
        [str(program), "parquet", "-s", "1", "--output-dir", str(folder)],
        check=True,
        capture_output=True,
    )
    tables = {}
    for name in TABLES:
        file = str(folder / f"{name}.parquet")
        shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        key = "o_custkey" if name == "orders" else None
        tables[name] = TableBinding({row[0]: row[1] for row in shape}, (file,), key)
    return Data(tables)


def by_hand(con: duckdb.DuckDBPyConnection, data: Data, *, governed: bool) -> None:
    """The tables as views: with the policy in them, or bare."""
    for name, bound in data.tables.items():
        shown = {
            column: MASKS[f"{name}.{column}"][1]
            if governed and f"{name}.{column}" in MASKS
            else column
            for column in bound.columns
        }
        listed = ", ".join(f"{text} AS {column}" for column, text in shown.items())
        where = f" WHERE {FILTERS[name]}" if governed else ""
        con.execute(
            f"CREATE OR REPLACE VIEW {name} AS SELECT {listed} FROM"
            f" read_parquet('{bound.source[0]}'){where}"
        )


def ask(
    pool: Pool, gate: KeptGate, data: Data, sql: str, terms: Terms, name: str = "power"
) -> pa.Table:
    """One governed query to an Arrow table here, through the gate as the data plane keeps it."""
    governed = gate.govern(name, sql, data.tables, terms)
    if governed.groups_sql is not None:
        raise AssertionError("row mode only")
    body = b"".join(pool.run(data.binding(name), Job(governed.sql, careful=governed.careful)))
    return pa.ipc.open_stream(body).read_all()


def _bag(table: pa.Table) -> Counter[tuple[str, ...]]:
    rows = (tuple(row.values()) for row in table.to_pylist())
    return Counter(tuple(_cell(cell) for cell in row) for row in rows)


def _cell(cell: Any) -> str:
    try:
        return f"{float(cell):.8g}"
    except (TypeError, ValueError):
        return str(cell)


@dataclass
class _Spent:
    """Seconds of ours and of the baseline: by the wall, and of processors (worker included)."""

    wall: tuple[float, float]
    cpu: tuple[float, float]


def _power(pool: Pool, con: duckdb.DuckDBPyConnection, data: Data) -> list[Result]:
    """All 22, each pair one after the other; the ratio is that of the sums."""
    terms = Terms(
        ("benchmark",),
        data.columns,
        row_filters=tuple(FILTERS.items()),
        masks=tuple(Mask(column, method) for column, (method, _) in MASKS.items()),
    )
    by_hand(con, data, governed=True)
    equal, rounds, gate = 0, [], KeptGate()
    started = time.process_time()
    for sql in queries():
        govern(sql, data.tables, terms)
    reading = (time.process_time() - started) / len(queries())
    for sql in queries():
        got, due = ask(pool, gate, data, sql, terms), con.sql(sql).to_arrow_table()
        equal += _bag(got) == _bag(due)
        rounds.append([_pair(pool, gate, con, data, sql, terms) for _ in range(RUNS)])
    cpu, wall = (_summed(rounds, which) for which in ("cpu", "wall"))
    return [
        Result(
            "TPC-H SF1, policy on 8 tables, by the wall",
            f"{wall[0]:.1f} s",
            f"policy by hand on raw DuckDB: {wall[1]:.1f} s",
            wall[0] / wall[1],
            "<= 1.05",
            wall[0] / wall[1] <= 1.05,
        ),
        Result(
            "  processor time",
            f"{cpu[0]:.1f} s",
            f"policy by hand on raw DuckDB: {cpu[1]:.1f} s",
            cpu[0] / cpu[1],
            "",
            None,
        ),
        Result("  the gate, reading a query anew", f"{reading * 1000:.1f} ms", "-", None, "", None),
        Result("  answers equal", f"{equal} of 22", "the same by hand", None, "22", equal == 22),
    ]


def _summed(rounds: list[list[_Spent]], which: str) -> tuple[float, float]:
    """The sums over all queries, a run each, of ours and of the baseline."""
    ours, floor = (
        sum(statistics.fmean(getattr(spent, which)[side] for spent in runs) for runs in rounds)
        for side in (0, 1)
    )
    return ours, floor


def _pair(
    pool: Pool,
    gate: KeptGate,
    con: duckdb.DuckDBPyConnection,
    data: Data,
    sql: str,
    terms: Terms,
) -> _Spent:
    marks = [_clocks()]
    ask(pool, gate, data, sql, terms)
    marks.append(_clocks())
    con.sql(sql).to_arrow_table()
    marks.append(_clocks())
    (w0, c0), (w1, c1), (w2, c2) = marks
    return _Spent((w1 - w0, w2 - w1), (c1 - c0, c2 - c1))


def _clocks() -> tuple[float, float]:
    """The wall, and the processor time of this process and of its workers."""
    wall, ticks = time.perf_counter(), 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended: none of ours
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                ticks += int(fields[11]) + int(fields[12])
    return wall, time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _prices(pool: Pool, con: duckdb.DuckDBPyConnection, data: Data) -> list[Result]:
    """One query under one kind of policy at a time, over the bare query."""
    by_hand(con, data, governed=False)
    found, gate = [], KeptGate()
    for kind, more in KINDS.items():
        terms = Terms(("benchmark",), data.columns, **more)
        ours, bare, ratio = paired(
            lambda terms=terms: ask(pool, gate, data, PROBE, terms),
            lambda: con.sql(PROBE).to_arrow_table(),
            7,
        )
        label = f"  price of {kind}, 1.5 M rows"
        bare_text = f"bare query: {bare * 1000:.0f} ms"
        found.append(Result(label, f"{ours * 1000:.0f} ms", bare_text, ratio, "", None))
    return found


def run() -> list[Result]:
    """The power run, then the prices."""
    with tempfile.TemporaryDirectory(prefix="yunhe-tpch-") as folder, duckdb.connect() as con:
        data = generate(Path(folder))
        con.execute(f"SET threads = {THREADS}")
        con.execute("SET memory_limit = '2GB'")
        con.execute("SET parquet_metadata_cache = true")  # as the worker has it
        with Pool(1, 0, WorkerLimits(threads=THREADS)) as pool:
            return [*_power(pool, con, data), *_prices(pool, con, data)]

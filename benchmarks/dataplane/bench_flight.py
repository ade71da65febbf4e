"""Flight SQL by the stock ADBC driver, and its HTTP twin, against DuckDB -> Arrow in this process.

Same Parquet file, same columns, all read to the last record batch by this one process. Direct: the
provider's data plane straight to the client. Relayed: as every user has it, through their own
node, which checks, hashes and counts each byte for its signed receipt. Medians of paired runs.
Bare: DuckDB behind a Flight server of twenty lines (bare_flight.py), read by the same driver: what
the protocol and the driver themselves take.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import adbc_driver_flightsql.dbapi as flightsql

from benchmarks import bench_stream, world
from benchmarks.common import Result
from yunhe.demo.nodes import free_ports
from yunhe.sdk import Contract

ROWS = 8_000_000
RUNS = 5
SMALL_RUNS = 100
_HEADER = "adbc.flight.sql.rpc.call_header."


def _read(address: str, headers: dict[str, str]) -> tuple[float, int]:
    """Seconds and bytes from connecting to the last batch."""
    options = {f"{_HEADER}{name}": value for name, value in headers.items()}
    started = time.perf_counter()
    with (
        flightsql.connect(address, db_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(bench_stream.SQL)
        size = sum(batch.nbytes for batch in cursor.fetch_record_batch())
    return time.perf_counter() - started, size


def _token(home: world.World) -> str:
    """The consumer's own user."""
    return (home.nodes["r"].home / "var" / "admin.token").read_text("utf-8").strip()


def _small(home: world.World, contract: Contract, address: str) -> tuple[float, float]:
    """Median seconds of one small query on a kept connection: Flight SQL, the SDK."""
    options = {
        f"{_HEADER}authorization": f"Bearer {_token(home)}",
        f"{_HEADER}x-agreement-id": contract.id,
    }
    flight, http = [], []
    with (
        flightsql.connect(address, db_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        for _ in range(SMALL_RUNS):
            started = time.perf_counter()
            cursor.execute(world.SMALL)
            cursor.fetch_arrow_table()
            flight.append(time.perf_counter() - started)
            started = time.perf_counter()
            home.consumer.sql(world.SMALL, contract, world.PURPOSE)
            http.append(time.perf_counter() - started)
    return statistics.median(flight), statistics.median(http)


@contextmanager
def _bare(home: world.World) -> Iterator[str]:
    """The address of a bare Flight server over the same file."""
    sql = bench_stream.SQL.replace("FROM readings", f"FROM '{home.file('readings')}'")
    command = [sys.executable, "-m", "benchmarks.dataplane.bare_flight", sql]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            said = serving.stdout
            yield f"grpc+tcp://127.0.0.1:{said.readline().strip() if said else ''}"
        finally:
            serving.kill()


def run() -> list[Result]:
    """The four ways, the driver's own, and a small query."""
    ports = dict(zip(("a", "r"), free_ports(2), strict=True))
    more = {key: f'flight_listen = "127.0.0.1:{port}"' for key, port in ports.items()}
    addresses = {key: f"grpc+tcp://127.0.0.1:{port}" for key, port in ports.items()}
    with world.world(ROWS, more=more) as home, _bare(home) as bare:
        _, contract = home.contract()

        def direct() -> tuple[float, int]:
            access = home.ask("r", f"/bench/access?contract={contract.id}")
            tokens = {"authorization": access["token"], "x-yunhe-peer": access["peer"]}
            return _read(addresses["a"], {name: f"Bearer {of}" for name, of in tokens.items()})

        def relayed() -> tuple[float, int]:
            bearer = f"Bearer {_token(home)}"
            return _read(addresses["r"], {"authorization": bearer, "x-agreement-id": contract.id})

        ways: dict[str, Callable[[], tuple[float, int]]] = {
            "floor": lambda: bench_stream._in_process(home),
            "Flight SQL, provider -> ADBC": direct,
            "bare": lambda: _read(bare, {}),
            "HTTP twin, provider -> client": lambda: bench_stream._direct(home, contract),
            "Flight SQL through the relay": relayed,
            "HTTP twin through the relay": lambda: bench_stream._relayed(home, contract),
        }
        pairs = [{name: way() for name, way in ways.items()} for _ in range(RUNS)]
        flight, http = _small(home, contract, addresses["r"])
    base = f"DuckDB -> Arrow in process: {_rate(pairs, 'floor'):.0f} MB/s"
    rows = []
    for name, least in (
        ("Flight SQL, provider -> ADBC", 0.7),
        ("HTTP twin, provider -> client", 0.6),
        ("Flight SQL through the relay", None),
        ("HTTP twin through the relay", None),
    ):
        ratio = statistics.median(each["floor"][0] / each[name][0] for each in pairs)
        target, holds = ("", None) if least is None else (f">= {least}", ratio >= least)
        rows.append(Result(name, f"{_rate(pairs, name):.0f} MB/s", base, ratio, target, holds))
    of = "Flight SQL, provider -> ADBC"
    ratio = statistics.median(each["bare"][0] / each[of][0] for each in pairs)
    beside = f"the same driver, a bare server: {_rate(pairs, 'bare'):.0f} MB/s"
    name = "  against a bare Flight server"
    rows.insert(1, Result(name, f"{_rate(pairs, of):.0f} MB/s", beside, ratio, "", None))
    small = f"the SDK over HTTP: {http * 1e3:.1f} ms"
    name = "Flight SQL, a small query through the relay"
    rows.append(Result(name, f"{flight * 1e3:.1f} ms", small, flight / http, "", None))
    return rows


def _rate(pairs: list[dict[str, tuple[float, int]]], name: str) -> float:
    return statistics.median(each["floor"][1] / each[name][0] for each in pairs) / 1e6

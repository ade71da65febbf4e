"""One gigabyte of Arrow over HTTP, against DuckDB -> Arrow in this process.

Same Parquet file, same columns, both read to the last record batch. Direct: the provider's data
plane straight to a client that holds the consumer's token and reads as the SDK does. Relayed: as
every user has it, through the consumer's own node, which hashes and counts each byte for its
signed receipt.
"""

from __future__ import annotations

import json
import statistics
import time
import uuid
from http.client import HTTPConnection
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

from benchmarks import data, world
from benchmarks.common import Result
from yunhe.sdk import Contract
from yunhe.sdk.stream import Body

SQL = "SELECT id, sensor, a, b, c, label, d FROM readings"
RUNS = 3


def _in_process(home: world.World) -> tuple[float, int]:
    """Seconds and bytes of DuckDB -> Arrow record batches, hand-written, two threads."""
    started = time.perf_counter()
    with duckdb.connect() as con:
        con.execute("SET threads = 2")
        sql = SQL.replace("FROM readings", f"FROM read_parquet('{home.file('readings')}')")
        size = sum(batch.nbytes for batch in con.sql(sql).to_arrow_reader(65_536))
    return time.perf_counter() - started, size


def _direct(home: world.World, contract: Contract) -> tuple[float, int]:
    """Seconds and bytes from the provider's data plane to the last batch."""
    access = home.ask("r", f"/bench/access?contract={contract.id}")
    where = urlsplit(access["endpoint"])
    query = {"use_id": str(uuid.uuid4()), "sql": SQL, "purpose": world.PURPOSE}
    headers = {
        "Authorization": f"Bearer {access['token']}",
        "X-Yunhe-Peer": f"Bearer {access['peer']}",
        "Content-Type": "application/json",
    }
    started = time.perf_counter()
    connection = HTTPConnection(str(where.hostname), where.port, timeout=120)
    connection.request("POST", where.path, json.dumps(query), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    reader = pa.ipc.open_stream(pa.PythonFile(Body(response), mode="r"))
    size = sum(batch.nbytes for batch in reader)
    connection.close()
    return time.perf_counter() - started, size


def _relayed(home: world.World, contract: Contract) -> tuple[float, int]:
    """Seconds and bytes through the consumer's own node, by the SDK."""
    started = time.perf_counter()
    with home.consumer.sql_stream(SQL, contract, world.PURPOSE) as batches:
        size = sum(batch.nbytes for batch in batches)
    return time.perf_counter() - started, size


def run(home: world.World) -> list[Result]:
    """Both ways against in-process; `home` was made with the large table."""
    _, contract = home.contract()
    rates: list[tuple[float, float, float]] = []
    size = 0
    for _ in range(RUNS):
        found = [_in_process(home), _direct(home, contract), _relayed(home, contract)]
        size = found[0][1]
        rates.append((found[0][1] / found[0][0], size / found[1][0], size / found[2][0]))
    floor, direct, relayed = (statistics.median(each) / 1e6 for each in zip(*rates, strict=True))
    straight = statistics.median(each[1] / each[0] for each in rates)
    passed = statistics.median(each[2] / each[0] for each in rates)
    base = f"DuckDB -> Arrow in process: {floor:.0f} MB/s"
    name = f"Arrow over HTTP, {size / 1e9:.1f} GB"
    return [
        Result(
            f"{name}, provider -> client",
            f"{direct:.0f} MB/s",
            base,
            straight,
            ">= 0.6",
            straight >= 0.6,
        ),
        Result(f"{name}, through the relay", f"{relayed:.0f} MB/s", base, passed, "", None),
    ]


if __name__ == "__main__":
    with world.world(data.ROWS_STREAM) as running:
        for result in run(running):
            print(result.line())

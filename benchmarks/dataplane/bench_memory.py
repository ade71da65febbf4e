"""Ten gigabytes of Arrow from a provider, and what every process on the way holds meanwhile.

Resident memory of the provider's node, its worker, the consumer's node and the client, sampled
while the result streams; the figure is by how much it grew after the first tenth, when all
buffers have been filled once. Direct: provider -> client. Relayed: through the consumer's node.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa

from benchmarks import world
from benchmarks.common import Result
from yunhe.demo.nodes import free_ports
from yunhe.sdk import Contract
from yunhe.sdk.stream import Body

ROWS = 2_000_000
BYTES = int(os.environ.get("BENCH_BYTES", 10_000_000_000))
_ROW_BYTES = 46  # a row of readings in Arrow, about
TIMES = max(1, BYTES // (ROWS * _ROW_BYTES))
SQL = (
    "SELECT r.id, r.sensor, r.a, r.b, r.c, r.label, r.d FROM readings AS r "
    f"CROSS JOIN (SELECT id FROM readings WHERE id < {TIMES}) AS times"
)
GROWTH_MB_MAX = 64
_EVERY_S = 0.2


def rss_mb(pid: int) -> float:
    """Resident memory of a process now; 0 where it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    line = next((line for line in text.splitlines() if line.startswith("VmRSS")), "VmRSS: 0")
    return int(line.split()[1]) / 1024


def children(pid: int) -> list[int]:
    """The processes that any thread of a process started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


class Sampled:
    """Memory by name over the bytes that have come, sampled beside the stream."""

    def __init__(self, pids: Callable[[], dict[str, list[int]]]) -> None:
        self.came = 0
        self.seen: list[tuple[int, dict[str, float]]] = []
        self._pids, self._end = pids, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Sampled:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(_EVERY_S):
            named = self._pids().items()
            self.seen.append((self.came, {name: sum(map(rss_mb, pids)) for name, pids in named}))

    def grew(self, name: str) -> tuple[float, float]:
        """MiB above the most of the first tenth, and the most of all."""
        first = [mb[name] for came, mb in self.seen if came <= self.came / 10]
        later = [mb[name] for came, mb in self.seen]
        return max(later) - max(first, default=0.0), max(later)


def _direct(home: world.World, contract: Contract) -> Iterator[int]:
    access = home.ask("r", f"/bench/access?contract={contract.id}")
    where = urlsplit(access["endpoint"])
    query = {"use_id": str(uuid.uuid4()), "sql": SQL, "purpose": world.PURPOSE}
    headers = {
        "Authorization": f"Bearer {access['token']}",
        "X-Yunhe-Peer": f"Bearer {access['peer']}",
        "Content-Type": "application/json",
    }
    connection = HTTPConnection(str(where.hostname), where.port, timeout=600)
    connection.request("POST", where.path, json.dumps(query), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    for batch in pa.ipc.open_stream(pa.PythonFile(Body(response), mode="r")):
        yield batch.nbytes
    connection.close()


def _relayed(home: world.World, contract: Contract) -> Iterator[int]:
    with home.consumer.sql_stream(SQL, contract, world.PURPOSE) as batches:
        for batch in batches:
            yield batch.nbytes


def _flight(home: world.World, address: str) -> Iterator[int]:
    _, contract = home.contract()
    access = home.ask("r", f"/bench/access?contract={contract.id}")
    header = "adbc.flight.sql.rpc.call_header."
    options = {
        f"{header}authorization": f"Bearer {access['token']}",
        f"{header}x-yunhe-peer": f"Bearer {access['peer']}",
    }
    with (
        flightsql.connect(address, db_kwargs=options, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(SQL)
        for batch in cursor.fetch_record_batch():
            yield batch.nbytes


def run() -> list[Result]:
    """Three ways; each process by its name."""
    port = free_ports(1)[0]
    rows = []
    with world.world(ROWS, more={"a": f'flight_listen = "127.0.0.1:{port}"'}) as home:
        _, contract = home.contract()
        node, relay = (home.nodes[key].pid for key in ("a", "r"))

        def pids() -> dict[str, list[int]]:
            return {
                "provider's node": [node],
                "its workers": children(node),
                "consumer's node": [relay],
                "client": [os.getpid()],
            }

        for way, stream in (
            ("HTTP", _direct(home, contract)),
            ("HTTP, relayed", _relayed(home, contract)),
            ("Flight SQL", _flight(home, f"grpc+tcp://127.0.0.1:{port}")),
        ):
            started = time.perf_counter()
            with Sampled(pids) as sampled:
                for size in stream:
                    sampled.came += size
            took = time.perf_counter() - started
            base = f"{sampled.came / 1e9:.1f} GB in {took:.0f} s"
            for name in pids():
                grew, most = sampled.grew(name)
                ours = f"{grew:+.0f} MB ({most:.0f})"
                target = f"<= +{GROWTH_MB_MAX} MB"
                rows.append(
                    Result(f"{way}: {name}", ours, base, None, target, grew <= GROWTH_MB_MAX)
                )
    return rows

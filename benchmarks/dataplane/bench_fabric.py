"""One SQL over seven nodes against copying everything to one place and computing there.

Seven provider processes, each with a part of one table of synthetic laboratory values, and a
consumer; the same contracts, the same relay, the same machine. Unshaped, and with every provider
behind a token bucket of our own (LINKS_MBIT_S) for what leaves it. Bytes are those
the consumer's receipts count. Medians of paired runs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from benchmarks.common import Result
from benchmarks.dataplane.shaped import Link
from yunhe.demo.nodes import FUNCTIONAL, RESEARCH, NodeProcess, Party, free_ports
from yunhe.sdk import Contract, Space, Terms

NODES = 7
ROWS = 2_000_000  # at each
RUNS = 3
SHAPED_RUNS = 2
LINKS_MBIT_S = (100, 20)
PURPOSE = "benchmark"
SQL = "SELECT test, count(*) AS n, avg(value) AS mean FROM {} WHERE days < 200 GROUP BY test"
_CODES = (
    "91330100MA00000072", "91330100MA0000015W", "91330100MA0000023P", "91330100MA0000031J",
    "91330100MA000004XA", "91330100MA0000058A", "91330100MA00000665",
)  # fmt: skip
_LABS = """COPY (SELECT i * {nodes} + {at} AS id, ['hdl', 'sbp', 'dbp', 'chol'][1 + i % 4] AS test,
    (hash(i * {nodes} + {at}) % 10000) / 50.0 AS value, CAST(i % 365 AS INTEGER) AS days
    FROM range({rows}) t(i)) TO '{file}' (FORMAT parquet)"""


def until(what: str, check: Callable[[], Any]) -> Any:
    """Poll until it gives something true; at most half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    raise TimeoutError(what)


class Seven:
    """The nodes, each provider behind its link, and the consumer's contracts."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        ports = free_ports(NODES + 2)
        self.links = [stack.enter_context(Link(port)) for port in ports[2:]]
        self.root = NodeProcess(FUNCTIONAL, ports[0], home / "fn", ports[0])
        self.user = NodeProcess(RESEARCH, ports[1], home / "r", ports[0])
        self.providers = []
        for at, (port, link) in enumerate(zip(ports[2:], self.links, strict=True)):
            party = Party(f"h{at}", "connector", _CODES[at], f"医院{at}", f"Hospital {at}")
            node = NodeProcess(party, port, home / party.key, ports[0])
            node.address = f"http://127.0.0.1:{link.port}"
            settings = node.home / "node.toml"
            text = settings.read_text("utf-8")
            there = f'address = "http://127.0.0.1:{port}"'
            settings.write_text(text.replace(there, f'address = "{node.address}"', 1), "utf-8")
            (node.home / "data").mkdir()
            file = node.home / "data" / "labs.parquet"
            duckdb.execute(_LABS.format(nodes=NODES, at=at, rows=ROWS, file=file))
            self.providers.append(node)
        for node in (self.root, self.user, *self.providers):
            stack.callback(node.stop)
            node.start()
        for node in (self.root, self.user, *self.providers):
            node.wait_up()
        self.spaces = {
            node.party.key: stack.enter_context(node.space())
            for node in (self.root, self.user, *self.providers)
        }
        self.contracts = self._agreed()

    @property
    def consumer(self) -> Space:
        return self.spaces["r"]

    def bytes_moved(self) -> int:
        """What the consumer has signed for so far."""
        return sum(use.bytes for each in self.contracts for use in self.consumer.uses(each.id))

    def _agreed(self) -> list[Contract]:
        fn = self.spaces["fn"]

        def reviewed(check: Callable[[], Any]) -> Any:
            def look() -> Any:
                for each in fn.applications(state="submitted"):
                    fn.review(each.id, "approve")
                for each in fn.registrations(state="submitted"):
                    fn.review_registration(each.id, "approve")
                return check()

            return until("a review", look)

        for key, space in self.spaces.items():
            if key != "fn":
                space.register_self()
                reviewed(lambda s=space: s.registration().connector_code)
        columns = tuple(f"labs.{name}" for name in ("id", "test", "value", "days"))
        terms = Terms(purposes=(PURPOSE,), columns=columns, uses_max=10_000)
        texts = {"description_zh": "合成数据", "description_en": "Synthetic data"}
        made = []
        for node in self.providers:
            space = self.spaces[node.party.key]
            titles = {"title_zh": node.party.name_zh, "title_en": node.party.name_en, **texts}
            table = {"name": "labs", "paths": ["labs.parquet"], "entity_key": "id"}
            resource = space.add_resource({**titles, "tables": [table]})
            space.submit_resource(resource)
            reviewed(lambda s=space, r=resource: s.resource(r.id).code)
            form = {**titles, "keywords": ["labs"], "resource_ids": [resource.id], "terms": terms}
            product = space.add_product(form)
            space.submit_product(product)
            code = reviewed(lambda s=space, p=product: s.own_product(p.id).code)
            space.list_product(product)
            reviewed(lambda s=space, p=product: s.own_product(p.id).state == "listed")
            made.append(self.consumer.negotiate(self.consumer.offer(code)))
        return made


def _fabric(seven: Seven) -> list[tuple[Any, ...]]:
    table = seven.consumer.fabric(SQL.format("study.labs"), {"study": seven.contracts}, PURPOSE)
    return _rows(table)


def _copied(seven: Seven) -> list[tuple[Any, ...]]:
    with ThreadPoolExecutor(NODES) as pool:
        parts = pool.map(
            lambda each: seven.consumer.sql("SELECT * FROM labs", each, PURPOSE), seven.contracts
        )
        whole = pa.concat_tables([part.replace_schema_metadata(None) for part in parts])
    with duckdb.connect() as con:
        con.register("labs", whole)
        return _rows(con.sql(SQL.format("labs")).to_arrow_table())


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((row["test"], row["n"], round(row["mean"], 6)) for row in table.to_pylist())


def _measured(seven: Seven, runs: int) -> tuple[float, float, float, int, int]:
    """Median seconds of fabric and copy, their paired ratio, bytes of one run of each."""
    pairs, moved = [], (0, 0)
    _fabric(seven)
    for _ in range(runs):
        before, started = seven.bytes_moved(), time.perf_counter()
        ours = _fabric(seven)
        first = time.perf_counter() - started
        middle, started = seven.bytes_moved(), time.perf_counter()
        theirs = _copied(seven)
        pairs.append((first, time.perf_counter() - started))
        moved = (middle - before, seven.bytes_moved() - middle)
        assert ours == theirs
    medians = (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))
    return (*medians, statistics.median(b / a for a, b in pairs), *moved)


def run() -> list[Result]:
    """Wall time and bytes, on the bare loopback and on the stated link."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yunhe-bench-")))
        seven = Seven(home, stack)
        ours, copy, ratio, small, large = _measured(seven, RUNS)
        shaped = []
        for rate in LINKS_MBIT_S:
            for link in seven.links:
                link.shape(rate * 125_000)
            shaped.append((rate, *_measured(seven, SHAPED_RUNS)[:3]))
    where = f"{NODES} nodes, {NODES * ROWS / 1e6:.1f} M rows"
    return [
        Result(
            f"fabric: {where}, unshaped",
            f"{ours * 1000:.0f} ms",
            f"copy, then compute: {copy * 1000:.0f} ms",
            ratio,
            "reported",
            None,
        ),
        *(
            Result(
                f"fabric: {where}, {rate} Mbit/s a node",
                f"{first * 1000:.0f} ms",
                f"copy, then compute: {second * 1000:.0f} ms",
                faster,
                ">= 6.5 x" if rate == min(LINKS_MBIT_S) else "> 1 x",
                faster >= (6.5 if rate == min(LINKS_MBIT_S) else 1),
            )
            for rate, first, second, faster in shaped
        ),
        Result(
            "fabric: bytes moved",
            f"{small:,}",
            f"copy, then compute: {large:,}",
            large / small,
            ">= 100 x",
            large >= 100 * small,
        ),
    ]

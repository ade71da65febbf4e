"""Three real node processes on loopback, with one listed product of synthetic data.

In: a folder. Out: a `World`: clients of the consumer, the product's code, contracts on demand,
and what every node has counted. Everything is done through the nodes' own API, as a user would.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from benchmarks import data
from yunhe.demo.nodes import FUNCTIONAL, HOSPITAL_A, RESEARCH, NodeProcess, free_ports
from yunhe.sdk import Contract, Offer, Space, Terms

T = TypeVar("T")

PURPOSE = "benchmark"
SMALL = "SELECT ward, count(*) AS n, avg(value) AS mean FROM small GROUP BY ward ORDER BY ward"
_VISIT = ("patient", "ward", "value", "year")
_READING = ("id", "sensor", "a", "b", "c", "label", "d")


class CountedProcess(NodeProcess):
    """A node process that counts (benchmarks.counted)."""

    def start(self, crash: str = "") -> None:
        """As `yunhe serve`, through the counting launcher."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.counted", str(self.home / "node.toml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "YUNHE_CRASH": crash},
                start_new_session=True,
            )


@dataclass(frozen=True)
class World:
    """The nodes (fn, a = provider, r = consumer), their clients, the product."""

    nodes: dict[str, CountedProcess]
    spaces: dict[str, Space]
    code: str
    folder: Path
    http: httpx.Client  # kept open: a count must be read before the nodes go on

    @property
    def consumer(self) -> Space:
        """The consumer's client."""
        return self.spaces["r"]

    def file(self, table: str) -> Path:
        """The Parquet file of a table, as the provider has it."""
        return self.nodes["a"].home / "data" / f"{table}.parquet"

    def contract(self) -> tuple[Offer, Contract]:
        """A fresh contract on the offer as it stands."""
        offer = self.consumer.offer(self.code)
        return offer, self.consumer.negotiate(offer)

    def counts(self) -> tuple[int, int]:
        """Requests and commits of all nodes so far."""
        found = [self.ask(key, "/bench/counts") for key in ("r", "a", "fn")]
        return sum(each["requests"] for each in found), sum(each["commits"] for each in found)

    def on_path(self, work: Callable[[], object]) -> tuple[int, int]:
        """Requests and commits between question and answer: the fewest of ten, read at the end.

        What the nodes do afterwards (sending the receipt) is not the caller's wait.
        """
        found = []
        for _ in range(10):
            self.settle()
            before = self.counts()
            work()
            after = self.counts()
            found.append((after[0] - before[0], after[1] - before[1]))
        return min(each[0] for each in found), min(each[1] for each in found)

    def settle(self) -> None:
        """Return when the nodes have done what they still had to do."""
        before = (-1, -1)
        while (now := self.counts()) != before:
            before = now
            time.sleep(0.15)

    def ask(self, key: str, path: str) -> dict[str, Any]:
        """An answer of the counting launcher of a node."""
        found: dict[str, Any] = self.http.get(self.nodes[key].address + path).json()
        return found


@contextmanager
def world(
    stream_rows: int = 0,
    databases: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """Start, register, list; stop and delete at the end. `stream_rows` 0: no large table.

    `databases`: the URL of each node's, by its key; else each has its SQLite file. `more`: lines
    of TOML for the settings of a node, by its key.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yunhe-bench-")))
        parties = (FUNCTIONAL, HOSPITAL_A, RESEARCH)
        ports = free_ports(len(parties))
        nodes = {
            party.key: CountedProcess(party, port, folder / party.key, ports[0])
            for party, port in zip(parties, ports, strict=True)
        }
        for key, node in nodes.items():
            lines = [f'database_url = "{databases[key]}"'] if databases else []
            lines += [more[key]] if more and key in more else []
            settings = node.home / "node.toml"
            settings.write_text("\n".join([*lines, settings.read_text("utf-8")]), "utf-8")
            node.start()
            stack.callback(node.stop)
        held = nodes["a"].home / "data"
        held.mkdir()
        data.visits(held / "small.parquet", data.ROWS_SMALL)
        data.readings(held / "readings.parquet", stream_rows or 1000)
        spaces = {}
        for key, node in nodes.items():
            node.wait_up()
            spaces[key] = stack.enter_context(node.space())
        http = stack.enter_context(httpx.Client(trust_env=False, timeout=30))
        yield World(nodes, spaces, _listed(spaces), folder, http)


def until(check: Callable[[], T | None], seconds: float = 30.0) -> T:
    """Poll until `check` gives something true; raises TimeoutError."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := check():
            return found
        time.sleep(0.03)
    raise TimeoutError(check)


def _approve(spaces: dict[str, Space]) -> None:
    found = until(lambda: spaces["fn"].registrations(state="submitted"))
    for each in found:
        spaces["fn"].review_registration(each.id, "approve")


def _registered(spaces: dict[str, Space]) -> None:
    for key in ("a", "r"):
        spaces[key].register_self()

    def approved() -> bool:
        for each in spaces["fn"].applications(state="submitted"):
            spaces["fn"].review(each.id, "approve")
        return all(spaces[key].registration().connector_code for key in ("a", "r"))

    until(approved)


def _listed(spaces: dict[str, Space]) -> str:
    """Register all, list one product without a bound on uses; its code."""
    _registered(spaces)
    tables = [
        {"name": "small", "paths": ["small.parquet"], "entity_key": "patient"},
        {"name": "readings", "paths": ["readings.parquet"]},
    ]
    columns = (*(f"small.{c}" for c in _VISIT), *(f"readings.{c}" for c in _READING))
    terms = Terms((PURPOSE,), columns, row_filters=(("small", "year >= 2016"),), per_use_fen=1)
    return listed(spaces, tables, terms)


def listed(spaces: dict[str, Space], tables: list[dict[str, Any]], terms: Terms) -> str:
    """A product of the provider, over files of its data folder, on offer; its code."""
    holder = spaces["a"]
    words = {
        "title_zh": "合成数据",
        "title_en": "Synthetic data",
        "description_zh": "由种子生成的合成数据，用于性能测试",
        "description_en": "Synthetic data made from a seed, for benchmarks",
        "keywords": ["合成", "synthetic"],
    }
    resource = holder.add_resource({**words, "tables": tables})
    holder.submit_resource(resource)
    _approve(spaces)
    until(lambda: holder.resource(resource.id).code)
    product = holder.add_product({**words, "resource_ids": [resource.id], "terms": terms})
    holder.submit_product(product)
    _approve(spaces)
    code = until(lambda: holder.own_product(product.id).code)
    holder.list_product(product.id)
    _approve(spaces)
    until(lambda: holder.own_product(product.id).state == "listed")
    return code

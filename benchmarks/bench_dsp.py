"""DSP against Eclipse EDC on the same machine in the same run: negotiations, and a large catalogue.

Ours: durable nodes with real tokens and signatures. EDC: assembled by interop/edc, warmed up, its
stores in memory, its identity a mock, asked by its management API. Where Java, Maven or its
repository is missing, one line says so.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from interop.edc import runtime
from interop.edc import world as interop
from interop.edc.runtime import Edc
from tck.kit import CannotResolve

from benchmarks import world
from benchmarks.common import Result, seconds
from yunhe.demo.nodes import free_ports
from yunhe.protocols.dsp import PATH

CALLERS = 16
DATASETS = 10_000
PAGE = 200
_WARM_S, _PERIOD_S = 8.0, 6.0


@dataclass(frozen=True)
class Pair:
    """A consumer and a provider of EDC, and what the provider offers."""

    consumer: Edc
    provider: Edc
    asset: str
    offer: dict[str, Any]

    def negotiate(self, poll_s: float) -> bool:
        """One negotiation, asked after every `poll_s`; False where EDC ended it by itself."""
        where = self.provider.address, self.provider.id
        asked = self.consumer.negotiate(*where, self.asset, self.offer)
        try:
            self.consumer.agreed(asked, poll_s=poll_s)
        except runtime.NegotiationEnded:
            return False  # now and then, between two of its own kind
        return True


@contextmanager
def pair(folder: Path, class_path: str, wait_ms: int | None) -> Iterator[Pair]:
    """Two EDCs; the provider offers one asset for use."""
    ports = free_ports(12)
    both = [Edc(folder / name, ports[i : i + 6], wait_ms) for name, i in (("c", 0), ("p", 6))]
    try:
        for each in both:
            each.start(class_path)
        both[1].publish("asset", {"permission": [{"action": "use"}]}, both[1].root)
        [dataset] = _listed(both[0].catalog(both[1].address, both[1].id)["dataset"])
        [offer] = _listed(dataset["hasPolicy"])
        yield Pair(both[0], both[1], dataset["@id"], offer)
    finally:
        for each in both:
            each.stop()


def _listed(value: Any) -> list[dict[str, Any]]:
    return value if isinstance(value, list) else [value]


def rate(work: Callable[[], bool], period_s: float) -> float:
    """How often `work` succeeds a second, by `CALLERS` at once."""
    done = [0] * CALLERS
    until = time.perf_counter() + period_s

    def call(me: int) -> None:
        while time.perf_counter() < until:
            done[me] += work()

    threads = [threading.Thread(target=call, args=(me,)) for me in range(CALLERS)]
    took = seconds(lambda: ([t.start() for t in threads], [t.join() for t in threads]))
    return sum(done) / took


def negotiations(home: world.World, class_path: str) -> Iterator[Result]:
    """One at a time, and sixteen at once, against EDC at 50 ms and at its default."""
    offer = home.consumer.offer(home.code)

    def ours() -> bool:
        return bool(home.consumer.negotiate(offer).id)

    with tempfile.TemporaryDirectory(prefix="yunhe-bench-") as folder:
        with pair(Path(folder) / "fast", class_path, 50) as edc:
            rate(lambda: edc.negotiate(0.05), _WARM_S)
            rate(ours, _WARM_S / 2)
            home.settle()
            yield _one(ours, edc, 15, "50 ms", 4.0)
            theirs, mine = rate(lambda: edc.negotiate(0.05), _PERIOD_S), rate(ours, _PERIOD_S)
        said = f"EDC at 50 ms, {runtime.STORE}: {theirs:.1f}/s"
        name = f"negotiations a second, {CALLERS} at once"
        ratio = mine / theirs
        yield Result(name, f"{mine:.1f}/s", said, ratio, ">= 1.5", ratio >= 1.5)
        with pair(Path(folder) / "slow", class_path, None) as edc:
            yield _one(ours, edc, 5, "its default", None)


def _into(went: list[bool], edc: Pair) -> None:
    went.append(edc.negotiate(0.005))


def _one(ours: Callable[[], bool], edc: Pair, runs: int, wait: str, target: float | None) -> Result:
    pairs = []
    while len(pairs) < runs:
        time.sleep(0.3)
        went: list[bool] = []
        both = (seconds(ours), seconds(partial(_into, went, edc)))
        pairs += [both] if went[0] else []
    ours_s, edc_s = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = edc_s / ours_s
    return Result(
        f"request -> FINALIZED, p50, EDC at {wait}",
        f"{ours_s * 1000:.0f} ms",
        f"EDC, {runtime.STORE}: {edc_s * 1000:.0f} ms",
        ratio,
        "" if target is None else f">= {target:g}",
        None if target is None else ratio >= target,
    )


# -- the catalogue -----------------------------------------------------------------------------


def catalogue(class_path: str) -> Iterator[Result]:
    """One page of 200 and the whole walk of 10,000, from provider to the same HTTP client."""
    home = tempfile.TemporaryDirectory(prefix="yunhe-bench-")
    with home as folder, interop.world(Path(folder), class_path) as both:
        _many_of_ours(both.node.home / "var" / "node.db", DATASETS - 1)
        for number in range(DATASETS - 1):
            both.edc.add_asset(f"a{number:05d}", both.edc.root)
        both.edc.define("all", f"policy-{interop.ASSET}", None)
        with httpx.Client(trust_env=False, timeout=300) as http:
            mine = _Reader(http, both.node.address + PATH, both.edc.id)
            theirs = _Reader(http, both.edc.address, both.node.did)
            for reader in (mine, theirs):
                for _ in range(3):
                    reader.page(0)
            yield _compared(f"a page of {PAGE} in {DATASETS:,}", *_pages(mine, theirs))
            yield _compared(f"the whole walk of {DATASETS:,}", mine.walk(), theirs.walk())


@dataclass(frozen=True)
class _Reader:
    """Asks one provider for its catalogue as EDC does, or by its Link headers."""

    http: httpx.Client
    base: str
    caller: str

    def _headers(self) -> dict[str, str]:
        who = {"region": "any", "audience": "any", "clientId": self.caller}
        return {"Authorization": json.dumps(who)}

    def page(self, offset: int, url: str = "") -> httpx.Response:
        """One page from `offset`, or the one that a Link names."""
        spec = {"@type": "QuerySpec", "offset": offset, "limit": PAGE, "filterExpression": []}
        asked = {
            "@context": ["https://w3id.org/dspace/2025/1/context.jsonld"],
            "@type": "CatalogRequestMessage",
            "filter": [spec],
        }
        url = url or f"{self.base}/catalog/request"
        return self.http.post(url, json=asked, headers=self._headers()).raise_for_status()

    def walk(self) -> float:
        """Seconds for every page: by Link where there is one, else by offset."""
        began, seen = time.perf_counter(), 0
        got = self.page(0)
        while found := len(_listed(got.json().get("dataset", []))):
            seen += found
            following = got.links.get("next", {}).get("url")
            if following:
                got = self.page(0, following)
            elif seen >= DATASETS or found < PAGE:
                break
            else:
                got = self.page(seen)
        took = time.perf_counter() - began
        if seen < DATASETS:
            raise RuntimeError(f"{self.base} showed {seen} of {DATASETS}")
        return took


def _pages(mine: _Reader, theirs: _Reader, runs: int = 9) -> tuple[float, float]:
    middle = DATASETS // 2
    pairs = [
        (seconds(lambda: mine.page(middle)), seconds(lambda: theirs.page(middle)))
        for _ in range(runs)
    ]
    a, b = (statistics.median(each) for each in zip(*pairs, strict=True))
    return a, b


def _compared(name: str, ours_s: float, edc_s: float) -> Result:
    ratio = edc_s / ours_s
    said = f"EDC, {runtime.STORE}: {edc_s * 1000:.0f} ms"
    return Result(f"catalogue: {name}", f"{ours_s * 1000:.0f} ms", said, ratio, "> 1", ratio > 1)


def _many_of_ours(file: Path, number: int) -> None:
    """Copies of the listed product, each with a code of its own, as rows of the node's database."""
    with closing(sqlite3.connect(file, timeout=30)) as db:
        db.row_factory = sqlite3.Row
        entry = dict(db.execute("SELECT * FROM catalog_entry WHERE kind='product'").fetchone())
        version = dict(
            db.execute(
                "SELECT * FROM catalog_entry_version WHERE entry_id=?", (entry["id"],)
            ).fetchone()
        )
        code = entry["code"]
        for each in range(number):
            copy = {"id": f"copy-{each}", "code": f"{code[:-5]}{each:05d}"}
            _insert(db, "catalog_entry", {**entry, **copy})
            _insert(db, "catalog_entry_version", {**version, "entry_id": copy["id"]})
        db.commit()


def _insert(db: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    places = ",".join("?" * len(row))
    db.execute(f"INSERT INTO {table} ({','.join(row)}) VALUES ({places})", tuple(row.values()))


def run(home: world.World) -> Iterator[Result]:
    """All lines of this file; `home` is running."""
    try:
        class_path = runtime.assemble()
    except CannotResolve as why:
        yield Result("DSP against Eclipse EDC", "-", f"EDC did not run: {why}", None, "", None)
        return
    yield from negotiations(home, class_path)
    yield from catalogue(class_path)


if __name__ == "__main__":
    with world.world() as running:
        for result in run(running):
            print(result.line(), flush=True)

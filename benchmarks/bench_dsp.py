"""DSP against Eclipse EDC on the same machine in the same run: negotiations, and a large catalogue.

Ours: durable nodes with real tokens and signatures. EDC: assembled by interop/edc, warmed up, its
stores in memory or its negotiations on PostgreSQL, its identity a mock, asked by its management
API. Where Java, Maven, its repository or PostgreSQL is missing, one line says so.
"""

from __future__ import annotations

import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from interop.edc import runtime
from interop.edc import world as interop
from tck.kit import CannotResolve

from benchmarks import edc, postgres, world
from benchmarks.common import Result, seconds
from benchmarks.edc import LOST, Pair, Rate
from yunhe.kernel.errors import YunheError
from yunhe.protocols.dsp import PATH

CALLERS = edc.CALLERS
DATASETS = 10_000
PAGE = 200
ROUNDS = 3


def negotiations(home: world.World, class_path: str) -> Iterator[Result]:
    """One at a time, and sixteen at once, against EDC at 50 ms and at its default."""
    ours = negotiator(home)
    with tempfile.TemporaryDirectory(prefix="yunhe-bench-") as folder:
        with edc.pair(Path(folder) / "fast", class_path, 50) as both:
            edc.warm(both.negotiate, edc.WARM)
            edc.warm(ours, edc.WARM_OURS)
            home.settle()
            yield _one(ours, both, 15, "50 ms", 4.0)
            yield many(ours, "SQLite", both, str(runtime.IN_MEMORY), 1.5)
        with edc.pair(Path(folder) / "slow", class_path, None) as both:
            edc.warm(both.negotiate, edc.CALLERS * 2)
            yield _one(ours, both, 5, "its default", None)


def on_postgresql(home: world.World) -> Iterator[Result]:
    """Sixteen at once against EDC with its negotiations on PostgreSQL; ours there, too."""
    name = "negotiations a second, EDC on PostgreSQL"
    try:
        class_path = runtime.assemble(runtime.ON_POSTGRESQL)
        postgres.binaries()
    except (CannotResolve, postgres.Missing) as why:
        yield Result(name, "-", f"did not run: {why}", None, "", None)
        return
    with (
        tempfile.TemporaryDirectory(prefix="yunhe-bench-") as folder,
        postgres.server() as server,
    ):
        jdbc = server.database("edc-c")[1], server.database("edc-p")[1]
        with edc.pair(Path(folder) / "pg", class_path, 50, jdbc) as both:
            edc.warm(both.negotiate, edc.WARM)
            yield many(negotiator(home), "SQLite", both, str(runtime.ON_POSTGRESQL), 3.0)
            urls = {key: server.database(f"ours-{key}")[0] for key in ("fn", "a", "r")}
            with world.world(databases=urls) as other:
                ours = negotiator(other)
                yield many(ours, "PostgreSQL", both, str(runtime.ON_POSTGRESQL), None)


def negotiator(home: world.World) -> Callable[[], str]:
    """One negotiation of ours to its contract; says LOST where it did not come to one."""
    space = home.consumer
    offer = space.offer(home.code)

    def negotiate() -> str:
        try:
            return "" if space.negotiate(offer).id else LOST
        except (YunheError, TimeoutError):
            return LOST

    return negotiate


def many(
    ours: Callable[[], str], our_store: str, both: Pair, theirs: str, target: float | None
) -> Result:
    """Sixteen at once, each side alone in its turn, three turns; medians, and all that was lost."""
    edc.warm(ours, edc.WARM_OURS)
    turns = [
        (edc.rate(ours, edc.RAMP_S, edc.WINDOW_S), edc.rate(both.negotiate)) for _ in range(ROUNDS)
    ]
    mine, other = (Rate.of(each) for each in zip(*turns, strict=True))
    ratio = statistics.median(a.a_second / b.a_second for a, b in turns)
    return Result(
        f"negotiations a second, {CALLERS} at once, on {our_store}",
        str(mine),
        f"{theirs}, 50 ms: {other}",
        ratio,
        "" if target is None else f">= {target:g}",
        None if target is None else ratio >= target,
    )


def _into(went: list[str], both: Pair) -> None:
    went.append(both.negotiate(poll_s=0.005))


def _one(ours: Callable[[], str], both: Pair, runs: int, wait: str, target: float | None) -> Result:
    pairs: list[tuple[float, float]] = []
    lost = 0
    while len(pairs) < runs and lost < runs:
        time.sleep(0.3)
        went: list[str] = []
        pair = (seconds(ours), seconds(partial(_into, went, both)))
        if went[0]:
            lost += 1
        else:
            pairs.append(pair)
    if not pairs:
        return Result(f"request -> FINALIZED, EDC at {wait}", "-", "EDC lost all", None, "", None)
    ours_s, edc_s = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = edc_s / ours_s
    return Result(
        f"request -> FINALIZED, p50, EDC at {wait}",
        f"{ours_s * 1000:.0f} ms",
        f"{runtime.IN_MEMORY}: {edc_s * 1000:.0f} ms, lost {lost}",
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
        while found := len(edc.listed(got.json().get("dataset", []))):
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
    said = f"{runtime.IN_MEMORY}: {edc_s * 1000:.0f} ms"
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
    yield from on_postgresql(home)
    yield from catalogue(class_path)


if __name__ == "__main__":
    with world.world() as running:
        for result in run(running):
            print(result.line(), flush=True)

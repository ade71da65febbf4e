"""What marking costs, how few values name a recipient, what attacks leave, and who is wronged.

Cost: processor time of a governed scan with two marked columns against the same unmarked. Misses:
of TRIALS fresh recipients (or groups of them) among a hundred, how many are not named (of
colluders: none of them) from so many rows of two columns; to name anybody innocent at all is
allowed once in a million files. Wronged: innocents named, and the highest score of all, over
CROWD of them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import duckdb

from benchmarks.common import Result
from benchmarks.dataplane.marked import MARKER, PRODUCT, SAID, Copies, people
from yunhe.contracts import Terms
from yunhe.dataplane import TableBinding, govern
from yunhe.kernel import limits
from yunhe.vault import Recipient, Score, detect

ROWS: Final = 200_000
TRIALS: Final = 50
SIZES: Final = (50, 100, 200, 500, 1000, 2000)
CROWD: Final = 10_000
AMONG: Final = 100
KINDS: Final = {"id": "BIGINT", "weight": "DOUBLE", "height": "INTEGER", "town": "VARCHAR"}
Columns = dict[str, list[Any]]
Row = list[Any]


def scores(columns: Columns, dids: list[str], among: int = AMONG) -> list[Score]:
    """As if all `among` recipients were asked for."""
    known = [Recipient(did, MARKER.recipient(PRODUCT, did), SAID) for did in dids]
    values = {f"people.{name}": columns[name] for name in ("weight", "height") if name in columns}
    most = limits.WATERMARK_FALSE_POSITIVE * len(dids) / among
    return detect(MARKER.product(PRODUCT), known, columns["id"], values, most)


def some(columns: Columns, rows: int, draw: random.Random) -> Columns:
    """So many rows, in no order."""
    pick = draw.sample(range(len(columns["id"])), rows)
    return {name: [values[at] for at in pick] for name, values in columns.items()}


def changed(columns: Columns, change: Callable[[float], float]) -> Columns:
    """Every marked value changed."""
    marked = {name: [change(v) for v in columns[name]] for name in ("weight", "height")}
    return {"id": columns["id"], **marked}


def joint(theirs: list[Columns], way: Callable[[Row], float]) -> Columns:
    """One file of several copies, value by value."""
    names = ("weight", "height")
    rows = {name: zip(*(each[name] for each in theirs), strict=True) for name in names}
    return {"id": theirs[0]["id"]} | {name: [way(list(v)) for v in rows[name]] for name in names}


def misses() -> Iterator[Result]:
    """By attack, how often it gets away, for so many rows of two marked columns each."""
    draw = random.Random(4)  # noqa: S311
    copies = Copies(people(2_000))
    noise: Callable[[float], float] = lambda v: v + draw.uniform(-0.24, 0.24)  # noqa: E731
    attacks: list[tuple[str, int, Callable[[list[Columns]], Columns]]] = [
        ("one copy", 1, lambda c: c[0]),
        ("one copy, noise of half a step", 1, lambda c: changed(c[0], noise)),
        ("one copy, half of it strangers'", 1, lambda c: _diluted(c[0], draw)),
        ("two copies, either", 2, lambda c: joint(c, draw.choice)),
        ("two copies, the mean", 2, lambda c: joint(c, lambda v: sum(v) / len(v))),
        ("three copies, either", 3, lambda c: joint(c, draw.choice)),
        ("three copies, the middle one", 3, lambda c: joint(c, lambda v: sorted(v)[1])),
        ("three copies, the least", 3, lambda c: joint(c, min)),
    ]
    made = [copies.of(f"did:web:t{n}").to_pydict() for n in range(TRIALS + 2)]
    copies.close()
    for name, size, attack in attacks:
        missed = dict.fromkeys(SIZES, 0)
        for n in range(TRIALS):
            whole, dids = attack(made[n : n + size]), [f"did:web:t{n + i}" for i in range(size)]
            for rows in SIZES:
                seen = scores(some(whole, rows, draw), dids)
                missed[rows] += not any(score.named for score in seen)
        told = [f"{rows}: {count / TRIALS:.0%}" for rows, count in missed.items()]
        yield Result(f"missed, {name}", told[-1], "; ".join(told[:-1]), None, "", None)


def _diluted(columns: Columns, draw: random.Random) -> Columns:
    """Every second value is somebody else's."""
    return changed(columns, lambda v: v if draw.random() < 0.5 else draw.gauss(70, 20))


def wronged() -> Result:
    """Innocents before one recipient's copy of 400 rows."""
    copies = Copies(people(400))
    mine = copies.of("did:web:guilty").to_pydict()
    copies.close()
    found = scores(mine, [f"did:web:n{n}" for n in range(CROWD)], CROWD)
    named = sum(score.named for score in found)
    highest = max(score.z for score in found)
    low = sum(score.p <= 0.001 for score in found)
    baseline = f"highest z {highest:.1f}; p <= 0.001: {low}, allowed {CROWD // 1000}"
    return Result(f"innocents named, of {CROWD}", str(named), baseline, None, "0", named == 0)


def cost() -> Result:
    """A scan of all columns, marked and not, in processor time: half the values are marked."""
    columns = tuple(f"people.{name}" for name in KINDS)
    tables = {"people": TableBinding(KINDS, ("people.parquet",), "id")}
    con = duckdb.connect()
    con.register("made", people(ROWS))
    con.execute("CREATE SCHEMA data; CREATE TABLE data.people AS SELECT * FROM made")
    con.execute(f"SET VARIABLE mark_key = '{MARKER.product(PRODUCT)}'")
    con.execute(f"SET VARIABLE audit_key = '{MARKER.recipient(PRODUCT, 'did:web:a')}'")
    spent = []
    for said in (SAID, None):
        terms = Terms(("research",), columns, watermark=said)
        sql = govern("SELECT * FROM people", tables, terms).sql
        started = time.process_time()
        assert con.sql(sql).to_arrow_table().num_rows == ROWS
        spent.append(time.process_time() - started)
    con.close()
    each = f"{(spent[0] - spent[1]) / ROWS / 2 * 1e6:.2f} us"
    told = f"processor: {spent[0]:.2f} s of 200,000 rows, {spent[1]:.2f} s unmarked"
    return Result("one value of a marked column", each, told, None, "", None)


def run() -> Iterator[Result]:
    """The rows of `make bench-dataplane`."""
    yield cost()
    yield wronged()
    yield from misses()

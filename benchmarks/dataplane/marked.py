"""Marked copies for tests and benchmarks: the data plane's own expression, run by DuckDB."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from yunhe.contracts import Watermark
from yunhe.dataplane.marking import marked
from yunhe.vault import Marker, Recipient, Score, detect

PRODUCT = "product-1"
SAID = Watermark.parse("key=people.id;share=2;people.weight=0.5;people.height=1")
KINDS = {"weight": "DOUBLE", "height": "INTEGER"}
MARKER = Marker(b"a secret of the tests, of 32 byte")


def people(rows: int, seed: int = 7) -> pa.Table:
    """id, weight (tenths of kilograms), height (centimetres), town."""
    draw = random.Random(seed)  # noqa: S311
    return pa.table(
        {
            "id": pa.array(range(1000, 1000 + rows), pa.int64()),
            "weight": pa.array([round(draw.gauss(70, 12), 1) for _ in range(rows)], pa.float64()),
            "height": pa.array([int(draw.gauss(170, 9)) for _ in range(rows)], pa.int32()),
            "town": pa.array([draw.choice("abcdefgh") for _ in range(rows)]),
        }
    )


class Copies:
    """What each recipient gets of one table."""

    def __init__(self, table: pa.Table, said: Watermark = SAID) -> None:
        self._con = duckdb.connect()
        self._con.register("people", table)
        self._con.execute(f"SET VARIABLE mark_key = '{MARKER.product(PRODUCT)}'")
        shown = [
            f"{marked(f'p.{name}', 'p.id', f'people.{name}', kind, said)} AS {name}"
            for name, kind in KINDS.items()
            if said.step(f"people.{name}")
        ]
        self._sql = f"SELECT id, {', '.join(shown)}, town FROM people AS p"

    def of(self, did: str) -> pa.Table:
        """The copy of one recipient."""
        self._con.execute(f"SET VARIABLE audit_key = '{MARKER.recipient(PRODUCT, did)}'")
        return self._con.sql(self._sql).to_arrow_table()

    def close(self) -> None:
        """Let go of the engine."""
        self._con.close()


def scores(
    columns: Mapping[str, Sequence[Any]], dids: Sequence[str], said: Watermark = SAID
) -> list[Score]:
    """What the detector says of suspected values; `columns` has `id` and marked ones."""
    known = [Recipient(did, MARKER.recipient(PRODUCT, did), said) for did in dids]
    values = {f"people.{name}": found for name, found in columns.items() if name in KINDS}
    return detect(MARKER.product(PRODUCT), known, columns["id"], values)


def named(columns: Mapping[str, Sequence[Any]], dids: Sequence[str]) -> list[str]:
    """Who is named."""
    return sorted(score.did for score in scores(columns, dids) if score.named)

"""The fabric over seven nodes answers as DuckDB over their governed tables put together."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fabric.weave import PARTS, Weave, part
from flow.world import PURPOSE

TEXT = (Path(__file__).parent / "fixtures" / "queries.sql").read_text("utf-8")
PAIRS = re.findall(r"^-- (whole|partial|rows|keys)\n(.+)$", TEXT, re.MULTILINE)
# The other truth: DuckDB by itself, over tables governed here by hand.
GOVERNED = "SELECT id, CAST(round(age / 10) * 10 AS BIGINT) AS age, sex FROM {} WHERE age >= 18"


def test_the_corpus_is_of_some_size() -> None:
    assert len(PAIRS) >= 40


@pytest.fixture(scope="module")
def together() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("SET error_on_division_by_zero = false")
    for at in range(PARTS):
        labs, patients = part(at)
        con.register("raw_labs", labs)
        con.register("raw_patients", patients)
        con.execute(f"CREATE TABLE h{at}_labs AS FROM raw_labs")
        con.execute(f"CREATE TABLE h{at}_patients AS {GOVERNED.format('raw_patients')}")
    for name in ("labs", "patients"):
        every = " UNION ALL ".join(f"FROM h{at}_{name}" for at in range(PARTS))
        con.execute(f"CREATE VIEW all_{name} AS {every}")
    return con


def aliases(weave: Weave) -> dict[str, Any]:
    one = {f"h{at}": contract for at, contract in enumerate(weave.rows)}
    one |= {f"g{at}": contract for at, contract in enumerate(weave.groups)}
    return {"study": weave.rows, "agg": weave.groups, "x0": weave.again, **one}


@pytest.mark.parametrize(("kind", "sql"), PAIRS)
def test_the_fabric_answers_as_one_engine(
    weave: Weave, together: duckdb.DuckDBPyConnection, kind: str, sql: str
) -> None:
    plain = re.sub(r"\b(study|agg)\.(?=labs|patients)", "all_", sql)
    plain = re.sub(r"\b[hgx](\d)\.(?=labs|patients)", r"h\1_", plain)
    expected = together.sql(plain)
    space = weave["r"].space
    got = space.fabric(sql, aliases(weave), PURPOSE)
    parts = space.fabric_answers()[0]["parts"]
    keyed = any(each["keys"] is not None or each["state"] == "spared" for each in parts)
    kinds = {each["kind"] for each in parts} | ({"keys"} if keyed else set())
    assert kind in kinds, parts
    assert keyed == (kind == "keys"), parts
    assert got.schema.names == list(expected.columns)
    ours = [tuple(row.values()) for row in got.to_pylist()]
    theirs = [tuple(row) for row in expected.fetchall()]
    if "ORDER BY" not in sql:
        ours, theirs = sorted(ours, key=str), sorted(theirs, key=str)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert all(_same(a, b) for a, b in zip(mine, other, strict=True)), (mine, other)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (float, Decimal)) or isinstance(b, (float, Decimal)):
        return (a is None) == (b is None) and (a is None or math.isclose(a, b, rel_tol=1e-9))
    return bool(a == b)

"""What an engine knows of all rows of a file, its least and greatest values, tells nobody of those
that are hidden: not by an expression that it leaves out as it already knows the answer, and whose
error is missed then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from dataplane.hospital import Hospital
from dataplane.twins import CLEAR
from yunhe.contracts import Terms
from yunhe.dataplane import Binding, Job, Pool, TableBinding
from yunhe.kernel.errors import YunheError

# Alike in all that is shown. Of the second, what is hidden is greater, or missing.
SHOWN = """
    SELECT i AS id, CASE WHEN i % 10 = 0 THEN 'west' ELSE 'east' END AS region,
        CASE WHEN i <= 5 THEN 'few' WHEN i % 2 = 0 THEN 'a' ELSE 'b' END AS ward,
        DATE '2020-01-01' + (i % 400)::INT AS day, 'n' || i AS name,
        {value}::BIGINT AS value
    FROM range(1, 301) t(i)
"""
WORLDS = (
    SHOWN.format(value="i % 90"),
    SHOWN.format(value="CASE WHEN i % 10 = 0 OR i <= 5 THEN 1000000 + i ELSE i % 90 END"),
    SHOWN.format(value="CASE WHEN NOT (i % 10 = 0 OR i <= 5) THEN i % 90 END"),
)
OVER = "9223372036854775807"
HUGE = "170141183460469231731687303715884105000"
TINY = f"0.{'0' * 36}1"


def known(error: str, value: str = "value") -> str:
    """Never true and always an error, which who knows that neither end is below `value` spares."""
    return f"CASE WHEN {error} THEN 999999 ELSE 1000000 END > {value}"


def one(truth: str) -> str:
    """What is tried as a whole."""
    return f"abs(CASE WHEN {truth} THEN 1 ELSE 0 END)"


LONE = "SELECT id AS t FROM p WHERE value < 1000000 OR id > (SELECT {0})"
ROWS = [
    # The error within what is tried with the comparison.
    f"SELECT {one(known('name = day'))} AS t FROM p",
    f"SELECT {one(known(f'id * {OVER} > 3'))} AS t FROM p",
    f"SELECT count(*) AS t FROM p WHERE {known(f'id * {OVER} > 3')}",
    f"SELECT {one(f'(value + id * {OVER}) IS NULL')} AS t FROM p",
    f"SELECT abs(coalesce(value, id * {OVER})) AS t FROM p",
    # A constant that is one.
    f"SELECT {known(f'{OVER} + 1 > id')} AS t FROM p",
    f"SELECT id AS t FROM p WHERE {known(f'{OVER} + 1 > id')}",
    f"SELECT value AS t FROM p WHERE value > 1000 AND {OVER} + 1 > id",
    # A text that is no truth, and numbers that do not fit beside each other.
    f"SELECT {known('name')} AS t FROM p",
    f"SELECT {known('NOT name')} AS t FROM p",
    f"SELECT {known('name IS TRUE')} AS t FROM p",
    f"SELECT {known(f'{TINY} > id')} AS t FROM p",
    f"SELECT {known(f'id + {HUGE} > 0.5')} AS t FROM p",
    # Over aggregates, over places in an order, and of a union.
    f"SELECT {known(f'max(id) * {OVER} > 3')} AS t FROM p GROUP BY value",
    LONE.format(f"max(id) * {OVER} FROM p"),
    LONE.format(f"sum(id + {HUGE}) FROM p"),
    LONE.format("id FROM p"),
    LONE.format("max(t) FROM (SELECT lag(id, 1, name) OVER (ORDER BY id) AS t FROM p) AS x"),
    LONE.format("max(t) FROM (SELECT lag(id, name) OVER (ORDER BY id) AS t FROM p) AS x"),
    LONE.format("count(*) FROM p WHERE INTERVAL '99999999999' YEAR > INTERVAL '1' DAY"),
    LONE.format(f"max(r) FROM (SELECT rank() OVER (ORDER BY id) * {OVER} AS r FROM p) AS x"),
    LONE.format(f"max(t) FROM (SELECT id + {HUGE} AS t FROM p UNION ALL SELECT 0.5 FROM p) AS x"),
]
WARDS = "FROM p GROUP BY ward"
GROUPS = [
    f"SELECT ward, {one(known(f'count(*) * {OVER} > 3', 'sum(value)'))} AS t {WARDS}",
    f"SELECT ward, {known(f'{OVER} + 1 > count(*)', 'sum(value)')} AS t {WARDS}",
    f"SELECT count(*) AS t FROM p WHERE ward <> 'few' AND {known(f'{OVER} + 1 > 3')}",
    f"SELECT count(*) AS t FROM p WHERE ward <> 'few' AND {one(known('name = day'))} = 1",
]
FIELDS = tuple(f"p.{name}" for name in ("id", "ward", "day", "name", "value"))
FILTERED = replace(CLEAR, columns=FIELDS, row_filters=(("p", "region = 'east' AND id > 5"),))
GROUPED = replace(CLEAR, columns=FIELDS, row_filters=(("p", "region = 'east'"),), minimum_group=10)


def answers(sql: str, terms: Terms, pool: Pool, folder: Path) -> list[object]:
    """What each world says: its rows, or the code of its refusal."""
    said: list[object] = []
    for at, world in enumerate(WORLDS):
        file = folder / f"{at}.parquet"
        if not file.exists():
            duckdb.execute(f"COPY ({world}) TO '{file}' (FORMAT parquet)")
        shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        table = TableBinding({row[0]: row[1] for row in shape}, (str(file),), "id")
        world_of = Hospital({"p": table}, pool, folder)
        governed = world_of.govern(sql, terms)
        job = Job(governed.sql, governed.groups_sql, governed.k, careful=governed.careful)
        binding = Binding(f"w{at}", (("p", (str(file),)),), "pepper")
        try:
            table_of, _ = world_of.run(job, binding)
            said.append(sorted(map(str, table_of.to_pylist())))
        except YunheError as refusal:
            said.append(refusal.code)
    return said


@pytest.mark.parametrize("sql", ROWS)
def test_rows_that_are_hidden_change_no_answer(sql: str, pool: Pool, tmp_path: Path) -> None:
    first, *others = answers(sql, FILTERED, pool, tmp_path)
    assert [first] * len(others) == others


@pytest.mark.parametrize("sql", GROUPS)
def test_groups_that_are_withheld_change_no_answer(sql: str, pool: Pool, tmp_path: Path) -> None:
    first, *others = answers(sql, GROUPED, pool, tmp_path)
    assert [first] * len(others) == others

"""Rows that a policy hides, and groups that are withheld, make no engine raise: whether it did
would tell of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dataplane.hospital import Hospital
from dataplane.twins import CLEAR, Twin, fill, frames, opened
from yunhe.dataplane import Databases, Pool, TableBinding
from yunhe.sources import parse

VISIBLE = 270
# PostgreSQL looks at the cheap condition first: a long list is dearer than a number.
DEAR = " OR ".join(f"region = '{each}'" for each in ("east", *"abcdefgh"))
# Numerics without a size, which are DOUBLE here: too small for one, too large, none.
VALUES = ("1e-400", "-1e-400", "4e-324", "1e400", "-1e400", "'NaN'", "'Infinity'", "0", "1e-310")


@pytest.fixture
def changed(pg_server: str) -> sa.URL:
    root = sa.make_url(pg_server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.exec_driver_sql("DROP DATABASE IF EXISTS hidden")
        con.exec_driver_sql("CREATE DATABASE hidden")
    engine.dispose()
    return root.set(database="hidden")


def test_a_number_that_is_no_double_makes_nothing_raise(
    changed: sa.URL, tmp_path: Path, pool: Pool
) -> None:
    connection = fill("postgresql", tmp_path, f"{changed}", frames())
    engine = sa.create_engine(changed)
    with engine.begin() as con:
        con.exec_driver_sql("ALTER TABLE patients ADD COLUMN odd numeric DEFAULT 2")
    for value in VALUES:
        with engine.begin() as con:
            con.exec_driver_sql(f"UPDATE patients SET odd = {value} WHERE region = 'west'")
        table = opened(connection, "patients")
        types = {column.name: column.type for column in table.shape()}
        assert types["odd"] == "DOUBLE"
        stored = {"patients": TableBinding(types, (str(table.locator),), "id")}
        databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
        terms = replace(
            CLEAR, columns=("patients.id", "patients.odd"), row_filters=(("patients", DEAR),)
        )
        for sql in (
            "SELECT count(*) n FROM patients WHERE odd > 1.5",
            "SELECT count(*) n FROM patients WHERE CASE WHEN id > 0 THEN odd END > 1.5",
        ):
            answer, _ = Twin({}, stored, databases, pool).there(sql, terms)
            assert answer.to_pylist() == [{"n": VISIBLE}], (value, sql)
    engine.dispose()


# Five patients of a ward that is withheld: what they have cannot be summed, or not exactly.
HUGE = """
    SELECT i::BIGINT AS id,
        CASE WHEN i <= 5 THEN 'few' WHEN i % 2 = 0 THEN 'a' ELSE 'b' END AS ward,
        (CASE WHEN i <= 5 THEN 1.7e308 WHEN i = 6 THEN 1e300 WHEN i = 8 THEN -1e300 ELSE i / 8 END)
            ::DOUBLE AS value,
        (CASE WHEN i <= 5 THEN 1e-310 ELSE i END)::DOUBLE AS tiny
    FROM range(1, 301) t(i)
"""
SUMS = "SELECT ward, sum({0}) s, avg({0}) a, count({0}) n FROM patients GROUP BY ward ORDER BY ward"


@pytest.mark.parametrize("kind", ["postgresql", "sqlite", "mysql"])
def test_a_sum_beyond_a_double_is_one_in_every_database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, pool: Pool, monkeypatch
) -> None:
    url = ""
    if kind == "postgresql":
        url = str(request.getfixturevalue("changed").set(drivername="postgresql"))
    if kind == "mysql":
        url = str(request.getfixturevalue("mysql_server"))
        monkeypatch.setenv("MARIADB_TEST_PASSWORD", "pw")
    laid = duckdb.sql(HUGE).to_arrow_table()
    connection = fill(kind, tmp_path, url, {"patients": laid})
    pa.parquet.write_table(laid, file := tmp_path / "patients.parquet")
    table = opened(connection, "patients")
    types = {column.name: column.type for column in table.shape()}
    bound = [TableBinding(types, (each,), "id") for each in (str(file), str(table.locator))]
    databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
    twin = Twin({"patients": bound[0]}, {"patients": bound[1]}, databases, pool)
    shown = tuple(f"patients.{name}" for name in types)
    for k, column in ((0, "value"), (0, "tiny"), (10, "value"), (10, "tiny")):
        terms = replace(CLEAR, columns=shown, row_filters=(), minimum_group=k)
        sql = SUMS.format(column)
        answer, _ = twin.there(sql, terms)
        mine, theirs = twin.here(sql, terms).to_pylist(), answer.to_pylist()
        assert [row["ward"] for row in theirs] == [row["ward"] for row in mine]
        assert "few" not in [row["ward"] for row in theirs] or not k
        for ours, other in zip(mine, theirs, strict=True):
            assert other["n"] == ours["n"]
            # Near 1e300 the order of a sum decides what is left of the small ones.
            near = max(1e-12 * abs(ours["s"]), 1e285 if ours["ward"] == "a" else 0)
            for name in ("s", "a"):
                assert math.isclose(other[name], ours[name], rel_tol=1e-12, abs_tol=near)
                assert math.isinf(ours[name]) == (ours["ward"] == "few" and column == "value")


@pytest.mark.parametrize(("kind", "digits"), [("DECIMAL(38,0)", 38), ("DECIMAL(38,8)", 30)])
def test_a_sum_beyond_all_digits_of_a_group_that_is_withheld_ends_no_query(
    kind: str, digits: int, tmp_path: Path, pool: Pool
) -> None:
    most = "9" * digits
    file = tmp_path / "patients.parquet"
    duckdb.execute(
        f"COPY (SELECT i AS id, CASE WHEN i <= 5 THEN 'few' ELSE 'many' END AS ward, "
        f"CASE WHEN i <= 5 THEN '{most}' ELSE '2' END::{kind} AS value FROM range(1, 101) t(i)) "
        f"TO '{file}' (FORMAT parquet)"
    )
    types = {"id": "BIGINT", "ward": "VARCHAR", "value": kind}
    hospital = Hospital({"patients": TableBinding(types, (str(file),), "id")}, pool, tmp_path)
    terms = replace(
        CLEAR, columns=("patients.ward", "patients.value"), row_filters=(), minimum_group=10
    )
    for asked in (SUMS, SUMS.replace("avg({0}) a, ", "")):
        assert hospital.ask(asked.format("value"), terms).to_pylist()[0]["s"] == 190

"""Rows that a policy hides make no database raise: whether it did would tell of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

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

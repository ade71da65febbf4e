"""The same data as Parquet and in databases: equal answers, and no more shipped than is needed."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dataplane.twins import CLEAR, QUERIES, TERMS, Twin, fill, frames, make_twin, opened
from yunhe.contracts import Aggregates, Terms
from yunhe.dataplane import Pool, TableBinding, govern
from yunhe.dataplane.pushdown_fetch import Databases
from yunhe.sources.connections import Connection
from yunhe.sources.database import Failed
from yunhe.sources.locator import parse

KINDS = ("postgresql", "sqlite", "mysql")


@pytest.fixture(scope="module")
def known() -> dict[Any, pa.Table]:
    return {}


@pytest.fixture(params=KINDS, scope="module")
def twin(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    pool: Pool,
    known: dict[Any, pa.Table],
) -> Twin:
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("pg_server")
        engine = sa.create_engine(
            sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as con:
            con.exec_driver_sql("DROP DATABASE IF EXISTS pushed")
            con.exec_driver_sql("CREATE DATABASE pushed")
        engine.dispose()
        url = str(sa.make_url(url).set(database="pushed"))
    if request.param == "mysql":
        url = str(request.getfixturevalue("mysql_server"))
        os.environ["MARIADB_TEST_PASSWORD"] = "pw"
    made = make_twin(request.param, tmp_path_factory.mktemp(request.param), pool, url)
    return replace(made, known=known)


def alike(one: pa.Table, other: pa.Table, ordered: bool) -> None:
    assert one.schema == other.schema
    rows = [table.to_pylist() for table in (one, other)]
    if not ordered:
        rows = [sorted(each, key=str) for each in rows]
    for mine, theirs in zip(*rows, strict=True):
        for name, value in mine.items():
            if isinstance(value, float):
                assert theirs[name] == pytest.approx(value, rel=1e-12)
            else:
                assert theirs[name] == value, (name, mine, theirs)


# Masks and filters are of the patients: without them the contracts say the same.
AGREED = [
    (sql, whole, terms)
    for sql, whole in QUERIES
    for terms in ((TERMS, CLEAR) if "patients" in sql else (CLEAR,))
]


@pytest.mark.parametrize(("sql", "whole", "terms"), AGREED)
def test_the_same_answer_wherever_the_data_lies(
    twin: Twin, sql: str, whole: bool | None, terms: Terms
) -> None:
    answer, shipped = twin.there(sql, terms)
    alike(twin.here(sql, terms), answer, "ORDER BY" in sql)
    if whole and terms is CLEAR:
        assert len(shipped) == 1, shipped
        assert shipped[0][1] == answer.num_rows or "HAVING" in sql or shipped[0][1] <= 300
        assert "GROUP BY" in shipped[0][0] or answer.num_rows == 1


# Under a minimum group; how many fetches, and whether the places of prints are made there.
GUARDED = [
    ("SELECT code, count(*) n, avg(value) a, sum(big) s, count(rare) r FROM labs GROUP BY code", 2),
    ("SELECT sex, count(*), avg(\"Age\") FROM patients WHERE birth < '1990-01-01' GROUP BY sex", 2),
    ("SELECT count(DISTINCT id) n, sum(value) FROM labs WHERE seen < '2020-01-20'", 2),
    (("SELECT p.sex, l.code, avg(l.value), count(DISTINCT l.rare) FROM patients p "
     "JOIN labs l ON p.id = l.id WHERE NOT p.smoker GROUP BY ALL"), 2),
    (("SELECT p.sex, sum(l.value) FROM patients p LEFT JOIN labs l ON p.id = l.id "
     "GROUP BY p.sex HAVING count(*) > 20 ORDER BY 1 DESC LIMIT 2"), 2),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "fetches"), GUARDED)
def test_of_groups_nothing_is_shipped_but_sums(twin: Twin, sql: str, fetches: int) -> None:
    terms = replace(CLEAR, minimum_group=5)
    answer, shipped, prints = twin.printed(sql, terms)
    alike(twin.here(sql, terms), answer, "ORDER BY" in sql)
    assert len(shipped) == fetches
    assert all("COUNT(" in asked for asked, _ in shipped), shipped
    if "mod(" in shipped[-1][0].lower():  # by place of a print: no entity leaves the database
        assert all(rows <= 64 * 16 for _, rows in shipped)
        assert not any('AS "__e"' in asked.partition(" FROM ")[0] for asked, _ in shipped)
    else:  # in our own process, by SQLite
        assert "sqlite" in twin.stored["labs"].source[0]
    # However a query is done, its groups leave equal prints: else the audit would compare nothing.
    column = "p.birth" if " p " in sql else "birth" if "FROM patients" in sql else "seen"
    loose = f"length(CAST({column} AS TEXT)) > 0"  # no word that we say to a database
    where = " WHERE " if " WHERE " in sql else " GROUP BY "
    head, _, tail = sql.partition(where)
    joint = " AND " if where == " WHERE " else where
    _, pulled, again = twin.printed(f"{head} WHERE {loose}{joint}{tail}", terms)
    assert not any("COUNT(" in asked for asked, _ in pulled)
    assert sorted(map(_print, again)) == sorted(map(_print, prints))


# Places in an order: of rows, here; the prints are those of a count that the database makes.
RANKED = [
    "SELECT code, min(value), median(value), max(value), stddev(value) FROM labs GROUP BY code",
    "SELECT quantile(\"Age\", 0.9) q, max(birth) FROM patients WHERE sex = 'f'",
    "SELECT p.sex, median(l.value) FROM patients p JOIN labs l ON p.id = l.id GROUP BY p.sex",
]


@pytest.mark.parametrize("sql", RANKED)
def test_places_in_an_order_are_made_of_rows(twin: Twin, sql: str) -> None:
    listed = "labs.value=count,max,median,min,stddev/0.5;patients.Age=count,quantile/5"
    listed += ";patients.birth=count,max/30"
    terms = replace(CLEAR, minimum_group=5, aggregates=Aggregates.parse(listed))
    answer, shipped, prints = twin.printed(sql, terms)
    alike(twin.here(sql, terms), answer, ordered=False)
    assert not any("GROUP BY" in asked for asked, _ in shipped)
    told = twin.databases.told(govern(sql, twin.stored, terms), twin.stored)
    assert all("places in an order and spreads are made here" in each for each in told)
    head, _, tail = sql.partition(" FROM ")
    key = head.removeprefix("SELECT ").partition(",")[0] + ", " if "GROUP BY" in sql else ""
    _, pushed, due = twin.printed(f"SELECT {key}count(*) FROM {tail}", terms)
    assert all("COUNT(" in asked for asked, _ in pushed)
    shown = sorted(map(_print, prints))
    assert shown
    assert [each for each in sorted(map(_print, due)) if each in shown] == shown


def _print(group: list[Any]) -> tuple[int, list[list[int]]]:
    return group[0], sorted(group[1])


def test_a_text_that_sqlite_takes_for_a_number_passes_no_filter(tmp_path: Path, pool: Pool) -> None:
    file = tmp_path / "levels.db"
    con = sqlite3.connect(file)
    con.execute('CREATE TABLE "patients" (id INTEGER, region STRING)')
    con.executemany("INSERT INTO patients VALUES (?, ?)", [(1, "1A"), (2, "2B"), (3, "5C")])
    con.commit()
    con.close()
    connection = Connection("his", "sqlite", MappingProxyType({"file": str(file)}))
    table = opened(connection, "patients")
    types = {column.name: column.type for column in table.shape()}
    stored = {"patients": TableBinding(types, (str(table.locator),), "id")}
    databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
    terms = replace(CLEAR, columns=("patients.id",), row_filters=(("patients", "region >= '3'"),))
    answer, _ = Twin({}, stored, databases, pool).there("SELECT count(*) n FROM patients", terms)
    assert answer.to_pylist() == [{"n": 1}]


def test_an_infinite_date_that_is_hidden_makes_nothing_raise(
    pg_server: str, tmp_path: Path, pool: Pool
) -> None:
    root = sa.make_url(pg_server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.exec_driver_sql("DROP DATABASE IF EXISTS endless")
        con.exec_driver_sql("CREATE DATABASE endless")
    engine.dispose()
    connection = fill("postgresql", tmp_path, f"{root.set(database='endless')}", frames())
    engine = sa.create_engine(root.set(database="endless"))
    with engine.begin() as con:
        con.exec_driver_sql("UPDATE patients SET birth = 'infinity' WHERE region = 'west'")
    engine.dispose()
    table = opened(connection, "patients")
    types = {column.name: column.type for column in table.shape()}
    stored = {"patients": TableBinding(types, (str(table.locator),), "id")}
    databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
    twin = Twin({}, stored, databases, pool)
    sql = "SELECT count(*) n FROM patients WHERE year(birth) > 1900"
    # PostgreSQL looks at the cheap condition first: a long list is dearer than a year.
    dear = " OR ".join(f"region = '{each}'" for each in ("east", *"abcdefgh"))
    terms = replace(CLEAR, row_filters=(("patients", dear),))
    answer, _ = twin.there(sql, terms)
    assert answer.to_pylist() == [{"n": 270}]


def test_years_before_the_first_are_those_of_our_own_engine(
    pg_server: str, tmp_path: Path, pool: Pool
) -> None:
    """There the year before 1 is -1; in SQLite there is none: its column is one of texts."""
    root = sa.make_url(pg_server).set(drivername="postgresql+psycopg")
    days = ["0044-03-15 BC", "0001-12-31 BC", "0001-01-01", "2020-02-29"]
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.exec_driver_sql("DROP TABLE IF EXISTS old")
        con.exec_driver_sql("CREATE TABLE old (id BIGINT, region TEXT, day DATE, at TIMESTAMP)")
        for at, day in enumerate(days):
            con.exec_driver_sql(f"INSERT INTO old VALUES ({at}, 'east', '{day}', '{day}')")
    engine.dispose()
    found = {"host": root.query["host"], "database": "postgres", "user": "yunhe"}
    connection = Connection("his", "postgresql", MappingProxyType(found))
    types = {column.name: column.type for column in opened(connection, "old").shape()}
    stored = {"old": TableBinding(types, ("postgresql:his/old",), "id")}
    databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
    terms = replace(CLEAR, columns=("old.id", "old.day", "old.at"), row_filters=())
    sql = "SELECT year(day) y, year(at) a, month(day) m, count(*) n FROM old GROUP BY ALL"
    answer, shipped = Twin({}, stored, databases, pool).there(sql, terms)
    days = "('0044-03-15 (BC)'), ('0001-12-31 (BC)'), ('0001-01-01'), ('2020-02-29')"
    ours = duckdb.sql(
        f"SELECT year(day::DATE), month(day::DATE) FROM (VALUES {days}) t(day)"
    ).fetchall()
    assert "GROUP BY" in shipped[0][0]
    assert sorted((row["y"], row["m"]) for row in answer.to_pylist()) == sorted(ours)
    assert all(row["a"] == row["y"] for row in answer.to_pylist())
    con = sqlite3.connect(tmp_path / "old.db")
    con.execute("CREATE TABLE old (day DATE)")
    con.execute("INSERT INTO old VALUES ('-0044-03-15'), ('0000-01-01')")
    con.commit()
    con.close()
    file = Connection("his", "sqlite", MappingProxyType({"file": str(tmp_path / "old.db")}))
    assert opened(file, "old").shape()[0].type == "VARCHAR"


def test_equal_tables_of_two_products_are_read_each_where_it_lies(
    tmp_path: Path, pool: Pool
) -> None:
    file = tmp_path / "two.db"
    con = sqlite3.connect(file)
    for name, rows in (("ours", 3), ("theirs", 7)):
        con.execute(f'CREATE TABLE "{name}" (id INTEGER, region TEXT)')
        con.executemany(f'INSERT INTO "{name}" VALUES (?, ?)', [(n, name) for n in range(rows)])
    con.commit()
    con.close()
    connection = Connection("his", "sqlite", MappingProxyType({"file": str(file)}))
    databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
    terms = replace(CLEAR, columns=("patients.id", "patients.region"), row_filters=())
    for name, rows in (("ours", 3), ("theirs", 7)):
        table = opened(connection, name)
        types = {column.name: column.type for column in table.shape()}
        stored = {"patients": TableBinding(types, (str(table.locator),), "id")}
        twin = Twin({}, stored, databases, pool)
        answer, _ = twin.there("SELECT region, count(*) n FROM patients GROUP BY region", terms)
        assert answer.to_pylist() == [{"region": name, "n": rows}]


def test_a_domain_of_a_loose_collation_is_compared_by_its_bytes(
    pg_server: str, tmp_path: Path, pool: Pool
) -> None:
    root = sa.make_url(pg_server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.exec_driver_sql("DROP DATABASE IF EXISTS loose")
        con.exec_driver_sql("CREATE DATABASE loose")
    engine.dispose()
    engine = sa.create_engine(root.set(database="loose"))
    with engine.begin() as con:
        loose = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
        for sql in (
            f"CREATE COLLATION caseless ({loose})",
            "CREATE DOMAIN place AS text COLLATE caseless",
            "CREATE TABLE patients (id BIGINT, region place)",
            "INSERT INTO patients VALUES (1, 'east'), (2, 'EAST')",
        ):
            con.exec_driver_sql(sql)
    engine.dispose()
    found = {"host": root.query["host"], "database": "loose", "user": "yunhe"}
    connection = Connection("his", "postgresql", MappingProxyType(found))
    table = opened(connection, "patients")
    types = {column.name: column.type for column in table.shape()}
    stored = {"patients": TableBinding(types, (str(table.locator),), "id")}
    databases = Databases(lambda source: opened(connection, parse(source).path), tmp_path / "p")
    terms = replace(CLEAR, columns=("patients.id",), row_filters=(("patients", "region = 'east'"),))
    answer, _ = Twin({}, stored, databases, pool).there("SELECT count(*) n FROM patients", terms)
    assert answer.to_pylist() == [{"n": 1}]


def test_a_database_whose_texts_are_not_utf8_is_not_asked(pg_server: str) -> None:
    root = sa.make_url(pg_server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.exec_driver_sql("DROP DATABASE IF EXISTS other_bytes")
        made = "ENCODING 'EUC_CN' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        con.exec_driver_sql(f"CREATE DATABASE other_bytes {made}")
    engine.dispose()
    engine = sa.create_engine(root.set(database="other_bytes"))
    with engine.begin() as con:
        con.exec_driver_sql("CREATE TABLE patients (id BIGINT, region TEXT)")
        con.exec_driver_sql("INSERT INTO patients VALUES (1, '\u963f')")
        # By its bytes there it stands before what it stands behind here: a filter would differ.
        found = con.exec_driver_sql("SELECT region < '\u4e2d' FROM patients").scalar()
        assert found is not ("\u963f" < "\u4e2d")
    engine.dispose()
    values = {"host": root.query["host"], "database": "other_bytes", "user": "yunhe"}
    connection = Connection("his", "postgresql", MappingProxyType(values))
    with pytest.raises(Failed):
        opened(connection, "patients").shape()

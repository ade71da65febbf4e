"""The same data as Parquet and in databases: equal answers, and no more shipped than is needed."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlalchemy as sa

from dataplane.twins import CLEAR, QUERIES, TERMS, Twin, fill, frames, make_twin, opened
from yunhe.contracts import Aggregates, Terms
from yunhe.control import Answered, answered
from yunhe.control.overlap import overlaps
from yunhe.dataplane import Pool, TableBinding, govern
from yunhe.dataplane.bounding import buckets
from yunhe.dataplane.pushdown_fetch import Databases
from yunhe.sources.connections import Connection
from yunhe.sources.database import Failed
from yunhe.sources.locator import parse

KINDS = ("postgresql", "sqlite", "mysql")


def made_anew(pg_server: str, name: str, more: str = "") -> sa.URL:
    """An empty database of the test's own."""
    root = sa.make_url(pg_server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT")
    with engine.connect() as con:
        con.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
        con.exec_driver_sql(f"CREATE DATABASE {name} {more}")
    engine.dispose()
    return root.set(database=name)


def told(url: sa.URL, *statements: str) -> Connection:
    """The connection of a node to a database that these statements made what it is."""
    engine = sa.create_engine(url)
    with engine.begin() as con:
        for each in statements:
            con.exec_driver_sql(each)
    engine.dispose()
    found = {"host": url.query["host"], "database": url.database, "user": "yunhe"}
    return Connection("his", "postgresql", MappingProxyType(found))


def in_file(path: Path, tables: dict[str, list[tuple[Any, ...]]]) -> Connection:
    """The connection of a node to a SQLite file: `name (columns)` -> rows."""
    con = sqlite3.connect(path)
    for made, rows in tables.items():
        con.execute(f"CREATE TABLE {made}")
        marks = ", ".join("?" for _ in rows[0])
        con.executemany(f"INSERT INTO {made.partition(' ')[0]} VALUES ({marks})", rows)
    con.commit()
    con.close()
    return Connection("his", "sqlite", MappingProxyType({"file": str(path)}))


def there_only(connection: Connection, table: str, name: str, folder: Path, pool: Pool) -> Twin:
    """One table of a database under the name that queries know it by, and no files."""
    found = opened(connection, table)
    types = {column.name: column.type for column in found.shape()}
    stored = {name: TableBinding(types, (str(found.locator),), "id")}
    databases = Databases(lambda source: opened(connection, parse(source).path), folder / "p")
    return Twin({}, stored, databases, pool)


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
        made_anew(url, "pushed")
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
    shown = sorted(_print([of, [place[:3] for place in places]]) for of, places in prints)
    assert shown
    assert [each for each in sorted(map(_print, due)) if each in shown] == shown


def _print(group: list[Any]) -> tuple[int, list[list[int]]]:
    return group[0], sorted(group[1])


def _answer(twin: Twin, sql: str, pulled: bool) -> Answered:
    """What the audit is told of a query, its groups made there; or here, of rows pulled."""
    if pulled:
        sql += " AND length(CAST(l.seen AS TEXT)) > 0"
    terms = replace(CLEAR, minimum_group=10)
    made = govern(sql, twin.stored, terms)
    _, shipped, prints = twin.printed(sql, terms)
    assert prints
    assert any("COUNT(" in asked for asked, _ in shipped) != pulled
    own = dict.fromkeys(made.summed, "labs")
    whole = "+".join(sorted(made.tables))
    return answered("d", made.k, whole, made.summed, prints, buckets(made.k), own)


def _at(*hours: int) -> str:
    first = datetime(2020, 1, 1)  # noqa: DTZ001 - as the column has it
    return ", ".join(f"'{first + timedelta(hours=hour)}'" for hour in hours)


# Hours of LABS: those that 5 divides have no `rare`; of person 12 are the hours 11, 321 and 631.
EARLY = f"l.seen < {_at(300)}"
LATER = _at(*range(305, 405, 5), 401)
ONE_OF_MANY = (
    f"SELECT sum(l.rare) FROM labs l WHERE {EARLY}",
    f"SELECT sum(l.rare) FROM labs l WHERE ({EARLY} OR l.seen IN ({LATER}))",
)
BESIDE = "labs l LEFT JOIN patients p ON p.id = l.id"
BESIDE_ANOTHER = (
    f"SELECT sum(l.value) FROM labs l WHERE {EARLY}",
    f"SELECT sum(l.value) FROM {BESIDE} WHERE ({EARLY} OR l.seen = {_at(321)})",
)


@pytest.mark.parametrize("pulled", [(False, False), (False, True), (True, False)], ids=str)
@pytest.mark.parametrize("asked", [ONE_OF_MANY, BESIDE_ANOTHER], ids=["nulls", "join"])
def test_one_value_more_is_seen_in_a_database_too(
    twin: Twin, asked: tuple[str, str], pulled: tuple[bool, bool]
) -> None:
    """Among twenty people without a value, or of somebody who is there already, beside a table."""
    one, other = (_answer(twin, *each) for each in zip(asked, pulled, strict=True))
    assert overlaps(other, [one])
    assert overlaps(one, [other])
    again = _answer(twin, asked[0], pulled[1])
    assert not overlaps(again, [one])
    wholly = replace(other, valued={}), [replace(one, valued={})]
    assert not overlaps(*wholly), "else the answers themselves were too near"


def test_a_text_that_sqlite_takes_for_a_number_passes_no_filter(tmp_path: Path, pool: Pool) -> None:
    rows = [(1, "1A"), (2, "2B"), (3, "5C")]
    made = in_file(tmp_path / "levels.db", {"patients (id INTEGER, region STRING)": rows})
    twin = there_only(made, "patients", "patients", tmp_path, pool)
    terms = replace(CLEAR, columns=("patients.id",), row_filters=(("patients", "region >= '3'"),))
    answer, _ = twin.there("SELECT count(*) n FROM patients", terms)
    assert answer.to_pylist() == [{"n": 1}]


def test_an_infinite_date_that_is_hidden_makes_nothing_raise(
    pg_server: str, tmp_path: Path, pool: Pool
) -> None:
    url = made_anew(pg_server, "endless")
    fill("postgresql", tmp_path, f"{url}", frames())
    made = told(url, "UPDATE patients SET birth = 'infinity' WHERE region = 'west'")
    twin = there_only(made, "patients", "patients", tmp_path, pool)
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
    days = ["0044-03-15 BC", "0001-12-31 BC", "0001-01-01", "2020-02-29"]
    made = told(
        made_anew(pg_server, "ancient"),
        "CREATE TABLE old (id BIGINT, region TEXT, day DATE, at TIMESTAMP)",
        *(f"INSERT INTO old VALUES ({at}, 'east', '{d}', '{d}')" for at, d in enumerate(days)),
    )
    twin = there_only(made, "old", "old", tmp_path, pool)
    terms = replace(CLEAR, columns=("old.id", "old.day", "old.at"), row_filters=())
    sql = "SELECT year(day) y, year(at) a, month(day) m, count(*) n FROM old GROUP BY ALL"
    answer, shipped = twin.there(sql, terms)
    listed = "('0044-03-15 (BC)'), ('0001-12-31 (BC)'), ('0001-01-01'), ('2020-02-29')"
    ours = duckdb.sql(
        f"SELECT year(day::DATE), month(day::DATE) FROM (VALUES {listed}) t(day)"
    ).fetchall()
    assert "GROUP BY" in shipped[0][0]
    assert sorted((row["y"], row["m"]) for row in answer.to_pylist()) == sorted(ours)
    assert all(row["a"] == row["y"] for row in answer.to_pylist())
    file = in_file(tmp_path / "old.db", {"old (day DATE)": [("-0044-03-15",), ("0000-01-01",)]})
    assert opened(file, "old").shape()[0].type == "VARCHAR"


def test_equal_tables_of_two_products_are_read_each_where_it_lies(
    tmp_path: Path, pool: Pool
) -> None:
    sizes = {"ours": 3, "theirs": 7}
    made = in_file(
        tmp_path / "two.db",
        {
            f"{name} (id INTEGER, region TEXT)": [(n, name) for n in range(rows)]
            for name, rows in sizes.items()
        },
    )
    terms = replace(CLEAR, columns=("patients.id", "patients.region"), row_filters=())
    one = there_only(made, "ours", "patients", tmp_path, pool)
    for name, rows in sizes.items():
        other = there_only(made, name, "patients", tmp_path, pool)
        twin = replace(one, stored=other.stored)  # of one node: equal names at the same door
        answer, _ = twin.there("SELECT region, count(*) n FROM patients GROUP BY region", terms)
        assert answer.to_pylist() == [{"region": name, "n": rows}]


def test_a_domain_of_a_loose_collation_is_compared_by_its_bytes(
    pg_server: str, tmp_path: Path, pool: Pool
) -> None:
    loose = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
    made = told(
        made_anew(pg_server, "loose"),
        f"CREATE COLLATION caseless ({loose})",
        "CREATE DOMAIN place AS text COLLATE caseless",
        "CREATE TABLE patients (id BIGINT, region place)",
        "INSERT INTO patients VALUES (1, 'east'), (2, 'EAST')",
    )
    twin = there_only(made, "patients", "patients", tmp_path, pool)
    terms = replace(CLEAR, columns=("patients.id",), row_filters=(("patients", "region = 'east'"),))
    answer, _ = twin.there("SELECT count(*) n FROM patients", terms)
    assert answer.to_pylist() == [{"n": 1}]


def test_a_database_whose_texts_are_not_utf8_is_not_asked(pg_server: str) -> None:
    bytes_of = "ENCODING 'EUC_CN' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    url = made_anew(pg_server, "other_bytes", bytes_of)
    rows = "INSERT INTO patients VALUES (1, '\u963f')"
    made = told(url, "CREATE TABLE patients (id BIGINT, region TEXT)", rows)
    engine = sa.create_engine(url)
    with engine.connect() as con:
        # By its bytes there it stands before what it stands behind here: a filter would differ.
        found = con.exec_driver_sql("SELECT region < '\u4e2d' FROM patients").scalar()
        assert found is not ("\u963f" < "\u4e2d")
    engine.dispose()
    with pytest.raises(Failed):
        opened(made, "patients").shape()

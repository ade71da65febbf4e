"""Groups made of files' rows are the groups that a database's partials make, to the last print."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from yunhe.contracts import Mask, Terms
from yunhe.dataplane import Governed, Job, TableBinding, govern
from yunhe.dataplane.errors import GroupsTooMany, GroupTooSmall
from yunhe.kernel import limits

ASKED = (
    "SELECT count(*), sum(x), avg(x), sum(i), avg(i), avg(d), sum(d), count(i) FROM t",
    "SELECT g, count(*) AS n, sum(s), avg(f), count(DISTINCT pid) FROM t GROUP BY g",
    "SELECT g, count(DISTINCT i), avg(x) FROM t GROUP BY g",
    "SELECT h, sum(hu), avg(big), sum(small) FROM t WHERE g <> 1 GROUP BY h",
    "SELECT x, count(*) FROM t GROUP BY x",
    "SELECT i, h, sum(x) FROM t GROUP BY ALL",
    "SELECT t.g, u.a, sum(t.x), avg(u.b) FROM t JOIN u ON t.pid = u.pid GROUP BY t.g, u.a",
    "SELECT t.g, sum(u.b), count(t.i) FROM t LEFT JOIN u ON t.pid = u.pid GROUP BY t.g",
    "SELECT u.a, count(*), sum(t.s) FROM t FULL JOIN u ON t.pid = u.pid GROUP BY u.a",
    "SELECT g FROM t GROUP BY g",
)
T = """
    SELECT CASE WHEN random() < {nobody} THEN NULL WHEN random() < {skew} THEN 7
            ELSE (random() * {people})::INT END AS pid,
        (random() * {groups})::INT AS g,
        CASE WHEN random() > 0.1 THEN 'h' || (random() * 3)::INT END AS h,
        CASE WHEN random() < 0.1 THEN NULL WHEN random() < 0.0005 THEN 'nan'::DOUBLE
            WHEN random() < 0.0005 THEN 'inf'::DOUBLE ELSE random() * 10 END AS x,
        (random() * 100)::INTEGER AS i, (random() * 1000)::DECIMAL(15, 2) AS d,
        random()::FLOAT AS f, CASE WHEN random() < {skew} THEN 1e6 ELSE random() - 0.5 END AS s,
        (random() * 1e18)::BIGINT::HUGEINT * 1000 AS hu, (random() * 9e18)::BIGINT AS big,
        (random() * 100)::UTINYINT AS small
    FROM range({rows})
"""
U = """
    SELECT i % {people} + 3 AS pid, i % 4 AS a, CASE WHEN i % 7 > 0 THEN random() * 5 END AS b
    FROM range({people} * 2) r(i)
"""
# rows, people, groups, how much one person has, rows of nobody, k, keys hashed
WORLDS = (
    (0, 5, 1, 0, 0, 5, False),
    (1, 1, 1, 0, 0, 1, False),
    (60, 12, 2, 0.3, 0.1, 3, True),
    (300, 300, 20, 0, 0.1, 2, False),
    (900, 900, 3, 0.6, 0, 10, False),
    (2_000, 300, 5, 0.05, 0.1, 10, False),
    (4_000, 900, 90, 0, 0, 5, False),
)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA data")
        con.execute("SET VARIABLE audit_key = 'abc'")
        con.execute("SET VARIABLE mask_key = 'def'")
        yield con


def cell(value: object) -> str:
    """Sums of floating point are made in no fixed order."""
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.9g}"
    return str(value)


def groups(con: duckdb.DuckDBPyConnection, governed: Governed) -> tuple[object, object]:
    """Names and types of `groups`, and those that are shown, with their prints."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {governed.groups_sql}")
    types = con.execute("DESCRIBE groups").fetchall()
    shown = con.execute(f"FROM groups WHERE __entities >= {governed.k}").fetchall()
    names = [row[0] for row in types]
    at = names.index("__entities")
    said = sorted(
        (*map(cell, row[:at]), row[-1]["n"], repr(sorted(row[-1]["places"]))) for row in shown
    )
    return [row[:2] for row in types[:at]], said


@pytest.mark.parametrize("world", WORLDS, ids=str)
def test_both_forms_are_one(con, world) -> None:
    rows, people, many, skew, nobody, k, hashed = world
    facts = {"rows": rows, "people": people, "groups": many, "skew": skew, "nobody": nobody}
    con.execute(f"SELECT setseed({random.Random(repr(world)).random()})")  # noqa: S311
    here, there = {}, {}
    for name, text in (("t", T), ("u", U)):
        con.execute(f"CREATE OR REPLACE TABLE data.{name} AS {text.format(**facts)}")
        shape = con.execute(f"DESCRIBE data.{name}").fetchall()
        here[name] = TableBinding({row[0]: row[1] for row in shape}, ("/there",), "pid")
        there[name] = replace(here[name], source=(f"sqlite:c/{name}",))
    columns = tuple(f"{name}.{each}" for name in here for each in here[name].columns)
    masks = (Mask("t.pid", "hash"), Mask("u.pid", "hash")) if hashed else ()
    terms = Terms(("p",), columns, masks=masks, minimum_group=k)
    shown = 0
    for sql in ASKED:
        made, due = govern(sql, here, terms), govern(sql, there, terms)
        assert made.groups_sql != due.groups_sql
        got = groups(con, made)
        assert got == groups(con, due), sql
        shown += len(got[1])  # type: ignore[arg-type]
    assert shown or rows < 100


def test_certainty_by_places_is_no_less_strict(con) -> None:
    """A hundred small groups, each weighed by hand: one person has 0 to all of it."""
    con.execute(
        "CREATE OR REPLACE TABLE data.t AS SELECT CASE WHEN i < g THEN 0 ELSE i END AS pid, g,"
        " CASE WHEN i < g THEN 3.0 ELSE 1.0 END AS v FROM range(100) a(g), range(100) b(i)"
    )
    table = TableBinding({"pid": "BIGINT", "g": "BIGINT", "v": "DOUBLE"}, ("/there",), "pid")
    terms = Terms(("p",), ("t.g", "t.v"), minimum_group=4)
    for asked, most in (("count(*)", 50), ("sum(v)", 25)):
        made = govern(f"SELECT g, {asked} FROM t GROUP BY g", {"t": table}, terms)
        con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {made.groups_sql}")
        shown = con.execute("SELECT max(k0), count(*) FROM groups WHERE __entities >= 4")
        assert shown.fetchall() == [(most, most + 1)]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([(at, 2.0) for at in range(20)], True),
        ([(at, math.inf if at == 7 else 2.0) for at in range(20)], False),
        ([(at, -math.inf if at == 7 else 2.0) for at in range(20)], False),
        ([(at, math.nan if at == 7 else 2.0) for at in range(20)], False),
        ([*((at, 2.0) for at in range(20)), (7, math.inf), (7, -math.inf)], False),
        ([*((at, 2.0) for at in range(20)), (7, 1.5e308), (7, 1.5e308)], False),
        ([(at, None if at == 7 else 2.0) for at in range(20)], True),
    ],
    ids=["plain", "inf", "-inf", "nan", "both", "beyond", "null"],
)
def test_a_person_whose_own_sum_is_no_number_is_all_of_it(con, rows, told, stored) -> None:
    """One among many, so that places are added up to what is no number either."""
    con.execute("CREATE OR REPLACE TABLE data.t (pid BIGINT, v DOUBLE)")
    con.executemany("INSERT INTO data.t VALUES (?, ?)", rows)
    lies = "sqlite:c/t" if stored else "/there"
    table = TableBinding({"pid": "BIGINT", "v": "DOUBLE"}, (lies,), "pid")
    terms = Terms(("p",), ("t.v",), minimum_group=5)
    for asked in ("sum(v)", "avg(v)"):
        made = govern(f"SELECT {asked} FROM t", {"t": table}, terms)
        con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {made.groups_sql}")
        shown = con.execute("SELECT count(*) FROM groups WHERE __entities >= 5").fetchone()
        assert shown == (int(told),), asked


def test_too_many_groups_are_refused_before_they_are_counted(pool, hospital, tmp_path) -> None:
    file = tmp_path / "t.parquet"
    many = limits.PRINTS_MAX + 1
    duckdb.execute(
        f"COPY (SELECT i // {many} AS pid, i % {many} AS g FROM range({many * 20}) r(i))"
        f" TO '{file}' (FORMAT parquet)"
    )
    table = TableBinding({"pid": "BIGINT", "g": "BIGINT"}, (str(file),), "pid")
    terms = Terms(("p",), ("t.g",), minimum_group=5)
    made = govern("SELECT g, count(*) FROM t GROUP BY g", {"t": table}, terms)
    binding = hospital.binding({"t": table}, "many")
    with pytest.raises(GroupsTooMany):
        list(pool.run(binding, Job(made.sql, made.groups_sql, made.k)))


def test_a_column_of_nearly_all_different_values_takes_time_by_its_rows(
    pool, hospital, tmp_path
) -> None:
    """It took time by the square of its groups: one question of no answer held a worker."""
    file = tmp_path / "unique.parquet"
    rows = "SELECT i % 9000 AS id, i AS visit FROM range(250000) t(i)"
    duckdb.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
    hospital.tables = {"t": TableBinding({"id": "BIGINT", "visit": "BIGINT"}, (str(file),), "id")}
    terms = Terms(purposes=("research",), columns=("t.visit",), minimum_group=10)
    with pytest.raises(GroupTooSmall):  # within the pool's time for a query
        hospital.ask("SELECT visit, count(*) AS n FROM t GROUP BY visit", terms)

"""Differencing: what two or three aggregate answers would give away together is refused."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dataplane.hospital import Hospital
from dataplane.test_service import PEER, Plane
from yunhe.contracts import Terms
from yunhe.control import QueryOverlap
from yunhe.dataplane import GroupTooSmall, Query, TableBinding
from yunhe.dataplane.errors_groups import EntityKeysUnlike
from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError

K = 10
TERMS = Terms(("research",), ("pay.pid", "pay.age", "pay.dept", "pay.salary"), minimum_group=K)
TARGET = "age = 37 AND dept = 3"  # one person alone


@pytest.fixture
def office(db: Database, pool, tmp_path: Path) -> Plane:
    file = tmp_path / "pay.parquet"
    rows = """
        SELECT i AS pid, 20 + i % 60 AS age, i % 7 AS dept, 5000 + (i * 7919) % 900 AS salary
        FROM range(420) t(i) WHERE NOT (i % 60 = 17 AND i % 7 = 3) OR i = 17
        UNION ALL SELECT 1000, 37, 3, 8975
    """
    duckdb.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
    shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
    table = TableBinding({row[0]: row[1] for row in shape}, (str(file),), "pid")
    plane = Plane(db, Hospital({"pay": table}, pool, tmp_path), tmp_path)
    plane.desk.open(TERMS)
    return plane


class Analyst:
    """Asks one query after another; a refusal is None."""

    def __init__(self, plane: Plane) -> None:
        self.plane, self.asked = plane, 0

    def __call__(self, sql: str) -> dict[str, object] | None:
        self.asked += 1
        try:
            return self.plane.read(sql, f"q{self.asked}").to_pylist()[0]
        except (QueryOverlap, GroupTooSmall):
            return None


def test_the_whole_less_one_is_refused_with_its_name(office) -> None:
    office.read("SELECT sum(salary) AS s FROM pay", "all")
    with pytest.raises(QueryOverlap) as refusal:
        office.read(f"SELECT sum(salary) AS s FROM pay WHERE NOT ({TARGET})", "less")
    assert refusal.value.code == "QUERY_OVERLAP"
    assert office.use("less").state == "void"
    assert office.use("all").state == "posted"


@pytest.fixture
def gaps(office: Plane) -> Plane:
    """As the office; nobody of department 6 has a salary, nor three of department 5."""
    (file,) = office.plane._tables(None)["pay"].source
    con = duckdb.connect()
    con.execute(f"CREATE TABLE pay AS FROM '{file}'")
    con.execute("UPDATE pay SET salary = NULL WHERE dept = 6 OR (dept = 5 AND age < 23)")
    con.execute(f"COPY pay TO '{file}' (FORMAT parquet)")
    return office


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("figures", ["sum(salary) AS s", "count(*) AS n, avg(salary) AS s"])
def test_people_without_a_value_hide_nobody_who_has_one(
    gaps: Plane, figures: str, turned: bool
) -> None:
    """The answers differ by sixty people, of whom one has a salary."""
    asked = [
        f"SELECT {figures} FROM pay WHERE age < 40 AND NOT ({TARGET})",
        f"SELECT {figures} FROM pay WHERE age < 40 OR dept = 6",
    ]
    first, second = reversed(asked) if turned else asked
    gaps.read(first, "one")
    with pytest.raises(QueryOverlap):
        gaps.read(second, "other")


def test_of_two_answers_together_people_without_a_value_hide_nobody(gaps: Plane) -> None:
    one, ask = f"({TARGET})", Analyst(gaps)
    answers = [
        ask(f"SELECT sum(salary) AS s FROM pay WHERE {where}")
        for where in (f"age < 40 AND NOT {one}", "age >= 40 AND dept <> 6", "TRUE")
    ]
    assert answers[0]
    assert None in answers


@pytest.fixture
def visits(office: Plane, tmp_path: Path) -> Plane:
    """As the office; each has four more rows in another table."""
    file = tmp_path / "visit.parquet"
    (pay,) = office.plane._tables(None)["pay"].source
    rows = "SELECT pid, day, (pid * 31 + day * 7919) % 997 AS cost FROM range(4) d(day)"
    duckdb.execute(f"COPY ({rows}, '{pay}' p) TO '{file}' (FORMAT parquet)")
    shape = {"pid": "BIGINT", "day": "BIGINT", "cost": "BIGINT"}
    tables = dict(office.plane._tables(None))
    tables["visit"] = TableBinding(shape, (str(file),), "pid")
    more = ("visit.pid", "visit.day", "visit.cost")
    office.plane._tables = lambda contract: tables
    office.desk.open(replace(TERMS, columns=(*TERMS.columns, *more)), "c2")
    return office


def _second(plane: Plane, sql: str, use_id: str) -> list[dict[str, object]]:
    """Under the contract that has both tables."""
    with plane.plane.query(PEER, Query("c2", use_id, sql, "research")) as stream:
        return list(pa.ipc.open_stream(b"".join(stream)).read_all().to_pylist())


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    "join",
    [
        "JOIN pay USING (pid)",
        "LEFT JOIN pay ON pay.pid = visit.pid",
        "FULL JOIN pay ON pay.pid = visit.pid",
        "RIGHT JOIN pay ON pay.pid = visit.pid",
    ],
)
def test_another_table_beside_it_hides_no_row(visits: Plane, join: str, turned: bool) -> None:
    """The people are the same, and one row of one of them is not."""
    one = f"day = 3 AND {TARGET}"
    asked = [
        "SELECT sum(cost) AS s FROM visit WHERE day < 2",
        f"SELECT sum(cost) AS s FROM visit {join} WHERE day < 2 OR ({one})",
    ]
    first, second = reversed(asked) if turned else asked
    _second(visits, first, "one")
    with pytest.raises(QueryOverlap):
        _second(visits, second, "other")
    same = f"SELECT sum(cost) AS s, avg(cost) AS a FROM visit {join} WHERE day < 2"
    if not turned:
        (due,) = _second(visits, asked[0], "again")
        assert _second(visits, same, "same")[0]["s"] == due["s"]


def _keyed(plane: Plane, table: str, key: str, kind: str) -> None:
    """The table with its entity key made of `key`, of another type."""
    tables = dict(plane.plane._tables(None))
    (file,) = tables[table].source
    con = duckdb.connect()
    con.execute(f"CREATE TABLE t AS SELECT * REPLACE (CAST({key} AS {kind}) AS pid) FROM '{file}'")
    con.execute(f"COPY t TO '{file}' (FORMAT parquet)")
    columns = {**tables[table].columns, "pid": kind}
    tables[table] = replace(tables[table], columns=columns)
    plane.plane._tables = lambda contract: tables


@pytest.mark.parametrize("kind", ["SMALLINT", "INTEGER", "DECIMAL(9,0)"])
@pytest.mark.parametrize("beside", ["pay JOIN visit", "visit JOIN pay", "pay FULL JOIN visit"])
def test_a_person_whose_number_has_two_widths_is_one_person(
    visits: Plane, beside: str, kind: str
) -> None:
    """Alone the table counts by its own type, beside another by that of the other."""
    _keyed(visits, "pay", "-pid", "BIGINT")
    _keyed(visits, "visit", "-pid", kind)
    one = f"day = 3 AND {TARGET}"
    _second(visits, "SELECT sum(cost) AS s FROM visit WHERE day < 2", "one")
    more = f"SELECT sum(cost) AS s FROM {beside} USING (pid) WHERE day < 2 OR ({one})"
    with pytest.raises(QueryOverlap):
        _second(visits, more, "other")


@pytest.mark.parametrize("kind", ["VARCHAR", "DOUBLE", "DECIMAL(9,1)", "HUGEINT", "UBIGINT"])
def test_tables_that_call_a_person_by_unlike_types_are_not_joined(visits: Plane, kind: str) -> None:
    _keyed(visits, "visit", "pid", kind)
    with pytest.raises(EntityKeysUnlike) as refusal:
        _second(visits, "SELECT avg(cost) AS a FROM pay JOIN visit USING (pid)", "joined")
    assert refusal.value.facts["other_kind"] == kind
    assert _second(visits, "SELECT avg(cost) AS a FROM visit", "alone")
    _keyed(visits, "pay", "pid", kind)
    assert _second(visits, "SELECT avg(cost) AS a FROM pay JOIN visit USING (pid)", "alike")


def test_a_few_without_a_value_stand_in_no_questions_way(gaps: Plane) -> None:
    for at, figures in enumerate(
        ("avg(salary) AS a", "avg(salary) AS a, sum(age) AS b", "count(*) AS c, sum(salary) AS a")
    ):
        asked = f"SELECT dept, {figures} FROM pay GROUP BY dept ORDER BY dept"
        found = gaps.read(asked, f"u{at}")
        assert found.num_rows == 6
        assert gaps.read(asked, f"again{at}") == found


def test_either_order_and_another_aggregate_make_no_difference(office) -> None:
    office.read(f"SELECT avg(salary) AS s FROM pay WHERE NOT ({TARGET})", "less")
    with pytest.raises(QueryOverlap):
        office.read("SELECT count(*) AS n FROM pay", "all")


def test_the_same_question_again_is_the_same_answer(office) -> None:
    first = office.read("SELECT dept, sum(salary) AS s FROM pay GROUP BY dept ORDER BY 1", "u1")
    for turn in range(3):
        asked = "SELECT dept, sum(salary) AS s FROM pay GROUP BY dept ORDER BY 1"
        assert office.read(asked, f"again{turn}") == first


def test_questions_far_apart_are_answered(office) -> None:
    for at, sql in enumerate(
        (
            "SELECT count(*) AS n FROM pay",
            "SELECT avg(salary) AS s FROM pay WHERE age < 40",
            "SELECT dept, avg(salary) AS s FROM pay GROUP BY dept",
            "SELECT floor(age / 10) AS band, avg(salary) AS s FROM pay GROUP BY band",
            "SELECT sum(salary) AS s FROM pay WHERE dept IN (1, 2)",
        )
    ):
        assert office.read(sql, f"u{at}").num_rows > 0


def test_a_withheld_group_is_not_the_rest_of_the_whole(office) -> None:
    asked = (
        f"SELECT CASE WHEN {TARGET} THEN 1 ELSE 0 END AS g, sum(salary) AS s FROM pay GROUP BY g"
    )
    office.read(asked, "groups")  # the group of two is withheld
    with pytest.raises(QueryOverlap):
        office.read("SELECT sum(salary) AS s FROM pay", "all")


def test_a_tracker_is_refused(office) -> None:
    """q(C or T) + q(C or not T) - q(all) = q(C), each of the three far from the others."""
    ask = Analyst(office)
    whole = ask("SELECT sum(salary) AS s FROM pay")
    one = ask(f"SELECT sum(salary) AS s FROM pay WHERE ({TARGET}) OR dept < 3")
    two = ask(f"SELECT sum(salary) AS s FROM pay WHERE ({TARGET}) OR NOT dept < 3")
    assert whole is not None
    assert one is None or two is None


def test_another_contract_with_the_same_party_is_no_way_round(office) -> None:
    office.desk.open(TERMS, "c2")
    office.read("SELECT sum(salary) AS s FROM pay", "all")
    from dataplane.test_service import PEER
    from yunhe.dataplane import Query

    sql = f"SELECT sum(salary) AS s FROM pay WHERE NOT ({TARGET})"
    with pytest.raises(QueryOverlap):
        office.plane.query(PEER, Query("c2", "less", sql, "research"))


def test_random_pairs_of_neighbours_never_both_answer(office) -> None:
    """The figure of one to nine people is never the difference of two answers."""
    chance = random.Random(7)  # noqa: S311 the same trials each time
    won = 0
    for trial in range(25):
        low, dept = 20 + chance.randrange(30), chance.randrange(7)
        base = f"age >= {low}"
        drop = f"age = {low + chance.randrange(20)} AND dept = {dept}"
        ask = Analyst(office)
        ask.asked = trial * 10
        first = ask(f"SELECT sum(salary) AS s, count(*) AS n FROM pay WHERE {base}")
        second = ask(
            f"SELECT sum(salary) AS s, count(*) AS n FROM pay WHERE {base} AND NOT ({drop})"
        )
        if first and second:
            won += 0 < abs(int(str(first["n"])) - int(str(second["n"]))) < K
    assert won == 0


def test_refusals_cost_nothing_but_are_counted(office) -> None:
    office.read("SELECT sum(salary) AS s FROM pay", "all")
    for at in range(3):
        with pytest.raises(YunheError):
            office.read(f"SELECT sum(salary) AS s FROM pay WHERE NOT ({TARGET})", f"x{at}")
    assert office.control.quota("c1").uses_spent == 1

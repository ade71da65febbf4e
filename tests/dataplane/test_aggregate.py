"""Minimum group: nothing about fewer than k entities leaves, however one asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from dataplane.hospital import GROUPS, Hospital
from yunhe.contracts import Terms
from yunhe.dataplane import GroupTooSmall, TableBinding
from yunhe.dataplane.errors import AggregateSelfJoin


@pytest.fixture
def clinic(pool, tmp_path: Path) -> Hospital:
    """Entities 1..12 in city a, 1 person in city b with 500 rows, nobody else."""
    visits = """
        SELECT i AS pid, 'a' AS city, 100 AS cost, CASE WHEN i = 1 THEN 9 END AS rare
        FROM range(1, 13) t(i)
        UNION ALL SELECT 99, 'b', 4242, 4242 FROM range(500)
        UNION ALL SELECT NULL, 'c', 7, 7 FROM range(50)
    """
    people = "SELECT i AS pid, i % 2 AS sex FROM range(1, 13) t(i) UNION ALL SELECT 99, 1"
    tables = {}
    for name, query in (("visits", visits), ("people", people)):
        file = tmp_path / f"{name}.parquet"
        duckdb.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
        shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        tables[name] = TableBinding({row[0]: row[1] for row in shape}, (str(file),), "pid")
    return Hospital(tables, pool, tmp_path)


def terms(k: int = 5) -> Terms:
    columns = "visits.pid visits.city visits.cost visits.rare people.pid people.sex"
    return Terms(("research",), tuple(columns.split()), minimum_group=k)


def test_small_groups_are_dropped_and_flagged(clinic) -> None:
    table, withheld = clinic.ask_flagged(
        "SELECT city, count(*) AS n, avg(cost) AS cost FROM visits GROUP BY city", terms()
    )
    assert table.to_pylist() == [{"city": "a", "n": 12, "cost": 100.0}]
    assert withheld


def test_no_flag_where_nothing_was_withheld(clinic) -> None:
    sql = "SELECT city, count(*) AS n FROM visits WHERE cost = 100 GROUP BY city"
    assert clinic.ask_flagged(sql, terms())[1] is False


def test_rows_do_not_lift_k_only_entities_do(clinic) -> None:
    with pytest.raises(GroupTooSmall):  # 500 rows, one person
        clinic.ask("SELECT avg(cost) FROM visits WHERE city = 'b'", terms())
    with pytest.raises(GroupTooSmall):  # rows of nobody
        clinic.ask("SELECT avg(cost) FROM visits WHERE city = 'c'", terms())


def test_an_exploding_join_does_not_lift_k(clinic) -> None:
    sql = (
        "SELECT p.sex, count(*) AS n FROM people p JOIN visits v ON p.pid = v.pid "
        "WHERE v.city = 'b' GROUP BY p.sex"
    )
    with pytest.raises(GroupTooSmall):  # 500 rows, one person
        clinic.ask(sql, terms())


@pytest.mark.parametrize("times", [2, 4])
def test_no_self_join_makes_one_person_the_whole_average(clinic, times: int) -> None:
    """Person 99 has 500 rows, twelve others one each: joined twice, 99.99 % of the rows are 99's,
    in a group of thirteen; joined oftener, the time it takes tells whether 99 is there."""
    joins = " ".join(f"JOIN visits v{at} ON v{at}.pid = v0.pid" for at in range(1, times))
    with pytest.raises(AggregateSelfJoin):
        clinic.ask(f"SELECT avg(v0.cost), count(*) FROM visits v0 {joins}", terms())


def test_an_empty_answer_is_the_same_answer(clinic) -> None:
    said = []
    for where in ("city = 'b'", "city = 'nowhere'"):
        with pytest.raises(GroupTooSmall) as refusal:
            clinic.ask(f"SELECT sum(cost) FROM visits WHERE {where}", terms())
        said.append(refusal.value.problem())
    assert said[0] == said[1]


def test_a_column_that_one_entity_alone_has_is_withheld(clinic) -> None:
    for aggregate in ("sum(rare)", "avg(rare)", "count(rare)", "count(DISTINCT rare)"):
        with pytest.raises(GroupTooSmall):
            clinic.ask(f"SELECT {aggregate} FROM visits WHERE city = 'a'", terms())


@pytest.mark.parametrize(
    "having",
    ["count(*) > 100", "avg(cost) = 4242", "sum(cost) * 1e300 * 1e300 > 1", "count(*) = 500"],
)
def test_having_cannot_probe_a_withheld_group(clinic, having: str) -> None:
    table, withheld = clinic.ask_flagged(
        f"SELECT city, count(*) AS n FROM visits GROUP BY city HAVING {having}", terms()
    )
    assert "b" not in table["city"].to_pylist()
    assert withheld  # computed before HAVING, so it does not depend on it


@pytest.mark.parametrize("tail", ["ORDER BY avg(cost) DESC LIMIT 1", "ORDER BY 2 DESC LIMIT 1"])
def test_order_and_limit_see_only_what_is_left(clinic, tail: str) -> None:
    sql = f"SELECT city, count(*) AS n FROM visits GROUP BY city {tail}"
    assert clinic.ask(sql, terms())["city"].to_pylist() == ["a"]


def test_order_and_limit_change_no_value(hospital) -> None:
    sql = "SELECT sex, count(*) AS n, avg(age) AS m FROM patients GROUP BY sex"
    plain = {row["sex"]: row for row in hospital.ask(sql, GROUPS).to_pylist()}
    for tail in ("ORDER BY n", "ORDER BY m DESC", "HAVING avg(age) > 1 ORDER BY 1 LIMIT 1"):
        for row in hospital.ask(f"{sql} {tail}", GROUPS).to_pylist():
            assert row == plain[row["sex"]]


def test_a_having_that_keeps_nothing_gives_an_empty_table(hospital) -> None:
    sql = "SELECT sex, count(*) AS n FROM patients GROUP BY sex HAVING count(*) < 0"
    assert hospital.ask(sql, GROUPS).num_rows == 0


def test_values_are_right(hospital) -> None:
    """The rewriting changes who is shown, never a figure: plain SQL is the oracle."""
    sql = (
        "SELECT floor(age / 20) * 20 AS band, count(*) AS n, sum(value) AS s, "
        "avg(value) + 1 AS m, count(DISTINCT patients.id) AS people "
        "FROM patients JOIN labs ON patients.id = labs.id WHERE value > 0.5 "
        "GROUP BY band HAVING count(*) > 2 ORDER BY band"
    )
    got = hospital.ask(sql, GROUPS).to_pydict()
    con = duckdb.connect()
    for name, table in hospital.tables.items():
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM '{table.source[0]}'")
    con.execute("CREATE VIEW shown AS SELECT * FROM patients WHERE region = 'east'")
    plain = con.sql(sql.replace("patients", "shown")).to_arrow_table().to_pydict()
    assert list(got) == list(plain)
    for name, values in plain.items():
        assert got[name] == pytest.approx(values)


def test_the_entity_key_may_be_hidden(clinic) -> None:
    shown = tuple(column for column in terms().columns if not column.endswith("pid"))
    hidden = replace(terms(), columns=shown)
    sql = "SELECT city, count(*) AS n FROM visits GROUP BY city"
    assert clinic.ask(sql, hidden)["city"].to_pylist() == ["a"]


def test_a_coarse_mask_on_the_key_forbids_the_join(clinic) -> None:
    """`left:1` of a key joins strangers; only a key that tells entities apart may join."""
    from yunhe.contracts import Mask
    from yunhe.dataplane.errors import AggregateJoin

    sql = "SELECT count(*) FROM people p JOIN visits v ON p.pid = v.pid WHERE v.city = 'a'"
    coarse = (Mask("people.pid", "round:100"), Mask("visits.pid", "round:100"))
    with pytest.raises(AggregateJoin):
        clinic.ask(sql, replace(terms(), masks=coarse))
    keyed = (Mask("people.pid", "hash"), Mask("visits.pid", "hash"))
    assert clinic.ask(sql, replace(terms(), masks=keyed)).num_rows == 1


def test_no_weighted_join_makes_one_person_the_whole_mean(pool, tmp_path: Path) -> None:
    """Thirteen people, one of whom a second table weighs 500 times: their mean would be his."""
    tables = {}
    for name, query in (
        ("pay", "SELECT i AS pid, 1000 + i * 17 AS salary FROM range(13) t(i)"),
        ("visits", "SELECT i AS pid FROM range(13) t(i) UNION ALL SELECT 7 FROM range(500)"),
    ):
        file = tmp_path / f"{name}.parquet"
        duckdb.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
        shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        tables[name] = TableBinding({row[0]: row[1] for row in shape}, (str(file),), "pid")
    office = Hospital(tables, pool, tmp_path)
    said = Terms(("research",), ("pay.pid", "pay.salary", "visits.pid"), minimum_group=5)
    for aggregate in ("avg(salary)", "sum(salary), count(*)", "count(*)"):
        with pytest.raises(GroupTooSmall):
            office.ask(f"SELECT {aggregate} FROM pay JOIN visits ON pay.pid = visits.pid", said)
    assert office.ask("SELECT avg(salary) AS m FROM pay", said).to_pylist() == [{"m": 1102.0}]


def test_a_sum_that_is_one_entitys_is_withheld(pool, tmp_path: Path) -> None:
    """Twelve with one yuan and one with a million: the sum is the millionaire's."""
    file = tmp_path / "pay.parquet"
    query = "SELECT i AS pid, CASE i WHEN 3 THEN 1000000 ELSE 1 END AS salary FROM range(13) t(i)"
    duckdb.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    table = TableBinding({"pid": "BIGINT", "salary": "INTEGER"}, (str(file),), "pid")
    office = Hospital({"pay": table}, pool, tmp_path)
    said = Terms(("research",), ("pay.pid", "pay.salary"), minimum_group=5)
    with pytest.raises(GroupTooSmall):
        office.ask("SELECT sum(salary) FROM pay", said)
    assert office.ask("SELECT count(salary) AS n FROM pay", said).to_pylist() == [{"n": 13}]

"""No predicate of a user tells of a row the policy hides, wherever the engine evaluates it.

DuckDB 2.0 pushes predicates below joins and materialised subqueries (measured), so there is no
barrier in the engine to lean on: what may be pushed is made total by the gate. Each predicate here
would raise on the poisonous hidden row; it has to end alike whether that row is there or not.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from dataplane.hospital import Hospital
from yunhe.contracts import Terms
from yunhe.dataplane import Job, TableBinding
from yunhe.kernel.errors import YunheError

COLUMNS = {"id": "BIGINT", "txt": "VARCHAR", "num": "BIGINT", "day": "DATE", "region": "VARCHAR"}
TERMS = Terms(
    ("research",),
    tuple(f"{table}.{name}" for table in ("t", "u") for name in COLUMNS),
    row_filters=(("t", "region = 'east'"), ("u", "region IN ('east', 'north')")),
)
PLAIN = "SELECT i AS id, '7' AS txt, i AS num, DATE '2020-01-01' AS day, 'east' AS region"
POISON = {
    "text": "SELECT 99, 'hiv-positive', 5, DATE '2020-01-01', 'west'",
    "large": "SELECT 99, '9999999999999999999999', 9223372036854775807, DATE '2020-01-01', 'west'",
    "small": "SELECT 99, '', -9223372036854775808, DATE '2020-01-01', 'west'",
    "late": "SELECT 99, '7', 5, DATE '5881580-07-10', 'west'",
    "null": "SELECT 99, NULL, NULL, NULL, 'west'",
}
PREDICATES = (
    "CAST(txt AS INT) = 1",
    "CAST(txt AS DATE) > DATE '2020-01-01'",
    "txt::DOUBLE > 1",
    "num + 1 > 0",
    "num * num > 0",
    "- num < 0",
    "abs(num) > 0",
    "1 / (num - 5) > 0",
    "num % (num - 5) = 0",
    "CAST(num AS TINYINT) = 1",
    "day + INTERVAL 1 YEAR > DATE '2020-01-01'",
    "date_diff('day', day, DATE '2020-01-01') > 0",
    "extract(year FROM day) > 1",
    "substring(txt, num) = 'x'",
    "left(txt, num) = 'x'",
    "round(num / 3, 2) > 0",
    "CASE WHEN num = 5 THEN CAST(txt AS INT) ELSE 1 END = 1",
    "coalesce(CAST(txt AS INT), 0) = 0",
    "CAST(txt AS INT) IN (1, 2)",
    "CAST(txt AS INT) BETWEEN 1 AND 9",
    "txt LIKE '%7%' AND CAST(txt AS INT) = 7",
    "nullif(CAST(txt AS INT), 7) IS NULL",
)
SHAPES = (
    "SELECT id FROM t WHERE {p} ORDER BY id",
    "SELECT count(*) AS n FROM t WHERE NOT ({p})",
    "SELECT t.id FROM t JOIN (SELECT id AS o FROM u) AS v ON t.id = v.o WHERE {p} ORDER BY 1",
    "WITH c AS (SELECT * FROM t) SELECT id FROM c WHERE {p} ORDER BY id",
    "SELECT id FROM t WHERE id IN (SELECT id FROM u) AND {p} ORDER BY id",
)


@pytest.fixture(scope="module")
def houses(pool, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Hospital]:
    made = {}
    for name, hidden in {"": "", **POISON}.items():
        folder = tmp_path_factory.mktemp("barrier")
        rows = f"{PLAIN} FROM range(6) r(i)" + (f" UNION ALL {hidden}" if hidden else "")
        tables = {}
        for table in ("t", "u"):
            file = Path(folder) / f"{table}.parquet"
            duckdb.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
            tables[table] = TableBinding(COLUMNS, (str(file),), "id")
        made[name] = Hospital(tables, pool, Path(folder))
    return made


def outcome(house: Hospital, sql: str, name: str) -> object:
    try:
        governed = house.govern(sql, TERMS)
        job = Job(governed.sql, governed.groups_sql, governed.k)
        return house.run(job, house.binding(name=f"barrier-{name}"))[0].to_pylist()
    except YunheError as error:
        return error.problem()["code"]


def test_a_hidden_row_changes_nothing(houses) -> None:
    asked = [shape.format(p=predicate) for predicate in PREDICATES for shape in SHAPES]
    plain = {sql: outcome(houses[""], sql, "none") for sql in asked}
    assert sum(isinstance(said, list) for said in plain.values()) > len(asked) / 2
    for name in POISON:
        assert {sql: outcome(houses[name], sql, name) for sql in asked} == plain, name


def test_the_poison_is_one(houses) -> None:
    """Without the gate, the same predicates do raise on these rows."""
    raised = 0
    for name, house in houses.items():
        for predicate in PREDICATES:
            file = house.tables["t"].source[0]
            try:
                duckdb.execute(f"SELECT id FROM '{file}' WHERE {predicate}").fetchall()
            except duckdb.Error:
                raised += bool(name)
    assert raised > len(PREDICATES)

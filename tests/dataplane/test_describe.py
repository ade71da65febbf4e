"""What a query would give is told without running it; parameters are values, never SQL."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from dataplane.hospital import CANARIES, GROUPS, ROWS, Hospital
from dataplane.test_service import PEER, Plane
from yunhe.dataplane import (
    ColumnNotAgreed,
    ParameterRefused,
    ParametersDiffer,
    bind,
    wanted,
)
from yunhe.dataplane.errors import (
    FunctionRefused,
    NotOneQuery,
    SqlTooDeep,
    TableNotAgreed,
)
from yunhe.dataplane.slips import SqlNotReadable
from yunhe.kernel.db import Database

QUERIES = (
    "SELECT * FROM patients",
    "SELECT id, id, name AS id FROM patients ORDER BY 1 LIMIT 3",
    "SELECT p.sex, avg(l.value) AS m, count(*) FROM patients p JOIN labs l USING (id) GROUP BY 1",
    "WITH old AS (SELECT * FROM patients WHERE age > 70) SELECT birth, phone FROM old",
)


@pytest.fixture
def node(db: Database, hospital: Hospital, tmp_path: Path) -> Plane:
    return Plane(db, hospital, tmp_path)


@pytest.mark.parametrize("sql", QUERIES)
def test_the_schema_told_is_the_schema_of_the_stream(node: Plane, sql: str) -> None:
    node.desk.open(ROWS)
    told = pa.ipc.read_schema(pa.py_buffer(node.plane.describe(PEER, "c1", sql)))
    assert not node.control.uses("c1"), "asking for a schema is no use"
    assert told.equals(node.read(sql).schema)


def test_of_groups_too(node: Plane) -> None:
    node.desk.open(GROUPS)
    sql = "SELECT sex, count(*) AS n, avg(age) AS a FROM patients GROUP BY sex ORDER BY n"
    told = pa.ipc.read_schema(pa.py_buffer(node.plane.describe(PEER, "c1", sql)))
    assert not node.control.uses("c1")
    assert told.equals(node.read(sql).schema)


def test_the_tables_told_hold_nothing_hidden(node: Plane) -> None:
    node.desk.open(ROWS)
    told = node.plane.shapes(PEER, "c1")
    assert sorted(told) == ["codes", "labs", "patients"]
    schema = pa.ipc.read_schema(pa.py_buffer(told["patients"]))
    assert schema.names == ["id", "Age", "name", "birth", "sex", "phone"]
    assert schema.equals(node.read("SELECT * FROM patients").schema)
    assert not any(canary.encode() in told["patients"] for canary in CANARIES)


def test_a_schema_is_refused_as_the_query_is(node: Plane) -> None:
    node.desk.open(ROWS)
    with pytest.raises(ColumnNotAgreed):
        node.plane.describe(PEER, "c1", "SELECT salary FROM patients")
    with pytest.raises(FunctionRefused):
        node.plane.describe(PEER, "c1", "SELECT error(name) FROM patients")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (-7, "(-7)"),
        (Decimal("1.50"), "1.50"),
        ("x' OR '1'='1", "'x'' OR ''1''=''1'"),
        ("\\'; --", "'\\''; --'"),
        (datetime.date(2020, 2, 29), "CAST('2020-02-29' AS DATE)"),
    ],
)
def test_a_parameter_is_one_literal(value: object, shown: str) -> None:
    made = bind("SELECT id FROM patients WHERE name = ?", [value])
    assert made == f"SELECT id FROM patients WHERE name = {shown}"
    assert wanted(made) == 0


def test_parameters_stand_where_they_were_written() -> None:
    sql = "SELECT ? AS a FROM t WHERE b IN (?, ?) AND c = (SELECT max(d) FROM u WHERE e = ?)"
    made = bind(sql, ["A", 1, 2, "E"])
    assert made == (
        "SELECT 'A' AS a FROM t WHERE b IN (1, 2) AND c = (SELECT MAX(d) FROM u WHERE e = 'E')"
    )
    assert bind("SELECT a FROM t WHERE b = $2 AND c = $1 AND d = $2", [1, 2]) == (
        "SELECT a FROM t WHERE b = 2 AND c = 1 AND d = 2"
    )


@pytest.mark.parametrize(
    ("sql", "values", "error"),
    [
        ("SELECT a FROM t WHERE b = ?", [], ParametersDiffer),
        ("SELECT a FROM t", [1], ParametersDiffer),
        ("SELECT a FROM t WHERE b = $2", [1, 2], ParameterRefused),
        ("SELECT a FROM t WHERE b = $1 AND c = ?", [1, 2], ParameterRefused),
        ("SELECT a FROM t WHERE b = $name", [1], ParameterRefused),
        ("SELECT a FROM t WHERE b = ?", [b"bytes"], ParameterRefused),
        ("SELECT a FROM t WHERE b = ?", [float("nan")], ParameterRefused),
        ("SELECT a FROM t WHERE b = ?", ["x" * 20_000], ParameterRefused),
        ("SELECT a FROM t WHERE b = ?; DROP TABLE t", [1], NotOneQuery),
        ("SELECT a FROM t WHERE b = ? AND", [1], SqlNotReadable),
        ("SELECT " + "(" * 100 + "?" + ")" * 100, [1], SqlTooDeep),
    ],
)
def test_parameters_that_are_refused(sql: str, values: list[object], error: type) -> None:
    with pytest.raises(error):
        bind(sql, values)


def test_no_file_comes_in_as_a_parameter(node: Plane) -> None:
    node.desk.open(ROWS)
    with pytest.raises(TableNotAgreed):
        node.read(bind("SELECT * FROM ?", ["/etc/passwd"]))

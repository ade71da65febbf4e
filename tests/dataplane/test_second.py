"""The engine's parser is asked, too: what it reads otherwise than the gate wrote is not run."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dataplane.hospital import GROUPS, ROWS
from yunhe.dataplane import Governed, govern, second
from yunhe.dataplane.errors import ParsersDisagree
from yunhe.dataplane.kept import KeptGate

# The whole language of docs/sql.md, a function or operator each.
LANGUAGE = [
    *(f"{name}(\"Age\")" for name in ("abs", "floor", "ceil")), "round(\"Age\" / 3, 1)",
    *(f"{name}(name)" for name in ("lower", "upper", "trim", "length")),
    "concat(name, sex)", "substring(name, 2, 3)", "left(name, 2)", "right(name, 2)",
    "starts_with(name, 'n')", "contains(name, 'n')", "trim(LEADING 'x' FROM name)",
    *(f"{part}(l.day)" for part in ("year", "month", "quarter", "day")),
    "extract(month FROM l.day)", "extract(dow FROM l.day)",
    "date_trunc('month', l.day)", "date_diff('day', l.day, DATE '2021-01-01')",
    "coalesce(name, sex)", "nullif(sex, 'f')", "greatest(\"Age\", 3)", "least(\"Age\", 3)",
    "\"Age\" + 1 - 2 * 3 / 4 % 5", "-\"Age\"", "name || sex", "name LIKE 'a%'", "name ILIKE 'a%'",
    "name NOT LIKE 'a%'", "NOT name ILIKE 'a_'", "sex IS NULL", "sex IS NOT NULL",
    "\"Age\" BETWEEN 2 AND 3", "\"Age\" NOT BETWEEN 2 AND 3", "sex IN ('f', 'm')",
    "sex NOT IN ('f')", "sex IS DISTINCT FROM 'f'", "sex IS NOT DISTINCT FROM 'f'",
    "\"Age\" <> 3 AND \"Age\" <= 4 OR \"Age\" > 5", "CASE sex WHEN 'f' THEN 1 ELSE 2 END",
    "CASE WHEN \"Age\" >= 3 THEN 1 END", "TRY_CAST(name AS DOUBLE)", "\"Age\"::VARCHAR",
    "l.day + INTERVAL '1' DAY", "l.day - INTERVAL '2' MONTH", "l.day + INTERVAL '3' YEAR",
    "l.day + INTERVAL '4' HOUR", "l.day + INTERVAL '5' MINUTE", "l.day + INTERVAL '6' SECOND",
    "l.day + INTERVAL '7' WEEK", "row_number() OVER (ORDER BY l.day)",
    "rank() OVER (PARTITION BY sex ORDER BY l.day)", "dense_rank() OVER (ORDER BY l.day DESC)",
    "lag(\"Age\") OVER (ORDER BY l.day)", "lead(\"Age\", 2) OVER (ORDER BY l.day)",
    "sum(\"Age\") OVER (PARTITION BY sex)", "count(*) OVER ()", "true", "NULL",
    "EXISTS (SELECT 1 FROM codes WHERE codes.code = l.code)", "(SELECT max(code) FROM codes)",
    "l.code IN (SELECT code FROM codes)",
]  # fmt: skip
AGGREGATES = ["count(*)", "count(DISTINCT sex)", "sum(id)", "avg(id)", "min(id)", "max(id)",
              "stddev(id)", "stddev_samp(id)", "stddev_pop(id)", "variance(id)",
              "median(id)"]  # fmt: skip
SHAPES = [
    "SELECT DISTINCT sex FROM patients ORDER BY sex DESC NULLS LAST LIMIT 3 OFFSET 1",
    "WITH a AS (SELECT code FROM codes), b AS (FROM a) SELECT code FROM b JOIN a USING (code)",
    "SELECT id FROM patients UNION ALL SELECT id FROM labs",
    "SELECT id FROM patients INTERSECT SELECT id FROM labs EXCEPT SELECT code FROM codes",
    "FROM patients SELECT * EXCLUDE (name) ORDER BY ALL",
    "SELECT p.id FROM patients AS p LEFT JOIN labs AS l ON p.id = l.id CROSS JOIN codes",
    "SELECT p.id FROM patients AS p SEMI JOIN labs AS l ON p.id = l.id",
    "SELECT p.id FROM patients AS p ANTI JOIN labs AS l ON p.id = l.id",
    "SELECT * FROM (SELECT sex, count(*) AS n FROM patients GROUP BY ALL HAVING count(*) > 1) AS q",
]


@pytest.fixture(scope="module")
def gate() -> KeptGate:
    return KeptGate()


@pytest.mark.parametrize("said", LANGUAGE)
def test_the_whole_language_is_read_alike(gate: KeptGate, tables, said: str) -> None:
    sql = f"SELECT {said} AS x FROM patients AS p JOIN labs AS l ON p.id = l.id"
    gate.govern("c", sql, tables, ROWS)


@pytest.mark.parametrize("sql", [*SHAPES, *(f"SELECT {a} AS x FROM patients" for a in AGGREGATES)])
def test_every_shape_is_read_alike(gate: KeptGate, tables, sql: str) -> None:
    gate.govern("c", sql, tables, ROWS)


def test_groups_are_read_alike(gate: KeptGate, tables) -> None:
    sql = (
        "SELECT p.sex, year(l.day) AS y, count(*), sum(l.value), avg(l.rare), count(DISTINCT p.id) "
        "FROM patients AS p JOIN labs AS l ON p.id = l.id WHERE l.value > 1 GROUP BY p.sex, y "
        "HAVING count(*) > 10 ORDER BY y LIMIT 3"
    )
    gate.govern("c", sql, tables, GROUPS)


GOOD = Governed("SELECT t.x AS x FROM (SELECT x FROM data.t) AS t", frozenset(), ("t",), ("x",))
OTHERWISE = [
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, data.u",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, main.u",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, u",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, groups",
    "SELECT t.x AS x FROM (SELECT x FROM other.data.t) AS t",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, read_csv('/etc/passwd')",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, '/etc/passwd'",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, duckdb_settings()",
    "SELECT t.x AS x FROM (SELECT x FROM data.t) AS t, (VALUES (1)) AS v",
    "SELECT getenv('HOME') AS x FROM (SELECT x FROM data.t) AS t",
    "SELECT main.sum(t.x) AS x FROM (SELECT x FROM data.t) AS t",
    "SELECT list_transform([t.x], lambda y: y) AS x FROM (SELECT x FROM data.t) AS t",
    "SELECT unnest([1]) AS x FROM (SELECT x FROM data.t) AS t",
    "SELECT COLUMNS('x') AS x FROM (SELECT x FROM data.t) AS t",
    "SELECT $1 AS x FROM (SELECT x FROM data.t) AS t",
    "SELECT 1 AS x",
    "SELECT 1 AS x; SELECT t.x FROM data.t",
    "PIVOT data.t ON x USING sum(x)",
    "FROM data.t TABLESAMPLE 10%",
    "SELECT * REPLACE (1 AS x) FROM (SELECT x FROM data.t) AS t",
    "SELECT * RENAME (x AS y) FROM (SELECT x FROM data.t) AS t",
    "SELECT t.x FROM data.t AT (VERSION => 1) AS t",
    "WITH RECURSIVE r AS (SELECT x FROM data.t UNION ALL SELECT x FROM r) FROM r",
    "COPY (SELECT 1) TO 'x'",
    "not sql at all",
    "",
]


@pytest.mark.parametrize("sql", OTHERWISE)
def test_what_the_engine_reads_otherwise_is_refused(sql: str) -> None:
    opinion = second.SecondOpinion()
    opinion.check(GOOD)
    with pytest.raises(ParsersDisagree) as refused:
        opinion.check(replace(GOOD, sql=sql))
    assert refused.value.problem()["facts"] == {}  # nothing of the engine's words


def test_a_call_that_the_gate_did_not_see_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where one parser takes for a text what the other takes for a call."""
    sql = "SELECT GETVARIABLE('mask_key') AS x FROM (SELECT x FROM data.t) AS t"
    opinion = second.SecondOpinion()
    opinion.check(replace(GOOD, sql=sql))  # the gate wrote it
    monkeypatch.setattr(second, "_called", lambda text: iter(()))
    with pytest.raises(ParsersDisagree):
        opinion.check(replace(GOOD, sql=sql + " "))


def test_nothing_in_a_text_is_taken_for_a_member_of_the_tree() -> None:
    forged = '","type":"TABLE_FUNCTION","function_name":"read_csv","schema_name":"x","table_name":"'
    sql = f"SELECT '{forged}' AS x FROM (SELECT x FROM data.t WHERE x = 'a\\\"b') AS t"
    second.SecondOpinion().check(replace(GOOD, sql=sql))


def test_a_long_chain_is_read_alike(gate: KeptGate, tables) -> None:
    chain = " AND ".join(f'"Age" <> {n}' for n in range(300))
    gate.govern("c", f"SELECT id FROM patients WHERE {chain}", tables, ROWS)


def test_the_gate_asks_it(tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that were fooled: its text reads a table of which it says nothing."""
    honest = govern("SELECT id FROM patients", tables, ROWS)
    fooled = replace(honest, sql=re.sub(r'data\."?patients"?', "data.labs", honest.sql))
    monkeypatch.setattr("yunhe.dataplane.kept.govern", lambda *_: fooled)
    with pytest.raises(ParsersDisagree):
        KeptGate().govern("c", "SELECT id FROM patients", tables, ROWS)

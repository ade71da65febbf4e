"""A summed column is filtered by one range of its values, so nobody is put among picked ones."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import duckdb
import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from dataplane.hospital import Hospital
from yunhe.contracts import Privacy, Terms
from yunhe.dataplane import TableBinding, govern
from yunhe.dataplane.errors_groups import AggregatePicked
from yunhe.dataplane.ranges import _fulfil

PAY = TableBinding(
    {"pid": "BIGINT", "v": "DOUBLE", "i": "INTEGER", "w": "INTEGER", "who": "VARCHAR"},
    ("/pay",),
    "pid",
)
MORE = TableBinding({"pid": "BIGINT", "x": "DOUBLE"}, ("/more",), "pid")
TABLES = {"pay": PAY, "more": MORE}
TERMS = Terms(
    ("research",),
    ("pay.pid", "pay.v", "pay.i", "pay.w", "pay.who", "more.pid", "more.x"),
    minimum_group=10,
)
PICKED = [
    "v = 17.3 OR who = 'x'",
    "who = 'x' OR v = 17.3",
    "NOT (v <> 17.3 AND who <> 'x')",
    "v BETWEEN 17.2 AND 17.4 OR who = 'x'",
    "CASE WHEN who = 'x' THEN TRUE ELSE v = 17.3 END",
    "CASE WHEN who = 'x' THEN 17.3 ELSE v END = 17.3",
    "v = CASE WHEN who = 'x' THEN v ELSE 17.3 END",
    "coalesce(nullif(who, 'x') || v, 'me') = 'me'",
    "v IN (17.3, w)",
    "v = w",
    "v > w",
    "(v = 17.3) = (who <> 'x')",
    "(v = 17.3 OR who = 'x') AND w > 3",
    "w > 3 AND (who = 'y' OR (w = 5 AND v < 3))",
    # nobody is named: the one beyond a gap is told among those at a known value
    "v = 17.3 OR v > 99999",
    "v IN (17.3, 99999)",
    "v < 18 OR v > 99999",
    "NOT v BETWEEN 18 AND 99999",
    "v <> 18 AND v <> 19",
    "v NOT IN (18, 19)",
    "v < 20 AND (v < 18 OR v > 19)",
    # what is not plainly a range
    "abs(v) > 18",
    "v % 2 = 0",
    "round(v) = 17",
    "v * v > 18",
    "v > '17.6'",
    "v > NULL",
    "CAST(v AS INT) = 17",
    "(v > 5) IS NULL",
    "v || '' = '17.3'",
    "v > 1e999",
]
UNREADABLE = ["v > '17.6'", "v > 1e999"]
RANGES = [
    "v > 18",
    "who = 'x' AND v > 18",
    "(who = 'x' OR w = 3) AND v >= 18 AND (v < 99 AND who <> 'y')",
    "v BETWEEN 18 AND 99.5",
    "18 < v AND 1e3 > v",
    "v > -5",
    "v <> 0",
    "NOT v = 0",
    "v IS NOT NULL",
    "v IS NULL OR v > 18",
    "v = 17.3",
    "v IN (17.3)",
    "v < 18 OR v >= 18 AND v < 20",
    "NOT (v < 18 OR v > 20)",
    "v > CAST(17.5 AS DOUBLE)",
    "v IS NOT DISTINCT FROM 3",
    "i IN (1, 2, 5) OR who = 'x'",
    "v > 18 AND i <> 3 AND i <> 4",
    "TRUE",
]
KEYS_PICKED = [
    "CASE WHEN v = 17.3 OR who = 'x' THEN 1 END",
    "CASE WHEN v = 17.3 THEN 1 WHEN v > 99999 THEN 1 END",
    "CASE WHEN v = 17.3 THEN 1 WHEN who = 'x' THEN 1 END",
    "CASE WHEN v > 18 AND v < 99999 THEN 'a' END",
    "CASE WHEN v < 18 THEN 'a' WHEN v < 99999 THEN 'b' ELSE 'a' END",
    "CASE WHEN v < 18 THEN w END",
    "CASE WHEN v < 18 THEN 1 WHEN v < 99999 THEN 2 ELSE 1.0 END",
    "CASE v WHEN 17.3 THEN 1 END",
    "v BETWEEN 18 AND 99999",
    "v = 1, v = 2",
    "v % 10",
    "abs(v - 18)",
    "CAST(v AS TINYINT)",
    "CAST(v / 10 AS BIGINT)",
    "CAST(i AS SMALLINT)",
    "CAST(i / 0.1 AS INT)",
    "CAST(floor(i / 10) * 10 AS INT)",
    "CAST(i / 10 AS INT) * 1000000000",
    "v + w",
    "v * v",
    "10 / v",
    "i * 1000000000",
    "i + 2147483647 - 2147483647 - 2147483647",
    "floor(v * 1e300)",
    "coalesce(v, 17.3)",
    "left(CAST(v AS TEXT), 1)",
    "v = 17.3 OR who = 'x'",
]
KEYS = [
    "who",
    "v",
    "floor(v / 10)",
    "floor(v / 10) * 10",
    "floor(i / 10) * 10 + 5",
    "round(v, -2)",
    "ceil(v)",
    "v - 0.5",
    "100 - i",
    "CAST(i / 10 AS INT)",
    "CAST(floor(i / 10) AS BIGINT)",
    "v > 18",
    "v = 18",
    "who, v > 18",
    "CASE WHEN v < 10 THEN 'low' WHEN v < 20 THEN 'middle' ELSE 'high' END",
    "CASE WHEN v < 10 THEN 1 WHEN v < 20 THEN 2 END",
    "if(v < 10, 'low', 'high')",
    "CASE WHEN who = 'x' THEN w END",
]


@pytest.mark.parametrize("asked", ["sum(v)", "avg(v)", "count(*), 2 * sum(v), sum(i)"])
@pytest.mark.parametrize("where", PICKED)
def test_values_are_not_picked_by_a_filter(where: str, asked: str) -> None:
    with pytest.raises(AggregatePicked):
        govern(f"SELECT {asked} FROM pay WHERE {where}", TABLES, TERMS)


@pytest.mark.parametrize("where", [each for each in PICKED if each not in UNREADABLE])
def test_of_what_is_not_aggregated_anything_is_asked(where: str) -> None:
    govern(f"SELECT count(*), count(DISTINCT pid), sum(i) FROM pay WHERE {where}", TABLES, TERMS)


@pytest.mark.parametrize("asked", ["count(DISTINCT v)", "count(*) - count(v)"])
@pytest.mark.parametrize("where", [each for each in PICKED if each not in UNREADABLE])
def test_what_is_counted_is_filtered_by_itself(where: str, asked: str) -> None:
    """`count(DISTINCT v) WHERE v = 17.3 OR who = 'x'` is 2 where x has another value."""
    mixed = "who" in where or "w" in where
    sql = f"SELECT {asked} FROM pay WHERE {where}"
    key = f"SELECT {asked} FROM pay GROUP BY {where}"
    for text in (sql, key) if " AND " not in where else (sql,):
        if mixed:
            with pytest.raises(AggregatePicked):
                govern(text, TABLES, TERMS)
        else:
            govern(text, TABLES, TERMS)


@pytest.mark.parametrize("where", RANGES)
def test_one_range_beside_other_conditions_is_asked(where: str) -> None:
    govern(f"SELECT who, sum(v), count(*) FROM pay WHERE {where} GROUP BY who", TABLES, TERMS)
    govern(f"SELECT sum(v) FROM pay JOIN more USING (pid) WHERE {where}", TABLES, TERMS)


@pytest.mark.parametrize("keys", KEYS_PICKED)
def test_values_are_not_picked_by_a_key(keys: str) -> None:
    with pytest.raises(AggregatePicked):
        govern(f"SELECT sum(v), avg(i) FROM pay GROUP BY {keys}", TABLES, TERMS)


@pytest.mark.parametrize("keys", KEYS)
def test_groups_by_steps_of_a_summed_column_are_asked(keys: str) -> None:
    govern(f"SELECT sum(v), avg(i) FROM pay GROUP BY {keys}", TABLES, TERMS)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sum(p.v) FROM pay p JOIN more m ON p.pid = m.pid AND p.v = m.x",
        "SELECT sum(m.x) FROM pay p LEFT JOIN more m ON p.pid = m.pid WHERE m.x = 3 OR p.w = 5",
        "SELECT who FROM pay WHERE v = 17.3 OR who = 'x' GROUP BY who HAVING sum(v) > 20",
        "SELECT who FROM pay WHERE v = 17.3 OR who = 'x' GROUP BY who ORDER BY avg(v)",
        "SELECT sum(v) AS s FROM pay WHERE v <> 3 GROUP BY v = 4",
    ],
)
def test_nor_by_a_join_and_not_for_what_only_orders(sql: str) -> None:
    with pytest.raises(AggregatePicked):
        govern(sql, TABLES, TERMS)


def test_under_a_budget_the_noise_covers_it() -> None:
    said = Privacy.parse("epsilon=1;delta=0.000001;query=0.1;groups=1;rows=1;pay.v=0..20000")
    terms = Terms(TERMS.purposes, TERMS.columns, minimum_group=10, privacy=said)
    assert govern("SELECT sum(v) FROM pay WHERE v = 17.3 OR who = 'x'", TABLES, terms)


def test_one_persons_value_is_not_singled_out(pool, tmp_path: Path) -> None:
    """A hundred have 1000 each, and of one it is asked: the rest of the sum was theirs."""
    rows = "SELECT i AS pid, CASE i WHEN 7 THEN 1731.5 ELSE 1000 END AS v FROM range(100) t(i)"
    file = tmp_path / "pay.parquet"
    duckdb.execute(f"COPY (SELECT *, 'n' || pid AS who FROM ({rows})) TO '{file}' (FORMAT parquet)")
    table = TableBinding(
        {"pid": "BIGINT", "v": "DECIMAL(5,1)", "who": "VARCHAR"}, (str(file),), "pid"
    )
    office = Hospital({"pay": table}, pool, tmp_path)
    said = Terms(("research",), ("pay.v", "pay.who"), minimum_group=10)
    with pytest.raises(AggregatePicked) as refusal:
        office.ask(
            "SELECT sum(v) - 1000 * (count(*) - 1) FROM pay WHERE v = 1000 OR who = 'n7'", said
        )
    assert refusal.value.facts["column"] == "v"
    asked = office.ask("SELECT avg(v) AS m FROM pay WHERE v >= 1000 AND v < 2000", said)
    assert asked.num_rows == 1


# --- the sets of values, against the engine -------------------------------------------------------

_numbers = st.integers(-3, 12).map(lambda half: f"{half / 2:g}".replace("-", "- "))
_plain = st.one_of(
    st.builds("v {} {}".format, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), _numbers),
    st.builds("{} {} v".format, _numbers, st.sampled_from(["=", "<>", "<", "<=", ">", ">="])),
    st.builds("v BETWEEN {} AND {}".format, _numbers, _numbers),
    st.builds("v IN ({}, {})".format, _numbers, _numbers),
    st.sampled_from(["v IS NULL", "v IS NOT NULL", "TRUE", "FALSE"]),
)
_predicates = st.recursive(
    _plain,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=6,
)
EIGHTHS = [Fraction(at, 8) for at in range(-20, 60)]


@settings(max_examples=150, deadline=None)
@given(_predicates)
def test_a_set_of_values_is_what_the_engine_makes_of_it(predicate: str) -> None:
    made = _fulfil(sqlglot.parse_one(predicate, dialect="duckdb"))
    assert made is not None
    listed = ", ".join(f"({float(each)})" for each in EIGHTHS)
    found = duckdb.execute(
        f"SELECT v, COALESCE({predicate}, FALSE) FROM (VALUES {listed}) t(v) ORDER BY v"
    ).fetchall()
    inside = [
        made.least ^ (sum(cut <= (Fraction(v), False) for cut in made.cuts) % 2 == 1)
        for v, _ in found
    ]
    assert inside == [held for _, held in found]
    # A hole is one value of a set on both sides of it; all numbers here lie on halves.
    runs = "".join("x" if held else "." for held in inside).strip(".")
    gaps = [len(gap) for gap in runs.split("x") if gap]
    assert made.holes() == (None if any(gap > 1 for gap in gaps) else len(gaps))


ENDS = {
    "v": [f"{sign}{each}" for sign in "- " for each in ("1e308", "1e300", "1e19", "2147483648")],
    "i": ["-2147483648", "-2147483647", "-1073741824", "1073741824", "2147483646", "2147483647"],
}


@pytest.mark.parametrize("key", [key for key in KEYS if "w" not in key and "," not in key])
def test_each_group_of_an_accepted_key_is_one_range_to_the_engine(key: str) -> None:
    """At the ends of a type, too, where arithmetic has no value."""
    column, kind = ("i", "INTEGER") if "i /" in key or "- i" in key else ("v", "DOUBLE")
    listed = ", ".join(f"(CAST({each} AS {kind}))" for each in [*ENDS[column], *range(-30, 31)])
    found = duckdb.execute(
        f"SELECT {column}, TRY({key}) FROM (VALUES {listed}) t({column}) ORDER BY 1"
    ).fetchall()
    labels = [str(label) for _, label in found]
    for label in set(labels):
        own = "".join("x" if each == label else "." for each in labels).strip(".")
        assert [gap for gap in own.split("x") if gap] in ([], ["."]), (label, own)


def test_a_number_is_read_to_its_last_digit_and_not_without_end() -> None:
    for text, cuts in (("v < 0.1", 1), ("v < 1e99", 1)):
        made = _fulfil(sqlglot.parse_one(text, dialect="duckdb"))
        assert made is not None
        assert len(made.cuts) == cuts
    assert _fulfil(sqlglot.parse_one("v < 1e999999999", dialect="duckdb")) is None
    assert isinstance(sqlglot.parse_one("v < 1e999999999", dialect="duckdb"), exp.LT)

"""Places in an order and spreads, by a list of the terms: what is told, and what never is."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataplane.hospital import GROUPS
from yunhe.contracts import Aggregates, Mask, Privacy, Terms
from yunhe.control import answered
from yunhe.control.overlap import overlaps
from yunhe.dataplane import TableBinding, govern, term_faults
from yunhe.dataplane.bounding import buckets
from yunhe.dataplane.errors import AggregateSifted, GroupTooSmall
from yunhe.dataplane.second import SecondOpinion
from yunhe.kernel.errors import YunheError

EPOCH = date(1970, 1, 1)
PAIRS = Path(__file__).with_name("fixtures") / "aggregates.txt"
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA data")
        con.execute("SET VARIABLE audit_key = 'abc'")
        con.execute("SET threads = 1")
        yield con


class Office:
    """One table `t` of `pid`, `g` and `v`; asked as the gate has it, without a node around."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, kind: str, rows: Rows, step: str, k: int
    ) -> None:
        self.con, self.k = con, k
        con.execute(f"CREATE OR REPLACE TABLE data.t (pid BIGINT, g INTEGER, v {kind})")
        columns = [[row[at] for row in rows] for at in range(3)]
        con.execute("INSERT INTO data.t SELECT unnest(?), unnest(?), unnest(?)", columns)
        self.table = TableBinding({"pid": "BIGINT", "g": "INTEGER", "v": kind}, ("/t",), "pid")
        names = "count,max,median,min,quantile"
        if kind not in ("DATE", "TIMESTAMP"):
            names = f"{names},stddev,sum,variance"
        listed = Aggregates.parse(f"t.v={names}/{step}")
        self.terms = Terms(("p",), ("t.pid", "t.g", "t.v"), minimum_group=k, aggregates=listed)
        self.earlier: list[Any] = []

    def groups(self, sql: str) -> Rows:
        """What may be shown."""
        made = govern(sql, {"t": self.table}, self.terms)
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {made.groups_sql}")
        self.con.execute(f"DELETE FROM temp.groups WHERE __entities < {self.k}")
        found = self.con.execute("SELECT __print.n, __print.places FROM temp.groups").fetchall()
        self.left = answered("d", self.k, "f", made.summed, found, buckets(self.k))
        return self.con.execute(made.sql).fetchall()

    def ask(self, sql: str) -> Rows | None:
        """As `groups`, under the audit; None: refused, or nothing is left."""
        found = self.groups(sql)
        if not found or overlaps(self.left, self.earlier):
            return None
        self.earlier.append(self.left)
        return found


# --- what is told: an oracle in plain Python -----------------------------------------------------


def floored(value: Any, step: str) -> Any:
    """The lower end of the step, exactly; None for what is no finite value."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if step == "0":
        return value
    if isinstance(value, date):
        days = (datetime(value.year, value.month, value.day) - datetime(1970, 1, 1)).days  # noqa: DTZ001
        return EPOCH + timedelta(days=days // int(step) * int(step))
    if isinstance(value, float):  # as documented: six digits beyond the step's
        digits = len(step.partition(".")[2]) + 6
        value = Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits))
    return Fraction(value) // Fraction(step) * Fraction(step)


def rank(share: Fraction, n: int, k: int) -> int:
    """The rank that is told of n entities, from 1."""
    span = n - 2 * k + 1
    steps = 2 * (span // (2 * k))
    if share == Fraction(1, 2):
        return (n + 1) // 2
    inside = min(max(max(1, math.ceil(share * n)) - k, 0), span)
    at = math.floor(Fraction(inside * steps, span) + Fraction(1, 2))
    return k + at * span // steps


def told(rows: Rows, step: str, k: int, own: str, share: Fraction) -> Any:
    """One figure of one group; None where it is withheld."""
    mine = defaultdict(list)
    for pid, _, value in rows:
        if pid is not None and (found := floored(value, step)) is not None:
            mine[pid].append(found)
    middle: Callable[[Sequence[Any]], Any] = lambda each: sorted(each)[(len(each) - 1) // 2]  # noqa: E731
    values = sorted({"min": min, "max": max, "middle": middle}[own](v) for v in mine.values())
    if len(values) < (2 * k - 1 if share == Fraction(1, 2) else 4 * k - 1):
        return None
    return values[rank(share, len(values), k) - 1]


ASKED = {
    "min(v)": ("min", Fraction(0)),
    "max(v)": ("max", Fraction(1)),
    "median(v)": ("middle", Fraction(1, 2)),
    "quantile(v, 0.25)": ("middle", Fraction(1, 4)),
    "quantile_disc(v, 0.9001)": ("middle", Fraction("0.9001")),
    "quantile(v, 1)": ("middle", Fraction(1)),
}
KINDS: dict[str, tuple[str, Callable[[random.Random], Any]]] = {
    "DOUBLE": (
        "0.5",
        lambda r: r.choice([None, math.nan, math.inf, -0.0, *(r.gauss(0, 9) for _ in range(20))]),
    ),
    "FLOAT": ("0", lambda r: float(r.randint(-9, 9))),
    "DECIMAL(12, 2)": ("0.25", lambda r: Decimal(r.randint(-900, 900)) / 100),
    "INTEGER": ("7", lambda r: r.randint(-50, 50)),
    "HUGEINT": ("1000", lambda r: r.randint(-(10**30), 10**30)),
    "SMALLINT": ("0.3", lambda r: r.choice([None, r.randint(-20, 20)])),
    "DATE": ("30", lambda r: date(1969, 6, 1) + timedelta(days=r.randint(0, 900))),
    "TIMESTAMP": ("1", lambda r: datetime(1969, 12, 1) + timedelta(hours=r.randint(0, 2000))),  # noqa: DTZ001
}


def same(got: Any, due: Any) -> bool:
    """Equal, as a fraction where it is a number; a DOUBLE is the nearest to it."""
    if isinstance(due, (date, datetime)):
        return bool(got == due)
    return float(got) == float(due) if isinstance(got, float) else Fraction(got) == Fraction(due)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_told_is_what_the_rule_says(con, kind: str, k: int) -> None:
    chosen = random.Random(f"{kind}{k}")  # noqa: S311
    step, value = KINDS[kind]
    rows = []
    for at, people in enumerate((0, 1, k, 2 * k - 2, 2 * k - 1, 4 * k - 2, 4 * k - 1, 9 * k, 40)):
        for pid in range(people):
            times = chosen.choice([1, 1, 2, 3])
            rows += [(pid, at, value(chosen)) for _ in range(times)]
        rows += [(None, at, value(chosen))]
    office = Office(con, kind, rows, step, k)
    by_group = defaultdict(list)
    for row in rows:
        by_group[row[1]].append(row)
    counted = {g for g, _ in office.groups("SELECT g, count(v) FROM t GROUP BY g")}
    shown = 0
    for sql, (own, share) in ASKED.items():
        found = dict(office.groups(f"SELECT g, {sql} FROM t GROUP BY g"))
        due = {g: told(by_group[g], step, k, own, share) for g in counted}
        assert found.keys() == {g for g, each in due.items() if each is not None}, sql
        for g, got in found.items():
            assert same(got, due[g]), (sql, g, got, due[g])
        shown += len(found)
    assert shown > 6


def test_the_engine_reads_what_the_gate_wrote(con) -> None:
    office, second = Office(con, "DATE", [], "7", 5), SecondOpinion()
    for sql in (*ASKED, "count(*)"):
        second.check(
            govern(f"SELECT g, {sql} FROM t GROUP BY g", {"t": office.table}, office.terms)
        )
    office = Office(con, "DOUBLE", [], "0.5", 5)
    asked = f"SELECT {', '.join(ASKED)}, stddev(v), stddev_pop(v), variance(v) FROM t"
    second.check(govern(asked, {"t": office.table}, office.terms))


def test_a_spread_is_that_of_the_rows(con) -> None:
    chosen = random.Random(3)  # noqa: S311
    rows = [(pid % 40, pid % 2, chosen.gauss(100, 5)) for pid in range(400)]
    office = Office(con, "DOUBLE", rows, "1", 5)
    asked = "g, stddev(v), stddev_samp(v), stddev_pop(v), variance(v)"
    found = sorted(office.groups(f"SELECT {asked} FROM t GROUP BY g"))
    due = con.execute(f"SELECT {asked} FROM data.t GROUP BY g ORDER BY g").fetchall()
    assert [each == pytest.approx(other) for each, other in zip(found, due, strict=True)] == [
        True
    ] * 2


# --- attacks ---------------------------------------------------------------------------------


def people(values: Sequence[Any], times: int = 1) -> Rows:
    return [(pid, 0, value) for pid, value in enumerate(values) for _ in range(times)]


def test_the_extreme_of_a_small_group_is_not_its_smallest(con) -> None:
    """Of exactly k people the k-th largest is the smallest: one person's value."""
    for n in (5, 8, 18):  # below 2k - 1, and below 4k - 1
        office = Office(con, "INTEGER", people(range(n)), "1", 5)
        assert office.groups("SELECT max(v) FROM t") == []
        assert office.groups("SELECT min(v) FROM t") == []
    assert Office(con, "INTEGER", people(range(8)), "1", 5).groups("SELECT median(v) FROM t") == []
    assert Office(con, "INTEGER", people(range(9)), "1", 5).groups("SELECT median(v) FROM t")


@pytest.mark.parametrize("step", ["0", "100"])
def test_nobody_is_put_at_the_edge_by_a_filter_of_the_same_column(con, step: str) -> None:
    """With k - 1 people above and all others far below, the k-th largest is whom one likes."""
    chosen = random.Random(1)  # noqa: S311
    values = [chosen.randint(0, 10**6) for _ in range(300)]
    office = Office(con, "INTEGER", [(pid, pid, v) for pid, v in enumerate(values)], step, 5)
    found = office.ask("SELECT max(v) FROM t")
    assert found
    above = found[0][0] + max(int(step) - 1, 0)
    for sql in (
        f"SELECT max(v) FROM t WHERE v < 300000 OR v > {above} OR g = 100",
        f"SELECT stddev(v) FROM t WHERE v = {values[0]} OR g IN (1, 2)",
        f"SELECT CASE WHEN v > {above} OR g = 100 THEN 1 END AS c, min(v) FROM t GROUP BY c",
        "SELECT v, median(v) FROM t GROUP BY ALL",
        f'SELECT max(x."V") FROM t AS x WHERE "V" > {above} OR g = 100',
    ):
        with pytest.raises(AggregateSifted):
            office.ask(sql)
    assert office.ask("SELECT max(v) FROM t WHERE g < 100")


def test_no_extreme_is_reached_by_a_moving_filter(con) -> None:
    """Asking for the largest below a border, again and again, peels nobody off; that another
    column orders people as this one does is not known to the gate."""
    k, values = 5, [17 * at % 101 for at in range(101)]
    office, got = Office(con, "INTEGER", [(pid, v, v) for pid, v in enumerate(values)], "1", k), []
    for limit in [10_000, *sorted(values, reverse=True)[:45]]:
        found = office.ask(f"SELECT max(v) FROM t WHERE g < {limit}")
        if found:
            got.append(int(found[0][0]))
            assert sum(got[-1] <= each < limit for each in values) >= k
    assert max(got) <= sorted(values)[-k]
    for one in set(got):
        assert all(abs(one - other) >= k for other in set(got) - {one})


def test_every_quantile_asked_is_a_histogram_of_k_a_bar(con) -> None:
    for n in (19, 29, 101):
        office = Office(con, "INTEGER", people([at * 1000 for at in range(n)]), "1", 5)
        shares = ("min(v)", "median(v)", "max(v)", *(f"quantile(v, {p / 100})" for p in range(101)))
        found: set[int] = set()
        for at in range(0, len(shares), 30):
            (row,) = office.groups(f"SELECT {', '.join(shares[at : at + 30])} FROM t")
            found |= {int(each) // 1000 for each in row}
        ordered = sorted(found)
        assert ordered[0] >= 4
        assert ordered[-1] <= n - 5
        assert (n - 1) // 2 in ordered
        assert min(b - a for a, b in pairwise(ordered)) >= 5


def test_a_median_less_one_is_refused_and_less_many_tells_no_value(con) -> None:
    values = [100 + at for at in range(40)]
    office = Office(con, "INTEGER", [(pid, v, v) for pid, v in enumerate(values)], "10", 10)
    assert office.ask("SELECT median(v) FROM t") == [(110,)]
    for fewer in (1, 2, 9):  # k + 1 people less one, and all that are fewer than k
        assert office.ask(f"SELECT median(v) FROM t WHERE g >= {100 + fewer}") is None
    assert office.ask("SELECT count(v) FROM t WHERE v >= 103") is None  # nor by another aggregate
    assert office.ask("SELECT median(v) FROM t WHERE g >= 111") == [(120,)]


@pytest.mark.parametrize("nothing", [None, math.nan, -math.inf])
@pytest.mark.parametrize("asked", ["stddev(v)", "median(v)", "sum(v)"])
def test_those_without_a_value_hide_nobody_who_has_one(con, asked: str, nothing: Any) -> None:
    """Two answers that differ by ten people, of whom one has a value."""
    rows = [(pid, pid, float(pid**2) if pid < 60 else nothing) for pid in range(70)]
    office = Office(con, "DOUBLE", rows, "1", 10)
    assert office.ask(f"SELECT {asked} FROM t WHERE g < 59")
    learnt = office.ask(f"SELECT {asked} FROM t WHERE g < 59 OR g >= 60")
    a_number = asked != "sum(v)" or nothing is None
    assert bool(learnt) == a_number  # nothing of anybody; a sum that is no number is withheld
    assert office.ask(f"SELECT {asked} FROM t WHERE g < 59 OR g >= 59") is None


def test_of_other_tables_the_audit_knows_the_column(con) -> None:
    office = Office(con, "INTEGER", people(range(40)), "10", 5)
    office.groups("SELECT max(v), stddev(v) FROM t")
    assert office.left.summed == ("t.v",)


def test_one_person_with_most_rows_moves_nothing(con) -> None:
    """Five hundred rows of one person are one value; and with so many the group is withheld."""
    crowd = people(range(40), 4)
    whale = [(99, 0, 9_000)] * 30  # below the share that withholds a group
    office = Office(con, "INTEGER", crowd + whale, "1", 5)
    assert office.groups("SELECT min(v), median(v), quantile(v, 0.9), max(v) FROM t") == [
        (4, 20, 36, 36)
    ]
    office = Office(con, "INTEGER", crowd + whale * 20, "1", 5)
    assert office.groups("SELECT median(v) FROM t") == []


def test_an_extreme_is_told_in_steps_unless_the_provider_says_otherwise(con) -> None:
    values = [1_000 + 37 * at for at in range(60)]
    found = Office(con, "INTEGER", people(values), "100", 5).groups("SELECT max(v) FROM t")
    assert found == [(sorted(values)[-5] // 100 * 100,)]
    assert found[0][0] not in values
    found = Office(con, "INTEGER", people(values), "0", 5).groups("SELECT max(v) FROM t")
    assert found == [(sorted(values)[-5],)]  # still of k people, though as it is


def test_ties_and_what_is_no_value(con) -> None:
    nothing = [None, math.nan, math.inf, -math.inf]
    rows = people([5.0] * 20 + [7.0] * 20)
    rows += [(100 + at, 0, nothing[at % 4]) for at in range(200)]
    office = Office(con, "DOUBLE", rows, "1", 5)
    assert office.groups("SELECT min(v), median(v), max(v) FROM t") == [(5.0, 5.0, 7.0)]
    assert Office(con, "DOUBLE", rows[40:], "1", 5).groups("SELECT median(v) FROM t") == []
    wide = people([1e300] * 20 + [-1e300] * 20)  # beyond 38 digits: not told, nothing raises
    assert Office(con, "DOUBLE", wide, "1", 5).groups("SELECT max(v) FROM t") == []


def test_a_step_beyond_all_days_tells_of_no_group_that_is_withheld(con) -> None:
    """Before 1970 such a step begins on a day there is none of: that must not raise."""
    rows = people([date(2020, 1, 1)] * 40)
    office = Office(con, "DATE", [*rows, (90, 1, date(1960, 1, 1))], "999999999999", 5)
    assert office.groups("SELECT g, max(v) FROM t GROUP BY g") == [(0, EPOCH)]


def test_infinite_dates_are_no_days(con) -> None:
    rows = people([date(2020, 1, 1) + timedelta(days=at) for at in range(40)])
    office = Office(con, "DATE", rows, "7", 5)
    con.execute("INSERT INTO data.t SELECT 900 + i, 0, 'infinity' FROM range(40) r(i)")
    assert office.groups("SELECT max(v) FROM t") == [(date(2020, 1, 30),)]


def test_a_spread_that_is_one_persons_or_nobodys_is_withheld(con) -> None:
    office = Office(con, "DOUBLE", people([100.0] * 40 + [9_000.0]), "1", 5)
    assert office.groups("SELECT stddev(v) FROM t") == []
    for value in (100.0, 0.1, 0.0):  # with a mean it would be everybody's value
        office = Office(con, "DOUBLE", people([value] * 41), "1", 5)
        assert office.groups("SELECT variance(v) FROM t") == []
    for nothing in (math.nan, math.inf, None):  # of two people it would be their difference
        few = [*people([nothing] * 40), (90, 0, 1_000.0), (91, 0, 4_000.0)]
        assert Office(con, "DOUBLE", few, "1", 5).groups("SELECT stddev(v) FROM t") == []
        few += [(90 + at, 0, 1_000.0 * at) for at in (3, 7, 9)]
        assert Office(con, "DOUBLE", few, "1", 5).groups("SELECT stddev(v) FROM t")
        few += [(90, 0, 2_000.0)] * 9  # nobody has most of the rows that have a value
        assert Office(con, "DOUBLE", few, "1", 5).groups("SELECT stddev(v) FROM t") == []
    two = Office(con, "DOUBLE", people([1_000.0, 4_000.0]), "1", 2)  # with their mean: both
    assert two.groups("SELECT sum(v), stddev(v) FROM t") == []
    far = people([1e200 * at for at in range(41)])
    assert Office(con, "DOUBLE", far, "1", 5).groups("SELECT stddev(v) FROM t") == []


def test_having_and_order_see_no_withheld_extreme(con) -> None:
    rows = people(range(40)) + [(pid, 1, 9_999) for pid in range(6)]
    office = Office(con, "INTEGER", rows, "1", 5)
    asked = "SELECT g, count(*) FROM t GROUP BY g HAVING max(v) > 0 ORDER BY max(v) DESC"
    assert office.groups(asked) == [(0, 40)]


# --- the list --------------------------------------------------------------------------------


def pairs() -> list[tuple[str, str, str]]:
    found = []
    for block in PAIRS.read_text().split("\n\n")[1:]:
        policy, *lines = block.strip().splitlines()
        for line in lines:
            due, _, sql = line.partition(": ")
            found.append((policy, due, sql))
    return found


@pytest.mark.parametrize(("policy", "due", "sql"), pairs(), ids=lambda each: str(each)[:60])
def test_what_may_be_asked_is_as_written(hospital, policy: str, due: str, sql: str) -> None:
    listed = None if policy == "-" else Aggregates.parse(policy)
    code = "RUNS"
    try:
        hospital.govern(sql, replace(GROUPS, aggregates=listed))
    except YunheError as refusal:
        code = refusal.code
    assert code == due


def test_it_runs_behind_the_walls(hospital) -> None:
    listed = Aggregates.parse("patients.Age=avg,max,median,min,stddev/5;labs.day=max,min/30")
    terms = replace(GROUPS, aggregates=listed)
    found = hospital.ask(
        "SELECT sex, min(age) AS a, median(age) AS b, max(age) AS c, round(stddev(age)) AS d,"
        " max(l.day) AS e FROM patients JOIN labs l USING (id) GROUP BY sex ORDER BY sex",
        terms,
    )
    day = date(2021, 1, 3)  # of thirty days from the epoch on
    assert found.to_pylist() == [
        {"sex": "f", "a": 20, "b": 45, "c": 75, "d": 17.0, "e": day},
        {"sex": "m", "a": 20, "b": 45, "c": 75, "d": 17.0, "e": day},
    ]
    with pytest.raises(GroupTooSmall):
        hospital.ask("SELECT max(age) FROM patients WHERE birth < 1952", terms)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("patients.Age=count,max/5;labs.day=max/30", ""),
        ("patients.nope=count", "COLUMN_NOT_AGREED"),
        ("patients.salary=count", "COLUMN_NOT_AGREED"),  # not shown
        ("patients.name=max/5", "AGGREGATE_NOT_ENFORCEABLE"),  # a hash has no order
        ("patients.sex=avg", "AGGREGATE_NOT_ENFORCEABLE"),
        ("labs.day=max/0.5", "AGGREGATE_NOT_ENFORCEABLE"),
        ("labs.day=stddev", "AGGREGATE_NOT_ENFORCEABLE"),
        ("patients.id=max/1", "AGGREGATE_NOT_ENFORCEABLE"),  # whom it singles out
        ("patients.id=count", ""),
        ("patients.birth=max/10", ""),  # masked to a year: a number
    ],
)
def test_terms_that_no_table_can_honour_are_refused_before_they_are_signed(
    hospital, text: str, why: str
) -> None:
    terms = replace(GROUPS, aggregates=Aggregates.parse(text))
    faults = [(part, fault.code) for part, fault in term_faults(terms, hospital.tables)]
    assert faults == ([("aggregates", why)] if why else [])


def test_under_a_budget_the_list_is_kept_and_no_order_is_told(hospital) -> None:
    privacy = Privacy.parse("epsilon=1;delta=0.001;query=1;groups=1;rows=1;patients.Age=0..100")
    terms = replace(GROUPS, privacy=privacy, aggregates=Aggregates.parse("patients.Age=avg,max/5"))
    hospital.govern("SELECT avg(age) FROM patients", terms)
    for sql, code in (
        ("SELECT max(age) FROM patients", "AGGREGATE_FUNCTION_REFUSED"),
        ("SELECT sum(age) FROM patients", "AGGREGATE_NOT_AGREED"),
    ):
        with pytest.raises(YunheError) as refusal:
            hospital.govern(sql, terms)
        assert refusal.value.code == code


def test_a_mask_holds_under_an_order(con) -> None:
    """What is ranked is what the contract shows: a rounded column gives rounded places."""
    office = Office(con, "INTEGER", people([at * 7 for at in range(60)]), "1", 5)
    office.terms = replace(office.terms, masks=(Mask("t.v", "round:50"),))
    (row,) = office.groups("SELECT min(v), median(v), max(v) FROM t")
    assert all(each % 50 == 0 for each in row)

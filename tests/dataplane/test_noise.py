"""Answers under a privacy budget: noise, one charge a question, never more than agreed."""

from __future__ import annotations

import json
import statistics
import sys
import threading
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dataplane.hospital import Hospital
from dataplane.test_service import PEER, Plane
from yunhe.contracts import Privacy, Terms, policy_from_terms, terms_from_policy
from yunhe.control import budget_left
from yunhe.dataplane import GroupTooSmall, Query, TableBinding, worker
from yunhe.dataplane.errors import NoiseMissing, PrivacyNoBounds, PrivacyNotCountable, WorkersBusy
from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError

BUDGET = Privacy.parse(
    "epsilon=1;delta=0.000001;query=0.1;groups=1;rows=2;pay.salary=0..20000;pay.age=0..100"
)
COLUMNS = ("pay.pid", "pay.age", "pay.dept", "pay.salary")
TERMS = Terms(("research",), COLUMNS, minimum_group=10, privacy=BUDGET)
COUNT = "SELECT count(*) AS n FROM pay"


@pytest.fixture
def office(db: Database, pool, tmp_path: Path) -> Plane:
    file = tmp_path / "pay.parquet"
    rows = """
        SELECT i AS pid, 20 + i % 60 AS age, i % 3 AS dept, 5000 + (i * 7919) % 9000 AS salary
        FROM range(30000) t(i) UNION ALL SELECT 1000000, 37, 7, 20000 FROM range(5000)
    """
    duckdb.execute(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
    shape = duckdb.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
    table = TableBinding({row[0]: row[1] for row in shape}, (str(file),), "pid")
    plane = Plane(db, Hospital({"pay": table}, pool, tmp_path), tmp_path)
    plane.desk.open(TERMS)
    plane.db = db
    return plane


def left(office: Plane) -> str:
    return budget_left(office.db, PEER, "P1", BUDGET).epsilon_left


def test_figures_are_near_and_the_result_says_how_near(office) -> None:
    table = office.read("SELECT count(*) AS n, avg(salary) AS m, sum(age) AS a FROM pay")
    row = table.to_pylist()[0]
    assert abs(row["n"] - 30002) < 2000  # the one with 5000 rows counts for two
    assert 9000 < row["m"] < 10000
    told = json.loads(table.schema.metadata[b"yunhe.noise"])
    assert told["epsilon"] == "0.1"
    scales = {each["of"]: float(each["scale"]) for each in told["statistics"]}
    assert scales["entities"] == pytest.approx(50)  # 1 / (0.1 / 5)
    assert scales["count(*)"] == pytest.approx(100)
    assert scales["sum(salary)"] == pytest.approx(2 * 20000 * 50)


def test_a_thousand_repeats_are_one_charge_and_one_answer(office) -> None:
    first = office.read(COUNT, "u0")
    assert left(office) == "0.9"
    for at in range(60):
        spelled = COUNT if at % 2 else "select COUNT(*) as n from pay as x"
        again = office.read(spelled, f"u{at + 1}")
        if at % 2:
            assert again == first
    assert left(office) == "0.8"  # two questions: another alias is another text


def test_having_and_order_are_free_and_over_the_same_noise(office) -> None:
    asked = "SELECT dept, count(*) AS n FROM pay GROUP BY dept"
    plain = {row["dept"]: row["n"] for row in office.read(asked, "u1").to_pylist()}
    assert set(plain) == {0, 1, 2}  # department 7 is one person
    ordered = office.read(f"{asked} HAVING count(*) > 0 ORDER BY n DESC LIMIT 2", "u2").to_pylist()
    assert all(plain[row["dept"]] == row["n"] for row in ordered)
    assert left(office) == "0.9"


def test_the_budget_ends(office) -> None:
    for at in range(10):
        office.read(f"SELECT count(*) AS n FROM pay WHERE age > {20 + at}", f"u{at}")
    assert left(office) == "0"
    with pytest.raises(YunheError) as refusal:
        office.read("SELECT count(*) AS n FROM pay WHERE age > 50", "u11")
    assert refusal.value.code == "PRIVACY_BUDGET_SPENT"
    assert office.read("SELECT count(*) AS n FROM pay WHERE age > 20", "u12").num_rows == 1


def test_two_at_once_never_spend_more_than_there_is(office) -> None:
    codes: list[str] = []

    def ask(at: int) -> None:
        try:
            office.read(f"SELECT count(*) AS n FROM pay WHERE age <> {at}", f"c{at}")
            codes.append("")
        except WorkersBusy:
            codes.append("busy")
        except YunheError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes.count("") <= 10
    assert set(codes) <= {"", "busy", "PRIVACY_BUDGET_SPENT"}
    assert float(left(office)) >= 0


def test_another_contract_of_the_party_spends_of_the_same(office) -> None:
    office.desk.open(TERMS, "c2")
    office.read(COUNT, "u1")
    asked = Query("c2", "u2", "SELECT sum(age) AS a FROM pay", "research")
    b"".join(office.plane.query(PEER, asked))
    assert left(office) == "0.8"


def test_a_crash_gives_nothing_back_and_a_refusal_neither(office) -> None:
    with pytest.raises(GroupTooSmall):
        office.read("SELECT count(*) AS n FROM pay WHERE dept = 9 GROUP BY age", "u1")
    assert left(office) == "0.9"
    begun = office.plane._begin(PEER, Query("c1", "u2", COUNT, "research"))
    begun.running.close()
    office.control.recover()  # as after a crash between the reserve and the release
    assert left(office) == "0.8"
    office.read(COUNT, "u3")
    assert left(office) == "0.7"


def test_averaging_answers_of_one_meaning_is_paid_for(office) -> None:
    """Each spelling that the node takes for a new question costs: averaging buys nothing."""
    asked = [f"SELECT count(*) AS n FROM pay WHERE age > -{at}" for at in range(1, 12)]
    answers = [office.read(sql, sql[-2:]).to_pylist()[0]["n"] for sql in asked[:10]]
    with pytest.raises(YunheError) as refusal:
        office.read(asked[10], "last")
    assert refusal.value.code == "PRIVACY_BUDGET_SPENT"
    assert len(set(answers)) > 1
    assert abs(statistics.mean(answers) - 30002) < 1000


def test_differencing_shows_noise(office) -> None:
    """The whole less one person: the difference is noise, not the person's 20000."""
    more = office.read("SELECT sum(salary) AS s FROM pay", "u1").to_pylist()[0]["s"]
    less = office.read("SELECT sum(salary) AS s FROM pay WHERE dept < 7", "u2").to_pylist()[0]["s"]
    told = 2 * 20000 * 2 / 0.1  # the scale of either
    assert abs(abs(more - less) - 20000) < 20 * told
    assert more != less + 20000


def test_what_cannot_be_bounded_is_refused(office) -> None:
    bare = replace(TERMS, privacy=replace(BUDGET, clamps=()))
    office.desk.open(bare, "c3")
    for sql, error in (
        ("SELECT sum(salary) AS s FROM pay", PrivacyNoBounds),
        ("SELECT count(DISTINCT dept) AS n FROM pay", PrivacyNotCountable),
    ):
        with pytest.raises(error):
            office.plane.query(PEER, Query("c3", error.code, sql, "research"))


def test_the_schema_is_the_same_without_running(office) -> None:
    sql = "SELECT dept, avg(salary) AS m, count(*) AS n FROM pay GROUP BY dept"
    schema = pa.ipc.read_schema(pa.py_buffer(office.plane.describe(PEER, "c1", sql)))
    assert schema.names == ["dept", "m", "n"]
    assert office.read(sql).schema.types == schema.types
    assert left(office) == "0.9"


def test_a_budget_without_a_minimum_group_is_no_term() -> None:
    assert terms_from_policy(policy_from_terms(TERMS)) == TERMS
    with pytest.raises(YunheError):
        terms_from_policy(policy_from_terms(replace(TERMS, minimum_group=0)))
    for text in (
        "epsilon=0;delta=0.1;query=0.1;groups=1;rows=1",
        "epsilon=1;delta=0;query=0.1;groups=1;rows=1",
        "epsilon=1;delta=0.000001;query=2;groups=1;rows=1",
        "epsilon=1;delta=0.000001;query=0.1;groups=0;rows=1",
        "epsilon=1;delta=0.000001;query=0.1;groups=1;rows=1;a.b=3..1",
        "epsilon=1;delta=0.000001;query=0.1;groups=1;rows=1;a.b=0..1;a.b=0..2",
        "epsilon=1e3;delta=0.000001;query=0.1;groups=1;rows=1",
        "delta=0.000001;epsilon=1;query=0.1;groups=1;rows=1",
        "epsilon=1",
        "",
    ):
        with pytest.raises(ValueError):
            Privacy.parse(text)


def test_the_provider_sees_what_is_left(office) -> None:
    office.read(COUNT, "u1")
    found = office.control.privacy_left(PEER, "P1", BUDGET)
    assert found.to_json() == {
        "epsilon": "1",
        "epsilon_spent": "0.1",
        "epsilon_left": "0.9",
        "delta": "0.000001",
        "delta_spent": "0.0000001",
        "query": "0.1",
        "answers": 9,
        "measure": "epsilon",
        "as_epsilon": "",
    }


def test_without_the_engine_nothing_is_given(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opendp.prelude", None)
    with pytest.raises(worker.Failure) as failure:
        worker._add_noise([("a", 12)], 1, {"scales": [10.0], "least": 1, "noise": "laplace"})
    assert failure.value.code == "NOISE_MISSING"
    assert "yunhe[dp]" in NoiseMissing().problem()["remedy"]


BY_RHO = Privacy.parse(
    "rho=0.5;delta=0.000001;query=0.005;groups=2;rows=2;pay.salary=0..20000;pay.age=0..100"
)


def test_by_rho_the_noise_is_gaussian_and_opendp_counts_as_we_do(office) -> None:
    import opendp.prelude as dp

    office.desk.open(replace(TERMS, privacy=BY_RHO), "c2")
    asked = Query("c2", "r1", "SELECT dept, count(*) AS n FROM pay GROUP BY dept", "research")
    table = pa.ipc.open_stream(b"".join(office.plane.query(PEER, asked))).read_all()
    told = json.loads(table.schema.metadata[b"yunhe.noise"])
    assert told["rho"] == "0.005"
    assert "epsilon" not in told
    assert {row["dept"] for row in table.to_pylist()} == {0, 1, 2}  # 7 is one person
    scales = {each["of"]: float(each["scale"]) for each in told["statistics"]}
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l2_distance(T="f64")
    # What an entity changes: one in each of two groups, two rows in each of two groups.
    costs = [
        dp.m.make_gaussian(*space, scale=scales[of]).map(reach * 2**0.5)
        for of, reach in (("entities", 1), ("count(*)", 2))
    ]
    assert sum(costs) == pytest.approx(0.005, rel=1e-4)
    found = office.control.privacy_left(PEER, "P1", BY_RHO)
    assert (found.measure, found.epsilon_spent, found.answers) == ("rho", "0.005", 99)
    assert 0.3 < float(found.as_epsilon) < 0.005 + 2 * (0.005 * 14.6) ** 0.5
    assert office.plane.left(PEER, "c2").to_json()["privacy"]["measure"] == "rho"
    with pytest.raises(YunheError, match="PRIVACY_MEASURES_DIFFER"):  # they do not add up
        office.query(COUNT, "e1")


def test_rho_is_read_in_its_one_spelling() -> None:
    assert str(BY_RHO).startswith("rho=0.5;delta=0.000001;query=0.005;groups=2;rows=2;")
    assert Privacy.parse(str(BY_RHO)) == BY_RHO
    terms = replace(TERMS, privacy=BY_RHO)
    assert terms_from_policy(policy_from_terms(terms)) == terms
    assert BY_RHO.answers_femto == BY_RHO.delta_femto // 2
    for bad in ("sigma", "Rho", ""):
        with pytest.raises(ValueError):
            Privacy.parse(str(BY_RHO).replace("rho", bad))

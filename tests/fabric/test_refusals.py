"""What the fabric refuses, and that a refusal costs nothing; attacks first."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from examples import example
from fabric.weave import GROUPS, ROWS, Weave
from flow.world import PURPOSE
from yunhe.sdk import YunheRefused

HOSTILE = (
    ("SELECT * FROM read_csv('/etc/passwd')", "FABRIC_NAME_UNKNOWN"),
    ("SELECT * FROM '/etc/passwd'", "FABRIC_NAME_UNKNOWN"),
    ("SELECT getenv('HOME') AS x FROM a.labs", "FUNCTION_REFUSED"),
    ("SELECT 1 AS x FROM a.labs; DROP TABLE s0", "SQL_NOT_ONE_QUERY"),
    ("COPY a.labs TO 'x'", "SQL_NOT_ONE_QUERY"),
    ("SELECT * FROM s0", "FABRIC_NAME_UNKNOWN"),
    ("SELECT * FROM part.p0", "FABRIC_NAME_UNKNOWN"),
    ("SELECT * FROM information_schema.tables", "FABRIC_NAME_UNKNOWN"),
    ("SELECT __part FROM a.labs", "NAME_RESERVED"),
    ("SELECT name FROM a.patients", "COLUMN_NOT_AGREED"),
    ("SELECT l.id FROM a.labs l JOIN b.patients p ON p.name = l.note", "COLUMN_NOT_AGREED"),
    ("SELECT id FROM agg.labs", "FABRIC_AGGREGATE_ONLY"),
    ("SELECT max(value) AS m FROM agg.labs", "AGGREGATE_FUNCTION_REFUSED"),
    ("SELECT count(DISTINCT id) AS n FROM agg.labs", "FABRIC_AGGREGATE_ONLY"),
    ("SELECT median(value) AS m FROM agg.labs", "FABRIC_AGGREGATE_ONLY"),
    ("SELECT g.test FROM g.labs g JOIN a.labs a ON a.id = g.id", "FABRIC_AGGREGATE_ONLY"),
    ("SELECT a.id FROM a.labs a WHERE a.id IN (SELECT g.id FROM g.labs g)", "ENTITY_KEY_REFUSED"),
    (
        "SELECT a.id FROM a.labs a WHERE EXISTS (SELECT 1 AS o FROM g.labs g WHERE g.id = a.id)",
        "FABRIC_AGGREGATE_ONLY",
    ),
    ("SELECT count(*) AS n FROM g.labs WHERE id = 7", "ENTITY_KEY_REFUSED"),
    ("SELECT id, count(*) AS n FROM agg.labs GROUP BY id", "ENTITY_KEY_REFUSED"),
    (
        "SELECT l.id FROM study.labs l, study.patients p, a.labs x WHERE x.id = l.id",
        "FABRIC_SQL_REFUSED",
    ),
)


def aliases(weave: Weave) -> dict[str, Any]:
    return {
        "a": weave.rows[0],
        "b": weave.rows[1],
        "g": weave.groups[0],
        "study": weave.rows,
        "agg": weave.groups,
    }


def spent(weave: Weave) -> int:
    space = weave["r"].space
    return sum(space.bill(c.id).uses for c in (*weave.rows, *weave.groups))


def refused(weave: Weave, sql: str, purpose: str = PURPOSE, **more: Any) -> YunheRefused:
    with pytest.raises(YunheRefused) as error:
        weave["r"].space.fabric(sql, more.get("contracts") or aliases(weave), purpose)
    return error.value


@pytest.mark.parametrize(("sql", "code"), HOSTILE)
def test_a_hostile_query_is_refused_before_anything_is_charged(
    weave: Weave, sql: str, code: str
) -> None:
    before = spent(weave)
    assert refused(weave, sql).code == code
    assert spent(weave) == before


def test_a_name_that_is_none_is_told_beside_those_given(weave: Weave) -> None:
    found = refused(weave, "SELECT count(*) AS n FROM x.labs")
    assert found.code == "FABRIC_NAME_UNKNOWN"
    assert found.facts == {"name": "x", "visible": "a, agg, b, g, study"}


def test_a_column_that_is_none_is_told_beside_those_of_the_table_as_it_was_written(
    weave: Weave,
) -> None:
    found = refused(weave, "SELECT avg(valu) AS v FROM study.labs")
    assert found.code == "COLUMN_NOT_AGREED"
    assert found.facts["near"] == "study.labs.value"
    assert "__" not in found.facts["visible"]


def test_a_purpose_that_one_contract_lacks_is_refused(weave: Weave) -> None:
    sql = "SELECT count(*) AS n FROM study.labs"
    assert weave["r"].space.fabric(sql, aliases(weave), "teaching").num_rows == 1
    both = "SELECT x.n FROM (SELECT count(*) AS n FROM study.labs) x CROSS JOIN"
    both += " (SELECT count(*) AS n FROM agg.labs) y"
    error = refused(weave, both, "teaching")
    assert (error.code, error.facts["shared"]) == ("FABRIC_PURPOSE_NOT_SHARED", PURPOSE)


def test_a_group_too_small_at_one_node_is_left_out_and_told(weave: Weave) -> None:
    space = weave["r"].space
    at_one = "SELECT count(*) AS n FROM agg.patients WHERE age >= 80 AND sex = 'm'"
    table = space.fabric(at_one, aliases(weave), PURPOSE)
    record = space.fabric_answers()[0]
    states = [part["state"] for part in record["parts"]]
    withheld = "withheld" in states
    metadata = table.schema.metadata or {}
    assert (metadata[b"yunhe.groups_withheld"] == b"true") == withheld
    fees = {part["fee_fen"] for part in record["parts"] if part["state"] == "withheld"}
    assert fees <= {0}
    assert refused(weave, "SELECT count(*) AS n FROM agg.labs WHERE days > 9000").code == (
        "GROUP_TOO_SMALL"
    )


def test_the_result_carries_what_it_inherits_and_where_it_comes_from(weave: Weave) -> None:
    space = weave["r"].space
    sql = "SELECT p.age, avg(l.value) AS v, count(*) AS n FROM study.labs l"
    sql += " JOIN study.patients p ON p.id = l.id GROUP BY p.age"
    table = space.fabric(sql, aliases(weave), PURPOSE, "a-fabric-id-1")
    policy = json.loads((table.schema.metadata or {})[b"yunhe.policy"])
    assert policy["purposes"] == [PURPOSE, "teaching"]
    assert {each["contract_id"] for each in policy["attribution"]} == {c.id for c in weave.rows}
    traced = space.lineage("a-fabric-id-1")
    assert [each["column"] for each in traced["v"]] == ["labs.value"] * 7
    assert {each["mask"] for each in traced["age"]} == {"round:10"}
    assert traced["n"] == []
    with pytest.raises(YunheRefused) as again:
        space.fabric(sql, aliases(weave), PURPOSE, "a-fabric-id-1")
    assert again.value.code == "FABRIC_ID_TAKEN"


def test_explain_charges_nothing_and_tells_who_sees_what(weave: Weave) -> None:
    before = spent(weave)
    sql = "SELECT test, avg(value) AS v FROM agg.labs WHERE days < 9 GROUP BY test"
    plan = weave["r"].space.explain(sql, aliases(weave), PURPOSE)
    assert [part["kind"] for part in plan["parts"]] == ["partial"] * 7
    assert all(part["reads"] == ["labs.days", "labs.test", "labs.value"] for part in plan["parts"])
    assert plan["estimated_fen"] >= 700
    assert all(part["estimated_rows"] and part["estimated_bytes"] for part in plan["parts"])
    assert plan["estimated_s"] > 0
    assert {part["quality"] for part in plan["parts"]} == {"002"}
    assert {each["from"] for each in plan["disclosures"]} == {c.peer_did for c in weave.groups}
    assert spent(weave) == before


def test_keys_go_to_their_own_node_alone_and_explain_says_so(weave: Weave) -> None:
    space = weave["r"].space
    sql = "SELECT l.value FROM a.patients p JOIN {}.labs l ON l.id = p.id WHERE p.age = 60"
    both = {"a": weave.rows[0], "same": weave.again, "other": weave.rows[1]}
    plan = space.explain(sql.format("same"), both, PURPOSE)
    whole, keyed = sorted(plan["parts"], key=lambda part: part["keys"] is not None)
    assert whole["keys"] is None
    assert keyed["keys"]["columns"] == ["patients.id"]
    assert keyed["keys"]["from"] == [weave.again.peer_did]
    assert keyed["estimated_rows"] < 450
    assert plan["notes"] == []
    before = spent(weave)
    table = space.fabric(sql.format("same"), both, PURPOSE)
    first, second = space.fabric_answers()[0]["parts"]
    assert first["keys"] is None
    assert second["keys"] == first["rows"] > 0
    assert second["rows"] == table.num_rows < 100
    assert first["estimated_rows"] == 10
    assert second["seconds"] > 0
    assert spent(weave) == before + 1  # `again` is not among those summed
    # Keys of one hospital never reach another: rows travel instead, and the plan says why.
    plan = space.explain(sql.format("other"), both, PURPOSE)
    assert all(part["keys"] is None for part in plan["parts"])
    assert weave.rows[1].peer_did in plan["notes"][0]
    assert len({each["to"] for each in plan["disclosures"]}) == 1
    space.fabric(sql.format("other"), both, PURPOSE)
    assert all(part["keys"] is None for part in space.fabric_answers()[0]["parts"])


def test_where_no_key_is_found_the_other_side_is_not_even_asked(weave: Weave) -> None:
    space = weave["r"].space
    sql = "SELECT l.value FROM a.patients p JOIN x.labs l ON l.id = p.id WHERE p.age = 61"
    before = space.bill(weave.again.id).uses
    assert space.fabric(sql, {"a": weave.rows[0], "x": weave.again}, PURPOSE).num_rows == 0
    assert space.fabric_answers()[0]["parts"][1]["state"] == "spared"
    assert space.bill(weave.again.id).uses == before


def test_keys_pass_to_another_node_only_where_their_contract_names_it(weave: Weave) -> None:
    space, seer = weave["r"].space, weave.rows[1].peer_did
    open_to = weave._products("h0", {"open": ROWS.but({"keys_to": [seer]})})["open"]
    given = {"a": weave.signed("h0", open_to), "b": weave.rows[1], "c": weave.rows[2]}
    sql = "SELECT p.id, l.value FROM a.patients p JOIN {}.labs l ON l.id = p.id WHERE p.age = 60"
    plan = space.explain(sql.format("b"), given, PURPOSE)
    assert plan["notes"] == []
    (keys,) = [each for each in plan["disclosures"] if each["as"] == "keys"]
    assert (keys["from"], keys["to"]) == (given["a"].peer_did, seer)
    assert keys["columns"] == ["patients.id"]
    assert space.fabric(sql.format("b"), given, PURPOSE).num_rows == 0  # other patients there
    assert space.fabric_answers()[0]["parts"][1]["keys"] > 0
    plan = space.explain(sql.format("c"), given, PURPOSE)
    assert [each for each in plan["disclosures"] if each["as"] == "keys"] == []
    assert len(plan["notes"]) == len(plan["notes_zh"]) == 1


def test_an_answer_with_noise_says_how_much(weave: Weave) -> None:
    budget = "epsilon=20;delta=0.00001;query=5;groups=1;rows=6;labs.value=0..25"
    noisy = []
    for key in ("h1", "h2"):
        code = weave._products(key, {"noisy": GROUPS.but({"privacy": budget})})["noisy"]
        noisy.append(weave.signed(key, code))
    space = weave["r"].space
    given = {"all": [*noisy, weave.groups[0]]}
    sql = "SELECT count(*) AS n, sum(value) AS v FROM all.labs WHERE days < 300"
    plan = space.explain(sql, given, PURPOSE)
    assert [part["governed_by"]["privacy"] for part in plan["parts"]] == [budget, budget, None]
    table = space.fabric(sql, given, PURPOSE)
    metadata = table.schema.metadata or {}
    told = json.loads(metadata[b"yunhe.noise"])
    assert told["parts_without"] == 1
    ranges = {each["of"]: float(each["ci95"]) for each in told["statistics"]}
    record = space.fabric_answers()[0]
    parts = [part["noise"] for part in record["parts"]]
    assert parts[2] is None
    single = {each["of"]: each["ci95"] for each in parts[0]["statistics"]}
    assert ranges["count(*)"] == pytest.approx(single["count(*)"] * 2**0.5, rel=1e-3)
    assert ranges["sum(value)"] > single["sum(value)"]
    assert {source["noise"] for source in record["lineage"]["v"]} == {True, False}
    inherited = {each["contract_id"] for each in json.loads(metadata[b"yunhe.policy"])["noise"]}
    assert inherited == {each.id for each in noisy}


def test_a_listed_extreme_is_that_of_each_providers_rule(weave: Weave) -> None:
    """Each node tells its fifth largest, in steps; the whole is the largest of those."""
    listed = "labs.value=count,max,median/0.5"
    strict = {"listed": GROUPS.but({"aggregates": listed})}
    made = [weave.signed(key, weave._products(key, strict)["listed"]) for key in ("h1", "h2")]
    space = weave["r"].space
    given = {"all": made, "one": made[0]}
    asked = "SELECT test, max(value) AS m FROM {} GROUP BY test ORDER BY test"
    whole = space.fabric(asked.format("all.labs"), given, PURPOSE).to_pylist()
    largest: dict[str, float] = {}
    for each in made:
        for row in space.sql(asked.format("labs"), each, PURPOSE).to_pylist():
            largest[row["test"]] = max(row["m"], largest.get(row["test"], 0.0))
    assert {row["test"]: row["m"] for row in whole} == largest
    assert all(0 < each < 199 / 8 and each % 0.5 == 0 for each in largest.values())
    one = space.fabric("SELECT median(value) AS m FROM one.labs", given, PURPOSE)
    alone = space.sql("SELECT median(value) AS m FROM labs", made[0], PURPOSE)
    assert one.to_pylist() == alone.to_pylist()
    for sql, code in (
        ("SELECT median(value) AS m FROM all.labs", "FABRIC_AGGREGATE_ONLY"),
        ("SELECT avg(value) AS m FROM all.labs", "AGGREGATE_NOT_AGREED"),
        ("SELECT max(value) AS m FROM all.labs WHERE value < 9", "AGGREGATE_COLUMN_FILTERED"),
    ):
        with pytest.raises(YunheRefused) as refused:
            space.fabric(sql, given, PURPOSE)
        assert refused.value.code == code


def test_rows_of_nobody_are_shown_in_any_answer(weave: Weave) -> None:
    table = weave["r"].space.fabric("SELECT * FROM study.patients", aliases(weave), PURPOSE)
    assert "CANARY" not in str(table.to_pydict())
    assert min(table.column("age").to_pylist()) >= 20


def test_a_contract_that_has_ended_or_has_too_few_uses_stops_all_before_the_first(
    weave: Weave,
) -> None:
    few = weave._products("h0", {"few": ROWS.but({"uses_max": 1})})["few"]
    contract = weave.signed("h0", few)
    sql = "SELECT x.id FROM few.labs x JOIN b.labs y ON x.days = y.days JOIN few.patients z"
    sql += " ON z.id = x.id"
    before = spent(weave)
    short = refused(weave, sql, contracts={"few": contract, "b": weave.rows[1]})
    assert short.code == "FABRIC_USES_SHORT"
    weave["h0"].space.terminate(contract.id, "enough")
    time.sleep(0.5)
    union = "SELECT count(*) AS n FROM all_of.labs"
    ended = refused(weave, union, contracts={"all_of": [contract, weave.rows[1]]})
    assert ended.code == "CONTRACT_TERMINATED"
    assert spent(weave) == before


def test_the_example_of_the_page_runs(weave: Weave, capsys: pytest.CaptureFixture[str]) -> None:
    node = weave["r"]
    page = example("fabric", "space.fabric").replace("http://127.0.0.1:8000", node.config.address)
    contracts = dict(zip(("contract_a", "contract_b", "contract_c"), weave.rows, strict=False))
    known: dict[str, Any] = {"token": node.token, **contracts}
    exec(page, known)  # noqa: S102  that is the test
    assert known["table"].num_rows > 0
    assert "'slots'" in capsys.readouterr().out
    known["space"].close()

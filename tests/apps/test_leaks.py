"""Ways past a release rule: what a signed program tries to say beside what it may."""

from __future__ import annotations

import base64
import hashlib
import io
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from apps.programs import AGGREGATE, BY_SEX, METRICS, manifest, terms
from flow.world import PURPOSE, World, three, until
from yunhe.apps.runs import Runs
from yunhe.control.model import ANSWERS
from yunhe.dataplane import AggregateOnly, computed
from yunhe.kernel import limits
from yunhe.sdk import Terms


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("leaks")) as found:
        yield found


SPELLED = [  # seven digits and more of a mean, past a rule that leaves four
    "avg(age) / 7 || '' AS x",
    "sum(age) || 'a' AS x",
    "concat(avg(age) / 7, '') AS x",
    "avg(age) / 7 AS m, m || '' AS x",
    "CASE WHEN avg(age) > 5 THEN 'some text of its own' ELSE 'another' END AS x",
    "CAST(avg(age) * 1e15 AS BIGINT) AS x",
    "CAST(avg(age) / 7 AS VARCHAR) AS x",
    "avg(age) / 7 AS m, TRY_CAST(m * 1e15 AS BIGINT) AS x",
]


@pytest.mark.parametrize("item", SPELLED)
def test_an_aggregate_leaves_as_a_number_of_few_digits_only(world: World, item: str) -> None:
    r = world["r"].space
    form = manifest(f"s-{uuid.uuid4().hex[:8]}", "sql", output={"numbers": ["x"]}, parameters={})
    app = r.apps.publish(form, f"SELECT sex, {item} FROM patients GROUP BY sex")
    contract = world.agree(world.product(terms(AGGREGATE, app["reference"])))
    job = r.apps.run_app(r.apps.deploy(app["digest"], contract)["id"], PURPOSE)
    codes = ("APP_OUTPUT_REFUSED", "AGGREGATE_ARGUMENT_REFUSED")
    assert (job["state"], job["code"] in codes) == ("failed", True), job


def test_keys_may_be_texts_and_casts_stand_below_aggregates() -> None:
    assert computed("SELECT upper(sex) AS s, avg(a) AS m FROM t GROUP BY ALL") == {1}
    assert computed("SELECT CAST(sex AS VARCHAR), sum(CAST(a AS BIGINT)) FROM t GROUP BY 1") == {1}
    assert computed("SELECT avg(a) AS m, CAST(m AS DOUBLE) / 2, sex FROM t GROUP BY sex") == {0, 1}
    with pytest.raises(AggregateOnly):
        computed("SELECT sex, TRY_CAST(avg(a) AS INT) FROM t GROUP BY sex")


ENDS = ["os._exit(90)", "os._exit(91)", "os._exit(7)", "raise ImportError(name='numpy')"]


def test_runs_that_a_program_ends_by_its_own_choice_are_not_free_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which way a run fails is an answer: over many runs it would tell a row, bit by bit."""
    a, r = world["a"].space, world["r"].space
    monkeypatch.setattr(limits, "ANSWERS_GIVEN_BACK_MAX", 1)
    text = "\n".join(f"        if p['how'] == {n}: {end}" for n, end in enumerate(ENDS))
    code = (
        f"import os, time\ndef run(i, p):\n    if i['patients'].num_rows:\n{text}\n"
        "    time.sleep(15)\n    return {'n': 1}"
    )
    form = manifest(
        "says-by-failing",
        output={"numbers": ["n"]},
        parameters={"how": {"type": "integer", "default": 9}},
    )
    app = r.apps.publish(form, code)
    agreed: Terms = terms(METRICS, app["reference"], uses_max=10)
    contract = world.agree(world.product(agreed))
    deployed = r.apps.deploy(app["digest"], contract)["id"]
    for how in range(len(ENDS)):
        job = r.apps.run_app(deployed, PURPOSE, {"how": how})
        assert (job["state"], job["code"]) == ("failed", "APP_FAILED"), ENDS[how]
    # Its author ends it as soon as the time it takes has told.
    job = r.apps.start(deployed, PURPOSE)
    until("the start", lambda: r.apps.job(job["id"])["state"] == "running")
    r.apps.step(app["digest"], "suspend", "seen enough")
    until("the end", lambda: r.apps.job(job["id"])["state"] == "failed", 5)
    assert {use.state for use in a.uses(contract)} == {"void"}  # of no fee
    node = world["a"].node
    left = node.control.left(node.contracts.contract(contract.id)).uses_left
    assert left == 10 - len(ENDS)  # five ends, of which one was given back
    assert "APP_CUT" in ANSWERS


def test_a_host_gets_no_receipt_for_rows_that_the_rule_does_not_let_out(world: World) -> None:
    """A row of small numbers costs a host a byte; at a price per row they would be any bill."""
    r, node = world["r"].space, world["r"].node
    app = r.apps.publish(manifest("overstated", "sql", output={"numbers": ["n"]}), BY_SEX)
    contract = world.agree(world.product(terms(AGGREGATE, app["reference"])))
    deployed = r.apps.deploy(app["digest"], contract)["id"]
    out, schema = io.BytesIO(), pa.schema([("n", pa.int8())])
    with pa.ipc.new_stream(out, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array([1] * 10_000, pa.int8())], schema))
    sent = out.getvalue()
    digest = hashlib.sha256(sent).hexdigest()
    told: dict[str, Any] = {"state": "released", "bytes": len(sent), "output_digest": digest}
    piece = {"data": base64.b64encode(sent).decode(), "total": len(sent)}
    desk = node.apps.runs._desk
    for answer in (told, {"state": "refused", "why": "a person of ours did not like it"}):

        def host(_did: str, name: str, _body: Any, answer: dict[str, Any] = answer) -> Any:
            return piece if name == "GetAppResult" else answer

        runs, use = Runs(replace(desk, call=host)), str(uuid.uuid4())
        job = runs.run(deployed, PURPOSE, {}, use, "somebody")
        assert (job.state, job.code, job.rows) == ("failed", "APP_ANSWER_INVALID", 0)
        assert not desk.result(use).exists()
    assert not node.exchange.receipts(contract.id)

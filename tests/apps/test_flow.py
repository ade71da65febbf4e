"""Life of an application: signed once, deployed, run beside the data, ended everywhere."""

from __future__ import annotations

import asyncio
import json
import re
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from apps.models import linear
from apps.programs import (
    AGGREGATE,
    BY_SEX,
    MEAN_AGE,
    METRICS,
    PREDICTIONS,
    REVIEW,
    manifest,
    terms,
)
from flow.world import PURPOSE, World, three, until
from yunhe.api.forms import TermsForm
from yunhe.apps import Apps
from yunhe.apps.errors import AppNotAgreed, AppSignatureInvalid, AppUnknown
from yunhe.apps.manifest import compose
from yunhe.cli import app as cli
from yunhe.evidence import verify_bundle
from yunhe.kernel.errors import Invalid, YunheError
from yunhe.sdk import Contract, Terms, YunheRefused, connect_async, gather_trust


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("apps")) as found:
        yield found


def agreed(world: World, made: Terms) -> Contract:
    return world.agree(world.product(made))


def test_a_program_runs_beside_the_data_and_only_groups_leave(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    app = r.apps.publish(manifest("first"), MEAN_AGE)
    contract = agreed(world, terms(AGGREGATE, app["reference"]))
    with pytest.raises(YunheRefused) as refused:  # the contract is for that program alone
        r.sql("SELECT id FROM patients", contract, PURPOSE)
    assert refused.value.code == "APPLICATION_NOT_AGREED"
    assert f"these applications only: {app['reference']}" in refused.value.sentence()
    for lang in ("en", "zh"):
        assert "yunhe apps deploy" in refused.value.remedy(lang)
        assert "SQL" in refused.value.remedy(lang)
    deployed = r.apps.deploy(app["digest"], contract)
    assert deployed["state"] == "deployed"  # consent stands in the signed contract
    job = r.apps.run_app(deployed["id"], PURPOSE, {"least": 20})
    assert (job["state"], job["code"]) == ("released", "")
    table = r.apps.result(job["id"])
    assert table.to_pydict()["sex"] == ["f", "m"]

    async def awaited() -> pa.Table:
        async with connect_async(world["r"].config.address, world["r"].token) as space:
            return await space.apps.result(job["id"])

    assert asyncio.run(awaited()).equals(table)
    (use,) = a.uses(contract)
    assert (use.use_id, use.rows, use.fee_fen, use.state) == (job["id"], 2, 114, "posted")
    assert "rows: 360" in a.apps.log(job["id"])["log"]
    left = [each.name for each in world["a"].node.apps.host._desk.job(job["id"]).iterdir()]
    assert sorted(left) == ["lib", "log", "output.arrow"]  # nothing of what was lent to it
    with pytest.raises(YunheRefused):  # the author's node has no log
        r.apps.log(job["id"])
    a.issue_statement(contract)
    until("settled", lambda: [s.state for s in a.statements(contract)] == ["settled"])


def test_the_example_of_the_docs_runs(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "apps.md").read_text("utf-8")
    program, use, listed = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    form, offer = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    manifest = tomllib.loads(form)
    offered = tomllib.loads(offer)["product"]["terms"]
    offered["expires_at"] = offered["expires_at"].isoformat()
    assert TermsForm.model_validate(offered).terms().applications == (manifest["name"],)
    assert manifest.pop("code") == "mean_age.py"
    code = world.product(terms(AGGREGATE, "mean-age"))
    known = {"space": world["r"].space, "manifest": manifest, "program": program, "code": code}
    steps = use.splitlines()
    exec("\n".join(steps[:3]), known)  # noqa: S102
    assert [row["state"] for row in known["rows"]] == ["asked"]  # it is named without its digest
    world["a"].space.apps.decide(known["rows"][0]["id"], "allow")
    until("consent", lambda: known["space"].apps.deployments()[0]["state"] == "deployed")
    exec("\n".join(steps[2:]), known)  # noqa: S102
    assert known["tables"][0].to_pydict() == {"sex": ["f", "m"], "mean_age": [55.0, 54.0]}
    exec(listed.splitlines()[0], known)  # noqa: S102
    until("the listing", lambda: known["space"].apps.search(digest=known["app"]["digest"]))
    exec(listed, known)  # noqa: S102
    assert [each["name"] for each in known["found"]] == ["mean-age"]


def test_sql_and_numbers_and_what_a_person_lets_go(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    sql = r.apps.publish(manifest("by-sex", "sql", output={"numbers": ["n"]}), BY_SEX)
    count = "def run(i, p):\n    return {'rows': i['patients'].num_rows, 'least': p['least']}"
    numbers = r.apps.publish(manifest("counting", output={"numbers": ["rows", "least"]}), count)
    rows = "def run(i, p):\n    return i['patients'].select(['sex']).slice(0, 3)"
    looked = r.apps.publish(manifest("looked-at", output={"columns": ["sex"]}), rows)

    contract = agreed(world, terms(AGGREGATE, sql["reference"]))
    job = r.apps.run_app(r.apps.deploy(sql["digest"], contract)["id"], PURPOSE, {"least": 18})
    assert r.apps.result(job["id"]).to_pydict() == {
        "sex": ["f", "m"],
        "n": [180, 180],
        "mean_age": [54.0, 53.0],
    }
    contract = agreed(world, terms(METRICS, numbers["reference"]))
    job = r.apps.run_app(r.apps.deploy(numbers["digest"], contract)["id"], PURPOSE)
    assert r.apps.result(job["id"]).to_pylist()[1] == {"name": "rows", "value": 360.0}

    contract = agreed(world, terms(REVIEW, looked["reference"]))
    deployed = r.apps.deploy(looked["digest"], contract)["id"]
    kept, shown = (r.apps.run_app(deployed, PURPOSE) for _ in range(2))
    assert (kept["state"], shown["state"]) == ("held", "held")
    with pytest.raises(YunheRefused) as refused:
        r.apps.result(shown["id"])
    assert refused.value.code == "APP_NOT_RELEASED"
    assert a.apps.result(shown["id"], held=True).num_rows == 3  # the host looks first
    node = world["a"].node  # as after a crash: what waits for a person is neither billed nor gone
    node.control.recover(held=node.apps.host.held())
    assert {use.state for use in a.uses(contract)} == {"released"}
    a.apps.release(shown["id"], "no person in it")
    a.apps.release(kept["id"], "too near to a person", let_go=False)
    until("the word", lambda: r.apps.job(shown["id"])["state"] == "released")
    assert r.apps.result(shown["id"]).num_rows == 3
    until("the other", lambda: r.apps.job(kept["id"])["state"] == "refused")
    assert sorted(use.rows for use in a.uses(contract)) == [0, 3]
    with pytest.raises(YunheRefused):
        a.apps.release(kept["id"], "again")
    a.issue_statement(contract)
    until("settled", lambda: [s.state for s in a.statements(contract)] == ["settled"])


def test_what_all_runs_of_a_contract_say_is_bounded_together(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    two = "def run(i, p):\n    return {'n': i['patients'].num_rows, 'least': p['least']}"
    app = r.apps.publish(manifest("two-numbers", output={"numbers": ["n", "least"]}), two)
    contract = agreed(world, terms(f"{METRICS};bits=120", app["reference"]))
    deployed = r.apps.deploy(app["digest"], contract)["id"]
    jobs = [r.apps.run_app(deployed, PURPOSE, {"least": least}) for least in range(3)]
    assert [job["state"] for job in jobs] == ["released", "released", "failed"]
    assert (jobs[2]["code"], sum(job["bits"] for job in jobs[:2])) == ("APP_BITS_SPENT", 106)
    problem = jobs[2]["problem"]
    assert jobs[2]["why"] == problem["detail"]
    assert "bits in all" in problem["detail"]
    assert "Ask for fewer numbers" in problem["remedy"]
    assert "比特" in problem["zh"]["detail"]
    assert "请减少" in problem["zh"]["remedy"]
    assert jobs[0]["problem"] is None
    assert (a.budget(contract.id).bits_left, r.budget(contract.id).bits_left) == (14, 14)
    assert sorted(use.state for use in a.uses(contract)) == ["posted", "posted", "void"]
    # SQL says something by its numbers, too; and what a person keeps back was not said.
    sql = r.apps.publish(manifest("by-sex-2", "sql", output={"numbers": ["n"]}), BY_SEX)
    contract = agreed(world, terms(f"{AGGREGATE};bits=300", sql["reference"]))
    deployed = r.apps.deploy(sql["digest"], contract)["id"]
    jobs = [r.apps.run_app(deployed, PURPOSE, {"least": 18}) for _ in range(2)]
    assert [(job["code"], job["bits"]) for job in jobs] == [("", 181), ("APP_BITS_SPENT", 0)]
    rows = "def run(i, p):\n    return {'n': [1, 2]}"
    looked = r.apps.publish(manifest("looked-2", output={"columns": ["n"]}), rows)
    contract = agreed(world, terms(f"{REVIEW};bits=200", looked["reference"]))
    deployed = r.apps.deploy(looked["digest"], contract)["id"]
    first, second = (r.apps.run_app(deployed, PURPOSE) for _ in range(2))
    assert (first["state"], second["code"]) == ("held", "APP_BITS_SPENT")
    a.apps.release(first["id"], "not this one", let_go=False)
    assert r.apps.run_app(deployed, PURPOSE)["state"] == "held"


def test_a_name_needs_consent_and_a_version_needs_it_anew(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    first = r.apps.publish(manifest("named", version="1"), MEAN_AGE)
    second = r.apps.publish(manifest("named", version="2"), MEAN_AGE)
    contract = agreed(world, terms(AGGREGATE, "named"))
    asked = r.apps.deploy(first["digest"], contract)
    assert asked["state"] == "asked"
    with pytest.raises(YunheRefused) as refused:
        r.apps.start(asked["id"], PURPOSE)
    assert refused.value.code == "APP_NOT_DEPLOYED"
    assert refused.value.sentence("zh").endswith("待准入。")
    a.apps.decide(asked["id"], "allow")
    until("consent", lambda: r.apps.deploy(first["digest"], contract)["state"] == "deployed")
    assert r.apps.run_app(asked["id"], PURPOSE)["state"] == "released"
    assert r.apps.deploy(second["digest"], contract)["state"] == "asked"
    with pytest.raises(YunheRefused) as refused:  # one name and version, one content
        r.apps.publish(manifest("named", version="2"), MEAN_AGE + "#")
    assert refused.value.code == "CONFLICT"


def test_a_revoked_version_runs_nowhere(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    slow = "import time\ndef run(i, p):\n    time.sleep(15)\n    return {'n': 1}"
    app = r.apps.publish(manifest("slow", output={"numbers": ["n"]}), slow)
    contract = agreed(world, terms(METRICS, app["reference"]))
    deployed = r.apps.deploy(app["digest"], contract)["id"]
    job = r.apps.start(deployed, PURPOSE)
    until("the start", lambda: r.apps.job(job["id"])["state"] == "running")
    began = time.monotonic()
    r.apps.step(app["digest"], "revoke", "a mistake in it")
    until("the end", lambda: r.apps.job(job["id"])["state"] == "failed", 5)
    assert time.monotonic() - began < 5
    (run,) = [each for each in a.apps.jobs(contract) if each["id"] == job["id"]]
    assert run["code"] == "APP_CUT"
    assert [use.state for use in a.uses(contract)] == ["void"]  # given back: nothing left
    for verb in (lambda: r.apps.start(deployed, PURPOSE), lambda: a.apps.decide(deployed, "allow")):
        with pytest.raises(YunheRefused) as refused:
            verb()
        assert refused.value.code in ("APP_REVOKED", "APP_NOT_DEPLOYED", "APP_STATE_REFUSED")
    other = agreed(world, terms(METRICS, app["reference"]))
    with pytest.raises(YunheRefused):
        r.apps.deploy(app["digest"], other)
    with pytest.raises(YunheRefused):
        r.apps.step(app["digest"], "resume")


def test_what_a_hostile_peer_tries(world: World) -> None:
    """Past our own author's side: straight at the host's verbs, as an authenticated peer."""
    host, author = world["a"].node.apps.host, world["r"].node.apps
    peer, fn = world["r"].did, world["fn"].did
    r = world["r"].space
    code = MEAN_AGE + "# of the target"
    app = r.apps.publish(manifest("target"), code)
    contract = agreed(world, terms(AGGREGATE, app["reference"], "forged"))
    whole = r.apps.version(app["digest"])
    body = {"deployment_id": "dep-1", "contract_id": contract.id, **_of(whole)}
    for other in (fn, world["a"].did):  # somebody else's contract
        with pytest.raises(YunheError):
            host.asked(other, body)
    forged = manifest("forged")
    made = compose(forged, peer, b"x")
    for jws in ("", "a..b", whole["jws"]):  # of another manifest
        with pytest.raises((AppSignatureInvalid, Invalid)):
            host.asked(peer, body | {"manifest": dict(made.body), "jws": jws})
    claimed = compose(forged, fn, b"x")  # signed by us, in somebody's name
    jws = world["r"].node.apps.author._desk.keys.sign(claimed.signed)
    with pytest.raises(AppSignatureInvalid):
        host.asked(peer, body | {"manifest": dict(claimed.body), "jws": jws})
    unnamed = compose(manifest("unnamed"), peer, b"x")
    jws = world["r"].node.apps.author._desk.keys.sign(unnamed.signed)
    with pytest.raises(AppNotAgreed):
        host.asked(peer, body | {"manifest": dict(unnamed.body), "jws": jws})
    # A changed byte on the way: the author's node gives other bytes than were signed.
    path = author.author._desk.code(compose(manifest("target"), peer, code.encode()))
    good = path.read_bytes()
    path.write_bytes(good.replace(b"mean", b"evil"))
    with pytest.raises(YunheRefused) as refused:
        r.apps.deploy(app["digest"], contract)
    assert refused.value.code == "APP_CHANGED"
    path.write_bytes(good)
    key = r.apps.deploy(app["digest"], contract)["id"]
    body["deployment_id"] = key
    assert host.asked(peer, body)["state"] == "deployed"  # a replay is the same deployment
    with pytest.raises(AppUnknown):  # and no second one
        host.asked(peer, body | {"deployment_id": "dep-2"})
    # A byte changed at the host's disk after that: nothing runs, nothing is charged.
    held = world["a"].node.apps.host._desk.code(compose(manifest("target"), peer, good))
    held.write_bytes(good + b"#")
    run = {"deployment_id": key, "purpose": PURPOSE, "principal": "x", "parameters": {}}
    host.run(peer, run | {"use_id": "changed-1"})
    until("the end", lambda: host.stands(peer, {"use_id": "changed-1"})["code"] == "APP_CHANGED")
    held.write_bytes(good)
    # A replay of a run is that run; another's run and result are nobody else's.
    host.run(peer, run | {"use_id": "replayed-1"})
    until("it", lambda: host.stands(peer, {"use_id": "replayed-1"})["state"] == "released")
    again = host.run(peer, run | {"use_id": "replayed-1"})
    assert again["state"] == "released"
    assert [u.state for u in world["a"].space.uses(contract)] == ["posted"]
    for verb in (host.stands, host.give, host.run):
        with pytest.raises(YunheError):
            verb(fn, run | {"use_id": "replayed-1", "offset": 0})
    for note in ({"digest": app["digest"], "step": "revoke"},):
        with pytest.raises(AppUnknown):  # only its author revokes it
            host.told(fn, {"note": note})
    for offset in (-1, True, 1 << 60, "0"):
        with pytest.raises(YunheError):
            host.give(peer, {"use_id": "replayed-1", "offset": offset})
    with pytest.raises(YunheError):  # no place beside the program's own
        author.shelf.give(world["a"].did, {"digest": "../keys/did", "offset": 0})


def _of(whole: dict[str, Any]) -> dict[str, Any]:
    return {"manifest": whole["manifest"], "jws": whole["jws"]}


def test_what_a_model_predicts_stays_at_the_host(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    form = manifest(
        "risk-model",
        "onnx",
        parameters={},
        inputs={"patients": {"id": "BIGINT", "age": "BIGINT"}},
        output={"columns": ["risk"]},
    )
    app = r.apps.publish(form, linear([0.5, 0.0], 1.0))
    contract = agreed(world, terms(PREDICTIONS, app["reference"]))
    job = r.apps.run_app(r.apps.deploy(app["digest"], contract)["id"], PURPOSE)
    assert (job["state"], job["code"]) == ("released", "")
    assert r.apps.result(job["id"]).to_pydict() == {"rows": [360]}  # and nothing else left
    (made,) = until("it", lambda: [s for s in a.resources() if "predictions" in s.title_en])
    (table,) = (world["a"].config.data_dir / "apps" / "predictions").iterdir()
    rows = pq.read_table(table).to_pylist()
    assert rows[0]["risk"] == rows[0]["age"] * 0.5 + 1.0
    assert (made.state, [use.rows for use in a.uses(contract)]) == ("draft", [1])
    with pytest.raises(YunheRefused) as refused:  # a model's rows do not leave by another rule
        r.apps.deploy(app["digest"], agreed(world, terms(METRICS, app["reference"])))
    assert refused.value.code == "APP_RULE_MISFIT"


def test_one_command_for_many_contracts(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, r = world["a"], world["r"]
    monkeypatch.setenv("YUNHE_URL", r.config.address)
    monkeypatch.setenv("YUNHE_TOKEN", r.token)
    (tmp_path / "count.py").write_text(
        "def run(inputs, parameters):\n    return {'rows': inputs['patients'].num_rows}\n"
    )
    form = manifest("counted", output={"numbers": ["rows"]}, parameters={}) | {"code": "count.py"}
    (tmp_path / "count.json").write_text(json.dumps(form))

    def yunhe(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(cli, ["apps", *words, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    app = yunhe("publish", str(tmp_path / "count.json"))
    good, other = (agreed(world, terms(METRICS, name)) for name in (app["reference"], "another"))
    found = yunhe("deploy", app["digest"][:12], good.id, other.id, code=1)
    assert [(row["state"], row["code"]) for row in found] == [
        ("deployed", ""),
        ("refused", "APP_NOT_AGREED"),
    ]
    out = tmp_path / "out"
    (job,) = yunhe("run", found[0]["id"], "--purpose", PURPOSE, "--out", str(out))
    assert pa.ipc.open_file(out / f"{job['id']}.arrow").read_all().to_pylist() == [
        {"name": "rows", "value": 360.0}
    ]
    # What it came to is proved like any use: one file, offline.
    a.space.issue_statement(good)
    until("settled", lambda: [s.state for s in r.space.statements(good)] == ["settled"])
    bundle = r.space.bundle(good)
    assert job["id"] in json.dumps(bundle)
    addresses = [each.config.address for each in (a, r)]
    report = verify_bundle(bundle, gather_trust([world["fn"].config.address], addresses))
    assert report.ok, report.findings


def test_a_crash_gives_back_what_ran(world: World) -> None:
    r, host = world["r"].space, world["a"].node
    slow = "import time\ndef run(i, p):\n    time.sleep(20)\n    return {'n': 1}"
    app = r.apps.publish(manifest("cut", output={"numbers": ["n"]}, parameters={}), slow)
    contract = agreed(world, terms(METRICS, app["reference"]))
    job = r.apps.start(r.apps.deploy(app["digest"], contract)["id"], PURPOSE)
    until("the start", lambda: r.apps.job(job["id"])["state"] == "running")
    host.apps.stop()  # as a stopping node: what runs is ended
    (run,) = host.apps.runs.jobs(contract.id)
    assert (run.state, run.code) == ("failed", "APP_INTERRUPTED")
    assert [use.state for use in world["a"].space.uses(contract)] == ["void"]
    host.apps = Apps.of(host.apps.host._desk)
    host.apps.start()
    until("told", lambda: r.apps.job(job["id"])["state"] == "failed")

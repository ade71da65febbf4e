"""The life of a product on PostgreSQL, and two replicas of one provider on one database."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from apps import programs
from flow.world import BY_SEX, PURPOSE, TERMS, World, three, until
from yunhe import evidence
from yunhe.sdk import Space, YunheRefused, connect


@pytest.fixture
def world(tmp_path: Path, pg_url: str) -> Iterator[World]:
    """Provider and consumer on PostgreSQL, each with a database of its own."""
    admin = sa.create_engine(
        sa.make_url(pg_url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    other = f"{sa.make_url(pg_url).database}r"
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {other}")
    theirs = sa.make_url(pg_url).set(database=other).render_as_string(hide_password=False)
    made = three(tmp_path, a={"database_url": pg_url}, r={"database_url": theirs})
    yield made
    made.close()
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {other} WITH (FORCE)")
    admin.dispose()


def trust(world: World) -> dict[str, Any]:
    """The keys an auditor holds, fetched from the nodes and not from the bundle."""

    def key(name: str) -> dict[str, Any]:
        url = f"{world[name].config.address}/.well-known/did.json"
        document = httpx.get(url, trust_env=False).json()
        return {"did": document["id"], "jwk": document["verificationMethod"][0]["publicKeyJwk"]}

    logs = [world[name].space.log_key() for name in ("a", "r")]
    return {
        "roots": [key("fn")],
        "parties": {each["did"]: each["jwk"] for each in (key("a"), key("r"))},
        "logs": {each.partition("+")[0]: each for each in logs},
    }


def test_from_publication_to_a_verified_bundle(world: World) -> None:
    contract = world.agree(world.product())
    table = world.ask(contract)
    assert table.column("n").to_pylist() == [180, 180]
    issued = world["a"].space.issue_statement(contract.id)
    assert issued.total_fen == 100 + 2 * 7

    def settled() -> bool:
        both = [world[k].space.statements(contract.id) for k in ("a", "r")]
        return all([s.state for s in each] == ["settled"] for each in both)

    until("the settlement", settled)
    assert world["a"].space.bill(contract.id) == world["r"].space.bill(contract.id)
    report = evidence.verify_bundle(world["r"].space.bundle(contract.id), trust(world))
    assert report.ok, report.findings
    for key in ("a", "r"):
        world[key].node.evidence.verify_all()


def test_an_application_runs_is_held_and_is_ended(world: World) -> None:
    a, r = world["a"].space, world["r"].space
    form = programs.manifest("on-postgresql")
    app = r.apps.publish(form, programs.MEAN_AGE)
    rule = f"{programs.AGGREGATE};bits=500"
    contract = world.agree(world.product(programs.terms(rule, app["reference"])))
    deployed = r.apps.deploy(app["digest"], contract)["id"]
    jobs = r.apps.run_all([deployed], PURPOSE, {"least": 20})
    assert [(job["state"], job["code"]) for job in jobs] == [("released", "")]
    assert r.apps.result(jobs[0]["id"]).column("sex").to_pylist() == ["f", "m"]
    left = r.budget(contract.id).bits_left
    assert left == a.budget(contract.id).bits_left == 500 - jobs[0]["bits"]
    assert [use.state for use in a.uses(contract)] == ["posted"]
    whole = manifest_of_rows("held-on-postgresql")
    looked = r.apps.publish(whole, "def run(i, p):\n    return {'n': [1, 2]}")
    contract = world.agree(world.product(programs.terms(programs.REVIEW, looked["reference"])))
    deployed = r.apps.deploy(looked["digest"], contract)["id"]
    first, second = (r.apps.run_app(deployed, PURPOSE) for _ in range(2))
    assert {first["state"], second["state"]} == {"held"}
    a.apps.release(first["id"], "as agreed", let_go=True)
    a.apps.release(second["id"], "not this one", let_go=False)
    for job, word in ((first, "released"), (second, "refused")):
        until("the word", lambda job=job, word=word: r.apps.job(job["id"])["state"] == word)
    r.apps.step(looked["digest"], "revoke", "an error was found")
    until("the end", lambda: states_at_host(a)[deployed] == "revoked")
    with pytest.raises(YunheRefused) as refused:
        r.apps.run_app(deployed, PURPOSE)
    assert refused.value.code in ("APP_NOT_DEPLOYED", "APP_REVOKED")


def states_at_host(host: Space) -> dict[str, str]:
    """The state of each deployment, by its id."""
    return {each["id"]: each["state"] for each in host.apps.deployments()}


def manifest_of_rows(name: str) -> dict[str, Any]:
    """A program whose output is a table of numbers that a person looks at."""
    return programs.manifest(name, output={"columns": ["n"]})


def test_two_replicas_never_allow_more_than_agreed(world: World, pg_url: str) -> None:
    code = world.product(replace(TERMS, uses_max=12))
    contract = world.agree(code)
    first = world["a"]
    # The same organisation, keys and database; another process would differ in nothing else.
    second = world.start("a", name="a2", database_url=pg_url, address=first.config.address)
    ours = world["r"].node
    claims = ours.contracts.access(contract.id)
    told: list[str] = []

    def ask(port: int, number: int) -> None:
        answer = httpx.post(
            f"http://127.0.0.1:{port}/data/v1/query",
            headers={
                "Authorization": f"Bearer {claims.token}",
                "X-Yunhe-Peer": f"Bearer {ours.identity.mint(first.did)}",
            },
            json={"use_id": f"replica-use-{number}", "sql": BY_SEX, "purpose": PURPOSE},
            timeout=60,
            trust_env=False,
        )
        told.append("ok" if answer.status_code == 200 else answer.json()["code"])

    ports = (first.config.listen_port, second.config.listen_port)
    threads = [threading.Thread(target=ask, args=(ports[i % 2], i)) for i in range(24)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert Counter(told) == {"ok": 12, "USES_EXHAUSTED": 12}
    assert first.space.contract(contract.id).uses_left == 0
    with connect(f"http://127.0.0.1:{ports[1]}", second.token) as other:
        assert other.bill(contract.id).uses == 12
    second.node.evidence.verify_all()

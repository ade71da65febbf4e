"""One program, published once and listed; a third party has it run at two hospitals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from apps.programs import AGGREGATE, METRICS, manifest, terms
from flow.world import PURPOSE, World, three, until
from yunhe.apps.errors import AppUnknown, RefusedByHost
from yunhe.kernel.errors import YunheError
from yunhe.sdk import Contract, YunheRefused

SUMS = """
def run(inputs, parameters):
    table = inputs["patients"]
    rows = {"sex": [], "n": [], "years": []}
    for sex in sorted(set(table["sex"].to_pylist())):
        mine = [a for a, s in zip(table["age"].to_pylist(), table["sex"].to_pylist()) if s == sex]
        rows["sex"].append(sex)
        rows["n"].append(len(mine))
        rows["years"].append(sum(mine))
    return rows
"""
SLOW = "import time\ndef run(i, p):\n    time.sleep(30)\n    return {'n': 1}"
SUMMED = {"output": {"groups": {"sex": "patients.sex"}, "numbers": ["n", "years"]}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """`w` writes programs, `a` and `b` are hospitals, `r` runs at both what it did not write."""
    with three(tmp_path_factory.mktemp("hosts")) as found:
        for key in ("b", "w"):
            found.start(key)
            found.join(key)
        yield found


def listed(world: World, form: dict[str, Any], code: str) -> dict[str, Any]:
    """A version of `w` that the functional node has listed."""
    made = world["w"].space.apps
    app = made.publish(form, code)
    made.submit(app["digest"], ["cohort", "队列"])
    until("the listing", lambda: made.version(app["digest"])["listing"]["state"] == "listed")
    return dict(app)


def agreed(world: World, *applications: str, rule: str = AGGREGATE) -> list[Contract]:
    made = terms(rule, *applications)
    return [world.agree(world.product(made, at=key), key) for key in ("a", "b")]


def test_published_once_found_by_word_deployed_to_two_hosts_and_revoked(world: World) -> None:
    w, r = world["w"].space, world["r"].space
    app = listed(world, manifest("cohort-sums", **SUMMED), SUMS)
    for words in ("cohort sums", "队列", "算法公司"):
        assert app["digest"] in [each["digest"] for each in r.apps.search(words)]
    (hit,) = r.apps.search(digest=app["digest"][:12])
    assert (hit["name"], hit["version"], hit["author"]) == ("cohort-sums", "1.0", world["w"].did)
    (seen,) = [
        each for each in world["fn"].space.registrations() if each.code == app["digest"]
    ]  # what a reviewer looked at
    assert (seen.kind, (seen.manifest or {})["name"]) == ("application", "cohort-sums")
    slow = listed(world, manifest("slow", output={"numbers": ["n"]}), SLOW)

    contracts = agreed(world, hit["reference"])
    rows = r.apps.deploy_all(hit["digest"], contracts)
    assert [row["state"] for row in rows] == ["deployed", "deployed"]
    jobs = r.apps.run_all([row["id"] for row in rows], PURPOSE)
    assert [(job["state"], job["code"]) for job in jobs] == [("released", "")] * 2
    tables = [r.apps.result(job["id"]).to_pydict() for job in jobs]
    n, years = (sum(each[name][0] for each in tables) for name in ("n", "years"))
    assert (n, round(years / n)) == (396.0, 54)  # both hospitals' women, at four digits each

    # The author knows where its version is, and nothing else of it.
    taken = {each["peer"] for each in w.apps.version(app["digest"])["taken_by"]}
    assert taken == {world[key].did for key in ("a", "b", "r")}
    assert (w.apps.jobs(), w.apps.deployments()) == ([], [])
    for key in ("a", "b"):  # the hosts know whose it is and who ran it
        host = world[key].space.apps
        assert [each["author"] for each in host.versions()] == [world["w"].did]
        assert [each["peer"] for each in host.jobs()] == [world["r"].did]

    # One word of the author ends it at both, what runs there too.
    rows = r.apps.deploy_all(slow["digest"], agreed(world, slow["reference"], rule=METRICS))
    running = [r.apps.start(row["id"], PURPOSE)["id"] for row in rows]
    for key in running:
        until("the start", lambda key=key: r.apps.job(key)["state"] == "running")
    began = time.monotonic()
    for digest in (app["digest"], slow["digest"]):
        w.apps.step(digest, "revoke", "it was wrong")
    for key in running:
        until("the end", lambda key=key: r.apps.job(key)["code"] == "APP_CUT", 5)
    states = lambda: {each["state"] for each in r.apps.deployments()}  # noqa: E731
    until("the word", lambda: states() == {"revoked"}, 5)
    assert time.monotonic() - began < 5
    for row in rows:
        with pytest.raises(YunheRefused) as refused:
            r.apps.start(row["id"], PURPOSE)
        assert refused.value.code in ("APP_REVOKED", "APP_NOT_DEPLOYED")
    until("gone from the catalogue", lambda: not r.apps.search("cohort sums"))


def test_only_what_its_author_lists_and_stands_by_is_taken(world: World) -> None:
    w, r = world["w"].space, world["r"].space
    hidden = w.apps.publish(manifest("hidden", output={"numbers": ["n"]}), SLOW)
    with pytest.raises(YunheRefused) as refused:
        r.apps.deploy(hidden["digest"], agreed(world, hidden["reference"], rule=METRICS)[0])
    assert refused.value.code == "CATALOG_ENTRY_NOT_FOUND"
    # Past our own node: the host asks the author, whatever a third party brings it.
    (contract, _) = agreed(world, hidden["reference"], rule=METRICS)
    whole = w.apps.version(hidden["digest"])
    body = {"deployment_id": "dep-h", "contract_id": contract.id}
    body |= {name: whole[name] for name in ("manifest", "jws")}
    host, peer = world["a"].node.apps.host, world["r"].did
    with pytest.raises(RefusedByHost, match="APP_UNKNOWN"):
        host.asked(peer, body)
    shelf = world["w"].node.apps.shelf
    with pytest.raises(AppUnknown):
        shelf.give(peer, {"digest": hidden["digest"], "offset": 0})
    ended = listed(world, manifest("ended", output={"numbers": ["n"]}), SLOW)
    w.apps.step(ended["digest"], "withdraw")
    with pytest.raises(YunheRefused):
        r.apps.deploy(ended["digest"], contract)
    with pytest.raises(YunheRefused):  # nobody lists another's
        r.apps.submit(hidden["digest"])


def test_the_register_takes_a_program_from_its_author_alone(world: World) -> None:
    whole = world["w"].space.apps.version(
        listed(world, manifest("mine", output={"numbers": ["n"]}), SLOW)["digest"]
    )
    identity = world["w"].node.identity
    register, peer = world["fn"].node.register, identity.own_peer()
    origin = world["w"].node.apps.shelf._desk.origin()
    record = {
        "local_id": f"app:{whole['digest']}",
        "version": 1,
        "title_zh": "某",
        "title_en": "some",
        "keywords": [],
        "manifest": whole["manifest"],
        "jws": whole["jws"],
        **origin,
    }
    thief = replace(peer, did=world["r"].did)
    wrong: list[tuple[dict[str, Any], Any]] = [
        (record | {"provider_did": thief.did}, thief),  # another's manifest
        (record | {"jws": whole["jws"][:-4] + "AAAA"}, peer),
        (record | {"manifest": whole["manifest"] | {"version": "2"}}, peer),
        (record | {"local_id": "app:1"}, peer),
        (record | {"manifest": {}}, peer),
        (record, replace(peer, member=False)),
    ]
    for said, who in wrong:
        with pytest.raises(YunheError) as refused:
            register.receive("application", said, who)
        assert refused.value.code in (
            "CATALOG_NOT_THE_ORIGIN",
            "CATALOG_RECORD_MALFORMED",
            "CATALOG_NOT_A_MEMBER",
        )

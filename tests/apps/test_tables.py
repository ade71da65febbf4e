"""The tables of applications on both engines: what each verb of the store promises."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from apps.programs import MEAN_AGE, manifest
from yunhe.apps import store
from yunhe.apps.manifest import compose
from yunhe.apps.model import (
    App,
    AppState,
    Deployment,
    DeploymentState,
    Job,
    JobState,
    Listing,
    ListingState,
    Side,
)
from yunhe.apps.runs import fresh
from yunhe.kernel.db import Database, Tx

AUTHOR = "did:web:author.example"


def version(tx: Tx, name: str = "first", **more: Any) -> App:
    made = compose(manifest(name), AUTHOR, MEAN_AGE.encode())
    app = App(made.digest, True, made, "jws", AppState.DRAFT, "", tx.now, tx.now, "")
    return replace(app, **more)


def deployed(tx: Tx, key: str = "dep-1", side: Side = Side.HOST, **more: Any) -> Deployment:
    known = (key, side, "d" * 64, "c-1", AUTHOR, DeploymentState.ASKED)
    return replace(Deployment(*known, "", "", tx.now, tx.now, ""), **more)


def queued(tx: Tx, key: str, side: Side = Side.HOST, **more: Any) -> Job:
    job = fresh(tx, key, side, deployed(tx), "research", "who", {"least": 20, "of": "甲"}, "rule")
    return replace(job, **more)


def test_a_version_is_kept_once_with_its_manifest_and_changed_from_known_states(
    any_db: Database,
) -> None:
    made = any_db.write(lambda tx: version(tx))
    assert any_db.write(lambda tx: store.add_app(tx, made))
    assert not any_db.write(lambda tx: store.add_app(tx, made))
    found = any_db.read(lambda tx: store.find_app(tx, made.digest))
    assert found == made
    assert found is not None
    assert found.manifest.title_zh == "平均年龄"
    told = {"state": AppState.PUBLISHED.value, "why": "好"}
    change = (made.digest, (AppState.DRAFT.value,), told)
    assert any_db.write(lambda tx: store.change_app(tx, *change))
    assert not any_db.write(lambda tx: store.change_app(tx, *change))  # it is no draft any more
    other = any_db.write(lambda tx: version(tx, "second"))
    any_db.write(lambda tx: store.add_app(tx, other))
    names = any_db.read(lambda tx: [each.manifest.name for each in store.apps(tx)])
    assert sorted(names) == ["first", "second"]
    assert any_db.read(lambda tx: store.find_app(tx, "e" * 64)) is None


def test_a_listing_is_replaced_as_a_whole(any_db: Database) -> None:
    assert any_db.read(lambda tx: store.find_listing(tx, "d")) is None
    for number, state in enumerate((ListingState.SUBMITTED, ListingState.RETURNED), 1):
        told = ({"zh": "太短", "en": "too short"},) if number == 2 else ()
        any_db.write(
            lambda tx, n=number, s=state, t=told: store.put_listing(
                tx, Listing("d", n, s, ("肝", "liver"), t, tx.now)
            )
        )
    found = any_db.read(lambda tx: store.find_listing(tx, "d"))
    assert found is not None
    assert (found.version, found.state, found.keywords) == (2, "returned", ("肝", "liver"))
    assert found.reasons == ({"zh": "太短", "en": "too short"},)


def test_a_deployment_changes_only_from_the_state_it_was_read_in(any_db: Database) -> None:
    host = any_db.write(lambda tx: deployed(tx))
    assert any_db.write(lambda tx: store.add_deployment(tx, host))
    # One node may be author and host of the same one: each side has a row.
    ours = replace(host, side=Side.AUTHOR)
    assert any_db.write(lambda tx: store.add_deployment(tx, ours))
    # A version is deployed under a contract once a side, whatever the new one's id.
    assert not any_db.write(lambda tx: store.add_deployment(tx, replace(host, id="dep-2")))
    yes = {"state": DeploymentState.DEPLOYED.value, "by": "operator"}
    assert any_db.write(lambda tx: store.change_deployment(tx, host, yes))
    assert not any_db.write(lambda tx: store.change_deployment(tx, host, yes))
    sides = {
        side: any_db.read(lambda tx, s=side: store.deployed(tx, s, host.digest, "c-1"))
        for side in Side
    }
    states = [sides[side].state for side in (Side.HOST, Side.AUTHOR)]  # type: ignore[union-attr]
    assert states == [DeploymentState.DEPLOYED, DeploymentState.ASKED]
    assert any_db.read(lambda tx: store.deployments_of(tx, "c-1")) == 1
    assert len(any_db.read(lambda tx: store.deployments(tx, host.digest))) == 2
    assert any_db.read(lambda tx: store.find_deployment(tx, "dep-1", Side.AUTHOR)) == ours


def test_a_run_keeps_what_it_was_asked_with_and_ends_once(any_db: Database) -> None:
    job = any_db.write(lambda tx: queued(tx, "use-0001"))
    assert any_db.write(lambda tx: store.add_job(tx, job))
    assert not any_db.write(lambda tx: store.add_job(tx, job))
    assert any_db.read(lambda tx: store.find_job(tx, job.id)) == job
    values = {"state": JobState.RELEASED, "rows": 1 << 40, "bytes": 1 << 41, "withheld": True}

    def end(tx: Tx) -> bool:
        whole = values | {"ended_at": tx.now}
        return store.change_job(tx, job.id, Side.HOST, (JobState.QUEUED,), whole)

    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda _: any_db.write(end), range(4)))
    assert sorted(ended) == [False, False, False, True]
    found = any_db.read(lambda tx: store.find_job(tx, job.id, Side.HOST))
    assert found is not None
    assert (found.rows, found.bytes, found.withheld) == (1 << 40, 1 << 41, True)
    assert found.ended_at is not None
    assert found.parameters == {"least": 20, "of": "甲"}


def test_runs_are_taken_up_in_their_order_each_by_one(any_db: Database) -> None:
    def many(tx: Tx) -> None:
        for number in range(6):
            at = tx.now + timedelta(seconds=6 - number)  # the last added waits longest
            store.add_job(tx, queued(tx, f"use-{number:04}", created_at=at))
        store.add_job(tx, queued(tx, "use-ours", Side.AUTHOR))

    any_db.write(many)
    assert any_db.read(lambda tx: store.waiting(tx)) == 6
    assert any_db.read(lambda tx: store.waiting(tx, "c-2")) == 0

    def take(_: int) -> str | None:
        def verb(tx: Tx) -> str | None:
            key = store.next_job(tx)
            taken = key is not None and store.change_job(
                tx, key, Side.HOST, (JobState.QUEUED,), {"state": JobState.RUNNING}
            )
            return key if taken else None

        return any_db.write(verb)

    assert take(0) == "use-0005"
    with ThreadPoolExecutor(4) as pool:
        taken = [key for key in pool.map(take, range(24)) if key]
    while key := take(0):  # who met another's run came away with none
        taken.append(key)
    assert sorted(taken) == [f"use-{number:04}" for number in range(5)]
    running = (JobState.RUNNING,)
    assert len(any_db.read(lambda tx: store.keys(tx, Side.HOST, running))) == 6
    assert ids(any_db.read(lambda tx: store.jobs(tx, Side.AUTHOR))) == ["use-ours"]
    assert ids(any_db.read(lambda tx: store.jobs(tx, Side.HOST, running)))[:2] == [
        "use-0000",
        "use-0001",
    ]
    assert any_db.read(lambda tx: store.jobs(tx, contract_id="c-9")) == []


def ids(found: Sequence[Job]) -> list[str]:
    return [each.id for each in found]

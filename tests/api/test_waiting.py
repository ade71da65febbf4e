"""A long poll sleeps until its negotiation moves, and no longer than it was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from flow.world import TERMS, World, three
from yunhe.kernel import limits
from yunhe.sdk import Negotiation, NegotiationHeld, negotiating

FURTHEST = replace(TERMS, uses_max=30, per_use_fen=90)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with three(tmp_path_factory.mktemp("waiting")) as made:
        yield made


@pytest.fixture(scope="module")
def code(world: World) -> str:
    return world.product(TERMS, FURTHEST)


@pytest.fixture
def held(world: World, code: str) -> Negotiation:
    """A negotiation that waits for our user."""
    space = world["r"].space
    with pytest.raises(NegotiationHeld) as caught:
        space.negotiate(space.offer(code), ask={"uses_max": 100, "price": {"per_use_fen": 1}})
    return space.negotiation(caught.value.facts["negotiation_id"])


def poll(world: World, held: Negotiation, wait_s: float) -> tuple[dict[str, object], float]:
    """The answer of one long poll and how long it took."""
    space = world["r"].space
    started = time.monotonic()
    answer = space._http.get(
        f"{space.target.base}/api/v1/negotiations/{held.id}",
        params={"wait_s": wait_s, "since_version": held.version},
        headers={"Authorization": f"Bearer {space.target.token}"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json(), time.monotonic() - started


def test_it_returns_after_its_time_when_nothing_moves(world: World, held: Negotiation) -> None:
    said, took = poll(world, held, 0.4)
    assert said["version"] == held.version
    assert 0.4 <= took < 3


def test_it_returns_at_once_when_there_is_news_already(world: World, held: Negotiation) -> None:
    said, took = poll(world, replace(held, version=held.version - 1), 20)
    assert said["version"] == held.version
    assert took < 3


def test_it_wakes_when_the_negotiation_moves(
    world: World, held: Negotiation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the reading now and then that is meant for other replicas' commits.
    monkeypatch.setattr(limits, "LONG_POLL_READ_S", 30)
    found: list[tuple[dict[str, object], float]] = []
    waiting = [
        threading.Thread(target=lambda: found.append(poll(world, held, 20))) for _ in range(5)
    ]
    for each in waiting:
        each.start()
    time.sleep(0.3)
    assert not found
    world["r"].space.end_negotiation(held, "changed our mind")
    for each in waiting:
        each.join(10)
    assert len(found) == 5
    for said, took in found:
        assert said["state"] == "TERMINATED"
        assert took < 5
    assert not world["r"].node.waiters._sleepers


def test_settled_waits_past_the_steps_that_are_the_peers(world: World, code: str) -> None:
    """One answer for a whole negotiation: over, or our own word is next."""
    space = world["r"].space
    made = space.propose(space.offer(code))
    found = space.negotiation(made.id, wait_s=20, since_version=made.version, settled=True)
    assert found.state == "FINALIZED"
    late = space.negotiation(made.id, wait_s=20, since_version=made.version, settled=True)
    assert late.version == found.version


def test_settled_returns_when_our_word_is_next(world: World, held: Negotiation) -> None:
    space = world["r"].space
    started = time.monotonic()
    found = space.negotiation(held.id, wait_s=20, since_version=held.version - 1, settled=True)
    assert (found.version, found.waiting_for) == (held.version, "you")
    assert time.monotonic() - started < 10


def test_a_negotiation_that_is_waited_for_comes_with_its_contract(world: World, code: str) -> None:
    """One request from the offer to the contract."""
    space = world["r"].space
    begun = space.run(negotiating.propose(space.offer(code), wait_s=20))
    assert (begun.state, begun.waiting_for) == ("FINALIZED", "")
    assert begun.contract == space.contract(begun.contract_id)
    assert space.negotiation(begun.id).contract == begun.contract


def test_a_negotiation_that_is_held_comes_back_when_our_word_is_next(
    world: World, code: str
) -> None:
    space = world["r"].space
    ask = {"uses_max": 100, "price": {"per_use_fen": 1}}
    begun = space.run(negotiating.propose(space.offer(code), ask=ask, wait_s=20))
    assert (begun.waiting_for, begun.contract) == ("you", None)

"""A transfer is halted and goes on, by either side, over the management API and the SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.world import World, three, until
from yunhe.sdk import Transfer, YunheRefused


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with three(tmp_path) as found:
        yield found


def test_either_side_halts_a_transfer_and_resumes_it(world: World) -> None:
    a, r = (world.nodes[key].space for key in ("a", "r"))
    contract = world.agree(world.product())
    world.ask(contract)

    def at(key: str) -> Transfer:
        # The first of them: what is asked while it is halted asks for another, in vain.
        return world.nodes[key].space.transfers(contract)[-1]

    def both(state: str) -> bool:
        return [at(key).state for key in ("a", "r")] == [state, state]

    for key, space in (("a", a), ("r", r)):
        halted = space.suspend_transfer(at(key), "Maintenance tonight.")
        assert (halted.state, halted.contract_id) == ("SUSPENDED", contract.id)
        until("both halted", lambda: both("SUSPENDED"))
        assert all("Maintenance tonight." in str(at(each).error) for each in ("a", "r"))
        with pytest.raises(YunheRefused):
            world.ask(contract)
        with pytest.raises(YunheRefused, match="VERB_OUT_OF_ORDER"):
            space.suspend_transfer(at(key), "again")
        assert space.resume_transfer(at(key)).error is None
        until("both started", lambda: both("STARTED"))
        world.ask(contract)
        with pytest.raises(YunheRefused, match="VERB_OUT_OF_ORDER"):
            space.resume_transfer(at(key))
    assert "token" not in str(at("r"))
    with pytest.raises(YunheRefused, match="TRANSFER_UNKNOWN"):
        r.suspend_transfer("nothing", "x")

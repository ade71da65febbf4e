"""Both nodes are killed at random while they negotiate: consistent at the end, nothing stuck.

A few negotiations in the everyday suite; YUNHE_CRASH_NEGOTIATIONS=200 for the long run. Every
negotiation that the consumer's node acknowledged ends FINALIZED at both ends, or ended for a
reason that it names.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow.crash_world import CONSUMER, PROVIDER, CrashWorld
from yunhe.kernel.errors import YunheError

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]

NEGOTIATIONS = int(os.environ.get("YUNHE_CRASH_NEGOTIATIONS") or 8)
SEED = int(os.environ.get("YUNHE_CRASH_SEED") or time.time())
EVERY = 4  # one kill for so many proposals
LIVES_S = (0.0, 0.02, 0.05, 0.1, 0.2)  # how long after the last proposal


@pytest.fixture
def world() -> Iterator[CrashWorld]:
    with tempfile.TemporaryDirectory(prefix="yunhe-crash-") as home:
        made = CrashWorld(Path(home))
        try:
            made.open()
            yield made
        finally:
            made.close()


def propose(world: CrashWorld, times: int) -> list[str]:
    """The negotiations that the consumer's node acknowledged."""
    assert world.offer is not None
    found = []
    with world.space(CONSUMER) as space:
        for _ in range(times):
            try:
                found.append(space.propose(world.offer).id)
            except YunheError as error:  # what was not acknowledged may be or not be
                if error.code in ("INTERNAL", "DATABASE_FAILED"):
                    raise
    return found


def test_two_nodes_killed_at_random(world: CrashWorld) -> None:
    dice = random.Random(SEED)  # noqa: S311  dice, not a secret
    acknowledged: list[str] = []
    killed = 0
    while len(acknowledged) < NEGOTIATIONS:
        acknowledged += propose(world, EVERY)
        time.sleep(dice.choice(LIVES_S))
        both = (PROVIDER, CONSUMER)
        for side in dice.choice(((PROVIDER,), (CONSUMER,), both)):
            world.nodes[side].kill()
            killed += 1
        for side in both:
            if world.nodes[side].died():
                world.restart(side)
    world.check()  # outboxes empty, both ends agree, nothing open, logs whole
    ended = dict(world.rows(CONSUMER, "SELECT id, state FROM contract_negotiations"))
    states = {ended.get(each) for each in acknowledged}
    assert states <= {"FINALIZED", "TERMINATED"}, f"YUNHE_CRASH_SEED={SEED}"
    unsaid = world.rows(
        CONSUMER,
        "SELECT id FROM contract_negotiations WHERE state='TERMINATED' AND error IS NULL",
    )
    assert not unsaid
    finalized = sum(ended[each] == "FINALIZED" for each in acknowledged)
    assert finalized == len(acknowledged), f"{finalized} after {killed} kills, seed {SEED}"

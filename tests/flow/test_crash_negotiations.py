"""Both nodes are killed at random while they negotiate: consistent at the end, nothing stuck.

A few negotiations in the everyday suite; `make crash` has 200. Kills come from outside at any
moment, and some lives are armed to die by themselves between two steps. Every negotiation that
the consumer's node acknowledged ends FINALIZED at both ends; one that waits on the way says why
and when it is tried again.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from flow.crash_world import CONSUMER, PROVIDER, CrashWorld, crash_world, until
from yunhe.kernel.errors import YunheError

pytestmark = [pytest.mark.crash, pytest.mark.timeout(0)]

NEGOTIATIONS = int(os.environ.get("YUNHE_CRASH_NEGOTIATIONS") or 8)
SEED = int(os.environ.get("YUNHE_CRASH_SEED") or time.time())
BOTH = (PROVIDER, CONSUMER)
EVERY = 4  # so many proposals a life
LIVES_S = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)  # from the first proposal to the kill
ARMED_PER_MILLE = 10  # at each point that an armed life passes


@pytest.fixture
def world() -> Iterator[CrashWorld]:
    with crash_world() as made:
        yield made


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


def says_what_waits(world: CrashWorld) -> int:
    """How many open negotiations wait for the dead provider; each names why and when again."""

    def waiting() -> list[str]:
        return [
            str(row[0])
            for row in world.rows(
                CONSUMER,
                "SELECT n.id FROM contract_negotiations n JOIN outbox o ON o.conversation = n.id"
                " WHERE o.state = 'pending' AND n.state NOT IN ('FINALIZED', 'TERMINATED')",
            )
        ]

    found = waiting()
    with world.space(CONSUMER) as space:
        for each in found:  # the provider is down: they cannot leave
            until(f"why {each} waits", lambda each=each: space.negotiation(each).stuck_because)
            assert space.negotiation(each).next_retry_at is not None
    return len(found)


def revive(world: CrashWorld, dice: random.Random, counts: Counter[str]) -> None:
    """Start what is dead, now and then armed to die again by itself."""
    for side in BOTH:
        if world.nodes[side].died():
            armed = f"random:{ARMED_PER_MILLE}:{dice.randrange(1 << 30)}"
            if not world.restart(side, dice.choice(("", "", armed))):
                counts["died starting"] += 1
                world.restart(side)


def a_life(world: CrashWorld, dice: random.Random, counts: Counter[str]) -> list[str]:
    """Negotiations proposed while one or both nodes die; acknowledged ones are returned."""
    sides = dice.choice(((PROVIDER,), (CONSUMER,), BOTH))

    def kill() -> None:
        for side in sides:
            world.nodes[side].kill()

    killer = threading.Timer(dice.choice(LIVES_S), kill)
    killer.start()
    found = propose(world, EVERY)
    killer.join()
    counts["killed"] += len(sides)
    if CONSUMER not in sides and not world.nodes[CONSUMER].died() and dice.random() < 0.3:
        found += propose(world, 1)
        try:
            counts["waiting, and said why"] += says_what_waits(world)
        except YunheError:
            assert world.killed(CONSUMER)  # by itself, before it could say
    counts["died by themselves"] += sum(world.killed(side) for side in BOTH if side not in sides)
    return found


def test_two_nodes_killed_at_random(world: CrashWorld, capsys: pytest.CaptureFixture[str]) -> None:
    dice, counts = random.Random(SEED), Counter[str]()  # noqa: S311  dice, not a secret
    acknowledged: list[str] = []
    while len(acknowledged) < NEGOTIATIONS:
        acknowledged += a_life(world, dice, counts)
        revive(world, dice, counts)
    for side in BOTH:  # unarmed
        world.restart(side)
    world.check()  # outboxes empty, both ends agree, nothing open, logs whole
    ended = dict(world.rows(CONSUMER, "SELECT id, state FROM contract_negotiations"))
    states = Counter(ended.get(each) for each in acknowledged)
    told = ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))
    with capsys.disabled():
        sys.stdout.write(f"\ncrash: YUNHE_CRASH_SEED={SEED}, {told}; acknowledged: {states}\n")
    assert states == {"FINALIZED": len(acknowledged)}, f"YUNHE_CRASH_SEED={SEED}"

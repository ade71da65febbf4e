"""Crash-proof, shown by killing: real nodes die by SIGKILL at every crash point and come back.

In the everyday suite each point kills each side once; `make crash N=1000` draws the points from a
printed seed. After every death the same has to hold: nothing acknowledged is lost, both sides
agree on every contract, every use is billed once and settled to the fen, the logs verify, the
outboxes drain.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from flow.crash_world import CONSUMER, PROVIDER, CrashWorld, crash_world
from yunhe.kernel.crash import POINTS

pytestmark = pytest.mark.crash

AT_THE_DATA = ("before_first_byte", "after_first_byte")  # only the provider sends data
CASES = [
    (side, point)
    for side in (PROVIDER, CONSUMER)
    for point in POINTS
    if side == PROVIDER or point not in AT_THE_DATA
]
ROUNDS_MAX = 8


@pytest.fixture(scope="module")
def world() -> Iterator[CrashWorld]:
    with crash_world() as made:
        yield made


def crash(world: CrashWorld, side: str, armed: str) -> bool:
    """Arm, work until the node is dead, start it again, check; False if it never came there."""
    died = not world.restart(side, armed)
    died = died or world.work(ROUNDS_MAX, lambda: world.nodes[side].died())
    if not died:
        world.nodes[side].kill()
    else:
        assert world.killed(side)
    world.verify_log(side)  # as the crash left it
    world.restart(side)
    world.check()
    return died


@pytest.mark.parametrize(("side", "point"), CASES, ids=lambda value: str(value))
def test_a_node_killed_at(world: CrashWorld, side: str, point: str) -> None:
    at_a_tile = point.endswith("_tile")
    if at_a_tile:
        world.fill_tile(side)  # one is written in 256 entries
    tiles = world.tiles(side)
    armed = point if at_a_tile else f"{point}:2"
    assert crash(world, side, armed), "the flow never came to this point"
    assert world.tiles(side) >= tiles + at_a_tile  # what the crash undid is written after all


def _runs() -> int:
    """`YUNHE_CRASH_RUNS`; set and empty means 100, not set none."""
    text = os.environ.get("YUNHE_CRASH_RUNS")
    return 0 if text is None else int(text or 100)


@pytest.mark.skipif(_runs() == 0, reason="`make crash N=1000` runs it")
@pytest.mark.timeout(0)
def test_random_points(world: CrashWorld, capsys: pytest.CaptureFixture[str]) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\ncrash: {text}")

    seed = int(os.environ.get("YUNHE_CRASH_SEED") or time.time())
    dice, counts = random.Random(seed), Counter[str]()  # noqa: S311  dice, not a secret
    say(f"{_runs()} runs, YUNHE_CRASH_SEED={seed}")
    for number in range(_runs()):
        side = dice.choice((PROVIDER, CONSUMER))
        armed = f"random:{dice.choice((5, 20, 80))}:{dice.randrange(1 << 30)}"
        try:
            died = crash(world, side, armed)
        except BaseException:
            say(f"run {number} failed: {side} armed with {armed}")
            raise
        counts[f"{side} {'killed itself' if died else 'was killed from outside'}"] += 1
    uses, contracts = len(world.done.uses), len(world.done.contracts)
    told = ", ".join(f"{count} x {what}" for what, count in sorted(counts.items()))
    say(f"{told}; {uses} uses and {contracts} contracts acknowledged, none lost\n")

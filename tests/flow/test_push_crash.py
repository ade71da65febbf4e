"""The life of a pushed transfer between real processes that die in the middle of it.

Whoever is killed, and wherever: the same bytes arrive, one use is charged once and settled to the
fen, the logs verify.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from flow.crash_world import (
    CONSUMER,
    LARGE,
    PROVIDER,
    PURPOSE,
    VISITS,
    CrashWorld,
    crash_world,
    until,
)
from yunhe.sdk import Transfer

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def world() -> Iterator[CrashWorld]:
    with crash_world() as made:
        yield made


def push(world: CrashWorld) -> str:
    with world.space(CONSUMER) as space:
        return space.push(world.contract_id, LARGE, PURPOSE).id


def state(world: CrashWorld, key: str) -> str:
    with world.space(CONSUMER) as space:
        found: Transfer = space.transfer(key)
    return str((found.push or {})["state"])


def arrived(world: CrashWorld, key: str, tmp_path: Path) -> None:
    """All of it is there, and the books agree."""
    until("the push", lambda: state(world, key) == "done", 60)
    with world.space(CONSUMER) as space:
        got = space.fetch(key, tmp_path / "visits.arrows")
        assert got.rows == VISITS
        assert pa.ipc.open_stream(got.path.read_bytes()).read_all().num_rows == VISITS
        space.discard(key)
    world.check()
    ran = world.rows(PROVIDER, "SELECT use_id, state FROM control_use")
    mine = [status for use, status in ran if use.partition("~")[0] == got.use_id.partition("~")[0]]
    assert mine.count("posted") == 1
    assert set(mine) <= {"posted", "void"}
    assert not [*(world.nodes[PROVIDER].home / "var" / "push").iterdir()]


@pytest.mark.parametrize(
    "armed",
    ["after_first_byte:40", "before_first_byte:1", "before_commit:4", "after_commit:4"],
)
def test_a_killed_provider_goes_on(world: CrashWorld, tmp_path: Path, armed: str) -> None:
    world.restart(PROVIDER, armed)
    key = push(world)
    until("the death", lambda: world.killed(PROVIDER), 60)
    world.restart(PROVIDER)
    arrived(world, key, tmp_path)


def test_a_killed_receiver_goes_on(world: CrashWorld, tmp_path: Path) -> None:
    world.restart(PROVIDER)
    key = push(world)
    inbox = world.nodes[CONSUMER].home / "var" / "inbox"
    part = inbox / f"{key.rpartition(':')[2]}.part"
    while not part.is_file() or part.stat().st_size < 1 << 20:
        if state(world, key) == "done":
            pytest.skip("this machine was faster than the test")
        time.sleep(0.002)
    world.nodes[CONSUMER].kill()
    world.restart(CONSUMER)
    arrived(world, key, tmp_path)


def test_what_ends_while_its_provider_is_dead_is_settled(world: CrashWorld) -> None:
    world.restart(PROVIDER, "after_first_byte:40")
    key = push(world)
    until("the death", lambda: world.killed(PROVIDER), 60)
    with world.space(CONSUMER) as space:
        space.terminate_transfer(key, "Too late for us.")
    world.restart(PROVIDER)
    until("the end", lambda: state(world, key) == "cut", 60)
    world.check()
    inbox = world.nodes[CONSUMER].home / "var" / "inbox"
    assert not [*inbox.glob(f"*{key.rpartition(':')[2]}*")]

"""A stream that breaks off: whoever leaves, the use is billed once and settled to the fen."""

from __future__ import annotations

import contextlib
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow.crash_world import (
    CONSUMER,
    LARGE,
    PER_ROW_FEN,
    PER_USE_FEN,
    PROVIDER,
    PURPOSE,
    VISITS,
    CrashWorld,
    until,
)
from yunhe.demo.nodes import free_ports
from yunhe.sdk import StreamBroken, YunheRefused

RST = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close sends a reset


class Door:
    """A TCP relay before the provider; `reset_after` bytes of one answer it resets both ends."""

    def __init__(self, port: int, behind: int) -> None:
        self.reset_after: int | None = None
        self.first: Callable[[], bool] = lambda: True  # what the reset waits for, swallowing bytes
        self._behind = behind
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._behind))
            except OSError:
                near.close()
                continue
            for pair in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _swallow(self, source: socket.socket) -> None:
        source.settimeout(0.05)
        while not self.first():
            with contextlib.suppress(TimeoutError):
                source.recv(1 << 20)

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
                passed += len(data)
                if answers and self.reset_after is not None and passed > self.reset_after:
                    self.reset_after = None
                    self._swallow(source)
                    for each in (source, target):
                        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
                    break
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture(scope="module")
def parts() -> Iterator[tuple[CrashWorld, Door]]:
    with tempfile.TemporaryDirectory(prefix="yunhe-cut-") as home:
        (port,) = free_ports(1)
        world = CrashWorld(Path(home), provider_address=f"http://127.0.0.1:{port}")
        door = Door(port, int(world.nodes[PROVIDER].address.rsplit(":", 1)[1]))
        try:
            world.open()
            yield world, door
        finally:
            world.close()
            door.close()


@pytest.fixture
def world(parts: tuple[CrashWorld, Door]) -> CrashWorld:
    return parts[0]


@pytest.fixture
def door(parts: tuple[CrashWorld, Door]) -> Door:
    return parts[1]


def posted(world: CrashWorld, use_id: str) -> tuple[Any, ...]:
    """rows, fee_fen and complete of a use at the provider."""
    query = f"SELECT rows, fee_fen, complete FROM control_use WHERE use_id = '{use_id}'"
    (found,) = world.rows(PROVIDER, query)
    return found


def test_the_provider_is_killed_mid_stream(world: CrashWorld) -> None:
    with world.space(CONSUMER) as space:
        batches = space.sql_stream(LARGE, world.contract_id, PURPOSE, use_id="killed-provider")
        passing = iter(batches)
        first = next(passing).num_rows
        world.nodes[PROVIDER].kill()
        with pytest.raises(StreamBroken):
            list(passing)
        with pytest.raises(YunheRefused) as refused:
            space.sql(LARGE, world.contract_id, PURPOSE, use_id="killed-provider")
        assert refused.value.code in ("USE_IN_DOUBT", "USE_ALREADY_SPENT", "PROVIDER_UNREACHABLE")
    world.restart(PROVIDER)
    world.check()
    rows, fee, complete = posted(world, "killed-provider")
    assert first <= rows < VISITS  # what our own node passed on, not the reserved maximum
    assert (fee, complete) == (PER_USE_FEN + PER_ROW_FEN * rows, 0)


def test_the_provider_dies_before_it_answers(world: CrashWorld) -> None:
    world.nodes[PROVIDER].kill()  # the door still takes the request, as a dying machine may
    with world.space(CONSUMER) as space:
        with pytest.raises(YunheRefused, match="PROVIDER_UNREACHABLE"):
            space.sql(LARGE, world.contract_id, PURPOSE, use_id="no-answer")
        with pytest.raises(YunheRefused, match="USE_IN_DOUBT"):
            space.sql(LARGE, world.contract_id, PURPOSE, use_id="no-answer")
    world.restart(PROVIDER)
    world.check()
    query = "SELECT state, why FROM control_use WHERE use_id = 'no-answer'"
    assert world.rows(PROVIDER, query) == [("void", "NEVER_ADMITTED")]


def test_the_consumer_is_killed_mid_stream(world: CrashWorld) -> None:
    with world.space(CONSUMER) as space:
        batches = space.sql_stream(LARGE, world.contract_id, PURPOSE, use_id="killed-consumer")
        passing = iter(batches)
        next(passing)
        world.nodes[CONSUMER].kill()
        with pytest.raises(StreamBroken):
            list(passing)
    world.restart(CONSUMER)
    world.check()
    # It cannot know what it passed on: what no buffer on the way can have held, it did receive.
    rows, fee, complete = posted(world, "killed-consumer")
    assert (0 <= rows < VISITS, complete) == (True, 0)
    assert fee == PER_USE_FEN + PER_ROW_FEN * rows


def test_the_client_goes_mid_stream(world: CrashWorld) -> None:
    with world.space(CONSUMER) as space:
        batches = space.sql_stream(LARGE, world.contract_id, PURPOSE, use_id="client-gone")
        first = next(iter(batches)).num_rows
        batches.close()
    query = "SELECT use_id FROM exchange_receipt WHERE use_id = 'client-gone'"
    until("the receipt", lambda: world.rows(CONSUMER, query))
    world.check()
    rows, _, complete = posted(world, "client-gone")
    assert (first <= rows < VISITS, complete) == (True, 0)


def test_the_connection_is_reset_mid_stream(world: CrashWorld, door: Door) -> None:
    door.reset_after = 4 << 20
    with world.space(CONSUMER) as space, pytest.raises(StreamBroken):
        space.sql(LARGE, world.contract_id, PURPOSE, use_id="reset-early")
    world.check()
    rows, _, complete = posted(world, "reset-early")
    assert (rows < VISITS, complete) == (True, 0)


def test_the_connection_is_reset_after_the_provider_sent_all(world: CrashWorld, door: Door) -> None:
    # What is between the two swallows the tail: the provider saw the delivery off whole.
    sql = "SELECT id, note FROM visits WHERE id < 2"
    query = "SELECT use_id FROM control_use WHERE use_id = 'reset-late' AND state = 'posted'"
    door.first = lambda: bool(world.rows(PROVIDER, query))
    door.reset_after = 100_000
    with world.space(CONSUMER) as space, pytest.raises(StreamBroken):
        space.sql(sql, world.contract_id, PURPOSE, use_id="reset-late")
    world.check()
    rows, fee, complete = posted(world, "reset-late")
    assert fee == PER_USE_FEN + PER_ROW_FEN * rows
    query = "SELECT json_extract(body, '$.in_doubt') FROM exchange_receipt WHERE use_id = '{}'"
    assert world.rows(CONSUMER, query.format("reset-late")) == [(1,)]
    assert (rows, complete) == (2 * VISITS // 300, 1)

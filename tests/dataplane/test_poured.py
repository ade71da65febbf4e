"""A use whose bytes go from the worker's pipe straight to a connection: counted, bounded, cut."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pytest

from dataplane.test_service import BIG, PRICED, Plane, node  # noqa: F401
from yunhe.contracts import ContractTerminated
from yunhe.dataplane import IpcCount, Stream, WorkerLost
from yunhe.kernel.outlet import Outlet


@contextmanager
def connection() -> Iterator[tuple[Outlet, socket.socket]]:
    ours, theirs = socket.socketpair()
    outlet = Outlet(ours)
    try:
        yield outlet, theirs
    finally:
        outlet.close()
        theirs.close()


def pour_all(stream: Stream, outlet: Outlet) -> None:
    """To the end, or to what ends it."""
    while stream.pour(outlet):
        pass


def unchunked(body: bytes) -> bytes:
    """The HTTP chunks of a body without its last one."""
    source, found = io.BytesIO(body), b""
    while line := source.readline():
        found += source.read(int(line, 16))
        assert source.read(2) == b"\r\n"
    return found


def test_what_is_poured_is_what_is_counted(node: Plane) -> None:  # noqa: F811
    node.desk.open(PRICED)
    stream = node.query("SELECT a.id, b.value FROM labs a, labs b LIMIT 200000")
    parts: list[bytes] = []
    with connection() as (outlet, client):
        reader = threading.Thread(
            target=lambda: parts.extend(iter(lambda: client.recv(1 << 16), b""))
        )
        reader.start()
        pour_all(stream, outlet)
        outlet.cut()
        reader.join()
    body = unchunked(b"".join(parts))
    count = IpcCount()
    count.feed(body)
    use = node.use()
    assert (count.complete, count.digest) == (True, hashlib.sha256(body).hexdigest())
    assert (use.state, use.complete) == ("posted", True)
    assert (use.rows, use.bytes) == (count.rows, len(body))
    assert pa.ipc.open_stream(body).read_all().num_rows == use.rows == 200_000


def test_termination_cuts_even_when_the_reader_takes_nothing(node: Plane) -> None:  # noqa: F811
    node.desk.open(PRICED)
    stream = node.query(BIG)
    with connection() as (outlet, _):
        timer = threading.Timer(0.3, node.desk.terminate)
        timer.start()
        started = time.monotonic()
        with pytest.raises(ContractTerminated):
            pour_all(stream, outlet)
        assert time.monotonic() - started < 0.3 + 1.5
        timer.join()
    use = node.use()
    assert (use.state, use.complete, use.rows > 0) == ("posted", False, True)
    assert (use.rows, use.bytes) == (stream.rows, stream.byte_count)


def test_a_worker_that_dies_in_a_frame_is_posted_as_far_as_it_came(node: Plane) -> None:  # noqa: F811
    node.desk.open(PRICED)
    stream = node.query(BIG)
    with connection() as (outlet, client):
        killer = threading.Timer(0.2, stream._running._process._child.kill)
        killer.start()
        reader = threading.Thread(
            target=lambda: [None for _ in iter(lambda: client.recv(4096), b"")]
        )
        reader.start()
        with pytest.raises(WorkerLost):
            pour_all(stream, outlet)
        outlet.cut()
        reader.join()
        killer.join()
    assert (node.use().state, node.use().complete) == ("posted", False)
    assert node.use().bytes == stream.byte_count


def test_a_client_that_is_gone_pays_for_what_left(node: Plane) -> None:  # noqa: F811
    node.desk.open(PRICED)
    stream = node.query(BIG)
    with connection() as (outlet, client):
        client.close()
        with pytest.raises(OSError, match="Broken pipe"):
            pour_all(stream, outlet)
    use = node.use()
    assert (use.state, use.complete) == ("posted", False)
    assert (use.rows, use.bytes) == (stream.rows, stream.byte_count)

"""A body that a thread writes to the connection itself: whole or visibly cut, never held up."""

from __future__ import annotations

import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from yunhe.kernel import limits
from yunhe.kernel.asgi import StreamedResponse, Threads
from yunhe.kernel.errors import Unavailable
from yunhe.kernel.head import BoundedHead
from yunhe.kernel.outlet import Outlet

PART = os.urandom(300_000)
RST = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close sends a reset


class Source:
    """Chunks by their kind; it knows how it ended."""

    def __init__(self, kind: str) -> None:
        self.left = {"/endless": 1 << 60}.get(kind, 40)
        self.fails = kind == "/broken"
        self.closed = threading.Event()

    def __next__(self) -> bytes:
        raise AssertionError("the connection was to be lent")

    def pour(self, outlet: Outlet) -> bool:
        if not self.left:
            return False
        self.left -= 1
        if self.fails and self.left == 20:
            raise Unavailable("the worker is gone")
        read, write = os.pipe()
        writer = threading.Thread(target=_fill, args=(write,))
        writer.start()
        try:
            if self.left % 2:
                outlet.chunk(PART, lambda: None)
                return True
            size = len(PART)
            outlet.begin(size, lambda: None)
            while size:
                size -= outlet.splice(read, size, lambda: None)
                if size:
                    time.sleep(0)
            outlet.end(lambda: None)
            return True
        finally:
            os.close(read)
            writer.join()

    def close(self) -> None:
        self.closed.set()


def _fill(pipe: int) -> None:
    left = memoryview(PART)
    try:
        while left:
            left = left[os.write(pipe, left) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(pipe)


class Server:
    """uvicorn with an app that streams what the path names."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self._threads = Threads(4)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=BoundedHead,
            lifespan="off",
            ws="none",
            log_level="critical",
            interface="asgi3",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        source = Source(scope["path"])
        self.sources.append(source)
        headers = {"X-Kept": "yes"}
        await StreamedResponse(source, self._threads, headers, "text/plain")(scope, receive, send)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def ask(server: Server, path: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", path)
    return connection, connection.getresponse()


def test_the_body_is_whole_and_the_connection_lives_on(server: Server) -> None:
    connection, response = ask(server, "/whole")
    assert response.headers["x-kept"] == "yes"
    assert response.read() == PART * 40
    connection.request("GET", "/whole")
    assert connection.getresponse().read() == PART * 40
    connection.close()
    assert all(source.closed.wait(5) for source in server.sources)


def test_a_source_that_breaks_leaves_the_body_unfinished(server: Server) -> None:
    connection, response = ask(server, "/broken")
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()
    assert server.sources[0].closed.wait(5)


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_while_the_thread_waits_lets_go(server: Server, reset: bool) -> None:
    connection, response = ask(server, "/endless")
    response.read(100)
    time.sleep(0.05)  # by now every buffer is full
    if reset:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST)
    response.close()
    connection.close()
    assert server.sources[0].closed.wait(5)


def test_a_reader_that_takes_nothing_is_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STALL_S_MAX", 0.2)
    connection, response = ask(server, "/endless")
    assert server.sources[0].closed.wait(5)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()


def test_a_reader_that_trickles_is_cut_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STALL_S_MAX", 0.3)
    ours, theirs = socket.socketpair()
    outlet = Outlet(ours)
    stop = threading.Event()

    def sip() -> None:
        while not stop.wait(0.01):
            theirs.recv(1000)

    reader = threading.Thread(target=sip)
    reader.start()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        outlet.chunk(bytes(1 << 22), lambda: None)
    assert time.monotonic() - started < 3
    stop.set()
    reader.join()
    outlet.close()
    theirs.close()


def test_what_the_tick_raises_ends_the_wait_for_a_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_CHECK_S", 0.02)
    ours, theirs = socket.socketpair()
    outlet = Outlet(ours)

    def over() -> None:
        raise Unavailable("the contract has ended")

    with pytest.raises(Unavailable):
        outlet.chunk(bytes(1 << 22), over)
    outlet.close()
    theirs.close()


def test_a_cut_wakes_the_thread_that_waits() -> None:
    ours, theirs = socket.socketpair()
    outlet = Outlet(ours)
    timer = threading.Timer(0.05, outlet.cut)
    timer.start()
    with pytest.raises(OSError, match="Broken pipe"):
        outlet.chunk(bytes(1 << 22), lambda: None)
    timer.join()
    outlet.close()
    theirs.close()

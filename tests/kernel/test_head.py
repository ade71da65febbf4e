"""What a stranger sends before any of our code runs is bounded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from yunhe.kernel import limits
from yunhe.kernel.head import BoundedHead


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """The smallest app; it reads the body first, but of one."""
    while scope["path"] != "/unread" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server with the bound; the port it listens on."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hello, http=BoundedHead, lifespan="off", ws="none", log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def spoken(port: int, *parts: bytes) -> tuple[bytes, int]:
    """What the server answers to the parts, and how many bytes of them it took."""
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        try:
            for part in parts:
                client.sendall(part)
                taken += len(part)
            return client.recv(64), taken
        except ConnectionError:
            return b"", taken


def test_an_endless_header_is_not_collected(port: int) -> None:
    lines = (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", *[b"a" * 65_536] * 400)
    answer, taken = spoken(port, *lines)
    assert answer[:12] in (b"", b"HTTP/1.1 400")
    assert taken < 20_000_000


def test_endless_headers_are_not_collected(port: int) -> None:
    lines = [b"X-%d: y\r\n" % i for i in range(200_000)]
    answer, _ = spoken(port, b"GET / HTTP/1.1\r\nHost: x\r\n", b"".join(lines), b"\r\n")
    assert answer[:12] in (b"", b"HTTP/1.1 400")


def test_an_endless_address_is_not_collected(port: int) -> None:
    answer, _ = spoken(port, b"GET /" + b"a" * 5_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer[:12] in (b"", b"HTTP/1.1 400")


def test_a_head_within_the_bound_and_any_body_pass(port: int) -> None:
    wide = b"X-A: " + b"a" * (limits.HEAD_BYTES_MAX // 2) + b"\r\n"
    assert spoken(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + wide + b"\r\n")[0][9:12] == b"204"
    size = 4 * limits.HEAD_BYTES_MAX
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    assert spoken(port, post, b"b" * size)[0][9:12] == b"204"


def test_every_request_of_a_connection_has_the_bound_anew(port: int) -> None:
    one = b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for _ in range(5):
            client.sendall(one)
            assert client.recv(4096)[9:12] == b"204"


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX-A: "])
def test_a_head_that_does_not_come_is_not_awaited(
    port: int, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_S_MAX", 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(begun)
        assert client.recv(64) == b""  # hung up, long before the five seconds
    assert spoken(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[0][9:12] == b"204"


def test_a_body_that_nobody_reads_holds_its_connection_no_longer_than_a_head(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEAD_S_MAX", 0.2)
    head = b"%b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=0.05) as client:
        client.sendall(head % b"POST /unread")
        heard = b""
        for _ in range(200):  # each byte puts off what the server does about an idle connection
            with suppress(ConnectionError):
                client.sendall(b"b")
            try:
                heard += (got := client.recv(64))
            except TimeoutError:
                continue
            except ConnectionError:
                got = b""
            if not got:
                break
        else:
            pytest.fail("it is held as long as somebody drips")
    assert heard[9:12] == b"204"

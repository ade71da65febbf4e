"""Server-side request forgery: addresses strangers tell us lead nowhere inside."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from yunhe.identity import (
    AddressForbidden,
    DidUnreachable,
    DidUnresolvable,
    DidWebFetcher,
    guarded_socket,
)
from yunhe.identity.guard import GuardedClient
from yunhe.kernel.egress import Egress

PUBLIC, LOCAL = Egress(), Egress(local=True)


class _Page(http.server.BaseHTTPRequestHandler):
    seen: list[str]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])  # type: ignore[attr-defined]
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/plain")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = b"x" * (70_000 if self.path == "/large" else 5)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    made.daemon_threads = True
    made.hosts = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_a_name_that_resolves_inside_is_refused(server: http.server.HTTPServer) -> None:
    port = server.server_address[1]
    for answer in (["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], []):
        with (
            GuardedClient(PUBLIC, 1, lambda _h, _p, answer=answer: answer) as http_client,
            pytest.raises(AddressForbidden),
        ):
            http_client.get(f"https://good.example:{port}/plain")
    assert server.hosts == []  # type: ignore[attr-defined]


def test_the_name_is_resolved_once_and_the_socket_goes_there(
    server: http.server.HTTPServer,
) -> None:
    asked: list[str] = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    port = server.server_address[1]
    with GuardedClient(LOCAL, 1, resolve) as http_client:
        for _ in range(2):  # the second goes through the same connection
            assert http_client.get(f"http://rebind.example:{port}/plain").text == "xxxxx"
    assert asked == ["rebind.example"]
    assert server.hosts == [f"rebind.example:{port}"] * 2  # type: ignore[attr-defined]


def test_http_is_for_development() -> None:
    with (
        GuardedClient(PUBLIC, 1, lambda _h, _p: ["8.8.8.8"]) as plain,
        pytest.raises(AddressForbidden),
    ):
        plain.get("http://good.example/")
    for url in ("file:///etc/passwd", "gopher://a.example/"):
        with (
            GuardedClient(LOCAL, 1) as any_scheme,
            pytest.raises((AddressForbidden, httpx.HTTPError)),
        ):
            any_scheme.get(url)


def test_a_failing_name_or_port_is_an_http_error() -> None:
    def fails(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with GuardedClient(LOCAL, 1, fails) as no_name, pytest.raises(httpx.ConnectError):
        no_name.get("http://none.example/")
    with (
        GuardedClient(LOCAL, 1, lambda _h, _p: ["127.0.0.1"]) as no_port,
        pytest.raises(httpx.ConnectError),
    ):
        no_port.get("http://none.example:1/")


@pytest.mark.parametrize("path", ["redirect", "large"])
def test_documents_are_fetched_within_bounds(server: http.server.HTTPServer, path: str) -> None:
    fetch = DidWebFetcher(LOCAL)
    port = server.server_address[1]
    assert fetch(f"http://127.0.0.1:{port}/plain") == b"xxxxx"
    with pytest.raises(DidUnresolvable):
        fetch(f"http://127.0.0.1:{port}/{path}")
    fetch.close()


def test_a_node_that_is_just_starting_is_no_refusal() -> None:
    fetch = DidWebFetcher(LOCAL)
    with pytest.raises(DidUnreachable) as error:
        fetch("http://127.0.0.1:1/did.json")
    assert error.value.status == 503  # so that its message is sent again, not given up
    fetch.close()


def test_a_guarded_fetch_refuses_loopback() -> None:
    fetch = DidWebFetcher(PUBLIC)
    for url in ("https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x"):
        with pytest.raises(AddressForbidden):
            fetch(url)
    fetch.close()


def test_a_plain_socket_is_guarded_the_same(server: http.server.HTTPServer) -> None:
    port = server.server_address[1]

    def inside(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    guarded_socket("a.example", port, LOCAL, 1, "http", inside).close()
    for egress, scheme in ((PUBLIC, "https"), (PUBLIC, "http"), (LOCAL, "ftp")):
        with pytest.raises(AddressForbidden):
            guarded_socket("a.example", port, egress, 1, scheme, inside)
    with pytest.raises(OSError, match="refused"):
        guarded_socket("a.example", 1, LOCAL, 1, "http", inside)
    with pytest.raises(OSError):
        guarded_socket("a" * 70 + ".example", port, LOCAL, 1, "http")


@pytest.fixture
def dead() -> Iterator[int]:
    """A port at which no address of loopback takes or refuses a connection."""
    with socket.socket() as server, ExitStack() as held:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):  # what fills its backlog; what comes after is dropped
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_a_name_with_many_dead_addresses_takes_the_time_of_one(dead: int) -> None:
    def all_dead(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"] * 40

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        guarded_socket("a.example", dead, LOCAL, 0.4, "http", all_dead)
    assert time.monotonic() - began < 4, "forty times the time of one are 16 seconds"


def test_a_dead_address_leaves_time_for_the_next(dead: int) -> None:
    with socket.create_server(("127.0.0.2", dead)):

        def second(_host: str, _port: int) -> list[str]:
            return ["127.0.0.1", "127.0.0.2"]

        with guarded_socket("a.example", dead, LOCAL, 2.0, "http", second) as made:
            assert made.getpeername() == ("127.0.0.2", dead)
            left = made.gettimeout()
    assert left is not None
    assert left < 1.5, "what TLS may take comes out of the same time"

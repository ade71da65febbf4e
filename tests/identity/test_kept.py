"""Kept connections to peers: reused when whole, and no answer is believed that is not framed."""

from __future__ import annotations

import gzip
import http.server
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from yunhe.identity import AddressForbidden
from yunhe.identity.guard import GuardedClient, GuardedTransport, ask
from yunhe.kernel import limits
from yunhe.kernel.egress import Egress

LOCAL = Egress(local=True)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """A server that answers each request with the next of its answers, byte for byte."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.asked: list[bytes] = []
        self.connections = 0
        self.hang_up = False  # after each answer, whatever it said
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/x"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(ConnectionResetError):  # our client may hang up first
            while asked := connection.recv(65536):
                self.asked.append(asked)
                last = self.hang_up  # as it was before the test had this answer
                connection.sendall(self.answers.pop(0))
                if last:
                    return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    yield made
    made.close()


@pytest.fixture
def peer() -> Iterator[httpx.Client]:
    with GuardedClient(LOCAL, 2.0) as made:
        yield made


def test_a_whole_answer_leaves_its_connection_to_the_next(
    server: Scripted, peer: httpx.Client
) -> None:
    chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    server.answers = [OK, chunked, b"HTTP/1.1 204 No Content\r\n\r\n", OK]
    assert peer.post(server.url, json={"a": 1}).text == "ok"
    assert peer.get(server.url).text == "hello"
    assert peer.get(server.url).status_code == 204
    assert peer.get(server.url).text == "ok"
    assert server.connections == 1
    assert server.asked[0].startswith(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert server.asked[0].endswith(b'\r\n\r\n{"a":1}')


def test_what_comes_before_the_answer_is_passed_over(server: Scripted, peer: httpx.Client) -> None:
    server.answers = [b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n" + OK]
    got = peer.get(server.url)
    assert (got.status_code, got.text, "x-early" in got.headers) == (200, "ok", False)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"garbage",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_what_was_not_asked_for_is_nobodys_answer(
    server: Scripted, peer: httpx.Client, answer: bytes
) -> None:
    server.answers = [answer, OK]
    assert peer.get(server.url).text == "ok"
    assert peer.get(server.url).text == "ok"
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_half_an_answer_is_an_error(server: Scripted, peer: httpx.Client, answer: bytes) -> None:
    server.answers, server.hang_up = [answer], True
    with pytest.raises(httpx.TransportError):
        peer.get(server.url)


def test_a_head_without_end_is_read_no_further_than_its_bound(
    server: Scripted, peer: httpx.Client
) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nX: " + b"x" * limits.HEAD_BYTES_MAX]
    with pytest.raises(httpx.RemoteProtocolError, match="head of the answer is too large"):
        peer.get(server.url)


def test_a_body_may_end_with_its_connection(server: Scripted, peer: httpx.Client) -> None:
    server.answers, server.hang_up = [b"HTTP/1.1 200 OK\r\n\r\nall of it", OK], True
    assert peer.get(server.url).text == "all of it"
    assert peer.get(server.url).text == "ok"


def test_a_connection_that_its_other_side_closed_is_not_asked(
    server: Scripted, peer: httpx.Client
) -> None:
    server.answers, server.hang_up = [OK, OK], True
    assert peer.get(server.url).text == "ok"
    threading.Event().wait(0.05)
    assert peer.get(server.url).text == "ok"
    assert server.connections == 2


def test_a_body_left_unread_ends_its_connection(server: Scripted, peer: httpx.Client) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", OK]
    with peer.stream("GET", server.url) as got:
        assert got.status_code == 200
    assert peer.get(server.url).text == "ok"
    assert server.connections == 2


def test_a_header_is_one_line(server: Scripted, peer: httpx.Client) -> None:
    with pytest.raises(httpx.LocalProtocolError):
        peer.get(server.url, headers={"X": "a\r\nY: b"})
    with pytest.raises(httpx.LocalProtocolError):
        peer.post(server.url, content=iter([b"a"]))
    assert server.asked == []


def test_a_silent_peer_and_a_closed_port_time_out_or_fail(server: Scripted) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\n"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with GuardedClient(LOCAL, 0.2) as peer:
        with pytest.raises(httpx.ReadTimeout):
            peer.get(server.url)
        with pytest.raises(httpx.ConnectError):
            peer.get(closed)


def test_no_more_connections_than_there_are(server: Scripted) -> None:
    server.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", OK]
    guarded = GuardedTransport(LOCAL, connections_max=1)
    with httpx.Client(transport=guarded, timeout=0.2, trust_env=False) as peer:
        with peer.stream("GET", server.url), pytest.raises(httpx.PoolTimeout):
            peer.get(server.url)
        assert peer.get(server.url).text == "ok"


def _zipped(body: bytes) -> bytes:
    raw = gzip.compress(body)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: GZip\r\nLink: <a>\r\nlink: <b>\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(raw) + raw


def test_a_message_says_the_same_with_httpx_and_without(server: Scripted) -> None:
    server.answers = [OK, OK, _zipped(b"x" * 5000), _zipped(b"x" * 5000)]
    said = {"Accept": "application/json", "Content-Type": "application/json"}
    with (
        GuardedClient(LOCAL, 2.0) as quick,
        httpx.Client(transport=GuardedTransport(LOCAL)) as slow,
    ):
        for content in (b'{"a":1}', None):
            got = [
                ask(peer, "POST" if content else "GET", server.url, said, content, 9000)
                for peer in (quick, slow)
            ]
            assert got[0] == got[1]
            heads = [sorted(asked.lower().split(b"\r\n")) for asked in server.asked[-2:]]
            assert heads[0] == heads[1]
    assert (got[0].body, got[0].link) == (b"x" * 5000, "<a>, <b>")


def test_an_answer_over_the_bound_is_not_read_on(server: Scripted) -> None:
    server.answers = [_zipped(b"x" * 50_000_000), b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 900]
    server.answers += [b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno gzip", OK]
    with GuardedClient(LOCAL, 2.0) as peer:
        assert len(ask(peer, "GET", server.url, {}, None, 1000).body) == 1001
        server.hang_up = True
        assert len(ask(peer, "GET", server.url, {}, None, 1000).body) == 900
        with pytest.raises(httpx.DecodingError):
            ask(peer, "GET", server.url, {}, None, 1000)
        assert ask(peer, "GET", server.url, {}, None, 1000).body == b"ok"


@pytest.mark.parametrize("tail", ["/a/../b", "/.well-known/x", "/a?b=c", "/a b", "/ä", "//x", ""])
def test_an_address_of_two_readings_is_for_httpx_to_read(server: Scripted, tail: str) -> None:
    with GuardedClient(LOCAL, 2.0) as peer:
        url = server.url.removesuffix("/x") + tail
        assert peer.plainly("GET", url, {}, None, 10) is None
        for other in (url.replace("127", "user@127"), "https://x:443/a", "http://x:99999/a"):
            assert peer.plainly("GET", other, {}, None, 10) is None


def test_a_client_with_hooks_is_asked_with_its_hooks(server: Scripted) -> None:
    def say(request: httpx.Request) -> None:
        request.headers["authorization"] = "said by the hook"

    server.answers = [OK]
    with GuardedClient(LOCAL, 2.0) as peer:
        peer.event_hooks = {"request": [say]}
        ask(peer, "GET", server.url, {"Authorization": "plain"}, None, 10)
    assert b"said by the hook" in server.asked[0]
    assert b"plain" not in server.asked[0]


def test_what_is_asked_plainly_is_guarded_the_same(server: Scripted) -> None:
    with GuardedClient(Egress(), 2.0) as peer:
        for scheme in ("http", "https"):
            with pytest.raises(AddressForbidden):
                ask(peer, "GET", server.url.replace("http", scheme), {}, None, 10)
    with GuardedClient(LOCAL, 2.0) as peer, pytest.raises(httpx.LocalProtocolError):
        ask(peer, "GET", server.url, {"X": "a\r\nY: b"}, None, 10)
    assert server.asked == []


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a TLS server that is `peer.example`, by an authority this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("peer.example")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    made = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made.server_address[1]
    made.shutdown()
    made.server_close()


def test_tls_is_for_the_name_and_not_the_address(secure: int) -> None:
    with GuardedClient(LOCAL, 5.0, lambda _host, _port: ["127.0.0.1"]) as peer:
        assert peer.get(f"https://peer.example:{secure}/no-such").status_code == 404
        with pytest.raises(httpx.ConnectError):
            peer.get(f"https://other.example:{secure}/")


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"y"),
    ],
    ids=["head", "trailers", "extension", "body"],
)
def test_what_only_drips_is_given_up_in_time(head: bytes, part: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.recv(65536)
                connection.sendall(head)
                while True:
                    time.sleep(0.1)
                    connection.sendall(part)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        with GuardedClient(LOCAL, 0.5) as peer, pytest.raises(httpx.ReadTimeout):
            peer.get(f"http://127.0.0.1:{server.getsockname()[1]}/x")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("coding", ["gzip, gzip, gzip", "gzip,gzip", "deflate", "gzip, identity"])
@pytest.mark.parametrize("query", ["", "?page=2"])
def test_what_is_packed_in_a_way_nobody_asked_for_is_not_unpacked(
    server: Scripted, coding: str, query: str
) -> None:
    """An HTTP library unpacks 270 bytes of three layers to a gigabyte before it shows the first."""
    raw = bytes(64 << 20)
    for _ in range(3):
        raw = gzip.compress(raw)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(raw)}\r\n\r\n"
    server.answers = [head.encode() + raw]
    tracemalloc.start()
    try:
        with GuardedClient(LOCAL, 5.0) as peer, pytest.raises(httpx.DecodingError):
            ask(peer, "GET", server.url + query, {}, None, 65536)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("query", ["", "?page=2"])
def test_what_is_packed_once_is_unpacked_to_its_bound(server: Scripted, query: str) -> None:
    server.answers = [_zipped(bytes(64 << 20))]
    tracemalloc.start()
    try:
        with GuardedClient(LOCAL, 5.0) as peer:
            assert len(ask(peer, "GET", server.url + query, {}, None, 65536).body) == 65537
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()

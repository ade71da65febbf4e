"""HTTP/1.1 over kept connections, parsed by the C parser that our own server uses too.

In: httpx requests, and a function that opens checked sockets. Out: httpx responses, whose bodies
are read as they are asked for. Bounds are the caller's, but for the head; a message between nodes
costs half of what it does through httpx's own transport, all of which is Python.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import httptools
import httpx

from yunhe.kernel import limits
from yunhe.kernel.sockets import quiet

Key = tuple[str, str, int]  # scheme, host, port
Open = Callable[[str, str, int, float | None], socket.socket]

_READ_BYTES: Final = 65536
_IDLE_S_MAX: Final = 15.0
_WHOLE_TIMES: Final = 3  # how often the wait for one part the whole answer may take
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class _Answer:
    """What the parser has understood so far; httptools calls it back."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.headed = False  # the head of the answer itself is there, not of a 1xx before it
        self.complete = False
        self.keep = False

    def feed(self, data: bytes) -> None:
        """Parse what arrived; raises httpx.RemoteProtocolError."""
        self._head_bytes += 0 if self.headed else len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keep = False  # what follows a whole answer unasked is nobody's
            if not self.complete:
                raise httpx.RemoteProtocolError(str(error)) from error
        if not self.headed and self._head_bytes > limits.HEAD_BYTES_MAX:
            raise httpx.RemoteProtocolError("the head of the answer is too large")

    def ended(self) -> None:
        """The other side closed: the end of a body without a length, else too early."""
        framed = any(
            n.lower() in (b"content-length", b"transfer-encoding") for n, _ in self.headers
        )
        if not self.headed or framed:
            raise httpx.RemoteProtocolError("the other side closed before the end of its answer")
        self.complete, self.keep = True, False

    def take(self) -> bytes:
        """What is there of the body and was not taken yet."""
        taken, self._parts = b"".join(self._parts), []
        return taken

    def on_message_begin(self) -> None:
        """An answer begins: the first, or the one after a 1xx."""
        if self.complete:
            raise ValueError("an answer that nobody asked for")
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head, or a trailer, which nobody reads."""
        if not self.headed:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is over."""
        self.status = self._parser.get_status_code()
        self.headed = self.status >= 200

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._parts.append(data)

    def on_message_complete(self) -> None:
        """All of it is there."""
        if self.headed:
            self.complete = True
            self.keep = bool(self._parser.should_keep_alive())


class Connections:
    """Kept connections by host; a request takes one or opens one. Thread-safe."""

    def __init__(self, open_: Open, most: int) -> None:
        """`open_(scheme, host, port, timeout_s)` gives a checked TCP connection."""
        self._open, self._most = open_, most
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._room = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: dict[Key, list[tuple[socket.socket, float]]] = {}
        self._closed = False

    def send(self, request: httpx.Request) -> httpx.Response:
        """One request; raises httpx.TransportError, and what `open_` raises but OSError."""
        url, message = request.url, _message(request)
        key = url.scheme, url.raw_host.decode(), url.port or _DEFAULT_PORTS[url.scheme]
        body = self.exchange(key, message, request.extensions.get("timeout", {}))
        return httpx.Response(body.answer.status, headers=body.answer.headers, stream=body)

    def exchange(self, key: Key, message: bytes, waits: Mapping[str, float | None]) -> Exchange:
        """Send the bytes of one request, read the head of its answer; to be closed by the caller.

        `waits`: seconds for pool, connect, write and read, as httpx names them. Raises as `send`.
        """
        if not self._room.acquire(timeout=_or(waits.get("pool"), -1)):
            raise httpx.PoolTimeout("every connection is in use")
        body = Exchange(self, key, waits.get("read"))
        try:
            body.sock = self._take(key) or self._connect(key, waits.get("connect"))
            body.ask(message, waits.get("write"))
            return body
        except BaseException:
            body.close()
            raise

    def close(self) -> None:
        """Close what is kept; what is in use closes when it ends."""
        with self._lock:
            self._closed = True
            kept = [sock for each in self._idle.values() for sock, _ in each]
            self._idle.clear()
        for sock in kept:
            _close(sock)

    def _connect(self, key: Key, timeout_s: float | None) -> socket.socket:
        scheme, host, port = key
        sock = None
        try:
            sock = self._open(scheme, host, port, timeout_s)
            return sock if scheme == "http" else self._tls.wrap_socket(sock, server_hostname=host)
        except TimeoutError as error:
            _close(sock)
            raise httpx.ConnectTimeout(str(error)) from error
        except OSError as error:
            _close(sock)
            raise httpx.ConnectError(str(error)) from error

    def _take(self, key: Key) -> socket.socket | None:
        while True:
            with self._lock:
                idle = self._idle.get(key)
                if not idle:
                    return None
                sock, since = idle.pop()
                if not idle:
                    del self._idle[key]
            if time.monotonic() - since < _IDLE_S_MAX and quiet(sock):
                return sock
            _close(sock)

    def done(self, key: Key, sock: socket.socket | None, keep: bool) -> None:
        """A connection is free, to be kept or closed."""
        now = time.monotonic()
        with self._lock:
            closing = self._expired(now)
            if keep and not self._closed and sock is not None and self._kept() < self._most:
                self._idle.setdefault(key, []).append((sock, now))
            else:
                closing.append(sock)
        for each in closing:
            _close(each)
        self._room.release()

    def _kept(self) -> int:
        return sum(map(len, self._idle.values()))

    def _expired(self, now: float) -> list[socket.socket | None]:
        """What was idle for too long, taken out; the oldest of a host stand first."""
        gone: list[socket.socket | None] = []
        for key, idle in list(self._idle.items()):
            while idle and now - idle[0][1] >= _IDLE_S_MAX:
                gone.append(idle.pop(0)[0])
            if not idle:
                del self._idle[key]
        return gone


class Exchange(httpx.SyncByteStream):
    """One exchange: asked, then the body as it arrives; closing gives the connection back."""

    def __init__(self, home: Connections, key: Key, read_s: float | None) -> None:
        self._home, self._key, self._read_s = home, key, read_s
        self._ends = math.inf  # of the whole answer, however small its parts are
        self._open = True
        self.sock: socket.socket | None = None
        self.answer = _Answer()

    def ask(self, message: bytes, write_s: float | None) -> None:
        """Send the request, and read the head of its answer."""
        if self.sock is None:
            raise httpx.ConnectError("no connection")
        try:
            self.sock.settimeout(write_s)
            self.sock.sendall(message)
        except TimeoutError as error:
            raise httpx.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpx.WriteError(str(error)) from error
        if self._read_s is not None:
            self._ends = time.monotonic() + _WHOLE_TIMES * self._read_s
        until = self._patience()
        while not self.answer.headed:
            self._read(until)

    def _patience(self) -> float:
        """When the head, or the next part of the body, must have come, however it drips."""
        if self._read_s is None:
            return math.inf
        return min(time.monotonic() + self._read_s, self._ends)

    def _read(self, until: float) -> None:
        if self.sock is None:
            raise httpx.ReadError("no connection")
        try:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("it only drips")
            self.sock.settimeout(None if left == math.inf else left)
            data = self.sock.recv(_READ_BYTES)
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error
        if data:
            self.answer.feed(data)
        else:
            self.answer.ended()

    def __iter__(self) -> Iterator[bytes]:
        until = self._patience()
        while True:
            if part := self.answer.take():
                yield part
                until = self._patience()
            if self.answer.complete:
                return
            self._read(until)

    def close(self) -> None:
        """The end, whole or not; idempotent."""
        if self._open:
            self._open = False
            self._home.done(self._key, self.sock, self.answer.complete and self.answer.keep)


def _message(request: httpx.Request) -> bytes:
    """The bytes of a request; raises httpx.LocalProtocolError for what would say more than one."""
    body = b"".join(request.stream)  # type: ignore[arg-type]  # our clients are synchronous
    if "transfer-encoding" in request.headers:
        raise httpx.LocalProtocolError("a body without a length")
    return framed(request.method.encode(), request.url.raw_path, request.headers.raw, body)


def framed(
    method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bytes:
    """The bytes of a request; raises httpx.LocalProtocolError for what would say more than one."""
    lines = [b"%b %b HTTP/1.1" % (method, target), *(b"%b: %b" % pair for pair in headers)]
    head, ends = b"\r\n".join(lines), len(lines) - 1
    if b"\0" in head or head.count(b"\r") != ends or head.count(b"\n") != ends:
        raise httpx.LocalProtocolError("a line of the head holds more than one")
    return head + b"\r\n\r\n" + body


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        with suppress(OSError):
            sock.close()


def _or(seconds: float | None, otherwise: float) -> float:
    return otherwise if seconds is None else seconds

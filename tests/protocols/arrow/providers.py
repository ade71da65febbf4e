"""A provider of any temper behind a real socket, and a relay that asks it."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from yunhe.control import Consumed
from yunhe.kernel.errors import YunheError
from yunhe.protocols import arrow

ARROW = "application/vnd.apache.arrow.stream"


def ipc(rows: int = 3) -> bytes:
    """A whole Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    table = pa.table({"n": list(range(rows))})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def head(status: str, body: bytes, kind: str = ARROW, more: str = "") -> bytes:
    """A response whose length is that of `body`."""
    lines = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return lines.encode() + body


def refusal(code: str, status: str = "403 Forbidden", **more: Any) -> bytes:
    """A problem as a provider says it."""
    body = {"code": code, "detail": "no", "remedy": "ask", **more}
    return head(status, json.dumps(body).encode(), "application/problem+json")


@dataclass
class Provider:
    """Answers each request with the next of `answers` (bytes, then what to do), and keeps it.

    What to do: "keep" the connection, "close" or "hold" it; bytes are said again and again.
    """

    answers: list[tuple[bytes, str | bytes]] = field(default_factory=list)
    seen: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0
    go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self.go_on.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as stream, suppress(OSError):
            while self._one(client, stream):
                pass

    def _one(self, client: socket.socket, stream: Any) -> bool:
        length = 0
        line = stream.readline()
        if not line:
            return False
        while line.strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            line = stream.readline()
        self.seen.append(json.loads(stream.read(length)))
        answer, then = self.answers.pop(0)
        client.sendall(answer)
        while isinstance(then, bytes) and not self.go_on.wait(0.02):
            client.sendall(then)
        if then == "hold":
            self.go_on.wait(20)
        return then == "keep"


@dataclass
class Books:
    """What the relay writes down."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def begin_use(self, use_id: str, contract_id: str, purpose: str) -> None:
        self.told.append(("begin", use_id))

    def forget_use(self, use_id: str) -> None:
        self.told.append(("forget", use_id))

    def cut_use(self, use_id: str, rows: int, byte_count: int, digest: str) -> None:
        self.told.append(("cut", use_id, rows, byte_count))

    def receipt(self, consumed: Consumed) -> None:
        self.told.append(("receipt", consumed.use_id, consumed.rows, consumed.bytes))


@dataclass
class Desk:
    """A relay with its provider and its books."""

    relay: arrow.Relay
    provider: Provider
    books: Books
    endpoint: list[str]
    token: list[str]

    def open(self, use_id: str = "use-1") -> arrow.Passing:
        """Ask under the one contract."""
        return self.relay.open("c", arrow.Asked(use_id, "SELECT 1", "p"))

    def refused(self, use_id: str = "use-1") -> YunheError:
        """The refusal that an `open` meets."""
        with pytest.raises(YunheError) as caught:
            self.open(use_id)
        problem = caught.value.problem()
        assert problem["code"] == caught.value.code
        assert problem["detail"]
        assert 400 <= problem["status"] == caught.value.status < 600
        return caught.value


def chunked(*bodies: bytes) -> bytes:
    """A response in chunks, without the last one."""
    start = f"HTTP/1.1 200 OK\r\nContent-Type: {ARROW}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return start.encode() + b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies)

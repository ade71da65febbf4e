"""A link of a stated rate: a TCP relay on loopback with a token bucket on what leaves the server.

In: the port of a server. Out: a port that leads there. One bucket a link, shared by all of its
connections, as on a real line; without a rate it only passes on.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

_CHUNK = 64 << 10


class Link:
    """A context manager; `shape` sets the rate in bytes a second, 0 for none."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._server.getsockname()[1]
        self._rate = 0
        self._free_at = 0.0
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def shape(self, bytes_per_s: int) -> None:
        """From now on at most so many bytes a second leave the server."""
        self._rate = bytes_per_s

    def __enter__(self) -> Link:
        self._accepting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()  # the node is not up yet; the caller sees it closed
                continue
            for one, other, shaped in ((client, server, False), (server, client, True)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass, args=(one, other, shaped), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, shaped: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if shaped and self._rate:
                    self._wait(len(data))
                sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _wait(self, size: int) -> None:
        with self._lock:
            start = max(time.monotonic(), self._free_at)
            self._free_at = start + size / self._rate
            until = self._free_at
        time.sleep(max(0.0, until - time.monotonic()))

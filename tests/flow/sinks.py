"""A third party's HTTP address that takes pushes: it may read slowly, refuse, or answer late."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BUFFER_BYTES = 65_536


class PlainSink:
    """Takes whole bodies by POST or PUT; `gate` cleared: it reads `read_first` bytes and waits."""

    def __init__(self, read_first: int = 0, statuses: tuple[int, ...] = (200,)) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.read_first = read_first
        self.statuses = list(statuses)  # one an attempt; the last stays
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.come = 0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 60

            def do_POST(self) -> None:
                sink.take(self)

            do_PUT = do_POST  # noqa: N815  the name that http.server looks for

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        # A small window, so that what is not read is not sent either.
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        self._server.server_bind()
        self._server.server_activate()
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/drop?box=1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        self.heads.append({k.lower(): v for k, v in handler.headers.items()})
        wanted, body = int(handler.headers["content-length"]), b""
        self.come = 0
        while len(body) < wanted:
            if len(body) >= self.read_first:
                self.gate.wait(60)
            part = handler.rfile.read1(min(BUFFER_BYTES, wanted - len(body)))
            if not part:
                return
            body += part
            self.come = len(body)
        self.bodies.append(body)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        handler.send_response(status)
        handler.send_header("content-length", "0")
        handler.end_headers()

    def close(self) -> None:
        """Let everyone go."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


class LyingSink:
    """Takes half of a ranged push, hangs up, and from then on says that one byte has come."""

    def __init__(self) -> None:
        self.come = 0
        self.lied = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/drop"

    def __enter__(self) -> LyingSink:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        head = connection.recv(65536)
        if head.startswith(b"HEAD"):
            offset = 1 if self.come else 0
            connection.sendall(b"HTTP/1.1 204 No Content\r\nUpload-Offset: %d\r\n\r\n" % offset)
        elif self.come:
            self.lied = True
        else:
            while self.come < 25_000_000 and (part := connection.recv(1 << 20)):
                self.come += len(part)

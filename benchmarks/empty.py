"""The floor's server: an ASGI app that answers at once, in a process of its own under uvicorn.

With the floor's other two parts: durable commits of raw sqlite3, and hops over kept connections.
"""

from __future__ import annotations

import http.client
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import uvicorn
from starlette.types import Receive, Scope, Send

BODY = b'{"use_id": "00000000-0000-4000-8000-000000000000", "sql": "SELECT 1", "purpose": "p"}'


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Read the body, answer 200 with two bytes."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Floor:
    """An empty server and a database; `hops` and `commits` are what a path is held against."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "floor.db", isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "benchmarks.empty", str(self._port)]
        self._child = subprocess.Popen(command)
        self._http = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        until = time.monotonic() + 30
        while True:
            made = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                made.connect()
                return made
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    self._child.kill()
                    raise
                time.sleep(0.05)

    def hops(self, number: int) -> None:
        """So many empty requests, one after the other, on one kept connection."""
        for _ in range(number):
            self._http.request("POST", "/", BODY, {"Content-Type": "application/json"})
            self._http.getresponse().read()

    def commits(self, number: int) -> None:
        """So many durable commits of one row of half a kilobyte."""
        for _ in range(number):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT INTO t (body) VALUES (?)", ("x" * 500,))
            self._db.execute("COMMIT")

    def __enter__(self) -> Floor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        self._db.close()
        self._child.terminate()
        self._child.wait(10)


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)

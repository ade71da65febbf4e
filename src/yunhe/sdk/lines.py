"""The connections on which a blocking client asks its node, kept between two requests.

In: calls and queries. Out: answers, or for a query a connection and the head of its answer.
http.client, because pyarrow reads from its socket, and because a small call through the layers of
httpx costs three times as much.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from yunhe.kernel.sockets import quiet
from yunhe.sdk.call import Call
from yunhe.sdk.errors import unreachable
from yunhe.sdk.target import API, Target

KEPT_MAX = 20
CONNECT_TIMEOUT_S = 5.0

Asked = tuple[http.client.HTTPConnection, http.client.HTTPResponse]


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    again: bool  # whether it may be sent twice


class Lines:
    """At most `KEPT_MAX` idle connections to one node; thread-safe, one a client."""

    def __init__(self, where: Target) -> None:
        self._where = where
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def call(self, call: Call[Any]) -> tuple[int, bytes]:
        """Send a call; the status and the body of its answer. Raises NodeUnreachable."""
        headers, body = self._where.headers(), None
        if call.body is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(call.body, allow_nan=False).encode()
        query = f"?{_written(call.params)}" if call.params else ""
        path, timeout_s = f"{call.path}{query}", self._where.timeout_s + call.wait_s
        request = _Request(call.method, path, body, headers, again=call.method == "GET")
        connection, response = self._asked(request, timeout_s)
        try:
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise unreachable(self._where.base, error) from error
        self.give_back(connection)
        return response.status, said

    def ask(
        self, query: bytes, headers: Mapping[str, str], timeout_s: float, path: str = "/sql"
    ) -> Asked:
        """Send a query; `timeout_s` bounds each wait for bytes. Raises NodeUnreachable.

        The use_id in the query makes it safe to send it twice: the same one never charges twice.
        """
        return self._asked(_Request("POST", path, query, headers, again=True), timeout_s)

    def _asked(self, request: _Request, timeout_s: float) -> Asked:
        """The head of the answer. A kept connection may have died unseen: then once more anew."""
        kept = self._take()
        if kept is not None:
            kept.sock.settimeout(timeout_s)
            try:
                return kept, self._send(kept, request)
            except (OSError, http.client.HTTPException) as error:
                kept.close()
                if not (request.again and isinstance(error, ConnectionError)):
                    raise unreachable(self._where.base, error) from error
        fresh = self._connection()
        try:
            fresh.connect()
            fresh.sock.settimeout(timeout_s)
            return fresh, self._send(fresh, request)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            raise unreachable(self._where.base, error) from error

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            if connection.sock is not None and not self._closed and len(self._idle) < KEPT_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle, and what is given back from now on."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _send(
        self, connection: http.client.HTTPConnection, request: _Request
    ) -> http.client.HTTPResponse:
        path = f"{self._where.url.path}{API}{request.path}"
        connection.request(request.method, path, request.body, request.headers)
        return connection.getresponse()

    def _take(self) -> http.client.HTTPConnection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if quiet(connection.sock):
                return connection
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        where = self._where
        host, port = str(where.url.hostname), where.url.port
        if where.tls is None:
            return http.client.HTTPConnection(host, port, CONNECT_TIMEOUT_S)
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_TIMEOUT_S, context=where.tls)


def _written(params: Mapping[str, Any]) -> str:
    """Parameters as a query string, in JSON's words for true and false."""
    return urlencode(
        [
            (name, json.dumps(each) if isinstance(each, bool) else each)
            for name, value in params.items()
            for each in (value if isinstance(value, list | tuple) else (value,))
        ]
    )

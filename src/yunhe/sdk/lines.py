"""The connections on which a client asks its node for data, kept between two queries.

In: the body of a query. Out: a connection and the head of its answer. A query of milliseconds
would else pay for a new connection each time; http.client, because pyarrow reads from its socket.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping

from yunhe.kernel.sockets import quiet
from yunhe.sdk.errors import unreachable
from yunhe.sdk.target import API, Target

KEPT_MAX = 4

Asked = tuple[http.client.HTTPConnection, http.client.HTTPResponse]


class Lines:
    """At most `KEPT_MAX` idle connections to one node; thread-safe, one a client."""

    def __init__(self, where: Target) -> None:
        self._where = where
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def ask(
        self, query: bytes, headers: Mapping[str, str], timeout_s: float, path: str = "/sql"
    ) -> Asked:
        """Send a query; `timeout_s` bounds each wait for bytes. Raises NodeUnreachable.

        A kept connection may have died unseen: then once more on a fresh one. The use_id in the
        query makes that safe, as the same one never charges twice.
        """
        kept = self._take()
        if kept is not None:
            kept.sock.settimeout(timeout_s)
            try:
                return kept, self._send(kept, query, headers, path)
            except (ConnectionError, http.client.RemoteDisconnected):
                kept.close()
            except (OSError, http.client.HTTPException) as error:
                kept.close()
                raise unreachable(self._where.base, error) from error
        fresh = self._connection(timeout_s)
        try:
            return fresh, self._send(fresh, query, headers, path)
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
        self,
        connection: http.client.HTTPConnection,
        query: bytes,
        headers: Mapping[str, str],
        path: str,
    ) -> http.client.HTTPResponse:
        connection.request("POST", f"{self._where.url.path}{API}{path}", query, headers)
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

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        where = self._where
        host, port = str(where.url.hostname), where.url.port
        if where.tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=where.tls)
        return http.client.HTTPConnection(host, port, timeout=timeout_s)

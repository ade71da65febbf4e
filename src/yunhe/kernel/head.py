"""Bounds for what a stranger sends before any of our code runs: request line and headers.

uvicorn's fast parser collects a head of any size for any time; a caller without a token could fill
the memory, or hold every connection there is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from yunhe.kernel import limits
from yunhe.kernel.outlet import WIRE, Wire


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 that hangs up over an unfinished head: HEAD_BYTES_MAX, HEAD_S_MAX."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head, self._head_bytes = True, 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; its first head is awaited from now."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._stop_waiting()
        self._head_timer = self.loop.call_later(limits.HEAD_S_MAX, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._await_head()  # an answer to the request before is still on its way
        elif not self.transport.is_closing():
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; a head that is still not over after the bound is refused."""
        self._head_bytes += len(data)
        super().data_received(data)
        over = self._in_head and self._head_bytes > limits.HEAD_BYTES_MAX
        if over and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """A new request begins."""
        self._in_head, self._head_bytes = True, 0
        self._await_head()
        super().on_message_begin()
        if self.scheme == "http":  # under TLS only the loop can write
            self.scope["extensions"] = {WIRE: Wire(self.transport)}  # type: ignore[dict-item]

    def on_headers_complete(self) -> None:
        """The head is over; bodies have their own bounds."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is over, too."""
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered; what of its body has not come is waited for no longer than a head."""
        super().on_response_complete()
        if not self._in_head and self.cycle is not None and self.cycle.more_body:
            self._await_head()


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, up: Callable[[], object]) -> None:
        super().__init__(config)
        self._up = up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        self._up()


def bounded_server(app: ASGIApp, host: str, port: int, up: Callable[[], object]) -> uvicorn.Server:
    """The HTTP server of an app, with the bounds it is served under; `up`: once it listens."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",  # start and stop are the node's own
        timeout_keep_alive=30,
        http=BoundedHead,
    )
    return _Server(config, up)

"""A bound for what a stranger sends before any of our code runs: request line and headers.

uvicorn's fast parser collects a head of any size; a caller without a token could fill the memory.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from yunhe.kernel import limits


class BoundedHead(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol that hangs up over HEAD_BYTES_MAX of unfinished head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head, self._head_bytes = True, 0

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
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is over; bodies have their own bounds."""
        self._in_head = False
        super().on_headers_complete()

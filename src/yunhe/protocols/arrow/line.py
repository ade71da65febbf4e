"""The line to a provider's data plane: HTTP/1.1 whose answers have an end.

In: a connected socket. Out: answers whose head comes within one time and one size, whatever it
is made of; a body is waited for from byte to byte, or as a whole where the caller says so.
The standard library bounds each line and each wait alone: a head that drips, trailers or
`100 Continue` without end would hold the thread of a use for ever.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from yunhe.kernel import limits

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _Feed(io.RawIOBase):
    """The bytes of a socket, some of them by a deadline and within a count."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._until: float | None = None
        self._left: int | None = None

    def hurry(self, until: float, bytes_max: int | None = None) -> None:
        """From here on everything by the instant `until` (monotonic), and about `bytes_max`."""
        self._until, self._left = until, bytes_max

    def rest(self) -> None:
        """From here on each wait for itself."""
        self._until = self._left = None

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """Raises TimeoutError, HTTPException where the bounds are reached."""
        if self._until is None:
            return self._raw.readinto(buffer)
        if self._left is not None and self._left < 0:
            raise http.client.HTTPException("the head of the answer is too large")
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it only drips")
        self._sock.settimeout(left)
        try:
            got = self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(limits.RELAY_S_MAX)
        if self._left is not None:
            self._left -= got or 0
        return got

    def close(self) -> None:
        """Let go of the socket, which its connection may keep."""
        self._raw.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """An answer whose head is bounded as a whole."""

    def __init__(self, sock: socket.socket, *args: Any, until: float, **named: Any) -> None:
        """`until`: when its head must have come, monotonic."""
        self._until = until
        super().__init__(sock, *args, **named)
        self.fp.close()
        self._feed = _Feed(sock)
        self.fp = io.BufferedReader(self._feed)

    def begin(self) -> None:
        """Read the head, and all that comes before it."""
        self._feed.hurry(self._until, limits.HEAD_BYTES_MAX)
        super().begin()
        self._feed.rest()

    def hurry(self) -> None:
        """What is left comes within RELAY_S_MAX, however it drips."""
        self._feed.hurry(time.monotonic() + limits.RELAY_S_MAX)


class Connection(http.client.HTTPConnection):
    """Remembers its socket, which http.client forgets once an answer ends the connection."""

    raw: socket.socket | None = None

    def answer(self, until: float) -> Answer:
        """The head of the answer, by the instant `until`; raises OSError, HTTPException."""
        # It is called, and never asked for its type.
        self.response_class = partial(Answer, until=until)  # type: ignore[assignment]
        found = self.getresponse()
        if not isinstance(found, Answer):
            raise TypeError(type(found).__name__)
        return found

"""The sending side of one HTTP/1.1 connection, lent by the event loop to one thread.

In: chunks of a body, in memory or in a pipe. Out: HTTP chunks on the socket. A gigabyte so costs
no turn of the loop and no copy in this process; the loop goes on reading and sees who hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final

from yunhe.kernel import limits

WIRE: Final = "yunhe.wire"  # the key of a `Wire` among the extensions of an ASGI scope
_END = b"\r\n"  # of a chunk, RFC 9112 section 7.1

Tick = Callable[[], object]


class Wire:
    """Lends the socket of a plain connection once the loop has written all that it had to."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    async def outlet(self) -> Outlet:
        """The socket's sending side; the loop must write nothing until it is closed.

        Raises TimeoutError where the client does not even take the head.
        """
        async with asyncio.timeout(limits.STALL_S_MAX):
            await asyncio.sleep(0)  # uvloop writes at the end of its turn
            while self._transport.get_write_buffer_size() and not self._transport.is_closing():
                await asyncio.sleep(0.001)
        lent = self._transport.get_extra_info("socket")
        # Of our own: the loop may close its descriptor, and the number be another connection's.
        return Outlet(socket.socket(fileno=os.dup(lent.fileno())))


class Outlet:
    """Writes HTTP chunks. For one thread; only `cut` is for any.

    `tick` is called twice a second while the reader takes nothing; what it raises ends the wait.
    Raises TimeoutError after STALL_S_MAX for one mebibyte, OSError where the reader is gone.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._room = select.poll()
        self._room.register(sock, select.POLLOUT)
        self._until = 0.0
        self._passed = 0  # since the deadline was set

    def chunk(self, data: memoryview | bytes, tick: Tick) -> None:
        """One whole HTTP chunk from memory; not empty."""
        self._renew()
        self._send([b"%x\r\n" % len(data), data, _END], tick)

    def begin(self, size: int, tick: Tick) -> None:
        """The head of a chunk whose `size` bytes follow by `splice`; then `end`."""
        self._renew()
        self._send([b"%x\r\n" % size], tick, socket.MSG_MORE)

    def splice(self, source: int, most: int, tick: Tick) -> int:
        """Move up to `most` bytes out of a pipe that is readable; 0 where its writer has gone."""
        while True:
            try:
                # Pages change hands: nothing is copied into or out of this process.
                done = os.splice(source, self._socket.fileno(), most, flags=_SPLICE)
            except BlockingIOError:
                self._wait(tick)
                continue
            self._count(done)
            return done

    def end(self, tick: Tick) -> None:
        """The end of a chunk."""
        self._send([_END], tick)

    def cut(self) -> None:
        """End the connection both ways; wakes the thread that waits here."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the sending side back; the connection stays with the loop."""
        self._socket.close()

    def _send(self, parts: list[memoryview | bytes], tick: Tick, flags: int = 0) -> None:
        left = [memoryview(part) for part in parts]
        while left:
            try:
                done = self._socket.sendmsg(left, (), flags)
            except BlockingIOError:
                self._wait(tick)
                continue
            self._count(done)
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if left:
                left[0] = left[0][done:]

    def _wait(self, tick: Tick) -> None:
        while True:
            left = self._until - monotonic()
            if left <= 0:
                raise TimeoutError("the reader takes nothing")
            if self._room.poll(min(left, limits.STREAM_CHECK_S) * 1000):
                return
            tick()

    def _renew(self) -> None:
        self._until, self._passed = monotonic() + limits.STALL_S_MAX, 0

    def _count(self, done: int) -> None:
        self._passed += done
        if self._passed >= limits.RELAY_CHUNK_BYTES:
            self._renew()


_SPLICE: Final = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MORE

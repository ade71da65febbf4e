"""A released result on its way out: watched while it flows, posted exactly once at its end.

In: a running query, its Grant, the verb that posts. Out: `Stream`, an iterator of Arrow IPC bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import TypeVar

from yunhe.control import Grant
from yunhe.dataplane.model import Governed
from yunhe.dataplane.process import Running
from yunhe.kernel import limits
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.outlet import Outlet

T = TypeVar("T")


class Watch:
    """Asks, at most every half second, whether the contract still stands; `ask` raises why not."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._next = monotonic() + limits.STREAM_CHECK_S

    def __call__(self) -> None:
        if monotonic() >= self._next:
            self._ask()
            self._next = monotonic() + limits.STREAM_CHECK_S


class Stream:
    """The released result: iterate for Arrow IPC bytes. Posted exactly once, at its end.

    The end is the last byte, an error (a terminated contract cuts within a second), or `close`:
    the HTTP face must call `close` when the client goes away. Then what was handed out is posted.
    """

    def __init__(
        self,
        running: Running,
        governed: Governed,
        grant: Grant,
        post: Callable[[Grant, int, int, bool], None],
        crash: CrashPoints,
        watch: Callable[[], None],
    ) -> None:
        self.use_id = grant.use_id
        self.groups_withheld = running.groups_withheld
        self.governed = governed
        self._running, self._chunks = running, iter(running)
        self._grant, self._settle = grant, post
        self._crash, self._watch = crash, watch
        self._started = self._posted = False
        self._lock = threading.Lock()  # a client may leave while another thread reads

    @property
    def rows(self) -> int:
        """Rows handed out so far; a frame counts from its first byte."""
        return self._running.rows

    @property
    def byte_count(self) -> int:
        """Bytes handed out so far."""
        return self._running.bytes

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self._step(lambda: next(self._chunks, None))
        if chunk is None:
            raise StopIteration
        return chunk

    def _step(self, step: Callable[[], T | None]) -> T | None:
        """Hand out the next piece; None, once posted, at the end."""
        with self._lock:
            if self._posted:
                return None
            self._crash.at("after_first_byte" if self._started else "before_first_byte")
            self._started = True
            try:
                self._watch()
                piece = step()
            except BaseException:
                self._post(complete=False)
                raise
            if piece is None:
                self._post(complete=True)
            return piece

    def pour(self, outlet: Outlet) -> bool:
        """As `__next__`, from the worker's pipe straight to the connection; False at the end."""
        return self._step(lambda: self._running.pour(outlet, self._watch)) is True

    def close(self) -> None:
        """Stop here and post what was handed out. Idempotent; from any thread."""
        self._running.stop()
        with self._lock:
            self._post(complete=False)

    def _post(self, *, complete: bool) -> None:
        if self._posted:
            return
        self._posted = True
        self._running.close()
        self._settle(self._grant, self.rows, self.byte_count, complete)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

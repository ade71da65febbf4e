"""A governed result on its way to a Flight client, and the watch over whoever stopped reading.

gRPC tells a server that its caller has gone only when it next writes. So one thread looks at every
running result a few times a second, and ends the use of whoever has cancelled or takes nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol
from weakref import WeakSet

from yunhe.dataplane import Parted
from yunhe.kernel import limits
from yunhe.kernel.chores import Chores
from yunhe.kernel.errors import YunheError
from yunhe.protocols.flight.batches import Batches, Chunks
from yunhe.protocols.flight.errors import StreamsBusy, refusal

log = logging.getLogger(__name__)


class Context(Protocol):
    """The part of pyarrow's ServerCallContext asked here; good while the call lives."""

    def is_cancelled(self) -> bool: ...
    def peer(self) -> str: ...


class Running:
    """What the watch holds of a result: it can be looked at and cut from any thread."""

    def __init__(
        self, chunks: Chunks, context: Context, handle: bytes, stands: Callable[[], object]
    ) -> None:
        """`stands` raises why the contract no longer binds."""
        self.context, self.handle, self.peer = context, handle, context.peer()
        self.moved = monotonic()
        self.why: YunheError | None = None
        self._chunks, self._stands = chunks, stands
        self._look_at = monotonic() + limits.STREAM_CHECK_S

    def look(self) -> None:
        """Cut it if its contract has ended, even where its reader takes nothing."""
        if monotonic() < self._look_at:
            return
        try:
            self._stands()
        except YunheError as error:
            self.why = error
            self.cut()
        self._look_at = monotonic() + limits.STREAM_CHECK_S

    def cut(self) -> None:
        """Stop the source and settle; whoever waits for it wakes up. Idempotent."""
        try:
            self._chunks.close()
        except YunheError as error:
            log.warning("the end of a use waits: %s", error)


class Reading:
    """Iterate for the batches. gRPC alone holds it: where it is dropped, the use ends."""

    def __init__(self, batches: Batches, running: Running, watch: Watch) -> None:
        self.schema = batches.schema
        self._batches, self._running, self._watch = batches, running, watch
        self._over = False
        watch.add(running)

    def __iter__(self) -> Reading:
        return self

    def __next__(self) -> Any:
        self._running.moved = monotonic()
        try:
            return next(self._batches)
        except StopIteration:
            self._end()
            raise
        except Exception as error:  # noqa: BLE001  all of them: see errors.told
            self._end()
            raise refusal(self._running.why or error) from None

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._watch.remove(self._running)  # first: the context is not ours for long
            self._running.cut()

    def __del__(self) -> None:
        self._end()  # the client has left in the middle


class Watch:
    """All results being read; `start` it, `stop` it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Running] = set()
        self._parted: WeakSet[Parted] = WeakSet()
        self._opening = 0
        self._looking = Chores("flight-watch", limits.FLIGHT_WATCH_S, self._look)
        self._hang_up: Callable[[str], object] = lambda _peer: None

    def start(self, hang_up: Callable[[str], object]) -> None:
        """Start looking; `hang_up` shuts the connection of a peer that takes nothing."""
        self._hang_up = hang_up
        self._looking.start()

    def stop(self) -> None:
        """Cut what runs and stop looking. Idempotent."""
        self._looking.stop()
        with self._lock:
            left = list(self._running)
        for running in left:
            running.cut()
        for parted in [*self._parted]:
            parted.expire()  # the use is posted now, not by the next start's recovery

    def parts(self, parted: Parted | None) -> None:
        """A result in parts is read from now on."""
        if parted is not None:
            self._parted.add(parted)

    def enter(self) -> None:
        """A place for one more result; raises StreamsBusy. `leave` where it comes to none."""
        with self._lock:
            if len(self._running) + self._opening >= limits.FLIGHT_STREAMS_MAX:
                raise StreamsBusy
            self._opening += 1

    def leave(self) -> None:
        """The place is free again."""
        with self._lock:
            self._opening -= 1

    def add(self, running: Running) -> None:
        """From now on this result is looked after."""
        with self._lock:
            self._running.add(running)

    def remove(self, running: Running) -> None:
        """It has ended; its context is not touched after this returns."""
        with self._lock:
            self._running.discard(running)

    def cancel(self, handle: bytes) -> bool:
        """Cut the result that was asked for with this ticket, if it runs."""
        with self._lock:
            found = [running for running in self._running if running.handle == handle]
        for running in found:
            running.cut()
        return bool(found)

    def _look(self) -> None:
        now = monotonic()
        with self._lock:
            gone = [each for each in self._running if each.context.is_cancelled()]
            left = self._running.difference(gone)
            stuck = [each for each in left if now - each.moved > limits.STALL_S_MAX]
        for running in (*gone, *stuck):
            running.cut()
        for running in stuck:
            self._hang_up(running.peer)  # else gRPC would wait for it for ever
        for running in left:
            running.look()

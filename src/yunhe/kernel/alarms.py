"""Calls to be made at their time, by one thread however many wait.

In: seconds and a call. Out: the call, made then. A `threading.Timer` is a thread for each that
waits: whoever can make us wait for it, a peer that refuses our messages, would take them all.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from time import monotonic

log = logging.getLogger(__name__)


class Alarms:
    """The calls that wait; kept while it is stopped, and made once it runs again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._condition = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()  # of two at one time the first comes first
        self._running = False
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, call: Callable[[], object]) -> None:
        """Make `call` in so many seconds; it is short, and waits for nothing."""
        with self._condition:
            heapq.heappush(self._waiting, (monotonic() + seconds, next(self._number), call))
            self._condition.notify()

    def start(self) -> None:
        """Make calls from here on."""
        self._running = True
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Make no more."""
        with self._condition:
            self._running = False
            self._condition.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:  # the others are still to be made
                log.exception("a call at its time failed")

    def _next(self) -> Callable[[], object] | None:
        """The next call, at its time; None once stopped."""
        with self._condition:
            while self._running:
                now = monotonic()
                if self._waiting and self._waiting[0][0] <= now:
                    return heapq.heappop(self._waiting)[2]
                self._condition.wait(self._waiting[0][0] - now if self._waiting else None)
            return None

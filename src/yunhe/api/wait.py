"""Long polls: a request sleeps on the event loop until a verb moves what it watches."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from yunhe.kernel import limits

T = TypeVar("T")


class Waiters:
    """Sleepers by key; `notify` may be called from any thread, after a commit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleepers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = (
            defaultdict(set)
        )

    def notify(self, key: str) -> None:
        """Wake whoever waits on `key`; they read the database again."""
        with self._lock:
            sleepers = list(self._sleepers.get(key, ()))
        for loop, event in sleepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, key: str, seconds: float) -> None:
        """Return when `key` is notified or after `seconds`."""
        with self._listening(key) as event:
            await _rung(event, seconds)

    @contextmanager
    def _listening(self, key: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        sleeper = (asyncio.get_running_loop(), event)
        with self._lock:
            self._sleepers[key].add(sleeper)
        try:
            yield event
        finally:
            with self._lock:
                self._sleepers[key].discard(sleeper)
                if not self._sleepers[key]:
                    del self._sleepers[key]

    async def until(
        self,
        key: str,
        seconds: float,
        read: Callable[[], Awaitable[T]],
        done: Callable[[T], bool],
    ) -> T:
        """What `read` gives once it is `done`, or after `seconds`.

        It reads again at every notice, and now and then without one: another replica's commit
        rings no bell here.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        with self._listening(key) as event:  # before the read: no notice falls between the two
            while True:
                event.clear()
                found = await read()
                left = deadline - asyncio.get_running_loop().time()
                if done(found) or left <= 0:
                    return found
                await _rung(event, min(left, limits.LONG_POLL_READ_S))


async def _rung(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()

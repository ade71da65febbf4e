"""Long polls: a request sleeps on the event loop until a verb moves what it watches."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from yunhe.kernel import limits

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Sleeper:
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event
    done: Callable[[Any], bool]


class Waiters:
    """Sleepers by key; `notify` may be called from any thread, after a commit."""

    def __init__(self, alone: bool = False) -> None:
        """`alone`: no other process commits to what is waited for, so that every move is told."""
        self._alone = alone
        self._lock = threading.Lock()
        self._sleepers: dict[str, set[_Sleeper]] = defaultdict(set)
        self._told: OrderedDict[str, object] = OrderedDict()  # the last notices, by key

    def notify(self, key: str, now: object) -> None:
        """Wake whoever waits for `key` to become as it is `now`; the others sleep on."""
        with self._lock:
            sleepers = list(self._sleepers.get(key, ()))
            if self._alone:
                self._told[key] = now
                self._told.move_to_end(key)
                while len(self._told) > limits.LONG_POLL_TOLD_MAX:
                    self._told.popitem(last=False)
        for sleeper in sleepers:
            if sleeper.done(now) and not sleeper.loop.is_closed():
                sleeper.loop.call_soon_threadsafe(sleeper.event.set)

    @contextmanager
    def _listening(self, key: str, done: Callable[[Any], bool]) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        sleeper = _Sleeper(asyncio.get_running_loop(), event, done)
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
    ) -> None:
        """Return once `key` is as `done` wants it, or after `seconds`.

        `read` says how it is when the wait begins, and now and then: another replica's commit
        rings no bell here. `done` is pure; notices are held against it in their own threads.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        with self._listening(key, done) as event:  # first: no notice falls between the two
            told: Any = self._told.get(key)  # what a read would find, where all is told here
            while not event.is_set() and not done(await read() if told is None else told):
                told = None
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await _rung(event, min(left, limits.LONG_POLL_READ_S))


async def _rung(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()

"""Whose turn it is in the outbox: conversations taken up, shared out fairly between peers.

In: a turn that a thread would take. Out: whether it may, and which of those put aside may go on
when one ends. Thread-safe; nothing of it outlives the process.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from yunhe.kernel import limits

if TYPE_CHECKING:
    from yunhe.kernel.outbox import Message


class Turn(NamedTuple):
    """A conversation that is to be taken up."""

    conversation: str
    peer: str
    head: Message | None


class Peers:
    """How many threads each peer holds: never all of them, and few where its last message failed,
    so that a dead or slow peer does not keep the others' news waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._failing: set[str] = set()
        self._parked: dict[str, deque[Turn]] = {}

    def enter(self, turn: Turn) -> bool:
        """A thread for this turn; False: it is parked."""
        with self._lock:
            running = self._running.get(turn.peer, 0)
            if running >= self._most(turn.peer):
                self._parked.setdefault(turn.peer, deque()).append(turn)
                return False
            self._running[turn.peer] = running + 1
            return True

    def leave(self, peer: str) -> list[Turn]:
        """The thread is free; the parked turns that may go on now."""
        with self._lock:
            left = self._running[peer] - 1
            if left:
                self._running[peer] = left
            else:
                del self._running[peer]
            parked = self._parked.get(peer)
            if parked is None:
                return []
            free = min(max(0, self._most(peer) - left), len(parked))
            found = [parked.popleft() for _ in range(free)]
            if not parked:
                del self._parked[peer]
            return found

    def failed(self, peer: str) -> None:
        """Its last message was not taken."""
        with self._lock:
            self._failing.add(peer)

    def answered(self, peer: str) -> None:
        """Its last message was."""
        if peer in self._failing:
            with self._lock:
                self._failing.discard(peer)

    def _most(self, peer: str) -> int:
        few = peer in self._failing
        return limits.OUTBOX_FAILING_PEER_MAX if few else limits.OUTBOX_WORKERS - 1

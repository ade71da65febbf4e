"""Whose turn it is in the outbox: conversations taken up, shared out fairly between peers.

In: a turn that a thread would take, and how sends to its peer go. Out: whether it may, and which
of those put aside may go on when one ends. Thread-safe; nothing of it outlives the process.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
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
    """How many threads each peer holds: all but one where it answers at once, few where it has
    not answered yet, failed, or is slow; and all of the latter together leave some to the rest.
    For sends that take long there are more threads, up to a bound. So neither a dead peer nor some
    that only drip keep the others' news waiting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._quick: set[str] = set()  # whose last message was taken at once
        self._since: dict[str, deque[float]] = {}  # when the sends under way began, by peer
        self._parked: dict[str, deque[Turn]] = {}  # who came first stands first
        self._extra = 0  # threads beyond the usual

    def enter(self, turn: Turn) -> bool:
        """A thread for this turn; False: it is parked."""
        with self._lock:
            if self._room(turn.peer, monotonic()) <= 0:
                self._parked.setdefault(turn.peer, deque()).append(turn)
                return False
            self._running[turn.peer] = self._running.get(turn.peer, 0) + 1
            return True

    def leave(self, peer: str) -> list[Turn]:
        """The thread is free; the parked turns that may go on now, of any peer."""
        with self._lock:
            left = self._running[peer] - 1
            if left:
                self._running[peer] = left
            else:
                del self._running[peer]
            return self._unparked() if self._parked else []

    def grow(self) -> tuple[int, list[Turn]]:
        """How many more threads to start, for those that slow sends hold; what they may take up."""
        now = monotonic()
        with self._lock:
            slow = sum(
                now - began >= limits.OUTBOX_SLOW_S
                for sends in self._since.values()
                for began in sends
            )
            more = max(0, min(slow, limits.OUTBOX_EXTRA_MAX) - self._extra)
            self._extra += more
            return more, self._unparked() if more else []

    def began(self, peer: str) -> float:
        """A send to it begins; what is given back belongs to its end."""
        now = monotonic()
        with self._lock:
            self._since.setdefault(peer, deque()).append(now)
        return now

    def failed(self, peer: str, began: float) -> None:
        """The send ended, and the message was not taken."""
        self._ended(peer, began, quick=False)

    def answered(self, peer: str, began: float) -> None:
        """The send ended with an answer."""
        self._ended(peer, began, quick=monotonic() - began < limits.OUTBOX_SLOW_S)

    def _ended(self, peer: str, began: float, *, quick: bool) -> None:
        with self._lock:
            sends = self._since[peer]
            sends.remove(began)
            if not sends:
                del self._since[peer]
            if quick:
                if len(self._quick) >= limits.OUTBOX_QUICK_PEERS_MAX:
                    self._quick.clear()
                self._quick.add(peer)
            else:
                self._quick.discard(peer)

    def _few(self, peer: str, now: float) -> bool:
        """Whether it has yet to show that it answers, or one of its sends takes long."""
        sends = self._since.get(peer)
        return peer not in self._quick or (
            sends is not None and now - sends[0] >= limits.OUTBOX_SLOW_S
        )

    def _room(self, peer: str, now: float) -> int:
        """How many more threads it may have."""
        running = self._running.get(peer, 0)
        if not self._few(peer, now):
            return limits.OUTBOX_WORKERS - 1 - running
        return min(limits.OUTBOX_FEW_MAX - running, self._room_of_few(now))

    def _room_of_few(self, now: float) -> int:
        held = sum(count for each, count in self._running.items() if self._few(each, now))
        return limits.OUTBOX_WORKERS + self._extra - limits.OUTBOX_SPARED - held

    def _unparked(self) -> list[Turn]:
        """What of the parked may go on, who waits longest first; no more than there are threads.

        They come back through `enter`, which has the last word.
        """
        now, found = monotonic(), list[Turn]()
        few_left = self._room_of_few(now)
        for peer in list(self._parked):
            few = self._few(peer, now)
            room = min(self._room(peer, now), limits.OUTBOX_WORKERS - len(found))
            turns = self._parked[peer]
            freed = max(0, min(room, len(turns), few_left if few else room))
            if not freed:
                continue
            found += [turns.popleft() for _ in range(freed)]
            few_left -= freed if few else 0
            del self._parked[peer]
            if turns:
                self._parked[peer] = turns  # behind the others
        return found

"""Our answer never overtakes our reply: a peer learns what became of its message first.

In: the start and end of replies to messages. Out: deliveries of the same conversation, which are
made once the reply has left, or wait a moment for it. A connector of another make gets a rest
besides: Eclipse's writes down what our reply told it only after it has read it, and meanwhile
refuses what comes, or says its own message once more. A hint of this process only: without it the
peer refuses, and we send again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from yunhe.kernel import limits

Key = tuple[str, str]  # the peer's DID and its pid
Later = Callable[[float, Callable[[], None]], object]  # makes the call in so many seconds

OURS: Final = "yunhe"  # the User-Agent of our kind, which has written before it says a word


def rest_s(user_agent: str) -> float:
    """Seconds that such a caller needs after it has our reply; who says to be ours needs none."""
    return 0.0 if user_agent == OURS else limits.DSP_REST_S


class _Reply:
    def __init__(self) -> None:
        self.left = threading.Event()
        self.calls: list[Callable[[], None]] = []
        self.under_way = 0  # messages of this conversation that are being replied to, or rest


class Replies:
    """The replies under way; one instance a node, shared by its routes and its deliveries."""

    def __init__(self, later: Later | None = None) -> None:
        """`later` makes a call after a rest (`Outbox.later`); without it nobody rests."""
        self._later = later
        self._under_way: dict[Key, _Reply] = {}
        self._lock = threading.Lock()

    def begin(self, key: Key) -> None:
        """A message of this peer is being replied to."""
        with self._lock:
            oldest = next(iter(self._under_way), None)
            full = len(self._under_way) >= limits.DSP_REPLIES_MAX and key not in self._under_way
            pushed = self._under_way.pop(oldest) if oldest is not None and full else None
            self._under_way.setdefault(key, _Reply()).under_way += 1
        _left(pushed)

    def done(self, key: Key, rest_s: float = 0.0) -> None:
        """The reply has left, or there is none; what answers goes after a rest of seconds."""
        if rest_s > 0 and self._later is not None:
            self._later(rest_s, lambda: self.done(key))
            return
        with self._lock:
            reply = self._under_way.get(key)
            if reply is None:
                return
            reply.under_way -= 1
            if reply.under_way > 0:
                return
            del self._under_way[key]
        _left(reply)

    def after(self, key: Key, call: Callable[[], None]) -> None:
        """Make `call` once the reply to this peer has left: at once where none is under way."""
        with self._lock:
            reply = self._under_way.get(key)
            if reply is not None:
                reply.calls.append(call)
                return
        call()

    def wait(self, key: Key) -> None:
        """Until the reply to this peer has left, at most a moment."""
        reply = self._under_way.get(key)
        if reply is not None:
            reply.left.wait(limits.DSP_REPLY_WAIT_S)


def _left(reply: _Reply | None) -> None:
    if reply is not None:
        reply.left.set()
        for call in reply.calls:
            call()

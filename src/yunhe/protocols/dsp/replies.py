"""Our answer never overtakes our reply: a peer learns what became of its message first.

In: the start and end of replies to messages. Out: deliveries of the same conversation, which are
made once the reply has left, or wait a moment for it. A hint of this process only: without it the
peer refuses, and we send again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from yunhe.kernel import limits

Key = tuple[str, str]  # the peer's DID and its pid


class _Reply:
    def __init__(self) -> None:
        self.left = threading.Event()
        self.calls: list[Callable[[], None]] = []


class Replies:
    """The replies under way; one instance a node, shared by its routes and its deliveries."""

    def __init__(self) -> None:
        self._under_way: dict[Key, _Reply] = {}
        self._lock = threading.Lock()

    def begin(self, key: Key) -> None:
        """A message of this peer is being replied to."""
        with self._lock:
            oldest = next(iter(self._under_way), None)
            full = len(self._under_way) >= limits.DSP_REPLIES_MAX
            pushed = self._under_way.pop(oldest) if oldest is not None and full else None
            self._under_way.setdefault(key, _Reply())
        _left(pushed)

    def done(self, key: Key) -> None:
        """The reply has left, or there is none."""
        with self._lock:
            reply = self._under_way.pop(key, None)
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

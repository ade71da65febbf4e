"""Our answer never overtakes our reply: a peer learns what became of its message first.

In: the start and end of replies to messages. Out: a short wait for deliveries of the same
conversation. A hint of this process only: without it the peer refuses, and we send again.
"""

from __future__ import annotations

import threading

from yunhe.kernel import limits

Key = tuple[str, str]  # the peer's DID and its pid


class Replies:
    """The replies under way; one instance a node, shared by its routes and its deliveries."""

    def __init__(self) -> None:
        self._under_way: dict[Key, threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, key: Key) -> None:
        """A message of this peer is being replied to."""
        with self._lock:
            if len(self._under_way) >= limits.DSP_REPLIES_MAX:
                self._under_way.pop(next(iter(self._under_way))).set()
            self._under_way.setdefault(key, threading.Event())

    def done(self, key: Key) -> None:
        """The reply has left, or there is none."""
        with self._lock:
            event = self._under_way.pop(key, None)
        if event is not None:
            event.set()

    def wait(self, key: Key) -> None:
        """Until the reply to this peer has left, at most a moment."""
        event = self._under_way.get(key)
        if event is not None:
            event.wait(limits.DSP_REPLY_WAIT_S)

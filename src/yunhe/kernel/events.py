"""Events inside one node: handlers run in the emitting verb's transaction, or the verb fails.

Slices declare frozen dataclasses in their `events.py`; `node.py` subscribes. News for another
node never goes this way, but by the outbox.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from yunhe.kernel.db import Tx

E = TypeVar("E")


class Events:
    """Who wants to know what, in the order of subscription; one instance a database."""

    def __init__(self) -> None:
        self._handlers: dict[type, list[Callable[[Any, Any], None]]] = defaultdict(list)

    def on(self, kind: type[E], handler: Callable[[Tx, E], None]) -> None:
        """Run `handler(tx, event)` inside the transaction that emits an event of `kind`."""
        self._handlers[kind].append(handler)

    def emit(self, tx: Tx, event: object) -> None:
        """Call every handler of the event's exact type; the first failure fails the verb."""
        for handler in self._handlers.get(type(event), ()):
            handler(tx, event)

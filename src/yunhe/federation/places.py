"""Where products were found a moment ago, so that two looks at one ask the parent once.

In: a product's code and how to find it. Out: its provider and that one's address. Only the place
is kept: what is offered there, and whether it still is, the provider itself says each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from yunhe import catalog
from yunhe.kernel import limits


class Places:
    """Keeps at most PLACES_KEPT_MAX places, each for PLACE_KEPT_S. Thread-safe."""

    def __init__(self, find: Callable[[str], catalog.Hit]) -> None:
        self._find = find
        self._kept: OrderedDict[str, tuple[float, str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def kept(self, code: str) -> tuple[str, str] | None:
        """The provider's DID and address as found a moment ago."""
        with self._lock:
            until, did, address = self._kept.get(code, (0.0, "", ""))
        return (did, address) if until > monotonic() else None

    def find(self, code: str) -> tuple[str, str]:
        """The provider's DID and address now; raises as the `find` given does."""
        hit = self._find(code)
        until = monotonic() + limits.PLACE_KEPT_S
        with self._lock:
            self._kept[code] = (until, hit.provider_did, hit.address)
            self._kept.move_to_end(code)
            while len(self._kept) > limits.PLACES_KEPT_MAX:
                self._kept.popitem(last=False)
        return hit.provider_did, hit.address

"""Arrow IPC over HTTP between connectors: the provider's door and the consumer's relay.

In: a query with a data token and the caller's own token. Out: one Arrow IPC stream, passed
through the consumer's connector unbuffered and counted on the way.
"""

from __future__ import annotations

from yunhe.protocols.arrow.relay import Consumed, Passing, Relay
from yunhe.protocols.arrow.router import ENDPOINT, router
from yunhe.protocols.arrow.wire import Asked

__all__ = ["ENDPOINT", "Asked", "Consumed", "Passing", "Relay", "router"]

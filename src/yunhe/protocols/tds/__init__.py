"""TDS messages between nodes (N02, N03): framing, result codes, client, router.

In: messages of peers and domain errors. Out: calls of handlers, signed answers. The handlers
translate between wire fields and the verbs of federation and exchange.
"""

from __future__ import annotations

from yunhe.protocols.tds.client import TdsClient
from yunhe.protocols.tds.errors import AnswerUntrusted, PeerRefused, PeerUnavailable
from yunhe.protocols.tds.handlers import TdsWire, handlers
from yunhe.protocols.tds.messages import MESSAGES, Message
from yunhe.protocols.tds.programs import programs
from yunhe.protocols.tds.router import Handler, did_router, router
from yunhe.protocols.tds.settlement import settlement

__all__ = [
    "MESSAGES",
    "AnswerUntrusted",
    "Handler",
    "Message",
    "PeerRefused",
    "PeerUnavailable",
    "TdsClient",
    "TdsWire",
    "did_router",
    "handlers",
    "programs",
    "router",
    "settlement",
]

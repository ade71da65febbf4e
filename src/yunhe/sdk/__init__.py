"""The client: `space = yunhe.connect(url, token)`, then search, offer, negotiate, sql, statement.

In: verbs and plain SQL. Out: frozen records, Arrow tables, typed errors. Speaks only to one's own
node (`docs/api.md`); imports nothing of the node, so the base install stays small.
"""

from yunhe.sdk.errors import (
    ArrowMissing,
    InsecureUrl,
    NegotiationEnded,
    NegotiationHeld,
    NegotiationTimeout,
    NodeUnreachable,
    PushEnded,
    PushTimeout,
    StreamBroken,
    UnexpectedAnswer,
    YunheRefused,
)
from yunhe.sdk.model import (
    Application,
    Bill,
    Contract,
    Governed,
    Hit,
    Left,
    Me,
    Move,
    Negotiation,
    Offer,
    OwnProduct,
    Progress,
    Registration,
    Resource,
    Statement,
    Terms,
    Token,
    Transfer,
    Use,
)
from yunhe.sdk.receive import BadTarget, Received
from yunhe.sdk.space import AsyncSpace, Space, connect, connect_async
from yunhe.sdk.stream import Batches, require_arrow
from yunhe.sdk.trust import gather_trust

__all__ = [
    "Application",
    "ArrowMissing",
    "AsyncSpace",
    "BadTarget",
    "Batches",
    "Bill",
    "Contract",
    "Governed",
    "Hit",
    "InsecureUrl",
    "Left",
    "Me",
    "Move",
    "Negotiation",
    "NegotiationEnded",
    "NegotiationHeld",
    "NegotiationTimeout",
    "NodeUnreachable",
    "Offer",
    "OwnProduct",
    "Progress",
    "PushEnded",
    "PushTimeout",
    "Received",
    "Registration",
    "Resource",
    "Space",
    "Statement",
    "StreamBroken",
    "Terms",
    "Token",
    "Transfer",
    "UnexpectedAnswer",
    "Use",
    "YunheRefused",
    "connect",
    "connect_async",
    "gather_trust",
    "require_arrow",
]

"""This node among the others: registration upwards, catalogue reports, search.

In: events of catalog and identity, messages of peers (domain JSON). Out: outbox messages
`tds.<Name>`, answers, pages of hits. Emits no events.
"""

from __future__ import annotations

from yunhe.federation.errors import NoParent, NotServed, NotTheParent
from yunhe.federation.model import (
    KINDS,
    REGISTRATION,
    REVIEW,
    UPWARD,
    Payload,
    Status,
    Wire,
    detail_from,
    detail_json,
    hit_from,
    hit_json,
)
from yunhe.federation.service import Federation

__all__ = [
    "KINDS",
    "REGISTRATION",
    "REVIEW",
    "UPWARD",
    "Federation",
    "NoParent",
    "NotServed",
    "NotTheParent",
    "Payload",
    "Status",
    "Wire",
    "detail_from",
    "detail_json",
    "hit_from",
    "hit_json",
]

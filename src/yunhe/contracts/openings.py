"""How much may stand open with one counterparty.

In: a peer that opens one more. Out: nothing, or a refusal inside the caller's transaction. A
member with a valid credential costs us rows and evidence by each message: what it never ends must
be bounded.
"""

from __future__ import annotations

from collections.abc import Callable

from yunhe.contracts import store_open
from yunhe.contracts.desk import Desk
from yunhe.contracts.errors import NegotiationsTooMany, TransfersTooMany
from yunhe.kernel import limits
from yunhe.kernel.db import Tx

_Count = Callable[[Tx, str, int], int]


def one_more_talk(desk: Desk, tx: Tx, peer_did: str) -> None:
    """Raise NegotiationsTooMany where the peer has as many open as it may."""
    most = desk.open_max.negotiations
    if not _room(tx, store_open.talks_of, "talks", peer_did, most):
        raise NegotiationsTooMany(limit=most, days=limits.NEGOTIATION_IDLE_DAYS)


def one_more_run(desk: Desk, tx: Tx, peer_did: str) -> None:
    """Raise TransfersTooMany where the peer has as many open as it may."""
    most = desk.open_max.transfers
    if not _room(tx, store_open.runs_of, "runs", peer_did, most):
        raise TransfersTooMany(limit=most)


def _room(tx: Tx, count: _Count, what: str, peer_did: str, most: int) -> bool:
    found = count(tx, peer_did, most)
    if found < most - limits.PG_CONNECTIONS_MAX or tx.dialect == "sqlite":
        return found < most
    # So near the bound those that are under way at once would pass it together.
    tx.alone(what, peer_did)
    return count(tx, peer_did, most) < most

"""Arrow IPC over HTTP between connectors: the provider's door and the consumer's relay.

In: a query with a data token and the caller's own token. Out: one Arrow IPC stream, passed
through the consumer's connector unbuffered and counted on the way. For a push: the provider's
pusher and the consumer's inbox.
"""

from __future__ import annotations

from collections.abc import Callable

from yunhe.contracts import Contracts
from yunhe.control import Consumed, Control
from yunhe.dataplane import DataPlane
from yunhe.kernel.db import Database
from yunhe.kernel.settings import NodeConfig
from yunhe.protocols.arrow.inbox import Inbox
from yunhe.protocols.arrow.inbox_router import inbox_router
from yunhe.protocols.arrow.pusher import Pusher
from yunhe.protocols.arrow.relay import Books, Passing, Relay
from yunhe.protocols.arrow.router import ENDPOINT, router
from yunhe.protocols.arrow.wire import Asked
from yunhe.vault import Vault

__all__ = [
    "ENDPOINT",
    "Asked",
    "Inbox",
    "Passing",
    "Pusher",
    "Relay",
    "inbox_router",
    "pushing",
    "router",
]


def pushing(
    db: Database,
    contracts: Contracts,
    plane: DataPlane,
    control: Control,
    books: Books,
    standing: Callable[[str], None],
    receipt: Callable[[Consumed], None],
    vault: Vault,
    config: NodeConfig,
) -> tuple[Pusher, Inbox]:
    """Both ends of a push, as one node has them: below its data folder, at its address."""
    pushes = contracts.pushes
    pusher = Pusher(
        db,
        pushes,
        contracts.in_force,
        standing,
        plane,
        control,
        vault.provider.sealing,
        config.data_dir / "push",
        config.egress,
    )
    folder = config.data_dir / "inbox"
    return pusher, Inbox(db, pushes, contracts, books, receipt, folder, config.address)

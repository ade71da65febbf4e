"""The ledger: accounts and immutable double-entry transfers, pending -> post | void.

In: verbs of exchange, inside their transaction. Out: rows that the database itself refuses to
change, and balances that always sum to zero. Emits no events. `seal` makes another slice's table
immutable by the same triggers.
"""

from __future__ import annotations

from yunhe.ledger.errors import (
    AccountUnknown,
    PendingResolved,
    TransferDiffers,
    TransferInvalid,
    TransferUnknown,
)
from yunhe.ledger.immutable import seal, statements
from yunhe.ledger.model import Account, Balance, Step, Transfer
from yunhe.ledger.service import Ledger
from yunhe.ledger.store import ddl

__all__ = [
    "Account",
    "AccountUnknown",
    "Balance",
    "Ledger",
    "PendingResolved",
    "Step",
    "Transfer",
    "TransferDiffers",
    "TransferInvalid",
    "TransferUnknown",
    "ddl",
    "seal",
    "statements",
]

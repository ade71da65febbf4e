"""What is left of a contract at this moment: uses, volume, privacy budget, and when it is open.

In: a contract in force and its quota row. Out: `Left`, as the consumer is told it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from yunhe.contracts import Contract
from yunhe.control import budget, store, volume
from yunhe.control.again import again
from yunhe.control.errors import QuotaUnknown
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx

_OFTEN = "FREQUENCY_EXCEEDED"


@dataclass(frozen=True)
class Left:
    """None: no such bound. `held_rows` and `held_bytes` are of uses under way, whose rest comes
    back; `next_at`: when hours, frequency and pause next allow a use (now, or later)."""

    uses_left: int | None
    rows_left: int | None
    bytes_left: int | None
    held_rows: int | None
    held_bytes: int | None
    next_at: datetime | None
    privacy: budget.Budget | None
    bits_left: int | None = None  # of what all runs of programs may say together

    def to_json(self) -> dict[str, Any]:
        """As the API and the provider's door show it."""
        return {
            "uses_left": self.uses_left,
            "rows_left": self.rows_left,
            "bytes_left": self.bytes_left,
            "held_rows": self.held_rows,
            "held_bytes": self.held_bytes,
            "next_at": None if self.next_at is None else iso(self.next_at),
            "privacy": None if self.privacy is None else self.privacy.to_json(),
            "bits_left": self.bits_left,
        }


Said = Callable[[Tx, str], int]


def left(db: Database, contract: Contract, said: Said | None) -> Left:
    """What is left to the other party; raises QuotaUnknown where this node does not provide it.

    `said` counts the bits that programs have said under a contract.
    """
    terms = contract.terms

    def look(tx: Tx) -> Left:
        row = store.find_quota(tx, contract.id)
        if row is None:
            raise QuotaUnknown
        rows, size = store.held(tx, contract.id) if volume.totalled(row) else (0, 0)
        most = 0 if terms.release is None else terms.release.bits
        privacy = None
        if terms.privacy is not None:
            privacy = budget.left_in(tx, contract.peer_did, contract.product_code, terms.privacy)
        return Left(
            row.uses_left,
            row.rows_left,
            row.bytes_left,
            None if row.rows_left is None else rows,
            None if row.bytes_left is None else size,
            again(tx, _OFTEN, row, terms),
            privacy,
            None if most == 0 or said is None else max(0, most - said(tx, contract.id)),
        )

    return db.read(look)

"""What usage control tells the other slices, inside the transaction of the verb.

In: nothing. Out: one frozen event a step in the life of a use; exchange meters on UsePosted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class UseAdmitted:
    """A use was reserved; `entry_id` is its evidence."""

    use_id: str
    contract_id: str
    peer_did: str
    entry_id: str
    at: datetime


@dataclass(frozen=True)
class UseReleased:
    """From this commit on the first byte may leave, so the use will be billed."""

    use_id: str
    contract_id: str
    at: datetime


@dataclass(frozen=True)
class UsePosted:
    """A use is over and charged. `complete` is False where the delivery was cut off."""

    use_id: str
    contract_id: str
    peer_did: str
    purpose: str
    rows: int
    bytes: int
    fee_fen: int
    entry_id: str
    leaf: str  # hex leaf hash of the evidence entry
    at: datetime
    complete: bool


@dataclass(frozen=True)
class UseVoided:
    """A use gave back its reservation; nothing had left."""

    use_id: str
    contract_id: str
    why: str
    at: datetime


@dataclass(frozen=True)
class UseDenied:
    """An authenticated peer was refused."""

    use_id: str
    contract_id: str
    peer_did: str
    code: str
    entry_id: str
    at: datetime


@dataclass(frozen=True)
class UseCorrected:
    """A posted use was lowered by the receiver's signed receipt."""

    use_id: str
    contract_id: str
    peer_did: str
    purpose: str
    rows_before: int
    rows: int
    bytes: int
    fee_fen: int
    entry_id: str
    leaf: str
    at: datetime

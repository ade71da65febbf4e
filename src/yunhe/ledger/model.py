"""The words of the ledger: accounts and transfers. Money is integer fen, amounts are positive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Step(StrEnum):
    """What a transfer row does."""

    DIRECT = "direct"  # moves money at once
    PENDING = "pending"  # announces; moves nothing yet
    POST = "post"  # moves what a pending announced, or less
    VOID = "void"  # takes a pending back


@dataclass(frozen=True)
class Account:
    """One account: `owner` is a DID, `kind` what it is for. Its id is `owner#kind`."""

    account_id: str
    owner: str
    kind: str


@dataclass(frozen=True)
class Transfer:
    """One immutable row. For `post` and `void`, `pending_id` names what they resolve."""

    transfer_id: str
    step: Step
    debit: str
    credit: str
    amount_fen: int
    kind: str
    pending_id: str | None
    at: datetime


@dataclass(frozen=True)
class Balance:
    """An account's money, fen: `posted_fen` is credits minus debits; pendings stand beside."""

    account_id: str
    owner: str
    kind: str
    posted_fen: int
    pending_debit_fen: int
    pending_credit_fen: int

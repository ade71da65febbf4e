"""What the slice tells the others inside its transaction.

In: verbs of this slice. Out: events that control (quotas), exchange (metering) and evidence act
on before the verb commits; a failing handler fails the verb.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from yunhe.contracts.model import Contract, Side, State, TransferState


@dataclass(frozen=True)
class ContractInForce:
    """Both sides are bound from this commit on."""

    contract: Contract
    at: datetime


@dataclass(frozen=True)
class ContractEnded:
    """The contract binds no more: `contract.state` says `terminated` or `expired`."""

    contract: Contract
    by: str  # the DID that ended it; our own for an expiry
    at: datetime


@dataclass(frozen=True)
class NegotiationMoved:
    """A negotiation changed its state; `waiting_for`: whose word is next (Negotiation's)."""

    negotiation_id: str
    state: State
    at: datetime
    version: int
    waiting_for: str


@dataclass(frozen=True)
class TransferMoved:
    """A transfer changed its state; `role` is ours in it."""

    transfer_id: str
    contract_id: str
    state: TransferState
    role: Side
    format: str
    at: datetime

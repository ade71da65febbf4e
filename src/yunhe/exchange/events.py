"""What settlement tells the other slices, inside the transaction of the verb."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class StatementIssued:
    """The provider signed a statement; it is on its way to the consumer."""

    statement_id: str
    contract_id: str
    total_fen: int
    at: datetime


@dataclass(frozen=True)
class StatementSettled:
    """Both sides agree to the fen; the ledger transfer is posted at this node."""

    statement_id: str
    contract_id: str
    total_fen: int
    entry_id: str
    at: datetime


@dataclass(frozen=True)
class StatementDisputed:
    """The consumer's own figures differ; nothing moved at this node."""

    statement_id: str
    contract_id: str
    codes: tuple[str, ...]
    at: datetime

"""Metering and settlement: what was used, what it costs, and that both sides say the same.

In: UsePosted and UseCorrected of control, ContractInForce of contracts, receipts and statements
of the other party. Out: meter rows, signed receipts, signed statements, ledger transfers, and the
events StatementIssued, StatementSettled, StatementDisputed. Messages leave as `tds.SendReceipt`,
`tds.SendStatement`, `tds.AcknowledgeStatement` and `tds.GetUseOutcome`.
"""

from __future__ import annotations

from yunhe.exchange.errors import (
    BillMoved,
    BillUnknown,
    BundleTooLong,
    DocumentInvalid,
    MeterMissing,
    MeterNotEvidenced,
    NotAParty,
    NothingToBill,
    NotTheProvider,
    ReceiptAwaited,
    ReceiptDiffers,
    StatementEarly,
    StatementUnknown,
    UseInDoubt,
    UsesInFlight,
    UseUnderWay,
)
from yunhe.exchange.events import StatementDisputed, StatementIssued, StatementSettled
from yunhe.exchange.model import (
    Bill,
    Difference,
    Meter,
    RunningBill,
    SignedReceipt,
    Statement,
)
from yunhe.exchange.proof import bundle
from yunhe.exchange.service import Exchange
from yunhe.exchange.store import ddl

__all__ = [
    "Bill",
    "BillMoved",
    "BillUnknown",
    "BundleTooLong",
    "Difference",
    "DocumentInvalid",
    "Exchange",
    "Meter",
    "MeterMissing",
    "MeterNotEvidenced",
    "NotAParty",
    "NotTheProvider",
    "NothingToBill",
    "ReceiptAwaited",
    "ReceiptDiffers",
    "RunningBill",
    "SignedReceipt",
    "Statement",
    "StatementDisputed",
    "StatementEarly",
    "StatementIssued",
    "StatementSettled",
    "StatementUnknown",
    "UseInDoubt",
    "UseUnderWay",
    "UsesInFlight",
    "bundle",
    "ddl",
]

"""What the evidence bundle of a contract says of its uses and settlements.

In: a contract's id. Out: settled statements with the uses of their lines, then the uses that no
settled statement bills yet, as far as both words on them agree. Each `entry_id` is to be replaced
by `evidence.entry_part(log.entry(entry_id), log.proof(entry_id).text())`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from yunhe.exchange import store
from yunhe.exchange.errors import BundleTooLong, StatementUnknown
from yunhe.exchange.model import SETTLED, Bill, Meter, SignedReceipt, Statement
from yunhe.kernel import limits
from yunhe.kernel.db import Tx

Parts = dict[str, list[dict[str, Any]]]


def bundle_parts(tx: Tx, contract_id: str, statement_id: str = "") -> Parts:
    """`uses` in the order of the statements' lines, open ones last; and `settlements`.

    At the provider a use's entry is its meter (`use.posted` or `use.corrected`), at the consumer
    its receipt (`use.receipt`). A use whose receipt never arrived has no part, nor has an open one
    of which meter and receipt differ: that is disputed, not proven. `statement_id`: only this
    settled statement, for contracts longer than one bundle. Raises StatementUnknown, BundleTooLong.
    """
    bill = store.find_bill(tx, contract_id)
    if bill is None:  # never in force: there was nothing to use
        return {"uses": [], "settlements": []}
    if statement_id:
        settled = [_one(tx, contract_id, statement_id)]
    else:
        count, most = store.receipts_count(tx, contract_id), limits.BUNDLE_USES_MAX
        if count > most:
            raise BundleTooLong(uses=count, most=most)
        settled = store.settled_of(tx, contract_id, most)
    uses = [use for statement in settled for use in _billed(tx, statement)]
    if not statement_id:
        lines = {line["use_id"] for each in settled for line in each.body["lines"]}
        uses += _open(tx, bill, lines)
    return {"uses": uses, "settlements": [_settlement(each) for each in settled]}


def _one(tx: Tx, contract_id: str, statement_id: str) -> Statement:
    found = store.find_statement(tx, statement_id)
    if found is None or (found.contract_id, found.state) != (contract_id, SETTLED):
        raise StatementUnknown
    return found


def _billed(tx: Tx, statement: Statement) -> list[dict[str, Any]]:
    found = []
    for line in statement.body["lines"]:
        receipt = store.find_receipt(tx, line["use_id"])
        if receipt is not None:
            own = statement.role == "consumer"
            found.append(_use(receipt, receipt.entry_id if own else line["entry"]))
    return found


def _open(tx: Tx, bill: Bill, billed: Collection[str]) -> list[dict[str, Any]]:
    receipts = [
        each for each in store.receipts_of(tx, bill.contract_id) if each.use_id not in billed
    ]
    if bill.role == "consumer":
        return [_use(each, each.entry_id) for each in receipts]
    meters = {each.use_id: each for each in store.meters_of(tx, bill.contract_id)}
    both = [(each, meters[each.use_id]) for each in receipts if each.use_id in meters]
    return [_use(receipt, meter.entry_id) for receipt, meter in both if _agree(receipt, meter)]


def _agree(receipt: SignedReceipt, meter: Meter) -> bool:
    said = receipt.body["rows"], receipt.body["purpose"]
    return said == (meter.rows, meter.purpose)


def _use(receipt: SignedReceipt, entry_id: str) -> dict[str, Any]:
    return {"receipt": receipt.body, "receipt_jws": receipt.jws, "entry_id": entry_id}


def _settlement(statement: Statement) -> dict[str, Any]:
    return {
        "statement": statement.body,
        "provider_jws": statement.provider_jws,
        "consumer_jws": statement.consumer_jws,
        "entry_id": statement.entry_id,
    }

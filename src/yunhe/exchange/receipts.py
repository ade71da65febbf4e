"""Receipts: the consumer signs what it received of each use; the provider keeps its word.

In: the relay's counts at the consumer; the signed receipt at the provider. Out: stored, evidenced
receipts, and a correction downwards where the provider's delivery had been cut off.
"""

from __future__ import annotations

from typing import Any

from yunhe.control import Consumed, CorrectionRefused, UseRecord
from yunhe.exchange import store
from yunhe.exchange.documents import read_receipt, receipt_body
from yunhe.exchange.errors import BillUnknown, DocumentInvalid, NotAParty, ReceiptDiffers
from yunhe.exchange.model import Desk, SignedReceipt
from yunhe.kernel.clock import parse_iso
from yunhe.kernel.db import Tx
from yunhe.kernel.outbox import enqueue

_SAID = ("contract_id", "rows", "bytes", "digest", "purpose")


def record(
    desk: Desk, tx: Tx, consumed: Consumed, extra: dict[str, Any] | None = None
) -> SignedReceipt:
    """Sign, store, evidence and send the receipt of one use; again with the same: no effect.

    `extra`: further members, of what is marked for us or was in doubt (`doubts.resolved`).
    """
    use_id = consumed.use_id
    bill = store.find_bill(tx, consumed.contract_id)
    if bill is None or bill.role != "consumer":
        raise BillUnknown
    body = receipt_body(bill, consumed, tx.now) | (extra or {})
    read_receipt(body)
    store.forget_asked(tx, use_id)
    before = store.find_receipt(tx, use_id)
    if before is not None:
        if any(before.body[name] != body[name] for name in _SAID):
            raise ReceiptDiffers(use_id=use_id)
        return before
    jws = desk.sign(body, bill.provider_did)
    kept = _keep(desk, tx, body, jws, "use.receipt")
    payload = {"receipt": body, "jws": jws}
    enqueue(tx, "tds.SendReceipt", bill.provider_did, f"bill:{bill.contract_id}", payload)
    return kept


def receive(desk: Desk, peer_did: str, body: Any, jws: Any) -> dict[str, Any]:
    """The provider's side: verify and keep a peer's receipt; lower a cut delivery to it.

    Raises DocumentInvalid, NotAParty, BadSignature, ReceiptDiffers.
    """
    body = read_receipt(body)
    if not isinstance(jws, str):
        raise DocumentInvalid(what="receipt", why="jws is missing or malformed")
    if body["consumer"] != peer_did or body["provider"] != desk.own_did:
        raise NotAParty
    desk.check(peer_did, jws, body)

    def verb(tx: Tx) -> bool:
        """Whether the receiver's word is lower than what was posted."""
        bill = store.find_bill(tx, body["contract_id"])
        use = desk.control.use(body["use_id"])
        if bill is None or bill.role != "provider" or bill.consumer_did != peer_did:
            raise NotAParty
        if use is None or (use.contract_id, use.peer_did) != (bill.contract_id, peer_did):
            raise NotAParty
        before = store.find_receipt(tx, body["use_id"])
        if before is None:
            _keep(desk, tx, body, jws, "receipt.received")
        elif before.body != body:
            raise ReceiptDiffers(use_id=body["use_id"])
        return _lowers(body, use)

    if desk.db.write(verb):
        apply_corrections(desk, body["contract_id"], only=body["use_id"])
    return {"use_id": body["use_id"], "received": True}


def apply_corrections(desk: Desk, contract_id: str, only: str | None = None) -> int:
    """Lower every cut delivery to the receiver's stored word; how many were lowered.

    `only`: look at this use alone, so that a receipt costs the same however many there were.
    """

    def verb(tx: Tx) -> int:
        uses = desk.control.uses(contract_id, ("posted",)) if only is None else _one(desk, only)
        cut = [use for use in uses if use.contract_id == contract_id and not use.complete]
        billed = store.billed_uses(tx, contract_id) if cut else {}
        count = 0
        for use in cut:
            found = store.find_receipt(tx, use.use_id)
            if use.use_id in billed or found is None or not _lowers(found.body, use):
                continue
            proof = {"entry": found.entry_id, "jws": found.jws}
            try:
                desk.control.correct(use.use_id, found.body["rows"], found.body["bytes"], proof)
            except CorrectionRefused:
                continue  # another replica did it; its figure is as low
            count += 1
        return count

    return desk.db.write(verb)


def _one(desk: Desk, use_id: str) -> list[UseRecord]:
    use = desk.control.use(use_id)
    return [] if use is None else [use]


def _lowers(body: dict[str, Any], use: UseRecord) -> bool:
    """Whether a receipt says less than was posted for a delivery that broke off."""
    cut = use.state == "posted" and not use.complete and use.rows is not None
    return cut and int(body["rows"]) < (use.rows or 0)


def _keep(desk: Desk, tx: Tx, body: dict[str, Any], jws: str, kind: str) -> SignedReceipt:
    entry = desk.evidence.record(tx, kind, {"receipt": body, "jws": jws})
    at = parse_iso(body["at"])
    values = {
        "use_id": body["use_id"],
        "contract_id": body["contract_id"],
        "body": body,
        "jws": jws,
        "entry_id": entry.entry_id,
        "leaf": entry.leaf,
        "at": at,
    }
    store.add_receipt(tx, values)
    return SignedReceipt(
        body["use_id"], body["contract_id"], body, jws, entry.entry_id, entry.leaf, at
    )

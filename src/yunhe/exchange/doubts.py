"""Uses whose outcome we do not know: asked of the provider, and no end mark was seen.

In: the relay's asking, refusals and cut streams at the consumer; `GetUseOutcome` at the provider.
Out: nothing for a use that never was, or a receipt marked `in_doubt`: what was passed on, where the
delivery was cut; the provider's evidenced figure, where it was whole (docs/metering.md).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any

from yunhe.control import Consumed, UseAlreadySpent, UseIdTaken, arrived
from yunhe.exchange import receipts, store
from yunhe.exchange.documents import read_outcome
from yunhe.exchange.errors import (
    BillUnknown,
    DocumentInvalid,
    NotAParty,
    UseInDoubt,
    UseUnderWay,
)
from yunhe.exchange.model import Desk
from yunhe.kernel import limits
from yunhe.kernel.db import Tx
from yunhe.kernel.outbox import Message, enqueue

log = logging.getLogger(__name__)

KIND = "tds.GetUseOutcome"
_NOTHING = hashlib.sha256().hexdigest()


def begin(tx: Tx, use_id: str, contract_id: str, purpose: str) -> None:
    """Remember, before the provider is asked, that it will be.

    Raises UseAlreadySpent for a use we hold a receipt of, UseInDoubt for one that is under way
    or being settled, BillUnknown for a contract we do not consume.
    """
    bill = store.find_bill(tx, contract_id)
    if bill is None or bill.role != "consumer":
        raise BillUnknown
    if store.find_receipt(tx, use_id) is not None:
        raise UseAlreadySpent(state="posted", use_id=use_id)
    values = {
        "use_id": use_id,
        "contract_id": contract_id,
        "purpose": purpose,
        "rows": 0,
        "bytes": 0,
        "digest": _NOTHING,
        "at": tx.now,
    }
    if not store.add_asked(tx, values):
        raise UseInDoubt(use_id=use_id)


def cut(tx: Tx, use_id: str, rows: int, byte_count: int, digest: str) -> None:
    """The stream of a use broke off after so much, or its answer never came: ask what it was."""
    counted = {"rows": rows, "bytes": byte_count, "digest": digest or _NOTHING}
    found = store.find_asked(tx, use_id)
    if found is not None and found.doubt_at is None:
        store.count_asked(tx, use_id, counted)
        _ask(tx, use_id, found.contract_id)


def _ask(tx: Tx, use_id: str, contract_id: str) -> None:
    bill = store.find_bill(tx, contract_id)
    if bill is None:
        raise BillUnknown
    store.count_asked(tx, use_id, {"doubt_at": tx.now})
    payload = {"use_id": use_id, "contract_id": contract_id}
    # A conversation of its own: while it waits, receipts and statements go on.
    enqueue(tx, KIND, bill.provider_did, f"doubt:{use_id}", payload)


def sweep(desk: Desk, live: Callable[[], Collection[str]]) -> int:
    """Take up every use that was asked and is not live: after a crash, or a failed write.

    `live` names the uses whose streams run in this process. Returns how many were taken up.
    """
    rows = desk.db.read(store.asked_open)
    # Live is read after the rows: whoever is missing now has ended since, or died before.
    running = live()

    def verb(tx: Tx) -> int:
        long_ago = tx.now - timedelta(seconds=limits.DOUBT_ASK_S)
        count = 0
        for row in rows:
            found = store.find_asked(tx, row.use_id)
            if row.use_id in running or found is None or found.at != row.at:
                continue
            if found.doubt_at is None or found.doubt_at < long_ago:
                _ask(tx, row.use_id, row.contract_id)
                count += 1
        return count

    return desk.db.write(verb) if rows else 0


def outcome(desk: Desk, peer_did: str, body: dict[str, Any]) -> dict[str, Any]:
    """The provider's answer. A use never admitted is voided by it, so that it never will be.

    Raises DocumentInvalid, NotAParty, UseUnderWay (ask again in a moment).
    """
    use_id, contract_id = body.get("use_id"), body.get("contract_id")
    if not isinstance(use_id, str) or not 0 < len(use_id) <= limits.USE_ID_CHARS_MAX:
        raise DocumentInvalid(what="question", why="use_id is missing or malformed")
    if not isinstance(contract_id, str):
        raise DocumentInvalid(what="question", why="contract_id is missing or malformed")

    def verb(tx: Tx) -> dict[str, Any]:
        bill = store.find_bill(tx, contract_id)
        if bill is None or bill.role != "provider" or bill.consumer_did != peer_did:
            raise NotAParty
        try:
            use = desk.control.fence(use_id, contract_id, peer_did)
        except UseIdTaken:
            return {"use_id": use_id, "state": "void"}  # somebody else's: never this peer's
        if use.state == "void":
            return {"use_id": use_id, "state": "void"}
        meter = store.find_meter(tx, use_id)
        if use.state != "posted" or meter is None:
            raise UseUnderWay(use_id=use_id)
        return {
            "use_id": use_id,
            "state": "posted",
            "rows": meter.rows,
            "bytes": meter.bytes,
            "complete": use.complete,
            "leaf": meter.leaf,
        }

    return desk.db.write(verb)


def resolved(desk: Desk, tx: Tx, message: Message, reply: dict[str, Any] | None) -> None:
    """The provider's answer has come: forget the use, or sign for it."""
    use_id = message.payload["use_id"]
    found = store.find_asked(tx, use_id)
    if found is None:
        return
    try:
        told = read_outcome(reply, use_id)
    except DocumentInvalid as error:
        log.warning("the outcome of a use in doubt is unreadable, asked again later: %s", error)
        return
    if told["state"] == "void":
        store.forget_asked(tx, use_id)
        return
    bill = store.find_bill(tx, found.contract_id)
    if bill is None:
        raise BillUnknown
    most = told["rows"] if bill.rows_max is None else bill.rows_max
    extra: dict[str, Any] = {"in_doubt": True}
    if told["complete"] and told["rows"] <= most:
        # It left them whole and we lost count: their evidenced figure stands, within the terms.
        rows, extra["accepts"] = told["rows"], told["leaf"]
    else:
        rows = min(found.rows, told["rows"])
        if not found.bytes:
            # We died, or nothing came: what buffers cannot have held did arrive (control.arrived).
            rows = min(arrived(told["rows"], told["bytes"]), most)
    of_use = (use_id, found.contract_id, found.purpose)
    receipts.record(desk, tx, Consumed(*of_use, rows, found.bytes, found.digest), extra)

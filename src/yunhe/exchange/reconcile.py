"""The consumer's side: recompute the statement from one's own signed receipts, then pay or not.

In: the provider's signed statement. Out: agreement to the fen, one line a receipt, with a signed
acknowledgement and a ledger transfer; or a signed dispute naming every difference, and no transfer.
Nothing the provider says is believed: rows come from our receipts, the price from our contract.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from yunhe.evidence import EntryNotFound
from yunhe.exchange import store
from yunhe.exchange.documents import read_statement
from yunhe.exchange.errors import BillUnknown, DocumentInvalid, NotAParty, StatementEarly
from yunhe.exchange.events import StatementDisputed, StatementSettled
from yunhe.exchange.issue import dispute_body, in_tree, outline, transfer_part, vouched
from yunhe.exchange.model import (
    ACCOUNT,
    DISPUTED,
    SETTLED,
    Bill,
    Desk,
    Difference,
    SignedReceipt,
    Statement,
)
from yunhe.kernel import limits
from yunhe.kernel.clock import parse_iso
from yunhe.kernel.db import Tx
from yunhe.kernel.keys import BadSignature
from yunhe.kernel.money import charge
from yunhe.kernel.outbox import enqueue


@dataclass(frozen=True)
class _Own:
    """Everything of our own that a statement is held against."""

    bill: Bill
    receipts: dict[str, SignedReceipt]
    settled: dict[str, int]  # use_id -> fee on other statements we paid


def reconcile(desk: Desk, peer_did: str, statement: Any, jws: Any) -> Statement:
    """Receive a statement and answer it; the same statement again gets the same answer.

    Raises DocumentInvalid, NotAParty, BillUnknown, BadSignature: then there is nothing to answer;
    StatementEarly while a use on it has no outcome here yet.
    """
    body = read_statement(statement)
    if not isinstance(jws, str):
        raise DocumentInvalid(what="statement", why="jws is missing or malformed")
    if body["provider"] != peer_did or body["consumer"] != desk.own_did:
        raise NotAParty
    desk.check(peer_did, jws, body)
    before = desk.db.read(lambda tx: store.find_statement(tx, body["id"]))
    if before is not None:
        if before.body != body:
            raise DocumentInvalid(what="statement", why="its id belongs to another statement")
        return before
    open_here = desk.db.read(lambda tx: store.asked_open(tx, body["contract_id"]))
    lines = {line["use_id"] for line in body["lines"]}
    for row in open_here:
        if row.use_id in lines:
            # Under way or in doubt: its receipt will say what it was, so this is no dispute yet.
            raise StatementEarly(use_id=row.use_id)
    differences = recompute(desk, body)
    return desk.db.write(lambda tx: _answer(desk, tx, body, jws, differences))


def recompute(desk: Desk, body: dict[str, Any]) -> tuple[Difference, ...]:
    """Every difference between a statement and our own books; changes nothing."""
    own = desk.db.read(lambda tx: _own(tx, body))
    if own.bill.role != "consumer" or own.bill.provider_did != body["provider"]:
        raise NotAParty
    found = tuple(_differences(desk, body, own))
    return found or tuple(_unproven(desk, body, own))


def _own(tx: Tx, body: dict[str, Any]) -> _Own:
    bill = store.find_bill(tx, body["contract_id"])
    if bill is None:
        raise BillUnknown
    receipts = {each.use_id: each for each in store.receipts_of(tx, bill.contract_id)}
    return _Own(bill, receipts, store.billed_uses(tx, bill.contract_id, other_than=body["id"]))


def _differences(desk: Desk, body: dict[str, Any], own: _Own) -> Iterator[Difference]:
    price = body["price"]
    theirs = f"{price['per_use_fen']} + {price['per_row_fen']} x rows"
    ours = f"{own.bill.per_use_fen} + {own.bill.per_row_fen} x rows"
    if theirs != ours:
        yield Difference("", "PRICE_NOT_AGREED", theirs, ours)
    total = sum(line["fee_fen"] for line in body["lines"])
    if total != body["total_fen"]:
        yield Difference("", "TOTAL_WRONG", str(body["total_fen"]), str(total))
    for use_id, count in Counter(line["use_id"] for line in body["lines"]).items():
        if count > 1:
            yield Difference(use_id, "LINE_TWICE", str(count), "1")
    for line in body["lines"]:
        yield from _line(desk, line, own)
    # One-to-one the other way: what we hold and they left out, up to the end of their period.
    # Where nothing was received, nothing needs to be billed.
    held = set(body.get("held", ()))  # waits for our receipt: on a later statement
    billed = {line["use_id"] for line in body["lines"]} | set(own.settled) | held
    covers = _covers(desk, body, own)
    for use_id, receipt in own.receipts.items():
        got = receipt.body["rows"] or receipt.body["bytes"]
        if use_id not in billed and got and covers(receipt):
            yield Difference(use_id, "NOT_BILLED", "–", f"{_fee(own, receipt)} fen")


def _covers(desk: Desk, body: dict[str, Any], own: _Own) -> Callable[[SignedReceipt], bool]:
    """Whether the statement should have had what a receipt of ours was signed for.

    Its period is by the provider's clock, our receipts are by ours. Where they are no further
    apart than clocks are, our own log tells: what we signed no later than the receipt that the
    provider names as the last it holds. Who names none is held to the period as it stands.
    """
    to = parse_iso(body["period"]["to"])
    name = body.get("latest_receipt", "")
    named = own.receipts.get(name) if name else None
    if name is not None and named is None:
        return lambda receipt: receipt.at <= to
    surely = to - timedelta(seconds=limits.STATEMENT_SKEW_S)

    def covers(receipt: SignedReceipt) -> bool:
        if receipt.at <= surely:
            return True
        return named is not None and receipt.at <= named.at and _no_later(desk, receipt, named)

    return covers


def _no_later(desk: Desk, receipt: SignedReceipt, other: SignedReceipt) -> bool:
    """Whether it stands no later in our log; what stands there no more cannot say that it does."""
    try:
        mine, last = (desk.evidence.entry(each.entry_id).index for each in (receipt, other))
    except EntryNotFound:
        return True
    return last is None or (mine is not None and mine <= last)


def _fee(own: _Own, receipt: SignedReceipt) -> int:
    return charge(own.bill.per_use_fen, own.bill.per_row_fen, receipt.body["rows"])


def _line(desk: Desk, line: dict[str, Any], own: _Own) -> Iterator[Difference]:
    use_id = line["use_id"]
    claimed = f"{line['rows']} rows, {line['fee_fen']} fen"
    yield from _paid_before(line, own.settled)
    receipt = own.receipts.get(use_id)
    if receipt is None:
        yield Difference(use_id, "RECEIPT_MISSING", claimed, "–")
        return
    try:
        desk.check_own(receipt.jws, receipt.body)
    except BadSignature as error:
        yield Difference(use_id, "RECEIPT_FORGED", claimed, error.sentence("en"))
        return
    wanted = {"receipt": receipt.body, "jws": receipt.jws}
    why, _ = vouched(desk.evidence, receipt.entry_id, receipt.leaf, wanted)
    if why:
        yield Difference(use_id, "RECEIPT_NOT_EVIDENCED", claimed, why[:500])
        return
    fee = _fee(own, receipt)
    mine = f"{receipt.body['rows']} rows, {fee} fen"
    most = own.bill.rows_max
    if line["rows"] != receipt.body["rows"]:
        yield Difference(use_id, "ROWS_DIFFER", claimed, mine)
    elif most is not None and line["rows"] > most:
        # We signed for what came; more than was agreed is sent at the sender's own cost.
        yield Difference(use_id, "ROWS_DIFFER", claimed, f"{most} rows at most")
    elif line["fee_fen"] != fee:
        yield Difference(use_id, "FEE_WRONG", claimed, mine)
    elif receipt.body.get("accepts", line["leaf"]) != line["leaf"]:
        yield Difference(use_id, "ENTRY_DIFFERS", line["leaf"], receipt.body["accepts"])


def _paid_before(line: dict[str, Any], settled: dict[str, int]) -> Iterator[Difference]:
    if line["use_id"] in settled:
        claimed = f"{line['rows']} rows, {line['fee_fen']} fen"
        paid = f"{settled[line['use_id']]} fen"
        yield Difference(line["use_id"], "ALREADY_SETTLED", claimed, paid)


def _unproven(desk: Desk, body: dict[str, Any], own: _Own) -> Iterator[Difference]:
    for line in body["lines"]:
        why, _ = in_tree(desk.evidence, own.receipts[line["use_id"]].entry_id)
        if why:
            claimed = f"{line['rows']} rows, {line['fee_fen']} fen"
            yield Difference(line["use_id"], "RECEIPT_NOT_EVIDENCED", claimed, why[:500])


def _answer(
    desk: Desk, tx: Tx, body: dict[str, Any], jws: str, differences: tuple[Difference, ...]
) -> Statement:
    # One statement of a contract at a time, and a look at what was paid since the books were read:
    # two that list one use may come at once.
    store.find_bill(tx, body["contract_id"], lock=tx.dialect == "postgresql")
    again = store.find_statement(tx, body["id"])
    if again is not None:
        return again
    if not differences:
        paid = store.billed_uses(tx, body["contract_id"])
        differences = tuple(d for line in body["lines"] for d in _paid_before(line, paid))
    named = [each.to_json() for each in differences[: limits.STATEMENT_DIFFERENCES_MAX]]
    if named:
        answer_jws = desk.sign(dispute_body(body, named), body["provider"])
        entry = desk.evidence.record(
            tx, "statement.disputed", outline(body) | {"differences": named, "jws": answer_jws}
        )
    else:
        answer_jws = desk.sign(body, body["provider"])
        part = transfer_part(body, body["id"])
        if body["total_fen"]:
            debit = desk.ledger.account(tx, desk.own_did, ACCOUNT).account_id
            credit = desk.ledger.account(tx, body["provider"], ACCOUNT).account_id
            desk.ledger.transfer(tx, body["id"], debit, credit, body["total_fen"], "statement")
        entry = desk.evidence.record(tx, "statement.settled", outline(body) | {"transfer": part})
    outcome = DISPUTED if named else SETTLED
    values = {
        "statement_id": body["id"],
        "contract_id": body["contract_id"],
        "role": "consumer",
        "body": body,
        "provider_jws": jws,
        "consumer_jws": answer_jws,
        "state": outcome,
        "total_fen": body["total_fen"],
        "differences": named,
        "entry_id": entry.entry_id,
        "created_at": tx.now,
        "ended_at": tx.now,
    }
    store.add_statement(tx, values, body["lines"])
    answer = {
        "statement_id": body["id"],
        "contract_id": body["contract_id"],
        "outcome": outcome,
        "differences": named,
        "jws": answer_jws,
    }
    conversation = f"bill:{body['contract_id']}"
    enqueue(tx, "tds.AcknowledgeStatement", body["provider"], conversation, answer)
    if named:
        codes = tuple(sorted({each["code"] for each in named}))
        tx.emit(StatementDisputed(body["id"], body["contract_id"], codes, tx.now))
    else:
        settled = StatementSettled(
            body["id"], body["contract_id"], body["total_fen"], entry.entry_id, tx.now
        )
        tx.emit(settled)
    found = store.find_statement(tx, body["id"])
    assert found is not None, "the row was written above"  # noqa: S101
    return found

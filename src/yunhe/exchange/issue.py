"""The provider's statement: drawn up from meters, each proven by the log; then paid or disputed.

In: a contract id; later the consumer's answer. Out: a signed statement on its way, a pending
ledger transfer, and at the answer its post or void. A charge without a meter row, or a meter row
without its evidence entry, stops everything and is named.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from yunhe.evidence import EvidenceLog
from yunhe.exchange import store
from yunhe.exchange.documents import Cut, read_differences, statement_body
from yunhe.exchange.errors import (
    BillMoved,
    BillUnknown,
    DocumentInvalid,
    MeterMissing,
    MeterNotEvidenced,
    NotAParty,
    NothingToBill,
    NotTheProvider,
    ReceiptAwaited,
    StatementUnknown,
    UsesInFlight,
)
from yunhe.exchange.events import StatementDisputed, StatementIssued, StatementSettled
from yunhe.exchange.model import (
    ACCOUNT,
    DISPUTE,
    DISPUTED,
    ISSUED,
    SETTLED,
    Bill,
    Desk,
    Meter,
    Statement,
)
from yunhe.exchange.receipts import apply_corrections
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.clock import iso
from yunhe.kernel.db import DatabaseFailed, Tx
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.kernel.outbox import enqueue

_TICK: Final = timedelta(microseconds=1)
_NO_ANSWER: Final = (Unavailable, DatabaseFailed)


def vouched(
    evidence: EvidenceLog, entry_id: str, leaf: str, wanted: dict[str, Any]
) -> tuple[str, str]:
    """Why the entry does not vouch for `wanted` (members of its body), in English and Chinese;
    "" if it does. Raises what keeps the log from answering now: no word against the entry.
    """
    try:
        entry = evidence.entry(entry_id)
    except _NO_ANSWER:
        raise
    except YunheError as error:
        return _said(error)
    if entry.body is None:
        return "its body was erased", "其内容已被擦除"
    if sha256_hex(b"\x00" + entry.leaf) != leaf:
        return "its leaf is another one", "其叶节点不符"
    for name, value in wanted.items():
        if entry.body.get(name) != value:
            return f"it says something else about {name}", f"其中 {name} 不符"
    return "", ""


def _said(error: YunheError) -> tuple[str, str]:
    """A refusal's two sentences as a part of others, which end in a stop themselves."""
    return error.sentence("en").rstrip("."), error.sentence("zh").rstrip("。")


def in_tree(evidence: EvidenceLog, entry_id: str) -> tuple[str, str]:
    """Why the entry has no proof under the log's signed checkpoint, as `vouched`; "" if it has.

    Asked only when every entry concerned is present: a missing one spoils its neighbours' proofs,
    and the one to name is the missing one. Raises as `vouched`, and ProofPending.
    """
    try:
        evidence.proof(entry_id, wait_s=limits.PROOF_WAIT_S_MAX)
    except _NO_ANSWER:
        raise
    except YunheError as error:
        return _said(error)
    return "", ""


def _billable(desk: Desk, tx: Tx, contract_id: str) -> tuple[Bill, list[Meter], list[str]]:
    """Meters that stand on no statement; every charged use must have one.

    Last the uses held over: cut off, so their receipt may lower them, and it has not come yet.
    The uses are read before their meters: where each statement sees what was committed by then
    (PostgreSQL), a use that is posted meanwhile has its meter here without being charged yet.
    """
    bill = store.find_bill(tx, contract_id, lock=tx.dialect == "postgresql")
    if bill is None:
        raise BillUnknown
    if bill.role != "provider":
        raise NotTheProvider
    posted = {use.use_id: use for use in desk.control.uses(contract_id, ("posted",))}
    meters = [each for each in store.meters_of(tx, contract_id) if each.use_id in posted]
    metered = {meter.use_id for meter in meters}
    billed = store.billed_uses(tx, contract_id)
    signed = store.receipted_uses(tx, contract_id)
    until = tx.now - timedelta(seconds=limits.RECEIPT_WAIT_S)
    held: list[str] = []
    for use in posted.values():
        if use.use_id not in metered:
            raise MeterMissing(use_id=use.use_id, entry_id=use.entry_id)
        awaited = not use.complete and use.ended_at is not None and use.ended_at > until
        if awaited and use.use_id not in billed and use.use_id not in signed:
            held.append(use.use_id)
    out = billed.keys() | set(held)
    return bill, [meter for meter in meters if meter.use_id not in out], held


def _payable(meters: list[Meter]) -> list[Meter]:
    """As many of the first as one statement holds and one ledger transfer can pay."""
    found: list[Meter] = []
    total = 0
    for meter in meters[: limits.STATEMENT_LINES_MAX]:
        total += meter.fee_fen
        if total > limits.TRANSFER_FEN_MAX:
            break
        found.append(meter)
    return found


def _prove(desk: Desk, meters: list[Meter]) -> None:
    for meter in meters:
        wanted = {
            "use_id": meter.use_id,
            "contract_id": meter.contract_id,
            "rows": meter.rows,
            "fee_fen": meter.fee_fen,
        }
        _stop(meter, vouched(desk.evidence, meter.entry_id, meter.leaf, wanted))
    for meter in meters:
        _stop(meter, in_tree(desk.evidence, meter.entry_id))


def _stop(meter: Meter, why: tuple[str, str]) -> None:
    en, zh = why
    if en:
        ids = {"use_id": meter.use_id, "entry_id": meter.entry_id}
        raise MeterNotEvidenced(why=en, why_zh=zh, **ids)


def issue(desk: Desk, contract_id: str) -> Statement:
    """Draw up, sign and send a statement of everything not billed yet.

    Raises BillUnknown, NotTheProvider, NothingToBill, UsesInFlight, ReceiptAwaited, MeterMissing,
    MeterNotEvidenced, BillMoved.
    """
    apply_corrections(desk, contract_id)

    def look(tx: Tx) -> list[Meter]:
        _, found, held = _billable(desk, tx, contract_id)
        if held and not found:
            until = tx.now + timedelta(seconds=limits.RECEIPT_WAIT_S)
            raise ReceiptAwaited(use_id=held[0], until=iso(until))
        return _payable(found)

    meters = desk.db.write(look)  # a write, only for the lock; nothing is written
    if not meters:
        raise NothingToBill
    _prove(desk, meters)

    def verb(tx: Tx) -> Statement:
        # Before the uses: each of them then has its meter below, or is in flight.
        signed = store.receipted_uses(tx, contract_id)
        # Before those posted: one that is posted meanwhile is in flight, and not left out.
        for use in desk.control.uses(contract_id, ("released",)):
            raise UsesInFlight(use_id=use.use_id)
        bill, now_open, held = _billable(desk, tx, contract_id)
        if now_open[: len(meters)] != meters:
            raise BillMoved
        cut = _cut(tx.now, signed, now_open[len(meters) :], held)
        return _issue(desk, tx, bill, meters, cut)

    return desk.db.write(verb)


def _cut(now: datetime, signed: dict[str, datetime], rest: list[Meter], held: list[str]) -> Cut:
    """What a statement speaks of that leaves `rest` to the next one, besides those `held`.

    `signed`: the uses that have a receipt, with its time. The consumer misses whatever it signed
    for within that: so the period ends before the first receipt of the rest, and names those that
    have not come yet. The two clocks differ, and uses go on while a statement is on its way: so
    it says, too, up to which receipt of the consumer's it goes.
    """
    known = [signed[meter.use_id] for meter in rest if meter.use_id in signed]
    before = min(known, default=None)
    here = [(at, use_id) for use_id, at in signed.items() if before is None or at < before]
    waiting = [each.use_id for each in rest if each.use_id not in signed]
    until = now if before is None else min(before - _TICK, now)
    kept = tuple([*held, *waiting][: limits.STATEMENT_LINES_MAX])
    return Cut(until, max(here, default=(None, None))[1], kept)


def _issue(desk: Desk, tx: Tx, bill: Bill, meters: list[Meter], cut: Cut) -> Statement:
    statement_id = tx.new_id()
    body = statement_body(bill, statement_id, meters, cut, tx.now)
    jws = desk.sign(body, bill.consumer_did)
    if body["total_fen"]:
        debit = desk.ledger.account(tx, bill.consumer_did, ACCOUNT).account_id
        credit = desk.ledger.account(tx, bill.provider_did, ACCOUNT).account_id
        desk.ledger.pending(tx, statement_id, debit, credit, body["total_fen"], "statement")
    entry = desk.evidence.record(tx, "statement.issued", outline(body))
    values = {
        "statement_id": statement_id,
        "contract_id": bill.contract_id,
        "role": "provider",
        "body": body,
        "provider_jws": jws,
        "consumer_jws": "",
        "state": ISSUED,
        "total_fen": body["total_fen"],
        "differences": [],
        "entry_id": entry.entry_id,
        "created_at": tx.now,
    }
    store.add_statement(tx, values, body["lines"])
    payload = {"statement": body, "jws": jws}
    enqueue(tx, "tds.SendStatement", bill.consumer_did, f"bill:{bill.contract_id}", payload)
    tx.emit(StatementIssued(statement_id, bill.contract_id, body["total_fen"], tx.now))
    return _found(tx, statement_id)


def outline(body: dict[str, Any]) -> dict[str, Any]:
    """How an evidence entry stands for a statement: by its digest, with what one looks for."""
    return {
        "statement": sha256_hex(body),
        "statement_id": body["id"],
        "contract_id": body["contract_id"],
        "total_fen": body["total_fen"],
    }


def transfer_part(body: dict[str, Any], transfer_id: str) -> dict[str, Any]:
    """The ledger transfer of a settled statement, as evidence and bundle show it."""
    return {
        "transfer_id": transfer_id,
        "debit": f"{body['consumer']}#{ACCOUNT}",
        "credit": f"{body['provider']}#{ACCOUNT}",
        "amount_fen": body["total_fen"],
    }


def dispute_body(body: dict[str, Any], differences: list[dict[str, str]]) -> dict[str, Any]:
    """What the consumer signs when it does not pay."""
    return {
        "type": DISPUTE,
        "statement_id": body["id"],
        "statement": sha256_hex(body),
        "differences": differences,
    }


def acknowledged(desk: Desk, peer_did: str, answer: Any) -> dict[str, Any]:
    """The consumer's answer: `settled` posts the transfer, `disputed` voids it. Idempotent.

    Raises DocumentInvalid, StatementUnknown, NotAParty, BadSignature; MeterMissing or
    MeterNotEvidenced when our own books no longer bear the statement out.
    """
    if not isinstance(answer, dict) or answer.get("outcome") not in (SETTLED, DISPUTED):
        raise DocumentInvalid(what="acknowledgement", why="outcome is missing or malformed")
    statement_id, jws = answer.get("statement_id"), answer.get("jws")
    if not isinstance(statement_id, str) or not isinstance(jws, str):
        raise DocumentInvalid(what="acknowledgement", why="statement_id or jws is missing")
    found = desk.db.read(lambda tx: _found(tx, statement_id))
    if found.role != "provider":
        raise StatementUnknown
    if found.body["consumer"] != peer_did:
        raise NotAParty
    if found.state == ISSUED:
        if answer["outcome"] == SETTLED:
            desk.check(peer_did, jws, found.body)
            _bear_out(desk, found)
            found = desk.db.write(lambda tx: _settle(desk, tx, statement_id, jws))
        else:
            said = read_differences(answer.get("differences"))
            desk.check(peer_did, jws, dispute_body(found.body, said))
            found = desk.db.write(lambda tx: _dispute(desk, tx, statement_id, said, jws))
    return {"statement_id": statement_id, "outcome": found.state}


def _bear_out(desk: Desk, statement: Statement) -> None:
    """Our own meters and log must still say what the statement says."""
    meters: list[Meter] = []
    last = {
        meter.use_id: meter
        for meter in desk.db.read(lambda tx: store.meters_of(tx, statement.contract_id))
    }
    for line in statement.body["lines"]:
        meter = last.get(line["use_id"])
        if meter is None or (meter.rows, meter.fee_fen, meter.entry_id) != (
            line["rows"],
            line["fee_fen"],
            line["entry"],
        ):
            raise MeterMissing(use_id=line["use_id"], entry_id=line["entry"])
        meters.append(meter)
    _prove(desk, meters)


def _settle(desk: Desk, tx: Tx, statement_id: str, jws: str) -> Statement:
    found = _found(tx, statement_id)
    if found.state != ISSUED:
        return found
    body = found.body
    part = transfer_part(body, f"{statement_id}/post")
    if found.total_fen:
        desk.ledger.post(tx, part["transfer_id"], statement_id)
    entry = desk.evidence.record(tx, "statement.settled", outline(body) | {"transfer": part})
    values = {"state": SETTLED, "consumer_jws": jws, "entry_id": entry.entry_id}
    if store.end_statement(tx, statement_id, values):
        event = StatementSettled(
            statement_id, found.contract_id, found.total_fen, entry.entry_id, tx.now
        )
        tx.emit(event)
    return _found(tx, statement_id)


def _dispute(
    desk: Desk, tx: Tx, statement_id: str, differences: list[dict[str, str]], jws: str
) -> Statement:
    found = _found(tx, statement_id)
    if found.state != ISSUED:
        return found
    if found.total_fen:
        desk.ledger.void(tx, f"{statement_id}/void", statement_id)
    body = outline(found.body) | {"differences": differences, "jws": jws}
    entry = desk.evidence.record(tx, "statement.disputed", body)
    values = {"state": DISPUTED, "differences": differences, "entry_id": entry.entry_id}
    if store.end_statement(tx, statement_id, values):
        codes = tuple(sorted({each["code"] for each in differences}))
        tx.emit(StatementDisputed(statement_id, found.contract_id, codes, tx.now))
    return _found(tx, statement_id)


def _found(tx: Tx, statement_id: str) -> Statement:
    found = store.find_statement(tx, statement_id)
    if found is None:
        raise StatementUnknown
    return found

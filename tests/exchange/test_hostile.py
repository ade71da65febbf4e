"""What a party may try to be paid twice for one use, or to use and never be billed."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from yunhe.contracts import Price, TermNotUnderstood, Terms, policy_from_terms, terms_from_policy
from yunhe.exchange import BillUnknown, DocumentInvalid, NotAParty, reconcile
from yunhe.exchange.store import receipt
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps
from yunhe.kernel.clock import ManualClock, iso
from yunhe.kernel.keys import KeyStore, jws_detached

PROVIDER, CONSUMER = "did:web:hospital.example", "did:web:research.example"
TERMS = Terms(("research",), ("lab.value",), rows_max=100)


def numbered(pair, statement, statement_id: str) -> tuple[dict[str, Any], str]:
    """The same bill, signed by its provider under another number."""
    body = statement.body | {"id": statement_id}
    return body, jws_detached(pair.hospital.key, dumps(body))


def at_once(pair, bills, monkeypatch) -> list[Any]:
    """Every bill has been held against the books before any of them is answered."""
    gate = threading.Barrier(len(bills))
    looked = reconcile.recompute

    def all_look(desk, body):
        found = looked(desk, body)
        gate.wait(10)
        return found

    monkeypatch.setattr(reconcile, "recompute", all_look)
    answers: list[Any] = []

    def send(bill: tuple[dict[str, Any], str]) -> None:
        answers.append(pair.research.exchange.reconcile(PROVIDER, *bill))

    threads = [threading.Thread(target=send, args=(bill,)) for bill in bills]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_use_on_two_statements_at_once_is_paid_once(paying_pair, monkeypatch) -> None:
    pair = paying_pair
    use_id = pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    bills = [numbered(pair, issued, name) for name in ("one", "two", "three")]
    answers = at_once(pair, bills, monkeypatch)
    assert sorted(each.state for each in answers) == ["disputed", "disputed", "settled"]
    refused = [each for each in answers if each.state == "disputed"]
    assert {(d.use_id, d.code) for each in refused for d in each.differences} == {
        (use_id, "ALREADY_SETTLED")
    }
    assert pair.research.balance() == {PROVIDER: issued.total_fen, CONSUMER: -issued.total_fen}


def test_a_statement_cannot_take_the_number_of_a_transfer_of_ours(pair) -> None:
    """`<id>/post` is how we book what is paid to us: who takes it first is never made to pay."""
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    for tail in ("post", "void"):
        bill = numbered(pair, issued, f"{issued.statement_id}/{tail}")
        with pytest.raises(DocumentInvalid):
            pair.research.exchange.reconcile(PROVIDER, *bill)
    assert pair.research.balance() == {}


DEAR = 10**13  # fen a row


def test_a_price_that_no_ledger_can_book_is_not_agreed_to() -> None:
    """A consumer may offer more than is asked; what cannot be billed would be free."""
    terms = replace(TERMS, rows_max=None, price=Price(per_row=DEAR))
    with pytest.raises(TermNotUnderstood) as refused:
        terms_from_policy(policy_from_terms(terms))
    assert refused.value.facts["term"] == "payAmount"
    for price in (Price(limits.TRANSFER_FEN_MAX + 1), Price(limits.TRANSFER_FEN_MAX, 1)):
        with pytest.raises(TermNotUnderstood):
            terms_from_policy(policy_from_terms(replace(TERMS, price=price)))
    payable = replace(TERMS, rows_max=100, price=Price(per_row=DEAR))
    assert terms_from_policy(policy_from_terms(payable)).price.per_row == DEAR


def test_uses_that_one_transfer_cannot_pay_go_on_several_statements(any_pair) -> None:
    pair = any_pair
    pair.contract(replace(TERMS, price=Price(per_row=DEAR)), "c2")
    uses = [pair.use(60, contract_id="c2") for _ in range(3)]
    totals = []
    for use_id in uses:
        issued = pair.hospital.exchange.issue_statement("c2")
        assert [line["use_id"] for line in issued.body["lines"]] == [use_id]
        totals.append(issued.total_fen)
        pair.deliver()
    assert totals == [60 * DEAR] * 3
    assert pair.hospital.balance() == pair.research.balance()
    assert pair.hospital.balance()[PROVIDER] == 180 * DEAR > limits.TRANSFER_FEN_MAX


@pytest.mark.parametrize("who", ["hospital", "research"])
@pytest.mark.parametrize("before", ["the receipt", "the statement", "the answer"])
def test_a_key_rotated_on_the_way_forges_nothing(pair, who: str, before: str) -> None:
    """Documents wait in an outbox, and receipts for the bill, longer than a rotation takes."""
    node = getattr(pair, who)
    pair.use(deliver=False)
    if before == "the receipt":
        pair.rotate(node)
    pair.deliver()
    issued = pair.hospital.exchange.issue_statement("c1")
    if before == "the statement":
        pair.rotate(node)
    pair.research.exchange.receive_statement(PROVIDER, issued.body, issued.provider_jws)
    if before == "the answer":
        pair.rotate(node)
    pair.deliver()
    for found in (pair.hospital, pair.research):
        assert found.exchange.statement(issued.statement_id).differences == ()
        assert found.exchange.statement(issued.statement_id).state == "settled"


LATE_S = (limits.KEY_OVERLAP_DAYS + 1) * 86_400


def test_a_bill_that_comes_after_the_overlap_of_a_key_is_held_against_that_key(
    pair, clock: ManualClock
) -> None:
    """A receipt is read again when the bill comes, and that may be a year later."""
    pair.use()
    pair.rotate(pair.research)
    clock.advance(LATE_S)
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    assert pair.research.exchange.statement(issued.statement_id).differences == ()
    assert pair.hospital.exchange.statement(issued.statement_id).state == "settled"


def test_a_key_whose_overlap_has_ended_signs_no_new_receipt(pair, clock: ManualClock) -> None:
    """What is made with it later is none of ours, whatever is written into our books."""
    use_id = pair.use()
    old = pair.research.key.now
    pair.rotate(pair.research)
    clock.advance(LATE_S)
    row = sa.select(receipt).where(receipt.c.use_id == use_id)
    body = dict(pair.research.db.read(lambda tx: tx.one(row)).body) | {"at": iso(clock.now())}
    jws = jws_detached(old, dumps(body))
    text = json.dumps(body).replace("'", "''")
    pair.research.sql(
        f"UPDATE exchange_receipt SET body = '{text}', jws = '{jws}'",
        drop="exchange_receipt_no_update",
    )
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    found = pair.research.exchange.statement(issued.statement_id)
    assert {(d.use_id, d.code) for d in found.differences} == {(use_id, "RECEIPT_FORGED")}


def test_a_part_of_the_uses_is_no_dispute_about_the_rest(pair, monkeypatch) -> None:
    """Neither a consumer's slow clock nor a receipt on its way makes the next lines missing."""
    monkeypatch.setattr(limits, "STATEMENT_LINES_MAX", 2)
    for _ in range(3):
        pair.use()
    pair.use(deliver=False)  # its receipt has not come to the provider yet
    first = pair.hospital.exchange.issue_statement("c1")
    assert first.body["held"] == ["u4"]
    pair.deliver()
    second = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    for statement in (first, second):
        assert pair.research.exchange.statement(statement.statement_id).state == "settled"
    assert pair.research.exchange.running_bill("c1").open_fen == 0


def test_a_bill_is_its_providers_for_its_consumer_and_for_no_other(pair, tmp_path) -> None:
    """Everybody signs what they like with a key of their own; the contract says who may bill."""
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    thief, other = "did:web:thief.example", "did:web:other.example"
    stolen = KeyStore(tmp_path / "thief").key("did")
    pair.keys[thief] = stolen.public_jwk()
    hospital, research = pair.hospital, pair.research
    bills = [
        (research, thief, stolen, {"provider": thief}),  # a member, of another contract
        (research, PROVIDER, hospital.key, {"consumer": other}),  # sent to the wrong one
        (hospital, CONSUMER, research.key, {"provider": CONSUMER, "consumer": PROVIDER}),
    ]
    for node, sender, key, lie in bills:
        body = issued.body | lie | {"id": f"by-{sender}-{len(lie)}"}
        with pytest.raises(NotAParty):
            node.exchange.reconcile(sender, body, jws_detached(key, dumps(body)))
    unknown = issued.body | {"contract_id": "nobody-agreed-to-this"}
    with pytest.raises(BillUnknown):
        research.exchange.reconcile(PROVIDER, unknown, jws_detached(hospital.key, dumps(unknown)))
    for nothing in (None, 7, [issued.provider_jws], {}):
        with pytest.raises(DocumentInvalid):
            research.exchange.reconcile(PROVIDER, issued.body, nothing)
    assert research.exchange.statements() == []
    assert [each.state for each in hospital.exchange.statements()] == ["issued"]
    assert research.balance() == {}


def test_a_number_that_was_answered_is_no_other_bill(pair) -> None:
    """The same statement again gets the same answer; another under its number gets none."""
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    answered = pair.research.exchange.reconcile(PROVIDER, issued.body, issued.provider_jws)
    again = pair.research.exchange.reconcile(PROVIDER, issued.body, issued.provider_jws)
    assert (again.state, again.consumer_jws) == (answered.state, answered.consumer_jws)
    other = issued.body | {"total_fen": issued.total_fen + 1}
    with pytest.raises(DocumentInvalid):
        pair.research.exchange.reconcile(
            PROVIDER, other, jws_detached(pair.hospital.key, dumps(other))
        )
    assert pair.research.balance() == {PROVIDER: issued.total_fen, CONSUMER: -issued.total_fen}

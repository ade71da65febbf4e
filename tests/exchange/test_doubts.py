"""Uses in doubt: no use unbilled, none billed twice, none disputed, whoever dies when."""

from __future__ import annotations

from typing import Any

import pytest

from exchange.conftest import CONSUMER, PROVIDER, TERMS, Pair
from yunhe.control import UseAlreadySpent, UseIdTaken
from yunhe.control.errors import UnknownUsesTooMany
from yunhe.exchange import (
    BillUnknown,
    DocumentInvalid,
    NotAParty,
    NothingToBill,
    ReceiptAwaited,
    StatementEarly,
    UseInDoubt,
    UseUnderWay,
)
from yunhe.exchange import store as books
from yunhe.exchange.documents import read_outcome
from yunhe.kernel import limits

FEE = {rows: 100 + 2 * rows for rows in (0, 3, 7, 10, 50)}
QUESTION = {"use_id": "u1", "contract_id": "c1"}


def begin(pair: Pair, use_id: str = "u1") -> None:
    """What the relay does before it asks."""
    pair.research.exchange.begin_use(use_id, "c1", "research")


def settle(pair: Pair) -> dict[str, Any]:
    """One statement; it must be paid at both ends. Its body."""
    body = pair.hospital.exchange.issue_statement("c1").body
    pair.deliver()
    for node in (pair.hospital, pair.research):
        states = [found.state for found in node.exchange.statements("c1")]
        assert set(states) == {"settled"}
    assert pair.hospital.balance() == pair.research.balance()
    return body


def receipt(pair: Pair, use_id: str = "u1") -> dict[str, Any] | None:
    found = pair.research.exchange.receipt(use_id)
    return None if found is None else found.body


def nobody() -> set[str]:
    return set()


def test_a_whole_use_leaves_nothing_open(pair) -> None:
    begin(pair)
    pair.use()
    assert pair.research.exchange.open_uses() == []
    assert "in_doubt" not in receipt(pair)
    with pytest.raises(UseAlreadySpent):
        begin(pair)


def test_a_refused_use_leaves_no_receipt(pair) -> None:
    begin(pair)
    pair.research.exchange.forget_use("u1")
    assert pair.research.exchange.open_uses() == []
    assert receipt(pair) is None
    begin(pair)  # and may be asked for again


def test_a_use_is_asked_for_once_at_a_time(pair) -> None:
    begin(pair)
    with pytest.raises(UseInDoubt):
        begin(pair)
    with pytest.raises(BillUnknown):
        pair.research.exchange.begin_use("u2", "c9", "research")
    with pytest.raises(BillUnknown):
        pair.hospital.exchange.begin_use("u2", "c1", "research")  # it provides this one


def test_the_provider_died_before_it_admitted(any_pair) -> None:
    pair = any_pair
    begin(pair)
    pair.research.exchange.cut_use("u1", 0, 0, "")
    pair.deliver()
    assert pair.research.exchange.open_uses() == []
    assert receipt(pair) is None
    with pytest.raises(UseAlreadySpent):
        pair.admit()  # the request comes late: what we were told stays true
    with pytest.raises(NothingToBill):
        pair.hospital.exchange.issue_statement("c1")
    assert pair.hospital.control.quota("c1").uses_left == 50


def test_the_provider_died_before_it_released(pair) -> None:
    begin(pair)
    pair.admit()
    pair.hospital.sql("UPDATE control_use SET state = 'reserved'")
    pair.hospital.control.recover()
    pair.research.exchange.cut_use("u1", 0, 0, "")
    pair.deliver()
    assert (receipt(pair), pair.research.exchange.open_uses()) == (None, [])


def test_the_provider_died_while_it_streamed(any_pair) -> None:
    pair = any_pair
    begin(pair)
    pair.admit()
    pair.research.exchange.cut_use("u1", 7, 56, "ab" * 32)
    pair.hospital.control.recover()
    with pytest.raises(ReceiptAwaited):
        pair.hospital.exchange.issue_statement("c1")  # it may be lowered yet
    pair.deliver()
    pair.deliver()
    body = settle(pair)
    assert [(line["rows"], line["fee_fen"]) for line in body["lines"]] == [(7, FEE[7])]
    assert (receipt(pair)["in_doubt"], receipt(pair)["digest"]) == (True, "ab" * 32)


def test_we_died_while_the_provider_was_cut(pair) -> None:
    begin(pair)
    grant = pair.admit()
    pair.hospital.control.post(grant, 50, 400, complete=False)
    assert pair.research.exchange.sweep_uses(nobody) == 1
    pair.deliver()
    pair.deliver()
    assert settle(pair)["total_fen"] == FEE[0]  # we passed nothing on that we know of


def test_we_lost_count_of_a_whole_delivery(any_pair) -> None:
    pair = any_pair
    begin(pair)
    grant = pair.admit()
    pair.hospital.control.post(grant, 50, 400)
    pair.research.exchange.cut_use("u1", 3, 24, "")
    pair.deliver()
    pair.deliver()
    assert settle(pair)["total_fen"] == FEE[50]
    entry = pair.hospital.log.find("use.posted", 1)[0]
    meter = pair.hospital.exchange.meters("c1")[0]
    assert receipt(pair)["accepts"] == meter.leaf
    assert meter.entry_id == entry.entry_id


def test_a_figure_over_the_agreed_maximum_is_not_accepted(pair) -> None:
    begin(pair)
    pair.research.exchange.cut_use("u1", 3, 24, "")
    told = {"use_id": "u1", "state": "posted", "bytes": 9, "leaf": "ab" * 32}
    _answered(pair, told | {"rows": TERMS.rows_max + 1, "complete": True})
    assert receipt(pair)["rows"] == 3
    assert "accepts" not in receipt(pair)


def test_what_was_accepted_is_that_entry_and_no_other(pair) -> None:
    begin(pair)
    grant = pair.admit()
    pair.hospital.control.post(grant, 10, 80)
    pair.research.exchange.cut_use("u1", 0, 0, "")
    told = {"use_id": "u1", "state": "posted", "bytes": 80, "rows": 10, "complete": True}
    _answered(pair, told | {"leaf": "ab" * 32})
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    (found,) = pair.research.exchange.statements("c1")
    assert [each.code for each in found.differences] == ["ENTRY_DIFFERS"]


def _answered(pair: Pair, told: dict[str, Any]) -> None:
    """The provider's answer as the outbox hands it over."""
    message = pair.waiting(pair.research)[-1]
    assert message.kind == "tds.GetUseOutcome"
    pair.resolve(message, told)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        {"use_id": "u2", "state": "void"},
        {"use_id": "u1", "state": "posted"},
        {"use_id": "u1", "state": "posted", "rows": -1, "bytes": 0, "complete": True, "leaf": "0"},
        {
            "use_id": "u2",
            "state": "posted",
            "rows": 1,
            "bytes": 0,
            "complete": True,
            "leaf": "ab" * 32,
        },
    ],
)
def test_an_unreadable_outcome_decides_nothing(pair, told) -> None:
    begin(pair)
    pair.research.exchange.cut_use("u1", 0, 0, "")
    _answered(pair, told)
    assert pair.research.exchange.open_uses() == ["u1"]
    with pytest.raises(DocumentInvalid):
        read_outcome(told, "u1")


def test_a_statement_waits_for_the_outcome(pair) -> None:
    begin(pair)
    grant = pair.admit()
    pair.hospital.control.post(grant, 10, 80)
    issued = pair.hospital.exchange.issue_statement("c1")
    with pytest.raises(StatementEarly):
        pair.research.exchange.reconcile(PROVIDER, issued.body, issued.provider_jws)
    pair.receive("u1", 10)
    pair.deliver()
    assert pair.research.exchange.statements("c1")[0].state == "settled"


def test_a_cut_use_is_held_over_and_the_others_are_settled(pair) -> None:
    begin(pair)
    pair.admit()
    pair.use(10)
    pair.hospital.control.recover()
    pair.receive("u1", 7)  # signed, and on its way
    issued = pair.hospital.exchange.issue_statement("c1")
    assert [line["use_id"] for line in issued.body["lines"]] == ["u2"]
    assert issued.body["held"] == ["u1"]
    pair.deliver()
    assert pair.research.exchange.statements("c1")[0].state == "settled"
    assert settle(pair)["total_fen"] == FEE[7]


def test_a_cut_use_is_billed_at_the_maximum_when_no_receipt_comes(pair, clock) -> None:
    pair.admit()
    pair.hospital.control.recover()
    clock.advance(limits.RECEIPT_WAIT_S + 1)
    assert pair.hospital.exchange.issue_statement("c1").total_fen == 300


def test_the_provider_answers_only_the_party_and_only_what_has_ended(pair) -> None:
    begin(pair)
    grant = pair.admit()
    outcome = pair.hospital.exchange.use_outcome
    with pytest.raises(UseUnderWay):
        outcome(CONSUMER, QUESTION)
    pair.hospital.control.post(grant, 1, 8)
    with pytest.raises(NotAParty):
        outcome("did:web:stranger.example", QUESTION)
    with pytest.raises(NotAParty):
        outcome(CONSUMER, QUESTION | {"contract_id": "c9"})
    for bad in ({}, {"use_id": 7}, QUESTION | {"use_id": "x" * 129}, QUESTION | {"contract_id": 1}):
        with pytest.raises(DocumentInvalid):
            outcome(CONSUMER, bad)
    assert outcome(CONSUMER, QUESTION)["complete"] is True


def test_anothers_use_is_no_business_of_this_contract(pair) -> None:
    pair.contract(contract_id="c2")
    pair.hospital.control.post(pair.admit(), 1, 8)
    told = pair.hospital.exchange.use_outcome(CONSUMER, QUESTION | {"contract_id": "c2"})
    assert told == {"use_id": "u1", "state": "void"}
    with pytest.raises(UseIdTaken):
        pair.hospital.control.fence("u1", "c2", CONSUMER)


def test_questions_about_uses_that_never_came_fill_no_disk(pair, monkeypatch) -> None:
    """A peer may ask about any id: each answer voids one, and only so many are written."""
    monkeypatch.setattr(limits, "NEVER_ADMITTED_MAX", 3)
    outcome = pair.hospital.exchange.use_outcome
    for number in range(3):
        told = outcome(CONSUMER, QUESTION | {"use_id": f"made-up-{number}"})
        assert told["state"] == "void"
    for _ in range(2):
        with pytest.raises(UnknownUsesTooMany):
            outcome(CONSUMER, QUESTION | {"use_id": "made-up-more"})
    assert outcome(CONSUMER, QUESTION | {"use_id": "made-up-1"})["state"] == "void"
    pair.hospital.control.post(pair.admit(), 1, 8)
    assert outcome(CONSUMER, QUESTION)["state"] == "posted"


def test_a_live_use_is_not_swept_and_a_silent_outcome_is_asked_again(pair, clock) -> None:
    begin(pair)
    exchange = pair.research.exchange
    assert exchange.sweep_uses(lambda: {"u1"}) == 0
    assert exchange.sweep_uses(nobody) == 1
    assert exchange.sweep_uses(nobody) == 0
    clock.advance(limits.DOUBT_ASK_S + 1)
    assert exchange.sweep_uses(nobody) == 1
    assert len(pair.waiting(pair.research)) == 2
    pair.deliver()
    assert exchange.open_uses() == []


def test_a_receipt_that_came_by_itself_ends_the_doubt(pair) -> None:
    begin(pair)
    grant = pair.admit()
    pair.hospital.control.post(grant, 10, 80)
    pair.research.exchange.cut_use("u1", 3, 24, "")
    pair.receive("u1", 10)
    pair.deliver()
    assert settle(pair)["total_fen"] == FEE[10]
    row = pair.research.db.read(lambda tx: books.find_asked(tx, "u1"))
    assert row is None

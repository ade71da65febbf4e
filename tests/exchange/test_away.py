"""A database that does not answer now, or answers in the middle of another verb, proves nothing."""

from __future__ import annotations

import threading

import pytest

from yunhe.evidence import ProofPending
from yunhe.exchange import store
from yunhe.kernel.db import DatabaseBusy


@pytest.mark.parametrize(("asked", "why"), [("entry", DatabaseBusy), ("proof", ProofPending)])
@pytest.mark.parametrize("side", ["hospital", "research"])
def test_a_log_that_cannot_be_asked_now_is_no_evidence_against_a_bill(
    pair, monkeypatch, side, asked, why
) -> None:
    pair.use()

    def away(*_args, **_more):
        raise why

    log = getattr(pair, side).log
    monkeypatch.setattr(log, asked, away)
    if side == "hospital":
        with pytest.raises(why):
            pair.hospital.exchange.issue_statement("c1")
        assert pair.hospital.exchange.statements("c1") == []
        monkeypatch.undo()
    pair.hospital.exchange.issue_statement("c1")
    if side == "research":
        with pytest.raises(why):
            pair.deliver()
        assert pair.research.exchange.statements("c1") == []  # no dispute was signed
        monkeypatch.undo()
    pair.deliver()
    for node in (pair.hospital, pair.research):
        assert [each.state for each in node.exchange.statements("c1")] == ["settled"]


@pytest.mark.parametrize("when", ["before the meters", "after the meters"])
def test_a_use_posted_while_a_statement_is_drawn_up_is_on_the_next_one(
    selling_pair, monkeypatch, when
) -> None:
    pair = selling_pair
    first, under_way = pair.use(), pair.admit()
    met, read = [], store.meters_of

    def meters_of(tx, contract_id):
        found = read(tx, contract_id) if when == "after the meters" else None
        if not met:
            met.append(threading.Thread(target=pair.hospital.control.post, args=(under_way, 5, 40)))
            met[0].start()
            met[0].join()
        return read(tx, contract_id) if found is None else found

    monkeypatch.setattr(store, "meters_of", meters_of)
    issued = pair.hospital.exchange.issue_statement("c1")
    assert [line["use_id"] for line in issued.body["lines"]] == [first]
    pair.receive(under_way.use_id, 5)
    pair.deliver()
    issued = pair.hospital.exchange.issue_statement("c1")
    assert [line["use_id"] for line in issued.body["lines"]] == [under_way.use_id]
    pair.deliver()
    for node in (pair.hospital, pair.research):
        assert [each.state for each in node.exchange.statements("c1")] == ["settled", "settled"]

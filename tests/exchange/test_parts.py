"""What goes into an evidence bundle: settled uses by their lines, then those still open."""

from __future__ import annotations

import pytest

from exchange.conftest import CONSUMER
from yunhe.exchange import BundleTooLong, StatementUnknown
from yunhe.kernel import limits


def uses(node, statement_id: str = "") -> list[str]:
    """The use ids of the node's part, each entry of the kind that the node can vouch for."""
    parts = node.exchange.bundle_parts("c1", statement_id)
    kinds = {node.log.entry(part["entry_id"]).kind for part in parts["uses"]}
    assert kinds <= ({"use.receipt"} if node.did == CONSUMER else {"use.posted", "use.corrected"})
    return [part["receipt"]["use_id"] for part in parts["uses"]]


def test_uses_are_in_the_order_of_the_lines(pair) -> None:
    made = [pair.use(n) for n in (1, 2, 3)]
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    for node in (pair.hospital, pair.research):
        assert uses(node) == made
        (settlement,) = node.exchange.bundle_parts("c1")["settlements"]
        assert settlement["statement"]["total_fen"] == 312


def test_a_use_that_nobody_bills_can_be_proven(pair) -> None:
    made = [pair.use(), pair.use()]
    for node in (pair.hospital, pair.research):
        assert uses(node) == made
        assert node.exchange.bundle_parts("c1")["settlements"] == []
    pair.hospital.exchange.issue_statement("c1")
    for node in (pair.hospital, pair.research):
        assert uses(node) == made  # issued, and not yet acknowledged
    pair.deliver()
    made.append(pair.use())
    for node in (pair.hospital, pair.research):
        assert uses(node) == made
        assert len(node.exchange.bundle_parts("c1")["settlements"]) == 1


def test_of_a_use_in_dispute_each_shows_only_what_it_can_prove(pair) -> None:
    agreed = pair.use()
    grant = pair.admit()
    pair.hospital.control.post(grant, 10, 80)
    pair.receive(grant.use_id, 9)
    pair.deliver()
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    assert pair.research.exchange.statements("c1")[0].state == "disputed"
    assert uses(pair.hospital) == [agreed]  # its meter says 10 rows, the consumer signed for 9
    assert uses(pair.research) == [agreed, grant.use_id]


def test_a_use_without_a_receipt_has_no_part(pair) -> None:
    made = pair.use()
    pair.hospital.control.post(pair.admit(), 10, 80)
    assert uses(pair.hospital) == [made]


def test_a_long_contract_is_proven_statement_by_statement(
    pair, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BUNDLE_USES_MAX", 2)
    made, issued = [], []
    for _ in range(3):
        made.append(pair.use())
        issued.append(pair.hospital.exchange.issue_statement("c1").statement_id)
        pair.deliver()
        clock.advance(1)  # of two at one instant neither is the first
        if len(made) < 3:
            assert uses(pair.research) == made
    for node in (pair.hospital, pair.research):
        with pytest.raises(BundleTooLong) as refused:
            node.exchange.bundle_parts("c1")
        assert "3 uses" in refused.value.sentence("en")
        assert "2" in refused.value.sentence("zh")
        for use_id, statement_id in zip(made, issued, strict=True):
            assert uses(node, statement_id) == [use_id]
            assert len(node.exchange.bundle_parts("c1", statement_id)["settlements"]) == 1


def test_a_statement_that_is_not_of_the_contract_or_not_settled_has_no_bundle(pair) -> None:
    pair.contract(contract_id="c2")
    pair.use()
    pair.use(contract_id="c2")
    other = pair.hospital.exchange.issue_statement("c2").statement_id
    pair.deliver()
    issued = pair.hospital.exchange.issue_statement("c1").statement_id  # not yet answered
    for statement_id in (other, issued, "none"):
        with pytest.raises(StatementUnknown):
            pair.hospital.exchange.bundle_parts("c1", statement_id)
    assert pair.hospital.exchange.bundle_parts("c3") == {"uses": [], "settlements": []}

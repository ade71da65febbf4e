"""Two clocks that differ by what tokens bear, and uses that go on beside a statement."""

from __future__ import annotations

from datetime import timedelta

import pytest

from exchange.test_settlement import PROVIDER, codes, resigned
from yunhe.kernel.clock import ManualClock


@pytest.mark.parametrize("behind_s", [-50, -5, 0, 5, 50])
def test_two_clocks_make_no_dispute_of_a_use_while_the_statement_is_on_its_way(
    pair, clock, behind_s
) -> None:
    """The consumer's clock goes behind or ahead by what tokens bear, and it uses on and on."""
    pair.research.db.clock = theirs = ManualClock(clock.now() - timedelta(seconds=behind_s))
    for seconds in (0, 1, 20):
        for each in (clock, theirs):
            each.advance(seconds)
        pair.use(deliver=seconds > 0)
        pair.hospital.exchange.issue_statement("c1")
        pair.use(deliver=False)  # a moment after the statement, before it has arrived
        outcomes = [reply for reply in pair.deliver() if "outcome" in reply]
        assert {reply["outcome"] for reply in outcomes} == {"settled"}
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    bill = pair.research.exchange.running_bill("c1")
    assert (bill.uses, bill.open_fen) == (6, 0), "all of them were billed in the end"


@pytest.mark.parametrize("behind_s", [-50, 0, 50])
@pytest.mark.parametrize("gone", [0, 1])
def test_two_clocks_hide_no_use_that_the_provider_left_out(pair, clock, behind_s, gone) -> None:
    pair.research.db.clock = ManualClock(clock.now() - timedelta(seconds=behind_s))
    uses = [pair.use(), pair.use()]
    delete = f"DELETE FROM exchange_meter WHERE use_id = '{uses[gone]}'"
    pair.hospital.sql(delete, "exchange_meter_no_delete")
    pair.hospital.sql(f"DELETE FROM control_use WHERE use_id = '{uses[gone]}'")
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    (found,) = pair.research.exchange.statements("c1")
    assert codes(found) == {(uses[gone], "NOT_BILLED")}


def test_what_was_signed_long_before_the_end_is_missed_though_no_receipt_is_named(
    pair, clock
) -> None:
    """A provider that says it holds no receipt is owed no more than the difference of clocks."""
    one, two = pair.use(), pair.use()
    clock.advance(61)
    issued = pair.hospital.exchange.issue_statement("c1")
    lines = [line for line in issued.body["lines"] if line["use_id"] == one]
    body, jws = resigned(pair, issued, lines=lines, total_fen=120, latest_receipt=None)
    found = pair.research.exchange.reconcile(PROVIDER, body, jws)
    assert codes(found) == {(two, "NOT_BILLED")}

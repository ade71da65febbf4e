"""Bills and statements that are nobody's here: each absence has its own name."""

from __future__ import annotations

import pytest

from yunhe.exchange import BillUnknown, NothingToBill, NotTheProvider, StatementUnknown


def test_bills_of_nobody(pair) -> None:
    ours, theirs = pair.hospital.exchange, pair.research.exchange
    for refusal, verb, of in (
        (BillUnknown, ours.issue_statement, "c9"),
        (NotTheProvider, theirs.issue_statement, "c1"),
        (BillUnknown, ours.running_bill, "c9"),
        (NothingToBill, ours.issue_statement, "c1"),
        (StatementUnknown, ours.statement, "nothing"),
    ):
        with pytest.raises(refusal):
            verb(of)

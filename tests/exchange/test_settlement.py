"""The life of a fen: metered, receipted, stated, recomputed, paid; and every way it may not be."""

from __future__ import annotations

import copy
import re

import pytest
import sqlalchemy as sa

from yunhe.control import CorrectionRefused
from yunhe.exchange import (
    DocumentInvalid,
    MeterMissing,
    MeterNotEvidenced,
    NotAParty,
    NothingToBill,
    ReceiptDiffers,
    StatementUnknown,
    UsesInFlight,
)
from yunhe.kernel.canonical import dumps
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import BadSignature, jws_detached, verify_jws_detached

PROVIDER, CONSUMER = "did:web:hospital.example", "did:web:research.example"


def codes(statement) -> set[tuple[str, str]]:
    return {(each.use_id, each.code) for each in statement.differences}


def resigned(pair, statement, **change):
    """The provider signs a statement that says something else."""
    body = copy.deepcopy(statement.body) | {"id": "another"} | change
    return body, jws_detached(pair.hospital.key, dumps(body))


def test_life_of_a_fen(any_pair) -> None:
    pair = any_pair
    for rows in (10, 0, 25):
        pair.use(rows)
    issued = pair.hospital.exchange.issue_statement("c1")
    assert issued.total_fen == 3 * 100 + 2 * 35
    assert [line["fee_fen"] for line in issued.body["lines"]] == [120, 100, 150]
    assert pair.hospital.balance() == {PROVIDER: 0, CONSUMER: 0}  # announced, not moved
    assert pair.deliver() == [
        {"statement_id": issued.statement_id, "outcome": "settled"},
        {"statement_id": issued.statement_id, "outcome": "settled"},
    ]
    for node in (pair.hospital, pair.research):
        assert node.balance() == {PROVIDER: 370, CONSUMER: -370}
        bill = node.exchange.running_bill("c1")
        assert (bill.uses, bill.rows, bill.total_fen, bill.open_fen) == (3, 35, 370, 0)
        (kept,) = node.exchange.statements("c1")
        assert kept.state == "settled"
        verify_jws_detached(pair.keys[CONSUMER], kept.consumer_jws, dumps(issued.body))
        verify_jws_detached(pair.keys[PROVIDER], kept.provider_jws, dumps(issued.body))
        entry = node.log.entry(kept.entry_id)
        assert (entry.kind, entry.body["transfer"]["amount_fen"]) == ("statement.settled", 370)
        node.log.verify_all()


def test_the_second_statement_holds_only_what_is_new(pair) -> None:
    first = pair.use()
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    with pytest.raises(NothingToBill):
        pair.hospital.exchange.issue_statement("c1")
    second = pair.use(3)
    issued = pair.hospital.exchange.issue_statement("c1")
    assert [line["use_id"] for line in issued.body["lines"]] == [second]
    pair.deliver()
    assert pair.research.balance()[PROVIDER] == 120 + 106
    assert first != second


def test_the_same_messages_again_change_nothing(pair) -> None:
    use_id = pair.use()
    receipt = pair.hospital.exchange.receipt(use_id)
    pair.hospital.exchange.receive_receipt(CONSUMER, receipt.body, receipt.jws)
    issued = pair.hospital.exchange.issue_statement("c1")
    for _ in range(2):
        found = pair.research.exchange.reconcile(PROVIDER, issued.body, issued.provider_jws)
        assert found.state == "settled"
    (answer,) = [row.payload for row in pair.waiting(pair.research)]
    for _ in range(2):
        pair.hospital.exchange.receive_answer(CONSUMER, answer)
    assert pair.hospital.balance() == pair.research.balance() == {PROVIDER: 120, CONSUMER: -120}
    pair.receive(use_id, 10)
    with pytest.raises(ReceiptDiffers):
        pair.receive(use_id, 11)


# -- something is missing ---------------------------------------------------------------------


def test_a_deleted_meter_row_stops_the_statement_and_is_named(any_pair) -> None:
    gone = any_pair.use()
    any_pair.use()
    drop = "exchange_meter_no_delete"
    if any_pair.hospital.db.dialect == "postgresql":
        drop = "exchange_meter_no_change"
    any_pair.hospital.sql(f"DELETE FROM exchange_meter WHERE use_id = '{gone}'", drop)
    with pytest.raises(MeterMissing) as refused:
        any_pair.hospital.exchange.issue_statement("c1")
    assert gone in refused.value.sentence("en")
    assert any_pair.hospital.exchange.statements("c1") == []


def test_a_use_hidden_everywhere_at_the_provider_is_found_by_the_consumer(pair) -> None:
    gone = pair.use()
    pair.use()
    delete = f"DELETE FROM exchange_meter WHERE use_id = '{gone}'"
    pair.hospital.sql(delete, "exchange_meter_no_delete")
    pair.hospital.sql(f"DELETE FROM control_use WHERE use_id = '{gone}'")
    pair.hospital.exchange.issue_statement("c1")
    assert [reply["outcome"] for reply in pair.deliver()] == ["disputed", "disputed"]
    (found,) = pair.research.exchange.statements("c1")
    assert codes(found) == {(gone, "NOT_BILLED")}
    assert found.differences[0].ours == "120 fen"


def test_a_meter_row_deleted_before_the_answer_is_not_settled(pair) -> None:
    gone = pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.research.exchange.reconcile(PROVIDER, issued.body, issued.provider_jws)
    delete = f"DELETE FROM exchange_meter WHERE use_id = '{gone}'"
    pair.hospital.sql(delete, "exchange_meter_no_delete")
    (answer,) = [row.payload for row in pair.waiting(pair.research)]
    with pytest.raises(MeterMissing):
        pair.hospital.exchange.receive_answer(CONSUMER, answer)
    assert pair.hospital.balance() == {PROVIDER: 0, CONSUMER: 0}


def test_a_deleted_receipt_is_a_dispute_that_names_it(pair) -> None:
    gone = pair.use()
    pair.use()
    delete = f"DELETE FROM exchange_receipt WHERE use_id = '{gone}'"
    pair.research.sql(delete, "exchange_receipt_no_delete")
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    found = pair.research.exchange.statement(issued.statement_id)
    assert (found.state, codes(found)) == ("disputed", {(gone, "RECEIPT_MISSING")})
    assert found.differences[0].theirs == "10 rows, 120 fen"
    assert pair.research.balance() == {}
    theirs = pair.hospital.exchange.statement(issued.statement_id)
    assert (theirs.state, codes(theirs)) == ("disputed", {(gone, "RECEIPT_MISSING")})
    assert pair.hospital.balance() == {PROVIDER: 0, CONSUMER: 0}
    assert pair.hospital.ledger.resolution(issued.statement_id).step == "void"


def _forget_entry(node, entry_id: str) -> None:
    """Delete the entry from the log's own tables, whatever they are called."""

    def verb(tx) -> None:
        names = sa.inspect(tx.connection).get_table_names()
        triggers = tx.connection.execute(
            sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ).scalars()
        for trigger in list(triggers):
            if trigger.startswith("evidence"):
                tx.connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
        for name in names:
            columns = {c["name"] for c in sa.inspect(tx.connection).get_columns(name)}
            if name.startswith("evidence") and "entry_id" in columns:
                tx.connection.execute(
                    sa.text(f"DELETE FROM {name} WHERE entry_id = :e"), {"e": entry_id}
                )

    node.db.write(verb)


def test_a_deleted_evidence_entry_of_a_meter_stops_the_statement(pair) -> None:
    pair.use()
    gone = pair.use()
    (entry,) = [m.entry_id for m in pair.hospital.exchange.meters("c1") if m.use_id == gone]
    _forget_entry(pair.hospital, entry)
    with pytest.raises(MeterNotEvidenced) as refused:
        pair.hospital.exchange.issue_statement("c1")
    said, chinese = refused.value.sentence("en"), refused.value.sentence("zh")
    assert gone in said
    assert entry in chinese
    assert re.search(r"[^.]\.$", said)
    assert re.search(r"：不存在该存证：[^。]+。$", chinese), "its reason is Chinese, and stops once"


def test_a_deleted_evidence_entry_of_a_receipt_is_a_dispute_that_names_it(pair) -> None:
    gone = pair.use()
    pair.use()
    _forget_entry(pair.research, pair.research.exchange.receipt(gone).entry_id)
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    (found,) = pair.research.exchange.statements("c1")
    assert codes(found) == {(gone, "RECEIPT_NOT_EVIDENCED")}


def test_a_receipt_changed_in_the_database_is_not_believed(pair) -> None:
    bent = pair.use()
    pair.research.sql(
        f"UPDATE exchange_receipt SET body = replace(body, '\"rows\":10', '\"rows\":9') "
        f"WHERE use_id = '{bent}'",
        "exchange_receipt_no_update",
    )
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    (found,) = pair.research.exchange.statements("c1")
    assert codes(found) == {(bent, "RECEIPT_FORGED")}


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE exchange_meter SET fee_fen = 1",
        "DELETE FROM exchange_meter",
        "UPDATE exchange_receipt SET jws = ''",
        "DELETE FROM exchange_receipt",
        "DELETE FROM exchange_line",
        "UPDATE exchange_bill SET per_use_fen = 0",
    ],
)
def test_the_database_refuses_to_change_what_was_measured(any_pair, attack) -> None:
    any_pair.use()
    any_pair.hospital.exchange.issue_statement("c1")
    with pytest.raises(YunheError):
        any_pair.hospital.sql(attack)


# -- somebody lies ----------------------------------------------------------------------------


def test_every_lie_of_a_provider_is_named(pair) -> None:
    first, second = pair.use(10), pair.use(20)
    issued = pair.hospital.exchange.issue_statement("c1")
    one, two = issued.body["lines"]
    cases = [
        ({"total_fen": 999}, {("", "TOTAL_WRONG")}),
        (
            {"price": issued.body["price"] | {"per_row_fen": 3}},
            {("", "PRICE_NOT_AGREED")},
        ),
        ({"lines": [one | {"rows": 11, "fee_fen": 122}, two], "total_fen": 262},
         {(first, "ROWS_DIFFER")}),
        ({"lines": [one | {"fee_fen": 121}, two], "total_fen": 261}, {(first, "FEE_WRONG")}),
        ({"lines": [one, two, two], "total_fen": 400}, {(second, "LINE_TWICE")}),
        ({"lines": [one, two | {"use_id": "invented"}]},
         {("invented", "RECEIPT_MISSING"), (second, "NOT_BILLED")}),
        ({"lines": [one], "total_fen": 120}, {(second, "NOT_BILLED")}),
    ]  # fmt: skip
    for place, (change, expected) in enumerate(cases):
        body, jws = resigned(pair, issued, **(change | {"id": f"s{place}"}))
        found = pair.research.exchange.reconcile(PROVIDER, body, jws)
        assert codes(found) == expected
        assert found.state == "disputed"
    assert pair.research.balance() == {}


def test_a_use_is_paid_once(pair) -> None:
    use_id = pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    found = pair.research.exchange.reconcile(PROVIDER, *resigned(pair, issued))
    assert codes(found) == {(use_id, "ALREADY_SETTLED")}


def test_after_a_dispute_the_uses_are_billed_again(pair) -> None:
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    kept = pair.research.exchange.receipt("u1")
    pair.research.sql("DELETE FROM exchange_receipt", "exchange_receipt_no_delete")
    pair.deliver()
    restored = (
        "INSERT INTO exchange_receipt VALUES (:use_id, 'c1', :body, :jws, :entry, :leaf, 0)",
        {
            "use_id": "u1",
            "body": dumps(kept.body).decode(),
            "jws": kept.jws,
            "entry": kept.entry_id,
            "leaf": kept.leaf,
        },
    )
    pair.research.db.write(lambda tx: tx.connection.execute(sa.text(restored[0]), restored[1]))
    again = pair.hospital.exchange.issue_statement("c1")
    assert again.statement_id != issued.statement_id
    pair.deliver()
    assert pair.hospital.balance() == pair.research.balance() == {PROVIDER: 120, CONSUMER: -120}


def test_what_is_not_signed_by_the_provider_is_not_answered(pair) -> None:
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    forged = jws_detached(pair.research.key, dumps(issued.body))
    with pytest.raises(BadSignature):
        pair.research.exchange.reconcile(PROVIDER, issued.body, forged)
    bent = issued.body | {"total_fen": 1}
    with pytest.raises(BadSignature):
        pair.research.exchange.reconcile(PROVIDER, bent, issued.provider_jws)
    with pytest.raises(NotAParty):
        pair.research.exchange.reconcile("did:web:thief", issued.body, issued.provider_jws)
    assert pair.research.exchange.statements() == []


def test_answers_of_others_are_refused(pair) -> None:
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    good = {"statement_id": issued.statement_id, "outcome": "settled", "jws": "x..y"}
    with pytest.raises(NotAParty):
        pair.hospital.exchange.receive_answer("did:web:thief", good)
    with pytest.raises(BadSignature):
        pair.hospital.exchange.receive_answer(CONSUMER, good)
    with pytest.raises(StatementUnknown):
        pair.hospital.exchange.receive_answer(CONSUMER, good | {"statement_id": "nothing"})
    for bad in (None, {}, {"outcome": "maybe"}, {"outcome": "settled"}, good | {"jws": 7}):
        with pytest.raises(DocumentInvalid):
            pair.hospital.exchange.receive_answer(CONSUMER, bad)
    dispute = good | {"outcome": "disputed", "differences": [{"code": "X"}]}
    with pytest.raises(DocumentInvalid):
        pair.hospital.exchange.receive_answer(CONSUMER, dispute)
    assert pair.hospital.exchange.statement(issued.statement_id).state == "issued"


def test_more_rows_than_were_agreed_are_no_bill(pair) -> None:
    """A receipt is signed over what came, by itself: a provider may send whatever it likes."""
    grant = pair.admit()
    pair.hospital.control.post(grant, 100, 800)
    pair.receive(grant.use_id, 101)
    issued = pair.hospital.exchange.issue_statement("c1")
    (line,) = issued.body["lines"]
    over = {"lines": [line | {"rows": 101, "fee_fen": 302}], "total_fen": 302}
    body, jws = resigned(pair, issued, id="over", **over)
    found = pair.research.exchange.reconcile(PROVIDER, body, jws)
    assert (codes(found), found.state) == ({(grant.use_id, "ROWS_DIFFER")}, "disputed")


def test_receipts_of_others_are_refused(pair) -> None:
    use_id = pair.use(deliver=False)
    found = pair.research.exchange.receipt(use_id)
    take = pair.hospital.exchange.receive_receipt
    with pytest.raises(NotAParty):
        take("did:web:thief", found.body, found.jws)
    with pytest.raises(BadSignature):
        take(CONSUMER, found.body | {"rows": 1}, found.jws)
    for change in (
        {"rows": -1},
        {"rows": True},
        {"rows": 1.5},
        {"digest": "zz"},
        {"at": "yesterday"},
        {"at": "2026-01-01T00:00:00Z"},
        {"use_id": "x" * 200},
        {"surprise": 1},
        {"type": "yunhe-receipt/2"},
    ):
        with pytest.raises(DocumentInvalid):
            take(CONSUMER, found.body | change, found.jws)
    for body in (None, [], "x", {}):
        with pytest.raises(DocumentInvalid):
            take(CONSUMER, body, found.jws)
    foreign = found.body | {"use_id": "never-admitted"}
    with pytest.raises(NotAParty):
        take(CONSUMER, foreign, jws_detached(pair.research.key, dumps(foreign)))
    assert pair.hospital.exchange.receipt(use_id) is None


@pytest.mark.parametrize("bad", [None, [], {}, {"type": "yunhe-statement/1"}])
def test_malformed_statements_are_refused_by_field(pair, bad) -> None:
    with pytest.raises(DocumentInvalid):
        pair.research.exchange.receive_statement(PROVIDER, bad, "x")


# -- bad luck ---------------------------------------------------------------------------------


def test_after_a_crash_the_receipt_lowers_the_bill(any_pair) -> None:
    pair = any_pair
    cut = pair.admit()  # the provider dies while it streams
    pair.receive(cut.use_id, 40)
    pair.hospital.control.recover()
    assert pair.hospital.exchange.running_bill("c1").total_fen == 300  # the reserved maximum
    pair.deliver()
    assert pair.hospital.exchange.running_bill("c1").total_fen == 180
    issued = pair.hospital.exchange.issue_statement("c1")
    assert pair.hospital.log.entry(issued.body["lines"][0]["entry"]).kind == "use.corrected"
    pair.deliver()
    assert pair.hospital.balance() == pair.research.balance() == {PROVIDER: 180, CONSUMER: -180}


def test_a_receipt_that_is_there_before_the_posting_lowers_the_statement(pair) -> None:
    cut = pair.admit()
    pair.receive(cut.use_id, 40)
    pair.deliver()  # our end mark was fast, the provider's books were not, and then it dies
    pair.hospital.control.recover()
    issued = pair.hospital.exchange.issue_statement("c1")
    assert [line["rows"] for line in issued.body["lines"]] == [40]


def test_a_receiver_cannot_sign_for_less_of_a_whole_delivery(pair) -> None:
    grant = pair.admit()
    pair.hospital.control.post(grant, 50, 400)
    pair.receive(grant.use_id, 1)
    pair.deliver()
    assert pair.hospital.exchange.running_bill("c1").total_fen == 200
    with pytest.raises(CorrectionRefused):
        pair.hospital.control.correct(grant.use_id, 1, 8, {})


def test_nothing_received_and_nothing_billed_is_no_difference(pair) -> None:
    grant = pair.admit()
    pair.receive(grant.use_id, 0)
    other = pair.admit()
    pair.hospital.control.post(other, 5, 40)
    pair.receive(other.use_id, 5)
    pair.hospital.sql(f"UPDATE control_use SET state = 'void' WHERE use_id = '{grant.use_id}'")
    pair.deliver()
    pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    (found,) = pair.research.exchange.statements("c1")
    assert found.state == "settled"


def test_no_statement_while_data_is_leaving(pair) -> None:
    pair.use()
    grant = pair.admit()
    with pytest.raises(UsesInFlight) as refused:
        pair.hospital.exchange.issue_statement("c1")
    assert grant.use_id in refused.value.sentence("en")
    pair.hospital.control.post(grant, 1, 8)
    assert len(pair.hospital.exchange.issue_statement("c1").body["lines"]) == 2


def test_a_use_after_the_statement_waits_for_the_next(pair, clock) -> None:
    pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    clock.advance(1)
    pair.use(7, deliver=False)
    found = pair.research.exchange.reconcile(PROVIDER, issued.body, issued.provider_jws)
    assert found.state == "settled"


def test_recompute_changes_nothing(pair) -> None:
    gone = pair.use()
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    assert pair.research.exchange.recompute(issued.statement_id) == ()
    pair.research.sql("DELETE FROM exchange_receipt", "exchange_receipt_no_delete")
    (found,) = pair.research.exchange.recompute(issued.statement_id)
    assert (found.use_id, found.code) == (gone, "RECEIPT_MISSING")
    assert pair.research.exchange.statement(issued.statement_id).state == "settled"


def test_an_entry_changed_under_its_leaf_spoils_the_proof(pair) -> None:
    pair.use()
    entry = pair.hospital.exchange.meters("c1")[0].entry_id
    pair.hospital.sql(
        f"UPDATE evidence_entry SET body = replace(body, '120', '121') WHERE entry_id = '{entry}'"
    )
    with pytest.raises(MeterNotEvidenced) as refused:
        pair.hospital.exchange.issue_statement("c1")
    assert "fee_fen" in refused.value.sentence("en")


@pytest.mark.parametrize(("provider", "consumer"), [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA")])
def test_receipts_and_statements_are_signed_in_the_name_that_the_other_reads(
    pair, provider, consumer
) -> None:
    pair.hospital.names[CONSUMER] = provider
    pair.research.names[PROVIDER] = consumer
    pair.use(10)
    issued = pair.hospital.exchange.issue_statement("c1")
    pair.deliver()
    (kept,) = pair.research.exchange.statements("c1")
    assert kept.state == "settled"
    (use,) = pair.hospital.exchange.bundle_parts("c1")["uses"]
    for signer, compact, body, name in (
        (PROVIDER, issued.provider_jws, issued.body, provider),
        (CONSUMER, kept.consumer_jws, issued.body, consumer),
        (CONSUMER, use["receipt_jws"], use["receipt"], consumer),
    ):
        assert verify_jws_detached(pair.keys[signer], compact, dumps(body))["alg"] == name

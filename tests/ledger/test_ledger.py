"""The books: double entry, pending then post or void, and a database that keeps them honest."""

from __future__ import annotations

import contextlib

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError
from yunhe.ledger import (
    AccountUnknown,
    Ledger,
    PendingResolved,
    Step,
    TransferDiffers,
    TransferInvalid,
    TransferUnknown,
)

A, B = "did:web:a#data", "did:web:b#data"


def books(db: Database) -> Ledger:
    ledger = Ledger(db)
    db.write(
        lambda tx: (
            ledger.account(tx, "did:web:a", "data"),
            ledger.account(tx, "did:web:b", "data"),
        )
    )
    return ledger


def posted(ledger: Ledger) -> dict[str, int]:
    return {balance.account_id: balance.posted_fen for balance in ledger.balances()}


def test_life_of_a_payment(any_db) -> None:
    ledger = books(any_db)
    any_db.write(lambda tx: ledger.pending(tx, "t1", A, B, 500, "statement"))
    assert posted(ledger) == {A: 0, B: 0}
    assert [b.pending_debit_fen for b in ledger.balances()] == [500, 0]
    done = any_db.write(lambda tx: ledger.post(tx, "t1/post", "t1", 450))
    assert (done.step, done.amount_fen, done.debit) == (Step.POST, 450, A)
    assert posted(ledger) == {A: -450, B: 450}
    assert [b.pending_debit_fen for b in ledger.balances()] == [0, 0]
    assert ledger.resolution("t1") == done


def test_a_pending_is_resolved_once(any_db) -> None:
    ledger = books(any_db)
    any_db.write(lambda tx: ledger.pending(tx, "t1", A, B, 500, "statement"))
    any_db.write(lambda tx: ledger.void(tx, "t1/void", "t1"))
    any_db.write(lambda tx: ledger.void(tx, "t1/void", "t1"))  # the same again is no harm
    with pytest.raises(PendingResolved):
        any_db.write(lambda tx: ledger.post(tx, "t1/post", "t1"))
    assert posted(ledger) == {A: 0, B: 0}


def test_the_same_id_is_the_same_transfer_or_refused(any_db) -> None:
    ledger = books(any_db)
    first = any_db.write(lambda tx: ledger.transfer(tx, "t1", A, B, 5, "fee"))
    assert any_db.write(lambda tx: ledger.transfer(tx, "t1", A, B, 5, "fee")) == first
    for debit, credit, amount, kind in ((A, B, 6, "fee"), (B, A, 5, "fee"), (A, B, 5, "gift")):
        with pytest.raises(TransferDiffers):
            any_db.write(
                lambda tx, d=debit, c=credit, n=amount, k=kind: ledger.transfer(
                    tx, "t1", d, c, n, k
                )
            )
    assert posted(ledger) == {A: -5, B: 5}
    assert len(ledger.transfers(A)) == 1


@pytest.mark.parametrize("amount", [0, -1, 10**16])
def test_amounts_are_positive_and_bounded(db, amount) -> None:
    ledger = books(db)
    with pytest.raises(TransferInvalid):
        db.write(lambda tx: ledger.transfer(tx, "t1", A, B, amount, "fee"))


def test_what_makes_no_sense_is_refused(db) -> None:
    ledger = books(db)
    with pytest.raises(TransferInvalid):
        db.write(lambda tx: ledger.transfer(tx, "t1", A, A, 1, "fee"))
    with pytest.raises(AccountUnknown):
        db.write(lambda tx: ledger.transfer(tx, "t1", A, "nobody#data", 1, "fee"))
    with pytest.raises(TransferUnknown):
        db.write(lambda tx: ledger.post(tx, "p", "nothing"))
    db.write(lambda tx: ledger.pending(tx, "t2", A, B, 5, "fee"))
    with pytest.raises(TransferInvalid):
        db.write(lambda tx: ledger.post(tx, "p", "t2", 6))


INTO = "INSERT INTO ledger_transfer VALUES"
OVER = "INSERT OR REPLACE INTO ledger_transfer VALUES"
ATTACKS = [
    "UPDATE ledger_transfer SET amount_fen = 1",
    "UPDATE ledger_transfer SET credit = debit WHERE 1 = 1",
    "DELETE FROM ledger_transfer",
    "DELETE FROM ledger_account",
    "UPDATE ledger_account SET owner = 'thief'",
    # more than the pending, to other accounts, twice, of nothing, to oneself, of no known kind
    f"{INTO} ('x', 'post', '{A}', '{B}', 501, 's', 't1', 0)",
    f"{INTO} ('x', 'post', '{B}', '{A}', 500, 's', 't1', 0)",
    f"{INTO} ('x', 'void', '{A}', '{B}', 5, 's', 't1', 0)",
    f"{INTO} ('x', 'post', '{A}', '{B}', 5, 's', 't2', 0)",
    f"{INTO} ('x', 'post', '{A}', '{B}', 5, 's', NULL, 0)",
    f"{INTO} ('x', 'direct', '{A}', '{B}', 0, 's', NULL, 0)",
    f"{INTO} ('x', 'direct', '{A}', '{A}', 5, 's', NULL, 0)",
    f"{INTO} ('x', 'gift', '{A}', '{B}', 5, 's', NULL, 0)",
    f"{INTO} ('x', 'direct', '{A}', 'nobody', 5, 's', NULL, 0)",
]  # fmt: skip
SQLITE_ATTACKS = [
    f"{OVER} ('t2', 'direct', '{A}', '{B}', 1, 's', NULL, 0)",
    f"{OVER} ('x', 'post', '{A}', '{B}', 1, 's', 't3', 0)",
    "INSERT OR REPLACE INTO ledger_account VALUES ('did:web:c#data', 'did:web:a', 'data', 0)",
    "UPDATE OR REPLACE ledger_transfer SET transfer_id = 't1'",
]  # fmt: skip
POSTGRES_ATTACKS = [
    "TRUNCATE ledger_transfer",
    "TRUNCATE ledger_account CASCADE",
    (f"{INTO} ('t2', 'direct', '{A}', '{B}', 1, 's', NULL, 0) "
    "ON CONFLICT (transfer_id) DO UPDATE SET amount_fen = 1"),
]  # fmt: skip


@pytest.fixture
def filled(any_db) -> Ledger:
    ledger = books(any_db)

    def fill(tx) -> None:
        ledger.pending(tx, "t1", A, B, 500, "s")
        ledger.transfer(tx, "t2", A, B, 5, "s")
        ledger.pending(tx, "t3", A, B, 70, "s")
        ledger.post(tx, "t3/post", "t3")

    any_db.write(fill)
    return ledger


def test_the_database_refuses_every_attack_on_the_books(any_db, filled) -> None:
    extra = SQLITE_ATTACKS if any_db.dialect == "sqlite" else POSTGRES_ATTACKS
    before = (filled.balances(), filled.transfers(A))
    for attack in ATTACKS + extra:
        with pytest.raises((DBAPIError, YunheError)):
            any_db.write(lambda tx, sql=attack: tx.connection.execute(sa.text(sql)))
        assert (filled.balances(), filled.transfers(A)) == before, attack


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.integers(1, 10**9),
            st.sampled_from(["direct", "pending", "post", "void"]),
            st.integers(0, 20),
        ),
        max_size=30,
    )
)
def test_balances_always_sum_to_zero(db, steps) -> None:
    ledger = Ledger(db)
    prefix = db.write(lambda tx: tx.new_id())
    announced: list[str] = []
    for place, (debit, credit, amount, step, which) in enumerate(steps):

        def verb(
            tx, place=place, debit=debit, credit=credit, amount=amount, step=step, which=which
        ):
            one = ledger.account(tx, f"did:{debit}", "data").account_id
            two = ledger.account(tx, f"did:{credit}", "data").account_id
            name = f"{prefix}/{place}"
            if step == "direct":
                ledger.transfer(tx, name, one, two, amount, "k")
            elif step == "pending":
                ledger.pending(tx, name, one, two, amount, "k")
                announced.append(name)
            elif announced:
                pending = announced[which % len(announced)]
                if step == "post":
                    ledger.post(tx, name, pending, amount)
                else:
                    ledger.void(tx, name, pending)

        with contextlib.suppress(YunheError):
            db.write(verb)
        assert sum(balance.posted_fen for balance in ledger.balances()) == 0

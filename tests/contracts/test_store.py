"""What the store writes it reads back the same, on both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from contracts.nodes import CODE, LISTED
from yunhe.contracts import store
from yunhe.contracts.model import (
    Agreement,
    Contract,
    DataAddress,
    Negotiation,
    Offer,
    Side,
    State,
    Strategy,
    Transfer,
    TransferState,
    Why,
)
from yunhe.contracts.policy import policy_from_terms
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database

DID = "did:web:peer.example"
POLICY = policy_from_terms(LISTED)


def negotiation(clock: ManualClock) -> Negotiation:
    now = clock.now()
    return Negotiation(
        id="n1",
        role=Side.CONSUMER,
        peer_did=DID,
        peer_pid="",
        address="https://peer.example/dsp",
        product_code=CODE,
        state=State.REQUESTED,
        offers=(Offer("o1", Side.CONSUMER, POLICY, now),),
        created_at=now,
        updated_at=now,
        strategy=Strategy(LISTED, LISTED, 2),
    )


def test_a_negotiation_is_kept_moved_and_found_again(any_db: Database, clock: ManualClock) -> None:
    n = negotiation(clock)
    any_db.write(lambda tx: store.insert_negotiation(tx, n))
    for pid in ("p1", "p2"):  # learnt once, for good
        any_db.write(lambda tx, pid=pid: store.learn_peer_pid(tx, store.negotiations, "n1", pid))
    n = replace(n, peer_pid="p1")
    for lock in (True, False):
        assert any_db.write(lambda tx, lock=lock: store.negotiation(tx, "n1", lock)) == n
    agreed = Agreement("a1", b"{}", CODE, DID, "did:web:us.example", POLICY, clock.now(), "jws")
    assert any_db.write(lambda tx: store.insert_agreement(tx, agreed))
    assert not any_db.write(lambda tx: store.insert_agreement(tx, agreed))
    moved = replace(n, state=State.AGREED, version=2, agreement=agreed, error=Why("X", ("y",)))
    any_db.write(lambda tx: store.save_moved(tx, moved))
    found = any_db.read(lambda tx: store.negotiation_of_peer(tx, Side.CONSUMER, DID, "p1"))
    assert found == moved
    assert any_db.read(lambda tx: store.negotiation_of_peer(tx, Side.PROVIDER, DID, "p1")) is None
    assert any_db.read(lambda tx: store.standing(tx, "n1")) == (2, "you")
    more = replace(moved, offers=(*n.offers, replace(n.offers[0], id="o2")), strategy=None)
    any_db.write(lambda tx: store.save_negotiation(tx, more))
    assert any_db.read(lambda tx: store.list_negotiations(tx, 5)) == [more]


def test_a_contract_and_its_transfers(any_db: Database, clock: ManualClock) -> None:
    now = clock.now()
    signed = Agreement("a1", b"{}", CODE, DID, "did:web:us.example", POLICY, now, "j")
    where = {"peer_did": DID, "address": "https://peer.example/dsp"}
    contract = Contract(
        id="a1", role=Side.PROVIDER, product_code=CODE, policy=POLICY, state="in_force", version=1,
        agreement=replace(signed, consumer_jws="k"), negotiation_id="n1", in_force_at=now,
        expires_at=now + timedelta(days=1), entry_id="e1", **where,
    )  # fmt: skip
    any_db.write(lambda tx: store.insert_agreement(tx, signed))
    any_db.write(lambda tx: store.set_consumer_signature(tx, "a1", "k"))
    any_db.write(lambda tx: store.insert_contract(tx, contract))
    assert any_db.read(lambda tx: store.contract(tx, "a1")) == contract
    address = DataAddress("https://data.example", "token", now + timedelta(minutes=5))
    first = Transfer(
        id="t1", role=Side.PROVIDER, peer_pid="", contract_id="a1", format="HttpData-PULL",
        state=TransferState.REQUESTED, created_at=now, updated_at=now, **where,
    )  # fmt: skip
    any_db.write(lambda tx: store.insert_transfer(tx, first))
    any_db.write(lambda tx: store.learn_peer_pid(tx, store.transfers, "t1", "p1"))
    started = replace(
        first, peer_pid="p1", state=TransferState.STARTED, data_address=address, error=Why("X")
    )
    any_db.write(lambda tx: store.save_transfer(tx, started))
    assert any_db.write(lambda tx: store.transfer(tx, "t1", lock=True)) == started
    assert any_db.read(lambda tx: store.transfers_of(tx, "a1", open_only=True)) == [started]
    over = replace(started, state=TransferState.TERMINATED)
    any_db.write(lambda tx: store.save_transfer(tx, over))
    assert any_db.read(lambda tx: store.transfers_of(tx, "a1", open_only=True)) == []
    assert any_db.read(lambda tx: store.transfer_of_peer(tx, Side.PROVIDER, DID, "p1")) == over

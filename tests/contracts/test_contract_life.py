"""What a contract in force gives: access, transfers, data tokens, its end on both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.nodes import FURTHEST, LISTED, Node, Pair, Peer, days
from yunhe import contracts
from yunhe.contracts import (
    ContractEnded,
    ContractExpired,
    ContractTerminated,
    ContractUnknown,
    DataAddress,
    DataTokenExpired,
    DataTokenForeign,
    DataTokenInvalid,
    DataTokenRevoked,
    MessageOutOfOrder,
    Price,
    Strategy,
    TransferState,
    TransferVerb,
    Verb,
    VerbOutOfOrder,
)
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database
from yunhe.kernel.keys import jwt


def test_access_opens_renews_and_stops_with_the_contract(pair: Pair, clock: ManualClock) -> None:
    _, contract_id = pair.agree()
    consumer, provider = pair.consumer.contracts, pair.provider.contracts
    consumer.request_transfer(contract_id)
    pair.pump()
    access = consumer.access(contract_id, wait_s=0)
    assert access.endpoint == "https://provider.example/data/v1/query"
    claims = provider.authenticate_data_token(access.token, pair.consumer.did)
    assert claims.contract_id == contract_id
    assert (claims.expires_at - clock.now()).total_seconds() <= 600

    clock.advance(560)  # near its end: the old one still serves, a new one is on its way
    assert consumer.access(contract_id, wait_s=0).token == access.token
    pair.pump()
    fresh = consumer.access(contract_id, wait_s=0)
    assert fresh.token != access.token
    clock.advance(60)
    with pytest.raises(DataTokenExpired):
        provider.authenticate_data_token(access.token, pair.consumer.did)
    provider.authenticate_data_token(fresh.token, pair.consumer.did)

    ended: list[ContractEnded] = []
    pair.provider.db.events.on(ContractEnded, lambda tx, event: ended.append(event))
    done = provider.terminate(contract_id, "breach")
    assert (done.state, done.version) == ("terminated", 2)
    assert provider.terminate(contract_id, "again").end == done.end
    assert len(ended) == 1
    with pytest.raises(ContractTerminated, match="breach"):
        provider.authenticate_data_token(fresh.token, pair.consumer.did)
    pair.pump()
    with pytest.raises(ContractTerminated, match="breach"):
        consumer.access(contract_id)
    assert {t.state for t in consumer.transfers(contract_id)} == {TransferState.TERMINATED}
    assert pair.provider.log.kinds().count("contract.terminated") == 1


def test_the_consumer_may_end_the_contract_too(pair: Pair) -> None:
    _, contract_id = pair.agree()
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    pair.consumer.contracts.terminate(contract_id, "done with it")
    pair.pump()
    with pytest.raises(ContractTerminated, match="done with it"):
        pair.provider.contracts.in_force(contract_id)


def test_a_termination_nobody_was_told_of_is_learnt_at_the_next_request(pair: Pair) -> None:
    _, contract_id = pair.agree()
    pair.provider.contracts.terminate(contract_id, "breach")
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    with pytest.raises(ContractTerminated):
        pair.consumer.contracts.in_force(contract_id)


def test_a_contract_expires_as_agreed(pair: Pair, clock: ManualClock) -> None:
    _, contract_id = pair.agree()
    clock.advance(101 * 366 * 86400)
    with pytest.raises(ContractExpired):
        pair.provider.contracts.in_force(contract_id)
    with pytest.raises(ContractExpired):
        pair.consumer.contracts.request_transfer(contract_id)
    assert pair.provider.contracts.expire_due() == 1
    assert pair.provider.contracts.expire_due() == 0
    assert pair.provider.contracts.contract(contract_id).state == "expired"


def test_data_tokens_of_others_and_forgeries(pair: Pair, clock: ManualClock) -> None:
    _, contract_id = pair.agree()
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    provider = pair.provider.contracts
    token = pair.consumer.contracts.access(contract_id, wait_s=0).token
    with pytest.raises(DataTokenForeign):
        provider.authenticate_data_token(token, "did:web:mallory.example")
    claims = {"iss": pair.provider.did, "sub": pair.consumer.did, "contract": contract_id}
    forged = jwt(pair.consumer.key, claims, typ="yunhe-data+jwt")
    other_type = jwt(pair.provider.key, claims, typ="JWT")
    thin = jwt(pair.provider.key, claims, typ="yunhe-data+jwt")
    for bad in (forged, other_type, thin, "", "a.b.c", token[:-4] + "AAAA", "x" * 20_000):
        with pytest.raises(DataTokenInvalid):
            provider.authenticate_data_token(bad, pair.consumer.did)


def test_a_suspended_transfer_gives_no_data_until_resumed(pair: Pair) -> None:
    _, contract_id = pair.agree()
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    token = pair.consumer.contracts.access(contract_id, wait_s=0).token
    [theirs] = pair.provider.contracts.transfers(contract_id)
    [mine] = pair.consumer.contracts.transfers(contract_id)
    pair.provider.contracts.act_transfer(theirs.id, TransferVerb.SUSPEND, "maintenance")
    pair.pump()
    with pytest.raises(DataTokenRevoked):
        pair.provider.contracts.authenticate_data_token(token, pair.consumer.did)
    assert pair.consumer.contracts.transfer(mine.id).state is TransferState.SUSPENDED
    with pytest.raises(VerbOutOfOrder):
        pair.provider.contracts.act_transfer(theirs.id, TransferVerb.COMPLETE)
    pair.provider.contracts.act_transfer(theirs.id, TransferVerb.START)
    pair.pump()
    assert pair.consumer.contracts.access(contract_id, wait_s=0).token


def test_nobody_asks_for_data_under_anothers_contract(pair: Pair, tmp_path: Path) -> None:
    _, contract_id = pair.agree()
    mallory = Peer("did:web:mallory.example", None)
    ask = contracts.TransferRequest(
        consumer_pid="t1",
        contract_id=contract_id,
        format=contracts.PULL,
        address="https://m.example",
    )
    with pytest.raises(ContractUnknown):
        pair.provider.contracts.receive(ask, mallory)
    with pytest.raises(ContractUnknown):
        pair.consumer.contracts.receive(ask, pair.provider.peer)
    with pytest.raises(ContractUnknown):
        pair.provider.contracts.request_transfer(contract_id)
    first = pair.provider.contracts.receive(ask, pair.consumer.peer)
    assert pair.provider.contracts.receive(ask, pair.consumer.peer).id == first.id
    for other in ({"format": contracts.PUSH}, {"contract_id": "another"}):  # is no retry of it
        with pytest.raises(MessageOutOfOrder):
            pair.provider.contracts.receive(replace(ask, **other), pair.consumer.peer)


def test_a_lost_finalization_leaves_no_half_contract(pair: Pair) -> None:
    n = pair.request(LISTED)
    for sender in (pair.consumer, pair.provider, pair.consumer):
        pair.step(sender)
    n = pair.consumer.contracts.negotiation(n.id)
    pair.consumer.contracts.terminate_negotiation(n.id, "changed my mind")
    pair.step(pair.provider)  # the finalization meets a terminated negotiation
    theirs = pair.provider.contracts.negotiation(n.peer_pid)
    assert theirs.error is not None
    with pytest.raises(ContractTerminated):
        pair.provider.contracts.in_force(theirs.contract_id)


def test_the_verb_that_the_table_forbids_is_a_conflict(pair: Pair) -> None:
    n = pair.request(LISTED)
    with pytest.raises(VerbOutOfOrder):
        pair.consumer.contracts.act(n.id, contracts.Decision(Verb.VERIFY))


def test_the_same_life_on_postgresql(tmp_path: Path, clock: ManualClock, pg_db: Database) -> None:
    pair = Pair(Node(tmp_path, "provider", clock, db=pg_db), Node(tmp_path, "consumer", clock))
    lenient = Strategy(accept=replace(FURTHEST, uses_max=10))
    n = pair.request(replace(LISTED, price=Price(1, 0)), lenient)
    pair.pump()
    contract_id = pair.consumer.contracts.negotiation(n.id).contract_id
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    token = pair.consumer.contracts.access(contract_id, wait_s=0).token
    pair.provider.contracts.authenticate_data_token(token, pair.consumer.did)
    pair.provider.contracts.terminate(contract_id, "breach")
    pair.pump()
    with pytest.raises(ContractTerminated):
        pair.consumer.contracts.in_force(contract_id)
    pair.consumer.close()


def test_a_transfer_request_that_is_repeated_is_one_transfer(pair: Pair) -> None:
    _, contract_id = pair.agree()
    pair.consumer.contracts.request_transfer(contract_id)
    message = pair.addressed(pair.consumer, pair.consumer.pending()[0])
    pair.pump()
    provider = pair.provider.contracts
    [transfer] = provider.transfers(contract_id)
    assert transfer.state is TransferState.STARTED
    before = len(pair.provider.log.entries)
    for said in ("x", ""):
        again = replace(message, message_id=said)
        assert provider.receive(again, pair.consumer.peer).id == transfer.id
    for other in ({"address": "https://elsewhere.example"}, {"format": contracts.PUSH}):
        with pytest.raises(MessageOutOfOrder):
            provider.receive(replace(message, message_id="y", **other), pair.consumer.peer)
    assert len(pair.provider.log.entries) == before
    assert pair.provider.pending() == []


def test_a_push_that_is_repeated_goes_where_it_went_or_is_refused(
    tmp_path: Path, clock: ManualClock
) -> None:
    provider = Node(tmp_path, "provider", clock, formats=(contracts.PULL, contracts.PUSH))
    pair = Pair(provider, Node(tmp_path, "consumer", clock))
    _, contract_id = pair.agree()
    there = DataAddress(
        "https://consumer.example/in/1", "TOKEN", clock.now() + days(1), "PUT", True
    )
    asked = pair.consumer.contracts.request_transfer(contract_id, contracts.PUSH, there)
    message = pair.addressed(pair.consumer, pair.consumer.pending()[0])
    assert isinstance(message, contracts.TransferRequest)
    message = replace(message, data_address=there)
    first = provider.contracts.receive(message, pair.consumer.peer)
    again = replace(message, message_id="x")
    assert provider.contracts.receive(again, pair.consumer.peer).id == first.id
    others: tuple[dict[str, Any], ...] = (
        {"data_address": replace(there, endpoint="https://elsewhere.example/in/1")},
        {"data_address": replace(there, token="ANOTHER")},
        {"data_address": replace(there, method="POST")},
        {"data_address": None},
        {"sql": "SELECT 1"},
        {"purpose": "care"},
        {"principal": "somebody"},
        {"use_id": "another"},
        {"seal": "another"},
    )
    for other in others:
        with pytest.raises(MessageOutOfOrder):
            provider.contracts.receive(replace(again, **other), pair.consumer.peer)
    assert (asked.id, first.state) == (first.peer_pid, TransferState.STARTED)
    assert len(provider.contracts.transfers(contract_id)) == 1
    provider.close()
    pair.consumer.close()

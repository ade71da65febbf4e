"""One member, however patient, opens no more than it may; what nobody goes on with ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from contracts.nodes import CODE, LISTED, Node, Pair, days
from yunhe.contracts import (
    AutomaticDecider,
    ContractRequest,
    OpenMax,
    State,
    Terms,
    TransferRequest,
    TransferState,
    policy_from_terms,
)
from yunhe.contracts.transfers import PULL
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError

WAITING = AutomaticDecider(manual=True)  # a person decides, and takes the time


def asked(sender: Node, number: int, terms: Terms = LISTED) -> ContractRequest:
    """An opening message, as any member may send as many of as it likes."""
    return ContractRequest(
        message_id=f"m{number}",
        provider_pid="",
        consumer_pid=f"c{number}",
        offer_id="o",
        product_code=CODE,
        policy=policy_from_terms(terms),
        address=sender.url,
    )


@pytest.fixture
def trio(tmp_path: Path, clock: ManualClock, any_db: Database) -> Iterator[tuple[Node, Node, Node]]:
    """A provider on either engine that lets each have three talks open, and two members."""
    provider = Node(tmp_path, "provider", clock, WAITING, db=any_db, open_max=OpenMax(3, 2))
    members = Node(tmp_path, "consumer", clock), Node(tmp_path, "other", clock)
    with ExitStack() as stack:
        for each in members:
            stack.callback(each.close)
        yield (provider, *members)


def test_a_member_opens_no_more_negotiations_than_it_may(trio: tuple[Node, Node, Node]) -> None:
    provider, greedy, other = trio
    opened = [provider.contracts.receive(asked(greedy, n), greedy.peer) for n in range(3)]
    before = provider.log.kinds()
    with pytest.raises(YunheError) as refused:
        provider.contracts.receive(asked(greedy, 3), greedy.peer)
    problem = refused.value.problem()
    assert (problem["code"], problem["status"]) == ("NEGOTIATIONS_TOO_MANY", 429)
    assert "3" in problem["detail"]
    assert "30" in problem["zh"]["remedy"]
    assert provider.log.kinds() == before
    # The same again is no further one, and others are not in its way.
    assert provider.contracts.receive(asked(greedy, 0), greedy.peer).id == opened[0].id
    provider.contracts.receive(asked(other, 0), other.peer)
    provider.contracts.terminate_negotiation(opened[1].id, "")
    provider.contracts.receive(asked(greedy, 3), greedy.peer)
    assert len(provider.contracts.negotiations()) == 5


def test_many_at_once_do_not_pass_the_bound_together(
    tmp_path: Path, clock: ManualClock, pg_db: Database
) -> None:
    provider = Node(tmp_path, "provider", clock, WAITING, db=pg_db, open_max=OpenMax(4, 4))
    greedy, told = Node(tmp_path, "consumer", clock), []

    def say(number: int) -> None:
        try:
            provider.contracts.receive(asked(greedy, number), greedy.peer)
            told.append("")
        except YunheError as error:
            told.append(error.code)

    threads = [threading.Thread(target=say, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    greedy.close()
    assert sorted(told) == [""] * 4 + ["NEGOTIATIONS_TOO_MANY"] * 12


def test_counting_walks_through_what_is_open_only(any_db: Database) -> None:
    plans = []
    ends = {"contract_negotiations": "FINALIZED", "contract_transfers": "COMPLETED"}
    for table, ended in ends.items():
        still = f"state NOT IN ('{ended}', 'TERMINATED')"
        query = f"SELECT 1 FROM {table} WHERE peer_did = 'did:web:a' AND {still} LIMIT 9"
        explain = "EXPLAIN QUERY PLAN " if any_db.dialect == "sqlite" else "EXPLAIN "
        with any_db.engine.connect() as connection:
            if any_db.dialect == "postgresql":
                connection.execute(sa.text("SET enable_seqscan = off"))
            plans.append(str(connection.execute(sa.text(explain + query)).all()))
    assert "contract_talks" in plans[0]
    assert "contract_runs" in plans[1]


def test_a_member_opens_no_more_transfers_than_it_may(tmp_path: Path, clock: ManualClock) -> None:
    provider = Node(tmp_path, "provider", clock, open_max=OpenMax(100, 2))
    pair = Pair(provider, Node(tmp_path, "consumer", clock))
    ids = [pair.agree()[1] for _ in range(3)]

    def ask(number: int, contract_id: str) -> TransferState:
        wish = TransferRequest(
            message_id=f"t{number}",
            provider_pid="",
            consumer_pid=f"p{number}",
            contract_id=contract_id,
            format=PULL,
            address=pair.consumer.url,
        )
        return provider.contracts.receive(wish, pair.consumer.peer).state

    assert ask(0, ids[0]) == ask(1, ids[1]) == TransferState.STARTED
    with pytest.raises(YunheError) as refused:
        ask(2, ids[2])
    assert (refused.value.code, refused.value.status) == ("TRANSFERS_TOO_MANY", 429)
    assert provider.contracts.terminate(ids[0], "").state == "terminated"
    assert ask(3, ids[2]) is TransferState.STARTED
    provider.close()
    pair.consumer.close()


def test_what_nobody_goes_on_with_ends_on_both_sides(tmp_path: Path, clock: ManualClock) -> None:
    pair = Pair(Node(tmp_path, "provider", clock, WAITING), Node(tmp_path, "consumer", clock))
    old = pair.request(LISTED)
    pair.pump()
    clock.advance(days(limits.NEGOTIATION_IDLE_DAYS - 1).total_seconds())
    new = pair.request(replace(LISTED, uses_max=3))
    pair.pump()
    assert pair.provider.contracts.end_idle() == 0
    clock.advance(days(2).total_seconds())
    assert pair.provider.contracts.end_idle() == 1
    pair.pump()
    ended = pair.consumer.contracts.negotiation(old.id)
    assert ended.state is State.TERMINATED
    assert ended.error is not None
    assert ended.error.code == "NEGOTIATION_IDLE"
    assert pair.provider.contracts.negotiation(ended.peer_pid).state is State.TERMINATED
    assert pair.consumer.contracts.negotiation(new.id).state is State.REQUESTED
    assert pair.provider.contracts.end_idle() == 0, "once an hour is enough"
    pair.provider.close()
    pair.consumer.close()


def test_a_pull_whose_token_is_long_over_is_completed_and_asked_for_anew(
    pair: Pair, clock: ManualClock
) -> None:
    _, contract_id = pair.agree()
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    (first,) = pair.provider.contracts.transfers(contract_id)
    assert first.state is TransferState.STARTED
    clock.advance(limits.TRANSFER_IDLE_S)
    assert pair.provider.contracts.end_idle() == 0
    clock.advance(limits.DATA_TOKEN_S_MAX + limits.IDLE_SWEEP_S)
    assert pair.provider.contracts.end_idle() == 1
    pair.pump()
    assert {t.state for t in pair.consumer.contracts.transfers(contract_id)} == {
        TransferState.COMPLETED
    }
    pair.consumer.contracts.request_transfer(contract_id)
    pair.pump()
    again, _ = pair.provider.contracts.transfers(contract_id)
    assert again.state is TransferState.STARTED

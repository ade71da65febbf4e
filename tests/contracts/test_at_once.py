"""The same opening message twice at one moment, on a database where two verbs run at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.nodes import LISTED, Node, Pair
from yunhe.contracts import ContractRequest, Message, store
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database
from yunhe.kernel.errors import YunheError


@pytest.fixture
def pair(tmp_path: Path, clock: ManualClock, pg_db: Database) -> Iterator[Pair]:
    """The provider on PostgreSQL."""
    pair = Pair(Node(tmp_path, "provider", clock, db=pg_db), Node(tmp_path, "consumer", clock))
    yield pair
    pair.consumer.close()


def meeting(find: Callable[..., Any]) -> Callable[..., Any]:
    """A look-up after which each waits for the other, as long as that one may come."""
    gate = threading.Barrier(2)

    def looked(*args: Any) -> Any:
        found = find(*args)
        with suppress(threading.BrokenBarrierError):
            gate.wait(1)
        return found

    return looked


def told(pair: Pair, messages: list[Message]) -> list[str]:
    """What each of two at once is answered: the pid, or the refusal's code."""
    answers: list[str] = []

    def say(message: Message) -> None:
        try:
            answers.append(pair.provider.contracts.receive(message, pair.consumer.peer).id)
        except YunheError as error:
            answers.append(error.code)

    threads = [threading.Thread(target=say, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def first(pair: Pair) -> Message:
    """The message that waits at the consumer."""
    return pair.addressed(pair.consumer, pair.consumer.pending()[0])


@pytest.mark.parametrize("named", [True, False])
def test_a_first_request_twice_at_once_is_one_negotiation(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    pair.request(LISTED)
    message = first(pair)
    message = message if named else replace(message, message_id="")
    monkeypatch.setattr(store, "negotiation_of_peer", meeting(store.negotiation_of_peer))
    answers = told(pair, [message, message])
    (negotiation,) = pair.provider.contracts.negotiations()
    assert answers == [negotiation.id] * 2


def test_one_pid_with_two_messages_at_once_is_one_negotiation(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.request(LISTED)
    message = first(pair)
    monkeypatch.setattr(store, "negotiation_of_peer", meeting(store.negotiation_of_peer))
    answers = told(pair, [message, replace(message, message_id="another")])
    (negotiation,) = pair.provider.contracts.negotiations()
    assert answers == [negotiation.id] * 2


def test_one_pid_with_two_wishes_at_once_is_one_negotiation(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.request(LISTED)
    message = first(pair)
    assert isinstance(message, ContractRequest)
    monkeypatch.setattr(store, "negotiation_of_peer", meeting(store.negotiation_of_peer))
    other = replace(message, message_id="another", offer_id="another")
    answers = told(pair, [message, other])
    (negotiation,) = pair.provider.contracts.negotiations()
    assert sorted(answers) == sorted([negotiation.id, "MESSAGE_OUT_OF_ORDER"])


@pytest.mark.parametrize("named", [True, False])
def test_a_transfer_request_twice_at_once_is_one_transfer(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    _, contract_id = pair.agree()
    pair.consumer.contracts.request_transfer(contract_id)
    message = first(pair)
    message = message if named else replace(message, message_id="")
    monkeypatch.setattr(store, "transfer_of_peer", meeting(store.transfer_of_peer))
    answers = told(pair, [message, message])
    (transfer,) = pair.provider.contracts.transfers(contract_id)
    assert answers == [transfer.id] * 2

"""Transfers between two nodes over HTTP: push and its address, suspension by either side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.nodes import LISTED
from protocols.dsp.hand import ask
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import (
    PULL,
    PUSH,
    AccessNotReady,
    DataAddress,
    DataTokenRevoked,
    Transfer,
    TransferFormatRefused,
    TransferState,
    TransferVerb,
)

INBOX = DataAddress("https://consumer.example/inbox/1", "SECRET", datetime(2126, 1, 1, tzinfo=UTC))


@pytest.fixture
def pusher(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    node = WebNode(tmp_path, "pusher", net, formats=(PULL, PUSH))
    yield node
    node.close()


def agree(provider: WebNode, consumer: WebNode) -> str:
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    return str(until(lambda: consumer.contracts.negotiation(n.id).contract_id))


def seen(node: WebNode, contract_id: str, state: TransferState) -> Transfer:
    def look() -> Transfer | None:
        found = node.contracts.transfers(contract_id)
        return found[-1] if found and found[-1].state is state else None

    found = until(look)
    assert isinstance(found, Transfer)
    return found


def test_a_push_tells_the_provider_where_and_nothing_comes_back(
    pusher: WebNode, consumer: WebNode, net: Internet
) -> None:
    contract_id = agree(pusher, consumer)
    consumer.contracts.request_transfer(contract_id, PUSH, INBOX)
    ours = seen(consumer, contract_id, TransferState.STARTED)
    theirs = seen(pusher, contract_id, TransferState.STARTED)
    assert ours.data_address == theirs.data_address == INBOX
    started = [body for url, body in net.bodies if url.endswith("/start")]
    assert b"dataAddress" not in started[0]
    # A push gives nobody a token to pull with: access asks for a pull beside it.
    access = consumer.contracts.access(contract_id, wait_s=10)
    assert access.endpoint == "https://pusher.example/data/v1/query"

    pusher.contracts.act_transfer(theirs.id, TransferVerb.COMPLETE)
    done = until(lambda: consumer.contracts.transfer(ours.id).state is TransferState.COMPLETED)
    assert done
    for node, id_ in ((consumer, ours.id), (pusher, theirs.id)):
        assert node.contracts.transfer(id_).data_address is None


def test_who_waits_for_access_is_woken_by_the_start_and_by_no_clock(
    provider: WebNode, consumer: WebNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers at once share one transfer; what prepares for them is told as its start leaves."""
    contract_id = agree(provider, consumer)
    monkeypatch.setattr("yunhe.contracts.service._POLL_S", 60)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(consumer.contracts.access, contract_id, 120) for _ in range(4)]
        tokens = {each.result(30).token for each in asked}
    assert len(tokens) == 1
    assert provider.opened == [contract_id]
    assert consumer.opened == []


def test_a_format_that_is_not_served_is_refused_and_named(
    provider: WebNode, pusher: WebNode, consumer: WebNode
) -> None:
    contract_id = agree(provider, consumer)
    t = consumer.contracts.request_transfer(contract_id, PUSH, INBOX)
    until(lambda: consumer.contracts.transfer(t.id).state is TransferState.TERMINATED)
    error = consumer.contracts.transfer(t.id).error
    assert error is not None
    assert error.code == "TRANSFER_FORMAT_REFUSED"
    assert provider.contracts.transfers(contract_id) == []
    with pytest.raises(TransferFormatRefused, match="needs a data address"):
        consumer.contracts.request_transfer(contract_id, PUSH)
    with pytest.raises(TransferFormatRefused, match="only a push"):
        consumer.contracts.request_transfer(contract_id, PULL, INBOX)

    other = agree(pusher, consumer)
    body = {
        "@type": "TransferRequestMessage",
        "consumerPid": "t1",
        "agreementId": other,
        "format": PUSH,
        "callbackAddress": consumer.url,
    }
    got = ask(pusher, "/transfers/request", body, consumer.did)
    assert (got.status_code, got.json()["code"]) == (400, "TRANSFER_FORMAT_REFUSED")
    for address in ("there", {"endpoint": 7}, {"endpoint": "https://x", "endpointProperties": {}}):
        got = ask(pusher, "/transfers/request", {**body, "dataAddress": address}, consumer.did)
        assert got.status_code == 400
    assert pusher.contracts.transfers(other) == []


@pytest.mark.parametrize("paused_by", ["provider", "consumer"])
@pytest.mark.parametrize("resumed_by", ["provider", "consumer"])
def test_either_side_suspends_and_resumes(
    provider: WebNode, consumer: WebNode, paused_by: str, resumed_by: str
) -> None:
    nodes = {"provider": provider, "consumer": consumer}
    contract_id = agree(provider, consumer)
    access = consumer.contracts.access(contract_id, wait_s=10)

    def say(who: str, verb: TransferVerb, state: TransferState) -> None:
        node = nodes[who]
        [*_, t] = node.contracts.transfers(contract_id)  # the first one asked for
        node.contracts.act_transfer(t.id, verb, "for a while")
        for each in nodes.values():
            seen(each, contract_id, state)

    say(paused_by, TransferVerb.SUSPEND, TransferState.SUSPENDED)
    with pytest.raises(DataTokenRevoked):
        provider.contracts.authenticate_data_token(access.token, consumer.did)
    # A fresh request is no way around it.
    with pytest.raises(AccessNotReady, match="TRANSFERS_SUSPENDED") as held:
        consumer.contracts.access(contract_id, wait_s=10)
    assert not re.search("[\u4e00-\u9fff]", held.value.sentence("en"))
    assert re.search("TRANSFERS_SUSPENDED [\u4e00-\u9fff]", held.value.sentence("zh"))
    say(resumed_by, TransferVerb.START, TransferState.STARTED)
    provider.contracts.authenticate_data_token(access.token, consumer.did)
    again = consumer.contracts.access(contract_id, wait_s=10)
    provider.contracts.authenticate_data_token(again.token, consumer.did)
    assert len(provider.contracts.transfers(contract_id)) == 1

"""An answer that was lost: the peer is asked for its state before the message repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from contracts.nodes import LISTED
from protocols.dsp.hand import CTX, ask
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import Decision, State, Verb, Why, policy_from_terms
from yunhe.kernel.outbox import outbox
from yunhe.protocols.dsp import odrl

PEER = "https://forgetful.example/dsp"
DID = "did:web:forgetful.example"


class Forgetful:
    """A provider that keeps no message ids, and whose first answer to a verification is lost."""

    def __init__(self, lost: Exception, took_it: bool) -> None:
        self.state = "REQUESTED"
        self.posts: list[str] = []
        self.asked = 0
        self._lost, self._took_it = lost, took_it

    def __call__(self, request: httpx.Request) -> httpx.Response | None:
        if request.url.host != "forgetful.example":
            return None
        tail = request.url.path.removeprefix("/dsp/negotiations/")
        if request.method == "GET":
            self.asked += 1
            return httpx.Response(200, json={"state": self.state})
        self.posts.append(tail)
        if tail == "request":
            return httpx.Response(201, json={"providerPid": "p1", "state": "REQUESTED"})
        if self.state == "VERIFIED":
            return httpx.Response(400, json={"code": "WRONG_STATE", "reason": ["again?"]})
        first = len(self.posts) == 2
        if not first or self._took_it:
            self.state = "VERIFIED"
        if first:
            raise self._lost
        return httpx.Response(200)


def agreed(consumer: WebNode, pid: str) -> None:
    """The provider agrees to what was asked, unsigned."""
    agreement = {
        "@id": "urn:a",
        "@type": "Agreement",
        "target": CODE,
        "assigner": DID,
        "assignee": consumer.did,
        **odrl.write(policy_from_terms(LISTED)),
    }
    body: dict[str, Any] = {
        "@context": CTX,
        "@type": "ContractAgreementMessage",
        "providerPid": "p1",
        "consumerPid": pid,
        "agreement": agreement,
    }
    got = ask(consumer, f"/negotiations/{pid}/agreement", body, DID)
    assert got.status_code == 200, got.text


def verified(consumer: WebNode, net: Internet, peer: Callable[..., Any]) -> State:
    net.fail = peer
    n = consumer.contracts.request(DID, PEER, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).peer_pid)
    agreed(consumer, n.id)
    until(lambda: not consumer.pending() and consumer.contracts.negotiation(n.id))
    return consumer.contracts.negotiation(n.id).state


def test_what_the_peer_took_is_not_said_again(consumer: WebNode, net: Internet) -> None:
    peer = Forgetful(httpx.ReadTimeout("no answer"), took_it=True)
    assert verified(consumer, net, peer) is State.VERIFIED
    assert peer.posts == ["request", "p1/agreement/verification"]
    assert peer.asked == 1


def test_what_the_peer_did_not_take_is_said_again(consumer: WebNode, net: Internet) -> None:
    peer = Forgetful(httpx.ReadError("cut"), took_it=False)
    assert verified(consumer, net, peer) is State.VERIFIED
    assert peer.posts[1:] == ["p1/agreement/verification"] * 2
    assert peer.asked == 1


@pytest.mark.parametrize("never_left", [httpx.ConnectError("down"), httpx.ConnectTimeout("slow")])
def test_what_never_left_is_not_in_doubt(
    consumer: WebNode, net: Internet, never_left: Exception
) -> None:
    peer = Forgetful(never_left, took_it=False)
    assert verified(consumer, net, peer) is State.VERIFIED
    assert peer.asked == 0


class Ended:
    """A provider that has ended the negotiation by itself and refuses to hear of it again."""

    def __init__(self, state: str) -> None:
        self.state = state

    def __call__(self, request: httpx.Request) -> httpx.Response | None:
        if request.url.host != "forgetful.example":
            return None
        if request.method == "GET":
            return httpx.Response(200, json={"state": self.state})
        if request.url.path.endswith("/request"):
            return httpx.Response(201, json={"providerPid": "p1", "state": "REQUESTED"})
        return httpx.Response(400, json={"code": "WRONG_STATE", "reason": ["it is over"]})


@pytest.mark.parametrize(("state", "failed"), [("TERMINATED", 0), ("REQUESTED", 1)])
def test_ends_that_cross_are_no_failure(
    consumer: WebNode, net: Internet, state: str, failed: int
) -> None:
    net.fail = Ended(state)
    n = consumer.contracts.request(DID, PEER, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).peer_pid)
    consumer.contracts.act(n.id, Decision(Verb.TERMINATE, why=Why("BY_CHOICE")))
    until(lambda: not consumer.pending())
    lost = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.state == "failed")
    assert consumer.db.read(lambda tx: tx.scalar(lost)) == failed

"""The verbs of a negotiation as values like those of `calls`: offers each way, until a contract.

In: an offer and what is asked for. Out: calls, or a flow that waits for the contract at its node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from yunhe.sdk.call import PAUSE_S, Call, Flow, Pause, given, many, one, segment, why_ended
from yunhe.sdk.calls import contract
from yunhe.sdk.calls import offer as stated
from yunhe.sdk.errors import NegotiationEnded, NegotiationHeld, NegotiationTimeout
from yunhe.sdk.model import Contract, Hit, Negotiation, Offer, Progress, Terms

POLL_S_MAX = 20  # one held request of a wait; the node allows 30


def negotiations() -> Call[list[Negotiation]]:
    """The negotiations of this node, on either side."""
    return Call("GET", "/negotiations", many(Negotiation))


def negotiation(
    negotiation: Negotiation | str,
    wait_s: float = 0.0,
    since_version: int | None = None,
    settled: bool = False,
) -> Call[Negotiation]:
    """One negotiation; held at the node up to `wait_s` for a version after `since_version`.

    `settled`: held on until it is over or waits for us, whatever passes meanwhile.
    """
    waits = {"wait_s": wait_s or None, "since_version": since_version}
    params = given(**waits, settled=settled or None)
    path = f"/negotiations/{segment(negotiation)}"
    return Call("GET", path, one(Negotiation), params=params, wait_s=wait_s)


def accept_offer(negotiation: Negotiation | str) -> Call[Negotiation]:
    """Accept the other side's last offer."""
    path = f"/negotiations/{segment(negotiation)}/accept"
    return Call("POST", path, one(Negotiation), body={})


def counter_offer(negotiation: Negotiation | str, terms: Terms) -> Call[Negotiation]:
    """Answer the other side's last offer with `terms`."""
    path = f"/negotiations/{segment(negotiation)}/counter"
    return Call("POST", path, one(Negotiation), body={"terms": terms.to_json()})


def end_negotiation(negotiation: Negotiation | str, reason: str) -> Call[Negotiation]:
    """Leave a negotiation without a contract."""
    path = f"/negotiations/{segment(negotiation)}/terminate"
    return Call("POST", path, one(Negotiation), body={"reason": reason})


def propose(
    offer: Offer,
    terms: Terms | None = None,
    ask: Mapping[str, Any] | None = None,
    accept: Mapping[str, Any] | None = None,
    wait_s: float = 0.0,
) -> Call[Negotiation]:
    """Begin a negotiation; held at the node up to `wait_s`, until it is over or waits for us."""
    wanted = (terms or offer.terms).but(ask)
    body = {
        "provider_did": offer.provider_did,
        "address": offer.address,
        "product_code": offer.product_code,
        "offer_id": offer.offer_id,
        "terms": wanted.to_json(),
        "accept": None if accept is None else wanted.but(accept).to_json(),
    }
    params = {"wait_s": wait_s, "settled": True} if wait_s else {}
    return Call("POST", "/negotiations", one(Negotiation), params, body, wait_s)


def negotiate(
    offer: Offer | Hit | str,
    terms: Terms | None = None,
    ask: Mapping[str, Any] | None = None,
    accept: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float = 120.0,
) -> Flow[Contract]:
    """Negotiate until there is a contract, and return it.

    `offer`, or the hit or the code of a product, whose offer is then asked for. `terms` (default:
    the offer's) with the members of `ask` changed is what we ask for; `accept` changes members of
    that again and is the furthest we go without being asked. `on_progress` is told each step.
    Raises NegotiationEnded, NegotiationHeld (the provider's offer waits for a
    decision: `accept_offer`, `counter_offer`, `end_negotiation`), NegotiationTimeout.
    """
    started = time.monotonic()
    wait_s = max(0.0, round(min(POLL_S_MAX, timeout_s), 3)) if on_progress is None else 0.0
    on: Offer = offer if isinstance(offer, Offer) else (yield stated(offer))
    now: Negotiation = yield propose(on, terms, ask, accept, wait_s)
    return (yield from _until_contract(now, started, on_progress, timeout_s))


def wait_for_contract(
    negotiation: Negotiation,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float = 120.0,
) -> Flow[Contract]:
    """Go on waiting for the contract of a negotiation; raises as `negotiate`."""
    return (yield from _until_contract(negotiation, time.monotonic(), on_progress, timeout_s))


def _until_contract(
    now: Negotiation,
    started: float,
    on_progress: Callable[[Progress], None] | None,
    timeout_s: float,
) -> Flow[Contract]:
    told = -1
    while True:
        elapsed = time.monotonic() - started
        if on_progress is not None and now.version != told:
            on_progress(Progress(now, elapsed))
            told = now.version
        if now.contract is not None:
            return now.contract
        if now.state == "FINALIZED" and now.contract_id:
            found: Contract = yield contract(now.contract_id)
            return found
        if now.state == "TERMINATED":
            raise NegotiationEnded(negotiation_id=now.id, **why_ended(now.error, "terminated"))
        if now.waiting_for == "you":
            raise NegotiationHeld(negotiation_id=now.id)
        left = timeout_s - elapsed
        if left <= 0:
            raise NegotiationTimeout(
                negotiation_id=now.id, state=now.state, seconds=round(timeout_s)
            )
        asked, version = time.monotonic(), now.version
        wait_s = round(min(POLL_S_MAX, left), 3)  # who watches no steps need not hear of each
        now = yield negotiation(now, wait_s, version, settled=on_progress is None)
        if now.version == version and time.monotonic() - asked < PAUSE_S:  # it answers at once
            yield Pause(min(PAUSE_S, left))

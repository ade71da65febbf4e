"""Who answers what: the automatic decision of a provider and of a consumer, as one port.

In: a negotiation or transfer in the state where our word is next. Out: what to say, or nothing
(hold for the user). A scripted decision for conformance tests is the port's second member.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from yunhe.contracts.bargain import beyond, nearest, short_of
from yunhe.contracts.errors import TermNotUnderstood
from yunhe.contracts.model import Negotiation, OfferedProduct, Side, State, Transfer, Why
from yunhe.contracts.policy import Policy, policy_from_terms
from yunhe.contracts.rules import TransferVerb, Verb
from yunhe.kernel import limits


@dataclass(frozen=True)
class Decision:
    """What we say next; `verb` None holds for the user. `policy` goes with request and offer."""

    verb: Verb | None = None
    policy: Policy | None = None
    why: Why | None = None


HOLD = Decision()


class Decider(Protocol):
    """Answers for the node; called inside the verb, so it is pure."""

    def answer(
        self, negotiation: Negotiation, product: OfferedProduct | None, now: datetime
    ) -> Decision:
        """What to say to the peer now; `product`: what a provider who is asked has on offer."""
        ...

    def transfer(self, transfer: Transfer) -> TransferVerb | None:
        """What to say to a requested transfer; None holds."""
        ...


class AutomaticDecider:
    """Agrees within bounds, else counter-offers the nearest terms; `manual` holds requests."""

    def __init__(self, manual: bool = False) -> None:
        self._manual = manual

    def answer(
        self, negotiation: Negotiation, product: OfferedProduct | None, now: datetime
    ) -> Decision:
        """See Decider. Agreements are verified and put in force without asking."""
        match negotiation.state:
            case State.REQUESTED if negotiation.role is Side.PROVIDER:
                return HOLD if self._manual else answer_request(negotiation, product, now)
            case State.ACCEPTED if negotiation.role is Side.PROVIDER:
                return Decision(Verb.AGREE)
            case State.VERIFIED if negotiation.role is Side.PROVIDER:
                return Decision(Verb.FINALIZE)
            case State.OFFERED if negotiation.role is Side.CONSUMER:
                return answer_offer(negotiation)
            case State.AGREED if negotiation.role is Side.CONSUMER:
                return Decision(Verb.VERIFY)
        return HOLD

    def transfer(self, transfer: Transfer) -> TransferVerb | None:
        """The provider starts what the contract allows, at once."""
        return TransferVerb.START if transfer.role is Side.PROVIDER else None


def answer_request(
    negotiation: Negotiation, product: OfferedProduct | None, now: datetime
) -> Decision:
    """The provider's answer: agree within bounds, else the nearest terms, a few times, then end."""
    if product is None:
        return _end(
            "PRODUCT_NOT_OFFERED", "The product is no longer offered.", "该产品已不再提供。"
        )
    try:
        asked = negotiation.last_offer.policy.terms
    except TermNotUnderstood as unknown:
        return _end(unknown.code, unknown.sentence("en"), unknown.sentence("zh"))
    furthest = product.negotiable or product.terms
    if furthest.expires_at is not None and furthest.expires_at <= now:
        return _end("OFFER_EXPIRED", "The product's terms have run out.", "该产品的条款已到期。")
    if not beyond(asked, product.terms, now) or not beyond(asked, furthest, now):
        return Decision(Verb.AGREE)
    if negotiation.made_by(Side.PROVIDER) >= limits.COUNTER_OFFERS_MAX:
        return _end(
            "NO_AGREEMENT",
            "The terms asked for stay beyond what the provider accepts.",
            "所求条款始终超出提供方可接受的范围。",
        )
    return Decision(Verb.OFFER, policy_from_terms(nearest(asked, furthest, now)))


def answer_offer(negotiation: Negotiation) -> Decision:
    """The consumer's answer by its strategy: accept within bounds, counter, else hold."""
    strategy = negotiation.strategy
    if strategy is None:
        return HOLD
    try:
        offered = negotiation.last_offer.policy.terms
    except TermNotUnderstood:
        return HOLD
    if strategy.accept is not None and not short_of(offered, strategy.accept):
        return Decision(Verb.ACCEPT)
    countered = negotiation.made_by(Side.CONSUMER) - 1
    if strategy.counter is not None and countered < strategy.counters_max:
        return Decision(Verb.REQUEST, policy_from_terms(strategy.counter))
    return HOLD


def _end(code: str, *reasons: str) -> Decision:
    return Decision(Verb.TERMINATE, why=Why(code, reasons))

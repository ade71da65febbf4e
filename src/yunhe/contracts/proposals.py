"""Terms put on the table by the other side: a consumer's request, a provider's offer.

In: either message. Out: the negotiation that it opens or goes on with, inside the caller's
transaction. The two differ in who speaks, and in that a provider asks whether it offers that.
"""

from __future__ import annotations

from yunhe.contracts import store
from yunhe.contracts.desk import Desk, end, move, new_pid, next_state, note, room
from yunhe.contracts.errors import MessageMisaddressed, ProductNotOffered
from yunhe.contracts.messages import ContractOffer, ContractRequest
from yunhe.contracts.model import Negotiation, Offer, Party, Side, Why
from yunhe.contracts.openings import one_more_talk
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Tx

Proposal = ContractRequest | ContractOffer


def offer_facts(offer: Offer) -> dict[str, str]:
    """What evidence keeps of terms on the table."""
    return {"offer_id": offer.id, "policy_sha256": sha256_hex(offer.policy.to_json())}


def hear_first(desk: Desk, tx: Tx, message: Proposal, peer: Party) -> Negotiation:
    """The other side opens a negotiation; raises ProductNotOffered, MessageMisaddressed,
    NegotiationsTooMany.
    """
    if peer.did == desk.did:
        raise MessageMisaddressed(field="participant")
    role = message.sender.other
    if role is Side.PROVIDER and desk.products(message.product_code) is None:
        raise ProductNotOffered
    one_more_talk(desk, tx, peer.did)
    offer = _offer(tx, message)
    n = Negotiation(
        id=new_pid(tx),
        role=role,
        peer_did=peer.did,
        peer_pid=message.sender_pid,
        address=message.address,
        product_code=message.product_code,
        state=next_state(None, message.verb, message.sender, ours=False),
        offers=(offer,),
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.insert_negotiation(tx, n)
    return note(desk, tx, n, message.verb, message.sender, offer_facts(offer))


def hear_next(desk: Desk, tx: Tx, n: Negotiation, message: Proposal, _peer: Party) -> Negotiation:
    """The other side's counter-offer; it cannot change the product."""
    next_state(n, message.verb, message.sender, ours=False)
    if message.product_code and message.product_code != n.product_code:
        raise MessageMisaddressed(field="offer.target")
    if not room(n):
        return end(desk, tx, n, Why("NO_AGREEMENT", ("Too many offers.", "要约次数过多。")))
    offer = _offer(tx, message)
    facts = offer_facts(offer)
    return move(desk, tx, n, message.verb, message.sender, facts, offers=(*n.offers, offer))


def _offer(tx: Tx, message: Proposal) -> Offer:
    plain = isinstance(message, ContractRequest) and message.plain
    return Offer(message.offer_id, message.sender, message.policy, tx.now, plain)

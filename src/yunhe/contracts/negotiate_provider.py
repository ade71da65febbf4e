"""The provider's half of a negotiation: what it says and what it hears.

In: a consumer's acceptance and verification (its terms come in proposals.py). Out: offers, the
signed agreement, the contract in force. Each function is one cell of the state table, inside the
caller's transaction.
"""

from __future__ import annotations

from dataclasses import replace

from yunhe.contracts import lifecycle, store
from yunhe.contracts.desk import Desk, end, move, new_pid, next_state, note, tell
from yunhe.contracts.errors import ProductNotOffered
from yunhe.contracts.messages import (
    ContractAcceptance,
    ContractAgreement,
    ContractFinalization,
    ContractOffer,
    ContractVerification,
)
from yunhe.contracts.model import (
    Agreement,
    Draft,
    Negotiation,
    Offer,
    Party,
    Side,
    Why,
)
from yunhe.contracts.policy import Policy
from yunhe.contracts.proposals import offer_facts
from yunhe.contracts.rules import Verb
from yunhe.contracts.signed import signature_of
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Tx
from yunhe.kernel.keys import jws_detached

_US, _THEM = Side.PROVIDER, Side.CONSUMER


def open_offer(
    desk: Desk, tx: Tx, peer_did: str, address: str, product_code: str, policy: Policy
) -> Negotiation:
    """Start a negotiation with an offer of ours, unasked."""
    if desk.products(product_code) is None:
        raise ProductNotOffered
    offer = Offer(new_pid(tx), _US, policy, tx.now)
    n = Negotiation(
        id=new_pid(tx),
        role=_US,
        peer_did=peer_did,
        peer_pid="",
        address=address,
        product_code=product_code,
        state=next_state(None, Verb.OFFER, _US, ours=True),
        offers=(offer,),
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.insert_negotiation(tx, n)
    tell(tx, n, _offer_message(n, offer, desk.callback))
    return note(desk, tx, n, Verb.OFFER, _US, offer_facts(offer))


def _offer_message(n: Negotiation, offer: Offer, address: str = "") -> ContractOffer:
    return ContractOffer(
        provider_pid=n.provider_pid,
        consumer_pid=n.consumer_pid,
        offer_id=offer.id,
        product_code=n.product_code,
        policy=offer.policy,
        address=address,
    )


def hear_acceptance(
    desk: Desk, tx: Tx, n: Negotiation, _message: ContractAcceptance, _peer: Party
) -> Negotiation:
    """The consumer takes our offer."""
    return move(desk, tx, n, Verb.ACCEPT, _THEM, offer_facts(n.last_offer))


def hear_verification(
    desk: Desk, tx: Tx, n: Negotiation, message: ContractVerification, peer: Party
) -> Negotiation:
    """The consumer's signature over the same bytes; a wrong one ends the negotiation."""
    next_state(n, Verb.VERIFY, _THEM, ours=False)
    agreement = n.agreement
    if agreement is None:  # the table lets nobody verify before AGREED
        raise LookupError(n.id)
    found = signature_of(_THEM, peer, message.signature, agreement.document)
    signature = "" if isinstance(found, Why) else found
    if signature:
        store.set_consumer_signature(tx, agreement.id, signature)
    facts = {"agreement": agreement.id, "consumer_jws": signature}
    signed = replace(agreement, consumer_jws=signature)
    verified = move(desk, tx, n, Verb.VERIFY, _THEM, facts, agreement=signed)
    return end(desk, tx, verified, found) if isinstance(found, Why) else verified


def say_offer(desk: Desk, tx: Tx, n: Negotiation, policy: Policy) -> Negotiation:
    """Counter-offer."""
    offer = Offer(new_pid(tx), _US, policy, tx.now)
    moved = move(desk, tx, n, Verb.OFFER, _US, offer_facts(offer), offers=(*n.offers, offer))
    tell(tx, moved, _offer_message(moved, offer))
    return moved


def say_agreement(desk: Desk, tx: Tx, n: Negotiation) -> Negotiation:
    """Write the agreement on the terms that stand, sign its bytes, send both."""
    next_state(n, Verb.AGREE, _US, ours=True)
    draft = Draft(
        id=new_pid(tx),
        product_code=n.product_code,
        provider_did=desk.did,
        consumer_did=n.peer_did,
        policy=n.last_offer.policy,
        at=tx.now,
        plain=any(offer.plain for offer in n.offers),
    )
    document = desk.form.write(draft)
    agreement = Agreement(
        id=draft.id,
        document=document,
        product_code=draft.product_code,
        provider_did=draft.provider_did,
        consumer_did=draft.consumer_did,
        policy=draft.policy,
        signed_at=tx.now,
        provider_jws=jws_detached(desk.key, document, algorithm=desk.jose_name(n.peer_did)),
    )
    store.insert_agreement(tx, agreement)
    facts = {
        "agreement": agreement.id,
        "document_sha256": sha256_hex(document),
        "provider_jws": agreement.provider_jws,
    }
    moved = move(desk, tx, n, Verb.AGREE, _US, facts, agreement=agreement)
    message = ContractAgreement(
        provider_pid=moved.provider_pid,
        consumer_pid=moved.consumer_pid,
        document=document,
        signature=agreement.provider_jws,
    )
    tell(tx, moved, message)
    return moved


def say_finalization(desk: Desk, tx: Tx, n: Negotiation) -> Negotiation:
    """Put the contract in force and tell the consumer."""
    next_state(n, Verb.FINALIZE, _US, ours=True)
    moved = lifecycle.put_in_force(desk, tx, n, _US)
    message = ContractFinalization(provider_pid=moved.provider_pid, consumer_pid=moved.consumer_pid)
    tell(tx, moved, message)
    return moved

"""The consumer's half of a negotiation: what it says and what it hears.

In: our user's wish; a provider's agreement and finalization. Out: requests, acceptance, the
checked and counter-signed agreement, the contract in force. A received agreement is checked
against what stood on the table before we sign one byte.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from yunhe.contracts import lifecycle, store
from yunhe.contracts.bargain import same_policy
from yunhe.contracts.desk import Desk, end, move, new_pid, next_state, note, tell
from yunhe.contracts.errors import AgreementUnreadable, SignatureReason
from yunhe.contracts.messages import (
    ContractAcceptance,
    ContractAgreement,
    ContractFinalization,
    ContractRequest,
    ContractVerification,
)
from yunhe.contracts.model import (
    Agreement,
    Draft,
    Negotiation,
    Offer,
    Party,
    Side,
    Strategy,
    Why,
)
from yunhe.contracts.policy import Policy
from yunhe.contracts.proposals import offer_facts
from yunhe.contracts.rules import Verb
from yunhe.contracts.signed import signature_of
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.db import Tx
from yunhe.kernel.keys import jws_detached

# The provider chooses it, and the consumer's people end the contract by it: it must fit whole into
# a path, a line of a shell and the outbox.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~@+=-]{0,199}", re.ASCII)
_US, _THEM = Side.CONSUMER, Side.PROVIDER


def open_request(
    desk: Desk,
    tx: Tx,
    peer_did: str,
    address: str,
    product_code: str,
    offer: tuple[str, Policy],
    strategy: Strategy | None,
) -> Negotiation:
    """Start a negotiation: ask `peer_did` at `address` for the product on the terms of `offer`."""
    asked = Offer(offer[0], _US, offer[1], tx.now)
    n = Negotiation(
        id=new_pid(tx),
        role=_US,
        peer_did=peer_did,
        peer_pid="",
        address=address,
        product_code=product_code,
        state=next_state(None, Verb.REQUEST, _US, ours=True),
        offers=(asked,),
        created_at=tx.now,
        updated_at=tx.now,
        strategy=strategy,
    )
    store.insert_negotiation(tx, n)
    tell(tx, n, _request_message(n, asked, desk.callback))
    return note(desk, tx, n, Verb.REQUEST, _US, offer_facts(asked))


def _request_message(n: Negotiation, offer: Offer, address: str = "") -> ContractRequest:
    return ContractRequest(
        provider_pid=n.provider_pid,
        consumer_pid=n.consumer_pid,
        offer_id=offer.id,
        product_code=n.product_code,
        policy=offer.policy,
        address=address,
    )


def hear_agreement(
    desk: Desk, tx: Tx, n: Negotiation, message: ContractAgreement, peer: Party
) -> Negotiation:
    """The provider's agreement: it must say what stood on the table and verify, or we end it."""
    next_state(n, Verb.AGREE, _THEM, ours=False)
    facts = {"document_sha256": sha256_hex(message.document), "provider_jws": message.signature}
    agreement = _checked(desk, tx, n, message, peer)
    if isinstance(agreement, Why):
        agreed = move(desk, tx, n, Verb.AGREE, _THEM, facts)
        return end(desk, tx, agreed, agreement)
    facts["agreement"] = agreement.id
    return move(desk, tx, n, Verb.AGREE, _THEM, facts, agreement=agreement)


def _checked(
    desk: Desk, tx: Tx, n: Negotiation, message: ContractAgreement, peer: Party
) -> Agreement | Why:
    try:
        draft = desk.form.read(message.document)
    except AgreementUnreadable as bad:
        return Why(SignatureReason.UNREADABLE, (bad.sentence("en"), bad.sentence("zh")))
    if (wrong := _wrong(desk, n, draft)) is not None:
        return wrong
    signature = signature_of(_THEM, peer, message.signature, message.document)
    if isinstance(signature, Why):
        return signature
    agreement = Agreement(
        id=draft.id,
        document=message.document,
        product_code=n.product_code,
        provider_did=draft.provider_did,
        consumer_did=draft.consumer_did,
        policy=draft.policy,
        signed_at=draft.at or tx.now,
        provider_jws=signature,
    )
    if not store.insert_agreement(tx, agreement):
        taken = ("Another agreement already has this id.", "已有另一份协议使用该编号。")
        return Why("AGREEMENT_ID_TAKEN", taken)
    return agreement


def _wrong(desk: Desk, n: Negotiation, draft: Draft) -> Why | None:
    if not _ID.fullmatch(draft.id):
        return Why(
            SignatureReason.UNREADABLE,
            (
                "The agreement's id is absent, too long, or no single part of an address.",
                "协议编号缺失、过长，或不能作为地址中的单独一段。",
            ),
        )
    if draft.provider_did != n.peer_did or draft.consumer_did != desk.did:
        parties = ("The agreement names other parties.", "协议载明的当事方与协商双方不一致。")
        return Why(SignatureReason.PARTY_CHANGED, parties)
    if draft.product_code != n.product_code:
        product = ("The agreement names another product.", "协议载明的产品与协商的产品不一致。")
        return Why(SignatureReason.PRODUCT_CHANGED, product)
    if not same_policy(draft.policy, n.last_offer.policy):
        return Why(
            SignatureReason.TERMS_CHANGED,
            ("The agreement's terms are not those on the table.", "协议条款与协商结果不一致。"),
        )
    return None


def hear_finalization(
    desk: Desk, tx: Tx, n: Negotiation, _message: ContractFinalization, _peer: Party
) -> Negotiation:
    """The provider put the contract in force; so do we."""
    next_state(n, Verb.FINALIZE, _THEM, ours=False)
    return lifecycle.put_in_force(desk, tx, n, _THEM)


def say_request(desk: Desk, tx: Tx, n: Negotiation, policy: Policy) -> Negotiation:
    """Counter-offer."""
    offer = Offer(new_pid(tx), _US, policy, tx.now)
    moved = move(desk, tx, n, Verb.REQUEST, _US, offer_facts(offer), offers=(*n.offers, offer))
    tell(tx, moved, _request_message(moved, offer))
    return moved


def say_acceptance(desk: Desk, tx: Tx, n: Negotiation) -> Negotiation:
    """Take the offer on the table."""
    moved = move(desk, tx, n, Verb.ACCEPT, _US, offer_facts(n.last_offer))
    message = ContractAcceptance(provider_pid=moved.provider_pid, consumer_pid=moved.consumer_pid)
    tell(tx, moved, message)
    return moved


def say_verification(desk: Desk, tx: Tx, n: Negotiation) -> Negotiation:
    """Sign the same bytes the provider signed, and send the signature."""
    next_state(n, Verb.VERIFY, _US, ours=True)
    agreement = n.agreement
    if agreement is None:  # the table lets nobody verify before AGREED
        raise LookupError(n.id)
    signature = jws_detached(desk.key, agreement.document, algorithm=desk.jose_name(n.peer_did))
    store.set_consumer_signature(tx, agreement.id, signature)
    facts = {"agreement": agreement.id, "consumer_jws": signature}
    signed = replace(agreement, consumer_jws=signature)
    moved = move(desk, tx, n, Verb.VERIFY, _US, facts, agreement=signed)
    message = ContractVerification(
        provider_pid=moved.provider_pid, consumer_pid=moved.consumer_pid, signature=signature
    )
    tell(tx, moved, message)
    return moved

"""What a peer says reaches the right cell: pids, duplicates, state table, then our answer.

In: a typed message and the authenticated peer. Out: the negotiation or transfer after it, with
our answer already committed to the outbox. An unknown pid and another participant's pid get the
same refusal. Duplicates, by (peer, message id), change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from yunhe.contracts import negotiate_consumer as consumer
from yunhe.contracts import negotiate_provider as provider
from yunhe.contracts import proposals, store, store_push, transfers
from yunhe.contracts.decide import Decision
from yunhe.contracts.desk import Desk, end, move
from yunhe.contracts.errors import (
    MessageMisaddressed,
    MessageOutOfOrder,
    NegotiationUnknown,
    TransferUnknown,
)
from yunhe.contracts.messages import (
    ContractAcceptance,
    ContractAgreement,
    ContractFinalization,
    ContractOffer,
    ContractRequest,
    ContractTermination,
    ContractVerification,
    Message,
    NegotiationMessage,
    TransferMessage,
    TransferRequest,
)
from yunhe.contracts.model import Negotiation, Party, Side, State, Transfer, Why
from yunhe.contracts.rules import Verb
from yunhe.kernel import outbox
from yunhe.kernel.db import Tx

_VERIFIED: Final = (State.VERIFIED, State.FINALIZED)
_AGREED: Final = (State.AGREED, *_VERIFIED)

N = TypeVar("N", Negotiation, Transfer)
Hear = Callable[[Desk, Tx, Negotiation, Any, Party], Negotiation]


def _hear_termination(
    desk: Desk, tx: Tx, n: Negotiation, message: ContractTermination, _peer: Party
) -> Negotiation:
    facts = {"why": message.why.to_json()}
    return move(desk, tx, n, Verb.TERMINATE, message.sender, facts, error=message.why)


_HEAR: Final[dict[type[NegotiationMessage], Hear]] = {
    ContractRequest: proposals.hear_next,
    ContractAcceptance: provider.hear_acceptance,
    ContractVerification: provider.hear_verification,
    ContractOffer: proposals.hear_next,
    ContractAgreement: consumer.hear_agreement,
    ContractFinalization: consumer.hear_finalization,
    ContractTermination: _hear_termination,
}


def negotiation_message(
    desk: Desk, tx: Tx, message: NegotiationMessage, peer: Party
) -> Negotiation:
    """Take one negotiation message of `peer` and answer it.

    Raises NegotiationUnknown (also for another's pid), MessageOutOfOrder, MessageMisaddressed,
    ProductNotOffered; nothing is stored then.
    """
    if isinstance(message, ContractRequest | ContractOffer) and not message.receiver_pid:
        # The same again may come while the first is being heard, and gets its answer.
        tx.alone("negotiation", message.sender.other.value, peer.did, message.sender_pid)
        known = store.negotiation_of_peer(tx, message.sender.other, peer.did, message.sender_pid)
        if _again(tx, message, peer, known, known is not None and _same_offer(known, message)):
            if known is None:
                raise NegotiationUnknown
            return known
        n = proposals.hear_first(desk, tx, message, peer)
    else:
        n = _addressed(store.negotiation(tx, message.receiver_pid, lock=True), message, peer)
        if message.message_id and (
            outbox.seen(tx, peer.did, message.message_id) or _said_before(n, message)
        ):
            return n
        n = _HEAR[type(message)](desk, tx, n, message, peer)
    return act(desk, tx, n, _decide(desk, tx, n))


def _again(
    tx: Tx, message: Message, peer: Party, known: Negotiation | Transfer | None, same: bool
) -> bool:
    """Whether an opening message was heard before: by its id, or by its pid and what it says.

    A peer that is not sure that we have it says it once more, some under a fresh message id. A pid
    in use with another wish is refused.
    """
    if known is not None and same:
        return True
    if message.message_id and outbox.seen(tx, peer.did, message.message_id):
        return True
    if known is None:
        return False
    raise MessageOutOfOrder(
        sender=message.sender.value,
        message="request",
        what="conversation",
        state=known.state.value,
    )


def _same_offer(known: Negotiation, message: ContractRequest | ContractOffer) -> bool:
    """Whether an opening message says what the negotiation was opened with."""
    first = known.offers[0]
    was = (known.product_code, known.address, first.by, first.id, first.policy)
    said = (message.product_code, message.address, message.sender, message.offer_id, message.policy)
    return was == said


def _same_transfer(tx: Tx, known: Transfer, message: TransferRequest) -> bool:
    """Whether a request asks for what the transfer was asked for."""
    was = (known.contract_id, known.format, known.address)
    if was != (message.contract_id, message.format, message.address):
        return False
    push, to = store_push.find(tx, known.id), message.data_address
    if push is None or to is None:
        return push is None and to is None
    asked = (message.sql, message.purpose, message.principal, message.seal)
    if (push.sql, push.purpose, push.principal, push.seal) != asked:
        return False
    if (push.use_id, push.method, push.ranged) != (
        message.use_id or known.id,
        to.method,
        to.ranged,
    ):
        return False
    goes = known.data_address  # forgotten when the transfer has ended
    return goes is None or (goes.endpoint, goes.token) == (to.endpoint, to.token)


def _said_before(n: Negotiation, message: NegotiationMessage) -> bool:
    """Whether a later message repeats, under a fresh id, what has brought us where we are.

    Only what the state proves to have been said: an agreement and its signatures, in the same
    words, and a finalization.
    """
    if n.agreement is None:
        return False
    match message:
        case ContractAgreement():
            same = (n.agreement.document, n.agreement.provider_jws)
            return n.state in _AGREED and same == (message.document, message.signature)
        case ContractVerification():
            return n.state in _VERIFIED and n.agreement.consumer_jws == message.signature
        case ContractFinalization():
            return n.state is State.FINALIZED
    return False


def _addressed(found: N | None, message: Message, peer: Party) -> N:
    """The conversation a later message belongs to, its peer's pid learnt if it was not known."""
    if found is None or found.peer_did != peer.did:
        raise TransferUnknown if isinstance(message, TransferMessage) else NegotiationUnknown
    if found.role is message.sender:
        raise MessageMisaddressed(field="pid")
    if not found.peer_pid and message.sender_pid:
        return replace(found, peer_pid=message.sender_pid)
    if message.sender_pid != found.peer_pid:
        raise MessageMisaddressed(field=f"{message.sender.value}Pid")
    return found


def _decide(desk: Desk, tx: Tx, n: Negotiation) -> Decision:
    asked = n.role is Side.PROVIDER and n.state is State.REQUESTED
    product = desk.products(n.product_code) if asked else None
    return desk.decider.answer(n, product, tx.now)


def act(desk: Desk, tx: Tx, n: Negotiation, decision: Decision) -> Negotiation:
    """Say what was decided; the state table has the last word. Raises VerbOutOfOrder."""
    match decision.verb:
        case Verb.OFFER if decision.policy is not None:
            return provider.say_offer(desk, tx, n, decision.policy)
        case Verb.REQUEST if decision.policy is not None:
            return consumer.say_request(desk, tx, n, decision.policy)
        case Verb.ACCEPT:
            return consumer.say_acceptance(desk, tx, n)
        case Verb.AGREE:
            return provider.say_agreement(desk, tx, n)
        case Verb.VERIFY:
            return consumer.say_verification(desk, tx, n)
        case Verb.FINALIZE:
            return provider.say_finalization(desk, tx, n)
        case Verb.TERMINATE:
            return end(desk, tx, n, decision.why or Why("BY_CHOICE"))
    return n


def transfer_message(desk: Desk, tx: Tx, message: TransferMessage, peer: Party) -> Transfer:
    """Take one transfer message of `peer` and answer it; errors as for negotiations."""
    if isinstance(message, TransferRequest):
        tx.alone("transfer", peer.did, message.consumer_pid)
        known = store.transfer_of_peer(tx, Side.PROVIDER, peer.did, message.consumer_pid)
        same = known is not None and _same_transfer(tx, known, message)
        if _again(tx, message, peer, known, same):
            if known is None:
                raise TransferUnknown
            return known
        return transfers.answer(desk, tx, transfers.hear_request(desk, tx, message, peer))
    t = _addressed(store.transfer(tx, message.receiver_pid, lock=True), message, peer)
    if message.message_id and outbox.seen(tx, peer.did, message.message_id):
        return t
    return transfers.hear(desk, tx, t, message)

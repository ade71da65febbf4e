"""The life of an agreement between two nodes, and what spoils it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.nodes import CODE, FURTHEST, LISTED, Node, Pair, Peer
from yunhe import contracts
from yunhe.contracts import (
    AutomaticDecider,
    ContractAgreement,
    ContractInForce,
    ContractVerification,
    Message,
    MessageMisaddressed,
    MessageOutOfOrder,
    NegotiationUnknown,
    Price,
    ProductNotOffered,
    Side,
    State,
    Strategy,
    VerbOutOfOrder,
    Why,
    policy_from_terms,
)
from yunhe.evidence import jws as offline
from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.keys import KeyStore, jws_detached, verify_jws_detached

LENIENT = Strategy(accept=replace(FURTHEST, uses_max=10))


def states(pair: Pair, id_: str) -> tuple[State, State]:
    ours = pair.consumer.contracts.negotiation(id_)
    theirs = pair.provider.contracts.negotiation(ours.peer_pid)
    return ours.state, theirs.state


def test_one_counter_offer_each_way_then_both_sign(pair: Pair) -> None:
    begun: list[ContractInForce] = []
    for node in (pair.provider, pair.consumer):
        node.db.events.on(ContractInForce, lambda tx, event: begun.append(event))
    asked = replace(LISTED, price=Price(50, 0), uses_max=100)
    compromise = replace(LISTED, price=Price(85, 1), uses_max=15)
    limit = replace(LISTED, price=Price(70, 1))

    n = pair.request(asked, Strategy(accept=limit, counter=compromise))
    pair.pump()

    assert [m.kind for m in pair.sent] == [
        "dsp.request",
        "dsp.offer",
        "dsp.request",
        "dsp.agreement",
        "dsp.verification",
        "dsp.finalization",
    ]
    assert states(pair, n.id) == (State.FINALIZED, State.FINALIZED)
    n = pair.consumer.contracts.negotiation(n.id)
    mine = pair.consumer.contracts.in_force(n.contract_id)
    theirs = pair.provider.contracts.in_force(n.contract_id, pair.consumer.did)
    assert mine.terms == theirs.terms == compromise
    assert mine.signature_level == theirs.signature_level == "both"
    assert mine.agreement.document == theirs.agreement.document
    for key, jws in (
        (pair.provider.key, mine.agreement.provider_jws),
        (pair.consumer.key, theirs.agreement.consumer_jws),
    ):
        verify_jws_detached(key.public_jwk(), jws, mine.agreement.document)
    assert [event.contract.id for event in begun] == [n.contract_id] * 2
    assert pair.provider.log.kinds() == [
        "contract.requested",
        "contract.offered",
        "contract.requested",
        "contract.agreed",
        "contract.verified",
        "contract.finalized",
        "contract.in_force",
    ]
    assert pair.consumer.log.kinds() == pair.provider.log.kinds()


def test_the_consumer_accepts_an_offer_within_its_limits(pair: Pair) -> None:
    n = pair.request(replace(LISTED, price=Price(1, 0)), LENIENT)
    pair.pump()
    assert states(pair, n.id) == (State.FINALIZED, State.FINALIZED)
    assert "dsp.acceptance" in [m.kind for m in pair.sent]
    n = pair.consumer.contracts.negotiation(n.id)
    assert pair.consumer.contracts.in_force(n.contract_id).terms.price == Price(80, 1)


def test_an_offer_beyond_every_limit_waits_for_the_user(pair: Pair) -> None:
    n = pair.request(replace(LISTED, price=Price(1, 0)))
    pair.pump()
    n = pair.consumer.contracts.wait(n.id, n.version, 0.2)
    assert (n.state, n.waiting_for) == (State.OFFERED, "you")
    pair.consumer.contracts.counter(n.id, replace(LISTED, price=Price(2, 0)))
    pair.pump()
    pair.consumer.contracts.accept(n.id)
    pair.pump()
    assert states(pair, n.id) == (State.FINALIZED, State.FINALIZED)


def test_the_provider_can_decide_by_hand(tmp_path: Path, clock: ManualClock) -> None:
    provider = Node(tmp_path, "provider", clock, AutomaticDecider(manual=True))
    pair = Pair(provider, Node(tmp_path, "consumer", clock))
    n = pair.request(LISTED)
    pair.pump()
    [held] = provider.contracts.negotiations()
    assert (held.state, held.waiting_for) == (State.REQUESTED, "you")
    provider.contracts.counter(held.id, FURTHEST)
    pair.pump()
    pair.consumer.contracts.accept(n.id)
    pair.pump()
    assert states(pair, n.id) == (State.FINALIZED, State.FINALIZED)
    provider.close()
    pair.consumer.close()


def test_a_provider_may_begin(pair: Pair) -> None:
    n = pair.provider.contracts.offer(pair.consumer.did, pair.consumer.url, CODE, LISTED)
    pair.pump()
    [held] = pair.consumer.contracts.negotiations()
    assert held.state is State.OFFERED
    pair.consumer.contracts.accept(held.id)
    pair.pump()
    assert pair.provider.contracts.negotiation(n.id).state is State.FINALIZED


@pytest.mark.parametrize("by", ["consumer", "provider"])
def test_either_side_ends_a_negotiation_with_its_reason(pair: Pair, by: str) -> None:
    n = pair.request(replace(LISTED, price=Price(1, 0)))
    pair.pump()
    n = pair.consumer.contracts.negotiation(n.id)
    if by == "consumer":
        pair.consumer.contracts.terminate_negotiation(n.id, "too dear")
    else:
        pair.provider.contracts.terminate_negotiation(n.peer_pid, "too dear")
    pair.pump()
    assert states(pair, n.id) == (State.TERMINATED, State.TERMINATED)
    for node, pid in ((pair.consumer, n.id), (pair.provider, n.peer_pid)):
        assert node.contracts.negotiation(pid).error == Why("BY_CHOICE", ("too dear",))
    with pytest.raises(VerbOutOfOrder):
        pair.consumer.contracts.accept(n.id)


def test_an_unknown_term_ends_it_and_is_named(pair: Pair) -> None:
    policy = contracts.Policy((contracts.Rule("permission", "moonwalk"),))
    n = pair.consumer.contracts.request(pair.provider.did, pair.provider.url, CODE, "o", policy)
    pair.pump()
    n = pair.consumer.contracts.negotiation(n.id)
    assert n.error is not None
    assert n.error.code == "TERM_NOT_UNDERSTOOD"
    assert "moonwalk" in n.error.reasons[0]


def test_an_unknown_product_is_refused_and_nothing_stored(pair: Pair) -> None:
    n = pair.consumer.contracts.request(pair.provider.did, pair.provider.url, "NO", "o", LISTED)
    pair.pump()
    assert pair.provider.contracts.negotiations() == []
    n = pair.consumer.contracts.negotiation(n.id)
    assert n.state is State.TERMINATED
    assert n.error is not None
    assert n.error.code == ProductNotOffered.code


# --- duplicates, order, strangers -----------------------------------------------------------


def test_every_message_twice_changes_nothing(pair: Pair) -> None:
    n = pair.request(replace(LISTED, price=Price(1, 0)), LENIENT)
    for _ in range(40):
        said = [node for node in (pair.consumer, pair.provider) if node.pending()]
        if not said:
            break
        sender = said[0]
        other = pair.provider if sender is pair.consumer else pair.consumer
        message = pair.addressed(sender, sender.pending()[0])
        pair.step(sender)
        before = len(other.log.entries), len(other.pending())
        again = other.contracts.receive(message, sender.peer)
        assert again.id == message.receiver_pid or not message.receiver_pid
        assert (len(other.log.entries), len(other.pending())) == before
    assert states(pair, n.id) == (State.FINALIZED, State.FINALIZED)
    assert len(pair.provider.contracts.contracts()) == 1
    assert len(pair.provider.contracts.negotiations()) == 1


def test_the_same_request_under_a_fresh_id_is_answered_with_the_same(pair: Pair) -> None:
    pair.request(LISTED)
    message = pair.addressed(pair.consumer, pair.consumer.pending()[0])
    first = pair.provider.contracts.receive(message, pair.consumer.peer)
    before = len(pair.provider.log.entries), len(pair.provider.pending())
    for said in ("x", ""):  # some peers give a retry a fresh id, some give none
        again = replace(message, message_id=said)
        assert pair.provider.contracts.receive(again, pair.consumer.peer).id == first.id
    assert (len(pair.provider.log.entries), len(pair.provider.pending())) == before
    # Another wish under the pid is no retry, and is not answered with what was asked for before.
    others = ({"policy": policy_from_terms(FURTHEST)}, {"product_code": "another"})
    for other in (*others, {"offer_id": "another"}, {"address": "https://elsewhere.example"}):
        for said in ("y", ""):
            another = replace(message, message_id=said, **other)
            with pytest.raises(MessageOutOfOrder):
                pair.provider.contracts.receive(another, pair.consumer.peer)
    assert [each.id for each in pair.provider.contracts.negotiations()] == [first.id]


def test_out_of_order_is_refused_and_changes_nothing(pair: Pair) -> None:
    n = pair.request(replace(LISTED, price=Price(1, 0)))
    pair.pump()
    n = pair.consumer.contracts.negotiation(n.id)
    pids: dict[str, Any] = {"provider_pid": n.peer_pid, "consumer_pid": n.id}
    early = ContractVerification(**pids, message_id="early")
    before = len(pair.provider.log.entries)
    with pytest.raises(MessageOutOfOrder, match="OFFERED"):
        pair.provider.contracts.receive(early, pair.consumer.peer)
    final = contracts.ContractFinalization(**pids)
    with pytest.raises(MessageOutOfOrder):
        pair.consumer.contracts.receive(final, pair.provider.peer)
    assert len(pair.provider.log.entries) == before
    assert states(pair, n.id) == (State.OFFERED, State.OFFERED)


def test_a_stranger_learns_nothing(pair: Pair, tmp_path: Path, clock: ManualClock) -> None:
    n = pair.request(replace(LISTED, price=Price(1, 0)))
    pair.pump()
    n = pair.consumer.contracts.negotiation(n.id)
    mallory = Peer("did:web:mallory.example", KeyStore(tmp_path / "m").key("did").public_jwk())
    accept = contracts.ContractAcceptance(provider_pid=n.peer_pid, consumer_pid=n.id)
    nowhere = replace(accept, provider_pid="urn:uuid:none")
    with pytest.raises(NegotiationUnknown) as foreign:
        pair.provider.contracts.receive(accept, mallory)
    with pytest.raises(NegotiationUnknown) as unknown:
        pair.provider.contracts.receive(nowhere, pair.consumer.peer)
    assert foreign.value.problem() == unknown.value.problem()
    wrong = replace(accept, consumer_pid="urn:uuid:other")
    with pytest.raises(MessageMisaddressed):
        pair.provider.contracts.receive(wrong, pair.consumer.peer)
    echo = replace(accept, sender=Side.PROVIDER, consumer_pid=n.peer_pid, provider_pid=n.id)
    with pytest.raises(MessageMisaddressed):
        pair.provider.contracts.receive(echo, pair.consumer.peer)


# --- spoilt agreements ----------------------------------------------------------------------


def rewritten(message: ContractAgreement, key: Any, **changes: Any) -> ContractAgreement:
    """The agreement changed and signed again by `key`."""
    document = dumps({**loads_strict(message.document), **changes})
    return replace(message, document=document, signature=jws_detached(key, document))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda m, p, o: replace(m, document=m.document + b" "), "PROVIDER_SIGNATURE_INVALID"),
        (
            lambda m, p, o: replace(m, signature=jws_detached(o, m.document)),
            "PROVIDER_SIGNATURE_INVALID",
        ),
        (lambda m, p, o: replace(m, signature="a.b.c"), "PROVIDER_SIGNATURE_INVALID"),
        (
            lambda m, p, o: rewritten(
                m, p, policy=contracts.policy_from_terms(replace(LISTED, uses_max=1)).to_json()
            ),
            "AGREEMENT_TERMS_CHANGED",
        ),
        (
            lambda m, p, o: rewritten(
                m,
                p,
                policy=contracts.policy_from_terms(replace(LISTED, price=Price(101, 2))).to_json(),
            ),
            "AGREEMENT_TERMS_CHANGED",
        ),
        (lambda m, p, o: rewritten(m, p, consumer="did:web:x"), "AGREEMENT_PARTY_CHANGED"),
        (lambda m, p, o: rewritten(m, p, provider="did:web:x"), "AGREEMENT_PARTY_CHANGED"),
        (lambda m, p, o: rewritten(m, p, product="other"), "AGREEMENT_PRODUCT_CHANGED"),
        (lambda m, p, o: rewritten(m, p, id=""), "AGREEMENT_UNREADABLE"),
        # A contract that nobody could end: no call of the API reaches it.
        (lambda m, p, o: rewritten(m, p, id="mine/yours"), "AGREEMENT_UNREADABLE"),
        (lambda m, p, o: rewritten(m, p, id="../tokens"), "AGREEMENT_UNREADABLE"),
        (lambda m, p, o: rewritten(m, p, id="--help"), "AGREEMENT_UNREADABLE"),
        (lambda m, p, o: rewritten(m, p, id="$(reboot)"), "AGREEMENT_UNREADABLE"),
        (lambda m, p, o: rewritten(m, p, id="urn:uuid:x\u202e"), "AGREEMENT_UNREADABLE"),
        (lambda m, p, o: replace(m, document=b"[]"), "AGREEMENT_UNREADABLE"),
    ],
)
def test_a_spoilt_agreement_ends_the_negotiation_by_name(
    pair: Pair, tmp_path: Path, spoil: Any, code: str
) -> None:
    other = KeyStore(tmp_path / "other").key("did")

    def tamper(message: Message) -> Message:
        if isinstance(message, ContractAgreement):
            return spoil(message, pair.provider.key, other)  # type: ignore[no-any-return]
        return message

    pair.spoil = tamper
    n = pair.request(LISTED)
    pair.pump()
    assert states(pair, n.id) == (State.TERMINATED, State.TERMINATED)
    n = pair.consumer.contracts.negotiation(n.id)
    assert n.error is not None
    assert n.error.code == code
    assert n.error.text("zh") != n.error.text("en")
    theirs = pair.provider.contracts.negotiation(n.peer_pid).error
    assert theirs is not None
    assert theirs.code == code
    assert theirs.text("zh") != theirs.text("en")
    assert pair.consumer.contracts.contracts() == pair.provider.contracts.contracts() == []


def test_a_wrong_counter_signature_ends_it(pair: Pair, tmp_path: Path) -> None:
    other = KeyStore(tmp_path / "other").key("did")

    def tamper(message: Message) -> Message:
        if isinstance(message, ContractVerification):
            return replace(message, signature=jws_detached(other, b"{}"))
        return message

    pair.spoil = tamper
    n = pair.request(LISTED)
    pair.pump()
    assert states(pair, n.id) == (State.TERMINATED, State.TERMINATED)
    error = pair.consumer.contracts.negotiation(n.id).error
    assert error is not None
    assert error.code == "CONSUMER_SIGNATURE_INVALID"
    assert error.text("zh") != error.text("en")


def test_a_peer_that_does_not_sign_is_shown_as_such(pair: Pair) -> None:
    def strip(message: Message) -> Message:
        if isinstance(message, ContractAgreement | ContractVerification):
            return replace(message, signature="")
        return message

    pair.spoil = strip
    _, contract_id = pair.agree()
    for node in (pair.consumer, pair.provider):
        assert node.contracts.in_force(contract_id).signature_level == "transport"


def test_another_contracts_id_cannot_be_taken(pair: Pair) -> None:
    _, taken = pair.agree()
    pair.spoil = lambda m: (
        rewritten(m, pair.provider.key, id=taken) if isinstance(m, ContractAgreement) else m
    )
    n = pair.request(LISTED)
    pair.pump()
    error = pair.consumer.contracts.negotiation(n.id).error
    assert error is not None
    assert error.code == "AGREEMENT_ID_TAKEN"
    assert error.text("zh") != error.text("en")


@pytest.mark.parametrize("names", [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA"), ("EdDSA", "EdDSA")])
def test_each_signs_in_the_name_that_the_other_reads_and_both_verify(
    names: tuple[str, str], tmp_path: Path, clock: ManualClock
) -> None:
    provider = Node(tmp_path, "hospital", clock, jose_name=lambda _peer: names[0])
    consumer = Node(tmp_path, "research", clock, jose_name=lambda _peer: names[1])
    _, contract_id = Pair(provider, consumer).agree()
    for node in (provider, consumer):
        agreement = node.contracts.contract(contract_id).agreement
        assert agreement.signature_level == "both"
        found = tuple(
            verify_jws_detached(signer.key.public_jwk(), compact, agreement.document)["alg"]
            for signer, compact in (
                (provider, agreement.provider_jws),
                (consumer, agreement.consumer_jws),
            )
        )
        assert found == names
        for signer, compact in (
            (provider, agreement.provider_jws),
            (consumer, agreement.consumer_jws),
        ):
            offline.verify_detached(signer.key.public_jwk(), compact, agreement.document)
    provider.close()
    consumer.close()

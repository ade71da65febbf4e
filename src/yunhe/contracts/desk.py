"""What every verb of the slice needs at hand, and how a conversation moves.

In: the collaborators, given once by node.py. Out: `Desk`, and the two ways a negotiation moves:
`move` (state, evidence, event) and `tell` (the message to the peer), always in the verb's
transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from yunhe.contracts import rules, store
from yunhe.contracts.decide import Decider
from yunhe.contracts.errors import MessageOutOfOrder, NegotiationUnknown, VerbOutOfOrder
from yunhe.contracts.events import NegotiationMoved
from yunhe.contracts.messages import ContractTermination, Message
from yunhe.contracts.model import (
    Draft,
    Negotiation,
    OfferedProduct,
    OpenMax,
    Side,
    State,
    Transfer,
    Why,
)
from yunhe.contracts.rules import Verb
from yunhe.kernel import limits, outbox
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.keys import JoseName, SigningKey, own_name


class AgreementForm(Protocol):
    """How an agreement is written down; protocols own the form, this slice keeps the bytes."""

    def write(self, draft: Draft) -> bytes:
        """The canonical bytes that both parties will sign."""
        ...

    def read(self, document: bytes) -> Draft:
        """What a peer's document says; raises AgreementUnreadable."""
        ...


class Recorder(Protocol):
    """The evidence log."""

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> Any:
        """Add an entry to the verb."""
        ...


class Bell:
    """Wakes threads that wait for a change; a hint only, the database has the truth."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rung = 0

    def rung(self) -> int:
        """How often it has rung; to be asked before what is waited for is looked up."""
        with self._condition:
            return self._rung

    def ring(self) -> None:
        """Wake everyone."""
        with self._condition:
            self._rung += 1
            self._condition.notify_all()

    def wait(self, since: int, seconds: float) -> None:
        """Sleep until it has rung more than `since` times, at most `seconds`."""
        with self._condition:
            self._condition.wait_for(lambda: self._rung > since, seconds)


@dataclass(frozen=True)
class Desk:
    """The collaborators. `callback` is our own DSP base URL, `data_endpoint` our data plane's.

    `formats` are the transfer formats that our data plane serves as provider; `jose_name(did)` is
    the name of our signatures' algorithm that the peer reads.
    """

    db: Database
    evidence: Recorder
    key: SigningKey
    did: str
    form: AgreementForm
    products: Callable[[str], OfferedProduct | None]
    decider: Decider
    callback: str
    data_endpoint: str
    formats: tuple[str, ...]
    jose_name: JoseName = own_name
    open_max: OpenMax = field(default_factory=OpenMax)
    bell: Bell = field(default_factory=Bell)


KINDS: Final = {
    Verb.REQUEST: "contract.requested",
    Verb.OFFER: "contract.offered",
    Verb.ACCEPT: "contract.accepted",
    Verb.AGREE: "contract.agreed",
    Verb.VERIFY: "contract.verified",
    Verb.FINALIZE: "contract.finalized",
    Verb.TERMINATE: "negotiation.terminated",
}


def new_pid(tx: Tx) -> str:
    """A fresh id for a conversation or an agreement."""
    return f"urn:uuid:{tx.new_id()}"


def next_state(n: Negotiation | None, verb: Verb, sender: Side, ours: bool) -> State:
    """The cell of the state table; a refusal is a 400 to a peer and a 409 to our user."""
    state = None if n is None else n.state
    if (to := rules.after(state, verb, sender)) is not None:
        return to
    facts = {"message": verb.value, "what": "negotiation", "state": state or "not begun"}
    raise VerbOutOfOrder(**facts) if ours else MessageOutOfOrder(sender=sender.value, **facts)


def move(
    desk: Desk, tx: Tx, n: Negotiation, verb: Verb, sender: Side, facts: dict[str, Any], **to: Any
) -> Negotiation:
    """Move a negotiation along the table with the changes `to`; adds evidence and the event."""
    moved = replace(
        n,
        state=next_state(n, verb, sender, ours=sender is n.role),
        version=n.version + 1,
        updated_at=tx.now,
        **to,
    )
    # What is large in the row are its offers, and the strategy, which never changes.
    save = store.save_negotiation if "offers" in to else store.save_moved
    save(tx, moved)
    return note(desk, tx, moved, verb, sender, facts)


def note(
    desk: Desk, tx: Tx, n: Negotiation, verb: Verb, sender: Side, facts: dict[str, Any]
) -> Negotiation:
    """The evidence entry and the event of a move."""
    body = {
        "negotiation": n.id,
        "peer_pid": n.peer_pid,
        "role": n.role.value,
        "provider_did": desk.did if n.role is Side.PROVIDER else n.peer_did,
        "consumer_did": desk.did if n.role is Side.CONSUMER else n.peer_did,
        "product_code": n.product_code,
        "said_by": sender.value,
        "state": n.state.value,
        **facts,
    }
    desk.evidence.record(tx, KINDS[verb], body)
    tx.emit(NegotiationMoved(n.id, n.state, tx.now, n.version, n.waiting_for))
    tx.after_commit(desk.bell.ring, key=desk.bell)
    return n


def tell(tx: Tx, to: Negotiation | Transfer, message: Message) -> None:
    """Put a message for the peer into the verb; it keeps its id over all retries."""
    outbox.enqueue(tx, message.kind, to.peer_did, to.id, message.to_json(), to.address)


def end(desk: Desk, tx: Tx, n: Negotiation, why: Why, say: bool = True) -> Negotiation:
    """Terminate from our side, for a named reason, and tell the peer."""
    ended = move(desk, tx, n, Verb.TERMINATE, n.role, {"why": why.to_json()}, error=why)
    if say:
        tell(
            tx,
            ended,
            ContractTermination(
                sender=ended.role,
                provider_pid=ended.provider_pid,
                consumer_pid=ended.consumer_pid,
                why=why,
            ),
        )
    return ended


def ours(tx: Tx, negotiation_id: str) -> Negotiation:
    """One of our negotiations, locked for a change; raises NegotiationUnknown."""
    n = store.negotiation(tx, negotiation_id, lock=True)
    if n is None:
        raise NegotiationUnknown
    return n


def room(n: Negotiation) -> bool:
    """Whether one more offer may be put on the table."""
    return len(n.offers) < limits.OFFERS_MAX

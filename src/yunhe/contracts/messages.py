"""What two nodes say to each other about contracts and transfers, free of any wire form.

In: verbs make them, protocols read them off a wire. Out: typed values, and the versioned JSON in
which they wait in the outbox. `message_id` is the sender's id, kept over all retries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from yunhe.contracts.model import DataAddress, Side, Why
from yunhe.contracts.policy import Policy
from yunhe.contracts.rules import TransferVerb, Verb

PAYLOAD_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Message:
    """What every message has: both pids (the receiver's may be empty at first) and an id."""

    kind: ClassVar[str]

    sender: Side
    provider_pid: str = ""
    consumer_pid: str = ""
    message_id: str = ""

    @property
    def receiver_pid(self) -> str:
        """The pid under which the receiver knows the conversation."""
        return self.consumer_pid if self.sender is Side.PROVIDER else self.provider_pid

    @property
    def sender_pid(self) -> str:
        """The pid under which the sender knows the conversation."""
        return self.provider_pid if self.sender is Side.PROVIDER else self.consumer_pid

    def to_json(self) -> dict[str, Any]:
        """The form that waits in the outbox; the message id is the outbox's own."""
        said: dict[str, Any] = {"v": PAYLOAD_VERSION}
        for field in fields(self):
            if field.name not in ("message_id", "data_address"):
                said[field.name] = _plain(getattr(self, field.name))
        return said


@dataclass(frozen=True, kw_only=True)
class NegotiationMessage(Message):
    """A message of a negotiation; `verb` is its column in the state table."""

    verb: ClassVar[Verb]


@dataclass(frozen=True, kw_only=True)
class ContractRequest(NegotiationMessage):
    """The consumer asks for a product on terms; with `address` it opens the negotiation.

    `plain`: its offer had none of the members that this house adds to ODRL.
    """

    kind = "dsp.request"
    verb = Verb.REQUEST
    sender: Side = Side.CONSUMER
    offer_id: str
    product_code: str
    policy: Policy
    address: str = ""
    plain: bool = False


@dataclass(frozen=True, kw_only=True)
class ContractOffer(NegotiationMessage):
    """The provider proposes terms; with `address` it opens the negotiation."""

    kind = "dsp.offer"
    verb = Verb.OFFER
    sender: Side = Side.PROVIDER
    offer_id: str
    product_code: str
    policy: Policy
    address: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractAcceptance(NegotiationMessage):
    """The consumer takes the offer on the table."""

    kind = "dsp.acceptance"
    verb = Verb.ACCEPT
    sender: Side = Side.CONSUMER


@dataclass(frozen=True, kw_only=True)
class ContractAgreement(NegotiationMessage):
    """The provider's agreement document, canonical bytes, and its detached JWS (or empty)."""

    kind = "dsp.agreement"
    verb = Verb.AGREE
    sender: Side = Side.PROVIDER
    document: bytes
    signature: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractVerification(NegotiationMessage):
    """The consumer checked the agreement, and signed the same bytes (or empty)."""

    kind = "dsp.verification"
    verb = Verb.VERIFY
    sender: Side = Side.CONSUMER
    signature: str = ""


@dataclass(frozen=True, kw_only=True)
class ContractFinalization(NegotiationMessage):
    """The provider puts the contract in force."""

    kind = "dsp.finalization"
    verb = Verb.FINALIZE
    sender: Side = Side.PROVIDER


@dataclass(frozen=True, kw_only=True)
class ContractTermination(NegotiationMessage):
    """Either party ends the negotiation."""

    kind = "dsp.termination"
    verb = Verb.TERMINATE
    why: Why


@dataclass(frozen=True, kw_only=True)
class TransferMessage(Message):
    """A message of a transfer process."""

    verb: ClassVar[TransferVerb]


@dataclass(frozen=True, kw_only=True)
class TransferRequest(TransferMessage):
    """The consumer asks for data under a contract; of a push it says where the data goes.

    The address is filled in when it is sent, so no token lies in the outbox.
    """

    kind = "dsp.transfer.request"
    verb = TransferVerb.REQUEST
    sender: Side = Side.CONSUMER
    contract_id: str
    format: str
    address: str
    data_address: DataAddress | None = None
    sql: str = ""  # of a push: what is sent; empty: the whole product
    purpose: str = ""
    principal: str = ""
    use_id: str = ""
    seal: str = ""  # the receiver's public key, where the result is to be sealed


@dataclass(frozen=True, kw_only=True)
class TransferStart(TransferMessage):
    """The data flows. The address is filled in when it is sent, so no token lies in the outbox."""

    kind = "dsp.transfer.start"
    verb = TransferVerb.START
    data_address: DataAddress | None = None


@dataclass(frozen=True, kw_only=True)
class TransferSuspension(TransferMessage):
    """Either party pauses."""

    kind = "dsp.transfer.suspension"
    verb = TransferVerb.SUSPEND
    why: Why


@dataclass(frozen=True, kw_only=True)
class TransferCompletion(TransferMessage):
    """Either party is done."""

    kind = "dsp.transfer.completion"
    verb = TransferVerb.COMPLETE


@dataclass(frozen=True, kw_only=True)
class TransferTermination(TransferMessage):
    """Either party ends the transfer; `contract_id` says that the contract ended with it."""

    kind = "dsp.transfer.termination"
    verb = TransferVerb.TERMINATE
    why: Why
    contract_id: str = ""


NEGOTIATION_MESSAGES: tuple[type[NegotiationMessage], ...] = (
    ContractRequest,
    ContractOffer,
    ContractAcceptance,
    ContractAgreement,
    ContractVerification,
    ContractFinalization,
    ContractTermination,
)
TRANSFER_MESSAGES: tuple[type[TransferMessage], ...] = (
    TransferRequest,
    TransferStart,
    TransferSuspension,
    TransferCompletion,
    TransferTermination,
)
MESSAGES: tuple[type[Message], ...] = (*NEGOTIATION_MESSAGES, *TRANSFER_MESSAGES)
_BY_KIND = {message.kind: message for message in MESSAGES}


def _plain(value: Any) -> Any:
    if isinstance(value, Policy | Why):
        return value.to_json()
    if isinstance(value, bytes):
        return value.decode()
    return value.value if isinstance(value, Side) else value


def from_payload(kind: str, payload: Mapping[str, Any], message_id: str) -> Message:
    """Read a message of `kind` back from the outbox; ValueError for another version."""
    said = dict(payload)
    if said.pop("v", None) != PAYLOAD_VERSION:
        raise ValueError(f"payload version of {kind}")
    said["sender"] = Side(said["sender"])
    if "policy" in said:
        said["policy"] = Policy.from_json(said["policy"])
    if "why" in said:
        said["why"] = Why.from_json(said["why"])
    if "document" in said:
        said["document"] = said["document"].encode()
    return _BY_KIND[kind](message_id=message_id, **said)

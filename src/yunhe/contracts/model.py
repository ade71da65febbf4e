"""The nouns of an agreement: offers, negotiations, contracts, transfers.

In: nothing; these are values. Out: frozen dataclasses used by every module of the slice and,
through `yunhe.contracts`, by control, data plane, api and protocols. No wire form, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from yunhe.contracts.policy import Policy, Terms
from yunhe.kernel import limits
from yunhe.kernel.clock import iso, parse_iso


class Side(StrEnum):
    """The two roles of a negotiation or transfer."""

    PROVIDER = "provider"
    CONSUMER = "consumer"

    @property
    def other(self) -> Side:
        """The counterparty's role."""
        return Side.CONSUMER if self is Side.PROVIDER else Side.PROVIDER


@dataclass(frozen=True)
class OpenMax:
    """How many may be open with one counterparty at once, negotiations and transfers."""

    negotiations: int = limits.PEER_NEGOTIATIONS_MAX
    transfers: int = limits.PEER_TRANSFERS_MAX


class State(StrEnum):
    """States of a contract negotiation, DSP 2025-1 §Contract Negotiation."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    ACCEPTED = "ACCEPTED"
    AGREED = "AGREED"
    VERIFIED = "VERIFIED"
    FINALIZED = "FINALIZED"
    TERMINATED = "TERMINATED"


class TransferState(StrEnum):
    """States of a transfer process, DSP 2025-1 §Transfer Process."""

    REQUESTED = "REQUESTED"
    STARTED = "STARTED"
    SUSPENDED = "SUSPENDED"
    COMPLETED = "COMPLETED"
    TERMINATED = "TERMINATED"


_TURN = {
    State.REQUESTED: Side.PROVIDER,
    State.OFFERED: Side.CONSUMER,
    State.ACCEPTED: Side.PROVIDER,
    State.AGREED: Side.CONSUMER,
    State.VERIFIED: Side.PROVIDER,
}


def waiting_for(state: State, role: Side) -> str:
    """Whose word is next for the party in `role`: `you`, `peer`, or empty when all is said."""
    turn = _TURN.get(state)
    return "" if turn is None else ("you" if turn is role else "peer")


_HAN: Final = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Why:
    """Why something ended or was refused: a stable code and sentences for people.

    The sentences travel as one list, in any language; DSP says none of theirs.
    """

    code: str
    reasons: tuple[str, ...] = ()

    def text(self, lang: str) -> str:
        """What people read in `zh` or `en`: the sentences of that language, or all there are."""
        fit = [each for each in self.reasons if bool(_HAN.search(each)) == (lang == "zh")]
        return "; ".join(fit or self.reasons)

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {"code": self.code, "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Why:
        """The inverse of `to_json`."""
        return cls(data["code"], tuple(data["reasons"]))


@dataclass(frozen=True)
class Offer:
    """Terms that one side proposed in a negotiation; `plain`: without members of this house."""

    id: str
    by: Side
    policy: Policy
    at: datetime
    plain: bool = False

    def to_json(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "id": self.id,
            "by": self.by.value,
            "policy": self.policy.to_json(),
            "at": iso(self.at),
            **({"plain": True} if self.plain else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Offer:
        """The inverse of `to_json`."""
        policy, at = Policy.from_json(data["policy"]), parse_iso(data["at"])
        return cls(data["id"], Side(data["by"]), policy, at, data.get("plain", False))


@dataclass(frozen=True)
class Draft:
    """What an agreement document says, read out of its bytes or about to be written into them.

    `plain`: to be written without members of this house, which the consumer would not know.
    """

    id: str
    product_code: str
    provider_did: str
    consumer_did: str
    policy: Policy
    at: datetime | None
    plain: bool = False


@dataclass(frozen=True)
class Agreement:
    """The agreed document: `document` holds the canonical bytes as transmitted, never rewritten.

    The signatures are detached JWS over exactly `document`; an empty one means the party's node
    did not sign (signature level `transport`).
    """

    id: str
    document: bytes
    product_code: str
    provider_did: str
    consumer_did: str
    policy: Policy
    signed_at: datetime
    provider_jws: str = ""
    consumer_jws: str = ""

    @property
    def signature_level(self) -> str:
        """`both` when both parties signed the bytes, else `transport`."""
        return "both" if self.provider_jws and self.consumer_jws else "transport"


@dataclass(frozen=True)
class Strategy:
    """How a consumer answers offers without being asked each time.

    `accept`: the worst terms it takes; `counter`: what it answers (`counters_max` times) to an
    offer outside of that. Anything else waits for the user's accept, counter or terminate.
    """

    accept: Terms | None = None
    counter: Terms | None = None
    counters_max: int = 1


class OfferedProduct(Protocol):
    """What negotiation needs to know of a listed product; the catalogue's Product has it."""

    @property
    def code(self) -> str:
        """The N04 product code."""
        ...

    @property
    def terms(self) -> Terms:
        """The listed terms."""
        ...

    @property
    def negotiable(self) -> Terms | None:
        """The furthest the provider goes by itself; None: no further than the listed terms."""
        ...


class Party(Protocol):
    """An authenticated peer: identity.Peer has it."""

    @property
    def did(self) -> str:
        """Its DID."""
        ...

    @property
    def jwk(self) -> Mapping[str, Any] | None:
        """Its public key, to check its signatures; None where only the transport vouches."""
        ...


# (DID, JWS) -> the public key by which the one signed the other
SignerOf = Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class Signer:
    """A peer by the key that it signed a document with."""

    did: str
    jwk: Mapping[str, Any] | None


@dataclass(frozen=True)
class Negotiation:
    """One negotiation as this node sees it; `id` is our own pid.

    `stuck_because` and `next_retry`: a message of ours failed, why, and when it is sent again.
    """

    id: str
    role: Side
    peer_did: str
    peer_pid: str
    address: str  # base URL where the peer takes our messages
    product_code: str
    state: State
    offers: tuple[Offer, ...]
    created_at: datetime
    updated_at: datetime
    version: int = 1
    strategy: Strategy | None = None
    agreement: Agreement | None = None
    contract_id: str = ""
    error: Why | None = None
    next_retry: datetime | None = None
    stuck_because: str = ""

    @property
    def provider_pid(self) -> str:
        """The provider's name for this negotiation."""
        return self.id if self.role is Side.PROVIDER else self.peer_pid

    @property
    def consumer_pid(self) -> str:
        """The consumer's name for this negotiation."""
        return self.id if self.role is Side.CONSUMER else self.peer_pid

    @property
    def last_offer(self) -> Offer:
        """The terms that stand on the table."""
        return self.offers[-1]

    @property
    def waiting_for(self) -> str:
        """Whose word is next: `you`, `peer`, or empty when all is said."""
        return waiting_for(self.state, self.role)

    def made_by(self, side: Side) -> int:
        """How many offers `side` has put on the table."""
        return sum(1 for offer in self.offers if offer.by is side)


@dataclass(frozen=True)
class Contract:
    """An agreement in force, or ended; `version` rises with every change of its state.

    `stuck_because` and `next_retry`: a message about it failed, why, and when it is sent again.
    """

    id: str
    role: Side
    peer_did: str
    address: str
    product_code: str
    policy: Policy
    state: str  # "in_force" | "terminated" | "expired"
    version: int
    agreement: Agreement
    negotiation_id: str
    in_force_at: datetime
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    end: Why | None = None
    entry_id: str = ""  # the evidence entry that put it in force
    next_retry: datetime | None = None
    stuck_because: str = ""

    @property
    def signature_level(self) -> str:
        """`both` | `transport`."""
        return self.agreement.signature_level

    @property
    def terms(self) -> Terms:
        """The typed reading of the policy; raises TermNotUnderstood, so that a use denies."""
        return self.policy.terms


@dataclass(frozen=True)
class DataAddress:
    """Where data is fetched, or pushed to, and the bearer token to show there.

    Of a push: the HTTP `method` the receiver takes, and whether it takes a body in ranges.
    """

    endpoint: str
    token: str
    expires_at: datetime
    method: str = "POST"
    ranged: bool = False


@dataclass(frozen=True)
class Transfer:
    """One transfer; `id` is our own pid.

    `data_address`: of a pull, at the consumer, where the provider opened it; of a push, on both
    sides, where the consumer takes the data.
    """

    id: str
    role: Side
    peer_did: str
    peer_pid: str
    address: str
    contract_id: str
    format: str
    state: TransferState
    created_at: datetime
    updated_at: datetime
    data_address: DataAddress | None = None
    error: Why | None = None

    @property
    def provider_pid(self) -> str:
        """The provider's name for this transfer."""
        return self.id if self.role is Side.PROVIDER else self.peer_pid

    @property
    def consumer_pid(self) -> str:
        """The consumer's name for this transfer."""
        return self.id if self.role is Side.CONSUMER else self.peer_pid


@dataclass(frozen=True)
class Access:
    """What the consumer's connector needs to fetch data under a contract."""

    contract: Contract  # as it stood when this was read
    endpoint: str
    token: str
    expires_at: datetime


@dataclass(frozen=True)
class DataClaims:
    """What an accepted data token says."""

    contract_id: str
    transfer_id: str
    consumer_did: str
    token_id: str
    expires_at: datetime

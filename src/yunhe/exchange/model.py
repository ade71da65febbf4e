"""The words of metering and settlement.

In: nothing. Out: frozen values. Documents that are signed (receipt, statement) stay JSON objects,
because their canonical bytes are what the signature covers; the rest are dataclasses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from yunhe.control import Control
from yunhe.evidence import EvidenceLog
from yunhe.kernel.canonical import dumps
from yunhe.kernel.clock import parse_iso
from yunhe.kernel.db import Database
from yunhe.kernel.keys import (
    BadSignature,
    JoseName,
    SigningKey,
    jws_detached,
    own_name,
    verify_jws_detached,
)
from yunhe.ledger import Ledger

RECEIPT, STATEMENT, DISPUTE = "yunhe-receipt/1", "yunhe-statement/1", "yunhe-dispute/1"
ISSUED, SETTLED, DISPUTED = "issued", "settled", "disputed"
ACCOUNT: Final = "data"  # the kind of account that pays and earns for data


class JwkOf(Protocol):
    """The public key by which a DID signed a JWS."""

    def __call__(self, did: str, compact: str, at: datetime | None = None, /) -> Mapping[str, Any]:
        """`at`: when, of a document of our own; its key may have ended since."""
        ...


@dataclass(frozen=True)
class Desk:
    """What every verb of the slice works with."""

    db: Database
    evidence: EvidenceLog
    control: Control
    ledger: Ledger
    own_did: str
    key: SigningKey  # of purpose `did`
    jwk_of: JwkOf  # may fetch, so never called inside a verb
    jose_name: JoseName = own_name  # the name of our algorithm that a peer reads

    def sign(self, body: dict[str, Any], peer_did: str) -> str:
        """Our detached JWS over a document that goes to `peer_did`."""
        return jws_detached(self.key, dumps(body), algorithm=self.jose_name(peer_did))

    def check(self, signer_did: str, jws: str, body: dict[str, Any]) -> None:
        """Refuse unless `jws` is by `signer_did` over the document; raises BadSignature.

        Of the keys that still verify for it: a receipt waits longer than a rotation takes.
        """
        verify_jws_detached(dict(self.jwk_of(signer_did, jws)), jws, dumps(body))

    def check_own(self, jws: str, body: dict[str, Any]) -> None:
        """Refuse unless we signed the document; raises BadSignature.

        By the keys of its time (`at`, under the signature): a bill may come when the key has long
        ceased to verify for others. Whoever holds such a key dates nothing back with it: what we
        signed stands in our log too, and that is looked at besides.
        """
        try:
            at = parse_iso(str(body.get("at")))
        except ValueError as error:
            raise BadSignature(detail="it has no time") from error
        verify_jws_detached(dict(self.jwk_of(self.own_did, jws, at)), jws, dumps(body))


@dataclass(frozen=True)
class Bill:
    """One contract as this node settles it, written when it came into force."""

    contract_id: str
    role: str  # "provider" | "consumer"
    provider_did: str
    consumer_did: str
    product_code: str
    per_use_fen: int
    per_row_fen: int
    rows_max: int | None  # of one use

    @property
    def peer_did(self) -> str:
        """The other side."""
        return self.consumer_did if self.role == "provider" else self.provider_did


@dataclass(frozen=True)
class Meter:
    """What one use measured, as last corrected (`n` counts the corrections)."""

    use_id: str
    n: int
    contract_id: str
    peer_did: str
    purpose: str
    rows: int
    bytes: int
    fee_fen: int
    entry_id: str
    leaf: str
    at: datetime


@dataclass(frozen=True)
class SignedReceipt:
    """The consumer's word on what it received: `body` under the detached `jws`."""

    use_id: str
    contract_id: str
    body: dict[str, Any]
    jws: str
    entry_id: str
    leaf: str
    at: datetime


@dataclass(frozen=True)
class Difference:
    """One reason not to pay: what they say and what we have. `use_id` is "" for the whole."""

    use_id: str
    code: str
    theirs: str
    ours: str

    def to_json(self) -> dict[str, str]:
        """The form that is signed and sent, with sentences for people."""
        en, zh = SENTENCES[self.code]
        return {
            "use_id": self.use_id,
            "code": self.code,
            "theirs": self.theirs,
            "ours": self.ours,
            "en": en,
            "zh": zh,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Difference:
        """The inverse of `to_json`."""
        return cls(data["use_id"], data["code"], data["theirs"], data["ours"])


SENTENCES: Final[dict[str, tuple[str, str]]] = {
    "PRICE_NOT_AGREED": ("The price is not the agreed one.", "价格与约定不符。"),
    "TOTAL_WRONG": ("The lines do not add up to the total.", "各行合计与总额不符。"),
    "LINE_TWICE": ("The use stands on the statement twice.", "同一使用重复列示。"),
    "ALREADY_SETTLED": ("The use was paid on an earlier statement.", "该使用已在先前账单结算。"),
    "FEE_WRONG": ("The fee does not follow from rows and price.", "费用与行数及价格不符。"),
    "ROWS_DIFFER": ("We received another number of rows.", "我方实际接收的行数不同。"),
    "ENTRY_DIFFERS": (
        "It is not the evidence entry we accepted for this use.",
        "存证记录并非我方就该使用所认可的一条。",
    ),
    "RECEIPT_MISSING": ("We hold no receipt for this use.", "我方没有该使用的回执。"),
    "RECEIPT_FORGED": ("Our receipt does not bear our signature.", "我方回执的签名不成立。"),
    "RECEIPT_NOT_EVIDENCED": (
        "Our receipt has no sound entry in our evidence log.",
        "我方回执在存证日志中没有可靠的记录。",
    ),
    "NOT_BILLED": ("We signed a receipt that is not billed.", "我方已签回执但账单未列示。"),
}


@dataclass(frozen=True)
class Statement:
    """One statement at either end; `state`: issued, settled or disputed."""

    statement_id: str
    contract_id: str
    role: str  # ours: "provider" issued it, "consumer" received it
    body: dict[str, Any]
    provider_jws: str
    consumer_jws: str  # of the acknowledgement, over the same bytes; "" until settled
    state: str
    total_fen: int
    differences: tuple[Difference, ...]
    entry_id: str  # of its last step
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class RunningBill:
    """Where a contract stands: uses, rows and fen so far, by what is settled and what is open."""

    contract_id: str
    role: str
    uses: int
    rows: int
    total_fen: int
    settled_fen: int

    @property
    def open_fen(self) -> int:
        """Not settled yet."""
        return self.total_fen - self.settled_fen

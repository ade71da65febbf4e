"""The evidence log: what happened, provable years later, offline, without showing what it was.

In: bodies recorded inside the verbs of other slices; bundles to verify. Out: receipts, proofs,
checkpoints, tiles, reports. Emits no events. Everything but the log service itself runs on the
standard library, cryptography and rfc8785 alone: `EvidenceLog` loads on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yunhe.evidence import fields, merkle, note
from yunhe.evidence.attacks import Attack, attacks
from yunhe.evidence.bundle import entry_part, make_bundle
from yunhe.evidence.errors import (
    BadTrust,
    EntryNotFound,
    LogCorrupt,
    LogForked,
    LogKeyChanged,
    NotErasable,
    ProofPending,
    TileNotFound,
)
from yunhe.evidence.model import Entry, Proof, Receipt, Resource, Standing
from yunhe.evidence.note import VerifierKey
from yunhe.evidence.proof import TlogProof
from yunhe.evidence.report import Check, Finding, Report
from yunhe.evidence.verify import verify_bundle

if TYPE_CHECKING:
    from yunhe.evidence.service import EvidenceLog

__all__ = [
    "Attack",
    "BadTrust",
    "Check",
    "Entry",
    "EntryNotFound",
    "EvidenceLog",
    "Finding",
    "LogCorrupt",
    "LogForked",
    "LogKeyChanged",
    "NotErasable",
    "Proof",
    "ProofPending",
    "Receipt",
    "Report",
    "Resource",
    "Standing",
    "TileNotFound",
    "TlogProof",
    "VerifierKey",
    "attacks",
    "entry_part",
    "fields",
    "make_bundle",
    "merkle",
    "note",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    # The service brings SQLAlchemy, which an auditor's machine does not have.
    if name == "EvidenceLog":
        from yunhe.evidence.service import EvidenceLog

        return EvidenceLog
    raise AttributeError(name)

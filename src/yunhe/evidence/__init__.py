"""The evidence log: what happened, provable years later, offline, without showing what it was.

In: bodies recorded inside the verbs of other slices; bundles to verify. Out: receipts, proofs,
checkpoints, tiles, reports. Emits no events. Everything but the log service itself runs on the
standard library, cryptography and rfc8785 alone: names of the service load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from yunhe.evidence import merkle, note
from yunhe.evidence.note import VerifierKey
from yunhe.evidence.proof import TlogProof

if TYPE_CHECKING:
    from yunhe.evidence.errors import EntryNotFound, LogCorrupt, ProofPending, TileNotFound
    from yunhe.evidence.model import Entry, Proof, Receipt, Resource
    from yunhe.evidence.service import EvidenceLog

_LAZY: Final = {
    "EntryNotFound": "errors",
    "LogCorrupt": "errors",
    "ProofPending": "errors",
    "TileNotFound": "errors",
    "Entry": "model",
    "EvidenceLog": "service",
    "Proof": "model",
    "Receipt": "model",
    "Resource": "model",
}

__all__ = [
    "Entry",
    "EntryNotFound",
    "EvidenceLog",
    "LogCorrupt",
    "Proof",
    "ProofPending",
    "Receipt",
    "Resource",
    "TileNotFound",
    "TlogProof",
    "VerifierKey",
    "merkle",
    "note",
]


def __getattr__(name: str) -> Any:
    # The service brings SQLAlchemy, which an auditor's machine does not have.
    if name not in _LAZY:
        raise AttributeError(name)
    return getattr(import_module(f"yunhe.evidence.{_LAZY[name]}"), name)

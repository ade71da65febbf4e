"""The entries of a bundle: commitment, leaf, inclusion under a trusted log's checkpoint.

In: an `entry` of the bundle and the trusted logs. Out: findings. Also what binds entry to
document, and that no entry stands for two things and no log shows two faces.
"""

from __future__ import annotations

import hashlib
from typing import Any

from yunhe.evidence.merkle import BadProof
from yunhe.evidence.note import BadNote, Checkpoint, VerifierKey
from yunhe.evidence.proof import TlogProof
from yunhe.evidence.report import Findings
from yunhe.evidence.report_why import both
from yunhe.kernel.canonical import dumps, sha256_hex


class Entries:
    """The entries seen so far in one bundle."""

    def __init__(self, logs: dict[str, VerifierKey], findings: Findings) -> None:
        self._logs = logs
        self._findings = findings
        self._places: set[tuple[str, int]] = set()
        self._roots: dict[tuple[str, int], bytes] = {}

    def check(self, at: str, entry: dict[str, Any], kinds: tuple[str, ...]) -> None:
        """Note what of an entry does not hold; `kinds` ending in a dot are prefixes."""
        leaf = entry["leaf"]
        kind = leaf["k"]
        if not any(kind == k or (k.endswith(".") and kind.startswith(k)) for k in kinds):
            self._findings.add(f"{at}/leaf/k", "ENTRY_KIND")
        if _commitment(entry) != leaf["c"]:
            self._findings.add(f"{at}/body", "COMMITMENT")
        self._prove(f"{at}/proof", entry["proof"], dumps(leaf))

    def _prove(self, at: str, text: str, leaf: bytes) -> None:
        try:
            proof = TlogProof.parse(text)
            if proof.extra:
                raise BadProof("it carries extra data that nobody vouches for")
            origin = proof.checkpoint.partition("\n")[0]
            if origin not in self._logs:
                has = ", ".join(self._logs) or "–"
                self._findings.add(at, "LOG_UNKNOWN", origin=origin, has=has)
                return
            head = proof.verify(leaf, self._logs[origin], only_trusted=True)
        except (BadProof, BadNote) as error:
            self._findings.add(at, "PROOF", why=both(error))
            return
        self._one_face(at, head)
        if (head.origin, proof.index) in self._places:
            self._findings.add(at, "ENTRY_REUSED")
        self._places.add((head.origin, proof.index))

    def _one_face(self, at: str, head: Checkpoint) -> None:
        if self._roots.setdefault((head.origin, head.size), head.root) != head.root:
            self._findings.add(at, "LOG_FORKED")

    def binds(self, at: str, entry: dict[str, Any], document: dict[str, Any]) -> None:
        """Note unless the entry's body is `document`, or holds it or its digest in a member."""
        body, digest = entry["body"], sha256_hex(document)
        if body != document and not any(v in (document, digest) for v in body.values()):
            self._findings.add(f"{at}/body", "ENTRY_BINDS")


def _commitment(entry: dict[str, Any]) -> str:
    try:
        salt = bytes.fromhex(entry["salt"])
    except ValueError:
        return ""
    if len(salt) != 32 or salt.hex() != entry["salt"]:
        return ""
    return hashlib.sha256(salt + dumps(entry["body"])).hexdigest()

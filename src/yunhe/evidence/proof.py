"""The proof that one entry stands in a log: text of `.tlog-proof` (C2SP tlog-proof), and check.

In: index, path and signed checkpoint, or the text. Out: the text, or the verified checkpoint.
The text is self-contained: with the entry and the log's key it is checked offline, years later.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from yunhe.evidence import merkle
from yunhe.evidence.note import BadNote, Checkpoint, VerifierKey, open_checkpoint, unb64

HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_CHARS_MAX: Final = 128 * 1024
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class TlogProof:
    """One inclusion proof with its checkpoint; `extra` is opaque and vouched for by nobody."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    def __str__(self) -> str:
        lines = [HEADER]
        if self.extra:
            lines.append("extra " + base64.b64encode(self.extra).decode())
        lines.append(f"index {self.index}")
        lines += [base64.b64encode(step).decode() for step in self.hashes]
        return "\n".join([*lines, "", self.checkpoint])

    @classmethod
    def parse(cls, text: str) -> TlogProof:
        """Read a `.tlog-proof`; raises BadProof. Canonical: `str()` gives the text back."""
        if len(text) > PROOF_CHARS_MAX:
            raise merkle.BadProof("the proof is too long")
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines.pop(0) != HEADER or not lines:
            raise merkle.BadProof("not a tlog-proof")
        try:
            extra = b""
            if lines[0].startswith("extra "):
                extra = unb64(lines.pop(0)[6:])
            word, _, number = lines.pop(0).partition(" ") if lines else ("", "", "")
            if word != "index" or _NUMBER.fullmatch(number) is None:
                raise merkle.BadProof("no index")
            hashes = tuple(unb64(line) for line in lines)
        except BadNote as error:
            raise merkle.BadProof("a line is not base64") from error
        if any(len(step) != merkle.HASH_BYTES for step in hashes):
            raise merkle.BadProof("a hash is not 32 bytes")
        return cls(int(number), hashes, checkpoint, extra)

    def verify(self, entry: bytes, key: VerifierKey, only_trusted: bool = False) -> Checkpoint:
        """The log's checkpoint, once `entry` is shown to stand in it; BadProof or BadNote."""
        checkpoint = open_checkpoint(self.checkpoint, key, only_trusted)
        merkle.verify_inclusion(
            merkle.leaf_hash(entry), self.index, checkpoint.size, self.hashes, checkpoint.root
        )
        return checkpoint

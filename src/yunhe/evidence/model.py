"""What the log gives out: receipts, entries, proofs, and the files it serves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from yunhe.evidence.proof import TlogProof
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps


def leaf_bytes(entry_id: str, kind: str, at: str, commitment: str) -> bytes:
    """The entry as it stands in the tree: its commitment (hex), id, kind and time, canonical."""
    return dumps({"c": commitment, "id": entry_id, "k": kind, "t": at})


def own_leaf(entry_id: str, kind: str, at: str, commitment: str) -> bytes:
    """`leaf_bytes` of values made by `record`: none holds a character that JSON escapes."""
    return f'{{"c":"{commitment}","id":"{entry_id}","k":"{kind}","t":"{at}"}}'.encode()


@dataclass(frozen=True)
class Receipt:
    """What a verb gets back at once; the proof follows when the entry is sequenced."""

    entry_id: str
    leaf: str  # hex leaf hash, RFC 6962


@dataclass(frozen=True)
class Entry:
    """One entry; `index` is None until it is sequenced, `salt` and `body` after erasure."""

    entry_id: str
    kind: str
    at: datetime
    leaf: bytes
    index: int | None
    salt: bytes | None
    body: dict[str, Any] | None


@dataclass(frozen=True)
class Proof:
    """That an entry stands at `index` in the tree of `size`, under a signed checkpoint."""

    entry: bytes
    index: int
    size: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def text(self) -> str:
        """The `.tlog-proof` text (C2SP tlog-proof)."""
        return str(TlogProof(self.index, self.hashes, self.checkpoint))


@dataclass(frozen=True)
class Standing:
    """The log as its operator watches it: entries under its newest checkpoint, when that was
    signed, and since when the oldest entry waits for its index."""

    size: int
    grown_at: datetime | None
    waiting_since: datetime | None

    def stuck(self, now: datetime) -> bool:
        """Whether an entry has waited for its index longer than a sequencer at work leaves it."""
        late = timedelta(seconds=limits.UNSEQUENCED_S_MAX)
        return self.waiting_since is not None and now - self.waiting_since > late


@dataclass(frozen=True)
class Resource:
    """One file of the log's read API: its bytes, media type, and how long it may be cached."""

    content: bytes
    media_type: str
    cache_s: int

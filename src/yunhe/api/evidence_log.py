"""`/evidence`: the log's head, entries and proofs; the public read API of C2SP tlog-tiles."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from yunhe import evidence
from yunhe.api.deps import AnyCaller, Parts, face
from yunhe.api.forms import when

router = face("evidence", "/evidence")


@router.get("/checkpoint")
def checkpoint(parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The newest signed checkpoint."""
    return {"checkpoint": parts.evidence.checkpoint(), "vkey": parts.evidence.vkey}


@router.get("/entries")
def entries(
    parts: Parts,
    _who: AnyCaller,
    kind: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """The newest entries first: what was recorded, not what it said."""
    found = parts.evidence.find(kind, limit)
    return {"items": [_entry(each) for each in found]}


@router.get("/entries/{entry_id}/proof")
def proof(entry_id: str, parts: Parts, _who: AnyCaller) -> dict[str, Any]:
    """The inclusion proof of an entry under the newest checkpoint."""
    found = parts.evidence.proof(entry_id)
    return {
        "entry_id": entry_id,
        "index": found.index,
        "size": found.size,
        "hashes": [each.hex() for each in found.hashes],
        "checkpoint": found.checkpoint,
        "entry": found.entry.decode(),
        "tlog_proof": found.text(),
    }


def _entry(entry: evidence.Entry) -> dict[str, Any]:
    return {
        "entry_id": entry.entry_id,
        "kind": entry.kind,
        "at": when(entry.at),
        "index": entry.index,
        "leaf": evidence.merkle.leaf_hash(entry.leaf).hex(),
    }

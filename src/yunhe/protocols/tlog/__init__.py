"""The public read API of the evidence log (C2SP tlog-tiles): checkpoint, tiles, entries.

In: GET requests of anyone. Out: signed checkpoints, hashes and commitments; no body, no salt.
"""

from __future__ import annotations

from fastapi import APIRouter, Response

from yunhe.evidence import EvidenceLog


def router(log: EvidenceLog) -> APIRouter:
    """`GET /log/checkpoint`, `/log/tile/...`, `/log/vkey`: what witnesses and auditors read."""
    made = APIRouter(prefix="/log", tags=["log"])

    @made.get("/{path:path}", summary="The log's files", response_class=Response)
    def read(path: str) -> Response:
        if path == "vkey":
            return Response(log.vkey + "\n", media_type="text/plain; charset=utf-8")
        found = log.resource(path)
        cache = f"public, max-age={found.cache_s}" if found.cache_s else "no-cache"
        return Response(
            found.content, media_type=found.media_type, headers={"Cache-Control": cache}
        )

    return made

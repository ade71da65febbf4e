"""The keys an auditor keeps: gathered from the nodes themselves, apart from any bundle.

In: addresses of trust roots and of nodes, which the auditor knows to be theirs. Out: the trust
file of `yunhe verify`. Nothing is sent but two public GETs a node.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from yunhe.kernel.errors import Invalid
from yunhe.sdk.errors import UnexpectedAnswer, unreachable

_BYTES_MAX = 65_536


def gather_trust(
    roots: Iterable[str], nodes: Iterable[str], timeout_s: float = 10.0
) -> dict[str, Any]:
    """`{roots, parties, logs}` from did:web documents and log keys at these addresses.

    Plain http only to this machine. Raises NodeUnreachable, UnexpectedAnswer where a document is
    about another DID than its address, Invalid for an address that is none.
    """
    with httpx.Client(trust_env=False, timeout=timeout_s, follow_redirects=False) as client:
        known = [_did_key(client, address) for address in nodes]
        logs = [_get(client, address, "/log/vkey").text.strip() for address in nodes]
        return {
            "roots": [_did_key(client, address) for address in roots],
            "parties": {each["did"]: each["jwk"] for each in known},
            "logs": {key.partition("+")[0]: key for key in logs},
        }


def _did_key(client: httpx.Client, address: str) -> dict[str, Any]:
    parts = urlsplit(address.rstrip("/"))
    path = parts.path or "/.well-known"
    expected = ":".join(
        ["did:web", quote(parts.netloc, safe=""), *filter(None, parts.path.split("/"))]
    )
    try:
        document = _get(client, f"{parts.scheme}://{parts.netloc}", f"{path}/did.json").json()
        found = {"did": document["id"], "jwk": document["verificationMethod"][0]["publicKeyJwk"]}
    except (ValueError, LookupError, TypeError) as error:
        raise UnexpectedAnswer(url=address, why="its DID document cannot be read") from error
    if found["did"] != expected:
        raise UnexpectedAnswer(url=address, why=f"its DID document is not that of {expected}")
    return found


def _get(client: httpx.Client, address: str, path: str) -> httpx.Response:
    parts = urlsplit(address)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise Invalid(why=f"{address} is neither https nor on this machine")
    try:
        answer = client.get(f"{address.rstrip('/')}{path}")
    except httpx.HTTPError as error:
        raise unreachable(address, error) from error
    if answer.status_code != 200 or len(answer.content) > _BYTES_MAX:
        raise UnexpectedAnswer(url=address, why=f"HTTP {answer.status_code} for {path}")
    return answer

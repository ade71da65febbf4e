"""The keys an auditor keeps: gathered from the nodes themselves, apart from any bundle.

In: addresses of trust roots and of nodes, which the auditor knows to be theirs. Out: the trust
file of `yunhe verify`. Nothing is sent but two public GETs a node.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from yunhe.kernel.bodies import ACCEPTED, read_body
from yunhe.kernel.errors import Invalid
from yunhe.sdk.errors import UnexpectedAnswer, unreachable

_BYTES_MAX = 65_536
_PACKED = {"Accept-Encoding": ACCEPTED}


def gather_trust(
    roots: Iterable[str], nodes: Iterable[str], timeout_s: float = 10.0
) -> dict[str, Any]:
    """`{roots, parties, logs}` from did:web documents and log keys at these addresses.

    Plain http only to this machine. Raises NodeUnreachable, UnexpectedAnswer where a document is
    about another DID than its address, Invalid for an address that is none.
    """
    roots, nodes = list(roots), list(nodes)
    for address in (*roots, *nodes):
        _check(address)
    # As for one's own node: the CAs of the system, or of SSL_CERT_FILE; no proxy.
    tls = ssl.create_default_context()
    with httpx.Client(
        trust_env=False, timeout=timeout_s, follow_redirects=False, verify=tls
    ) as client:
        known = [_did_keys(client, address) for address in nodes]
        logs = [_get(client, address, "/log/vkey").strip() for address in nodes]
        vouching = [_did_keys(client, address) for address in roots]
        return {
            "roots": [{"did": did, "jwk": jwk} for did, jwks in vouching for jwk in jwks],
            # One key as itself, several (a rotation) as their list.
            "parties": {did: jwks[0] if len(jwks) == 1 else jwks for did, jwks in known},
            "logs": {key.partition("+")[0]: key for key in logs},
        }


def _did_keys(client: httpx.Client, address: str) -> tuple[str, list[dict[str, Any]]]:
    """The DID at an address and its Ed25519 keys: the present one, then those that retired."""
    parts = urlsplit(address.rstrip("/"))
    path = parts.path or "/.well-known"
    expected = ":".join(
        ["did:web", quote(parts.netloc, safe=""), *filter(None, parts.path.split("/"))]
    )
    try:
        document = json.loads(_get(client, f"{parts.scheme}://{parts.netloc}", f"{path}/did.json"))
        did = document["id"]
        methods = [method["publicKeyJwk"] for method in document["verificationMethod"]]
        found = [jwk for jwk in methods if jwk.get("crv") == "Ed25519"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        en, zh = "its DID document cannot be read", "无法读取其 DID 文档"
        raise UnexpectedAnswer(url=address, why=en, why_zh=zh) from error
    if did != expected:
        en, zh = f"its DID document is not that of {expected}", f"其 DID 文档不属于 {expected}"
        raise UnexpectedAnswer(url=address, why=en, why_zh=zh)
    if not found:
        en, zh = "its DID document holds no key", "其 DID 文档中没有密钥"
        raise UnexpectedAnswer(url=address, why=en, why_zh=zh)
    return did, found


def _check(address: str) -> None:
    parts = urlsplit(address)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise Invalid(
            why=f"{address} is neither an https address nor one of this machine",
            why_zh=f"{address} 既不是 https 地址，也不是本机地址",
        )


def _get(client: httpx.Client, address: str, path: str) -> str:
    """What stands there, of a stranger: never more of it than the bound, however it is packed."""
    try:
        with client.stream("GET", f"{address.rstrip('/')}{path}", headers=_PACKED) as answer:
            coding = answer.headers.get("content-encoding", "")
            body = read_body(answer.iter_raw(), coding, _BYTES_MAX)
            status, text = answer.status_code, body.decode()
    except httpx.HTTPError as error:
        raise unreachable(address, error) from error
    except ValueError as error:
        en, zh = f"{path} is no text", f"{path} 不是文本"
        raise UnexpectedAnswer(url=address, why=en, why_zh=zh) from error
    if status != 200 or len(body) > _BYTES_MAX:
        en, zh = f"HTTP {status} for {path}", f"{path} 返回 HTTP {status}"
        raise UnexpectedAnswer(url=address, why=en, why_zh=zh)
    return text

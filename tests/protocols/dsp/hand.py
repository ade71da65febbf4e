"""DSP spoken by hand: one request at a time, as a peer that is not there."""

from __future__ import annotations

import json
from typing import Any

from contracts.nodes import LISTED
from protocols.dsp.web import CODE, WebNode
from yunhe.contracts import (
    policy_from_terms,
)
from yunhe.protocols.dsp import odrl

CTX = ["https://w3id.org/dspace/2025/1/context.jsonld"]
BASE = "/dsp/2025-1"
TCK = "did:web:tck.example"


def ask(node: WebNode, path: str, body: Any = None, sender: str = TCK, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    heads = {**node.auth(sender), **headers}
    return node.http.post(BASE + path, content=content, headers=heads)


OFFER = {"@id": "o1", "@type": "Offer", "target": CODE, **odrl.write(policy_from_terms(LISTED))}


def request_body(pid: str = "c1", **changes: Any) -> dict[str, Any]:
    return {
        "@context": CTX,
        "@type": "ContractRequestMessage",
        "consumerPid": pid,
        "offer": OFFER,
        "callbackAddress": "https://tck.example/",
        **changes,
    }


def begin(node: WebNode, pid: str = "c1") -> dict[str, str]:
    got = ask(node, "/negotiations/request", request_body(pid))
    assert got.status_code == 201, got.text
    body = got.json()
    assert body["state"] == "REQUESTED"
    return {"providerPid": body["providerPid"], "consumerPid": pid}


def show(node: WebNode, pid: str, kind: str = "negotiations") -> Any:
    return node.http.get(f"{BASE}/{kind}/{pid}", headers=node.auth(TCK)).json()

"""`python -m interop.edc.node node.toml`: a Yunhe node that takes EDC's mock identity for a peer.

In: node.toml, and in YUNHE_INTEROP_PEERS the ids of connectors without credentials. What differs
from `yunhe serve` is who vouches for those: nobody. Everything else is the house's own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
from anyio import to_thread
from fastapi import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import yunhe.node
from yunhe import identity
from yunhe.kernel.clock import iso
from yunhe.kernel.settings import load
from yunhe.node import Node


class InteropNode(Node):
    """A node with the mock's peers; an id `did:web:HOST%3APORT` says where each of them is."""

    def _agreement(self) -> None:
        super()._agreement()
        said = os.environ.get("YUNHE_INTEROP_PEERS", "").split()
        self.mocked = {unquote(did.removeprefix("did:web:")): did for did in said}
        self._http.event_hooks = {"request": [self._say]}
        self._authenticate = self.identity.authenticate_peer
        self.identity.authenticate_peer = self._at_the_data

    def _say(self, request: httpx.Request) -> None:
        """EDC's mock takes a JSON object itself, without a scheme before it."""
        if (did := self.mocked.get(request.url.netloc.decode())) is not None:
            said = {"region": "any", "audience": did, "clientId": self.config.did}
            request.headers["authorization"] = json.dumps(said)

    def _peer(self, request: Request) -> identity.Peer:
        """A JSON object that names one of the mock's peers; else a token of ours."""
        said = request.headers.get("authorization", "")
        return self._mock(said) if said.startswith("{") else super()._peer(request)

    def _at_the_data(self, authorization: str) -> identity.Peer:
        mocked = authorization.startswith("{")
        return self._mock(authorization) if mocked else self._authenticate(authorization)

    def _mock(self, said: str) -> identity.Peer:
        did = json.loads(said).get("clientId")
        if did not in self.mocked.values():
            raise identity.TokenMissing
        return identity.Peer(did=did, member=True, code="", subject_code="", name=did, jwk={})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = WithAccess(self.app, self)


class WithAccess:
    """The node's app, and `/interop/...`: what a data plane of the node's own would be told."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app, self._node = app, node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        if scope["type"] == "http" and scope["path"].startswith("/interop/"):
            await (await to_thread.run_sync(self._answer, scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        asked = parse_qs(scope["query_string"].decode())
        if scope["path"] == "/interop/access":
            access = self._node.contracts.access(asked["contract"][0])
            ends = iso(access.expires_at)
            found: Any = {"endpoint": access.endpoint, "token": access.token, "ends": ends}
        else:
            offers = self._node.dsp_client.catalog(asked["address"][0], asked["did"][0])
            found = [[offer.product_code, offer.offer_id, offer.provider_did] for offer in offers]
        return Response(json.dumps(found), media_type="application/json")


if __name__ == "__main__":
    yunhe.node.Node = InteropNode  # type: ignore[misc]
    yunhe.node.serve(load(Path(sys.argv[1])))

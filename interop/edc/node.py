"""`python -m interop.edc.node node.toml`: a Yunhe node that takes EDC's mock identity for a peer.

In: node.toml, and in YUNHE_INTEROP_PEERS the ids of connectors without credentials. What differs
from `yunhe serve` is who vouches for those: nobody. Everything else is the house's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
from anyio import to_thread
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import yunhe.node
from yunhe import identity
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.settings import load
from yunhe.node import Node
from yunhe.protocols import dcp


class InteropNode(Node):
    """A node with the mock's peers; an id `did:web:HOST%3APORT` says where each of them is."""

    def _agreement(self) -> None:
        super()._agreement()
        said = os.environ.get("YUNHE_INTEROP_PEERS", "").split()
        self.mocked = {unquote(did.removeprefix("did:web:")): did for did in said}
        self._http.event_hooks = {"request": [self._say]}
        self.verifier = MockToo(self.mocked.values(), self.verifier)

    def _say(self, request: httpx.Request) -> None:
        """EDC's mock takes a JSON object itself, without a scheme before it."""
        if (did := self.mocked.get(request.url.netloc.decode())) is not None:
            said = {"region": "any", "audience": did, "clientId": self.config.did}
            request.headers["authorization"] = json.dumps(said)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = WithAccess(self.app, self)


class MockToo(dcp.Verifier):
    """The node's verifier; a JSON object for a header names one of the mock's peers."""

    def __init__(self, mocked: Iterable[str], real: dcp.Verifier) -> None:
        self._mocked, self._real = frozenset(mocked), real

    def authenticate(self, authorization: str) -> identity.Peer:
        """As the mock says, or as the real one."""
        return self._mock(authorization) or self._real.authenticate(authorization)

    def verify(self, authorization: str) -> tuple[identity.Peer, Callable[[Tx], identity.Peer]]:
        """The mock has no token that could be spent."""
        if (peer := self._mock(authorization)) is not None:
            return peer, lambda _tx: peer
        return self._real.verify(authorization)

    def _mock(self, said: str) -> identity.Peer | None:
        if not said.startswith("{"):
            return None
        did = json.loads(said).get("clientId")
        if did not in self._mocked:
            raise identity.TokenMissing
        return identity.Peer(did=did, member=True, code="", subject_code="", name=did, jwk={})


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

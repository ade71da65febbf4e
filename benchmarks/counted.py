"""Run one node as `yunhe serve` does, and say how many requests and commits it has seen.

Only for the benchmarks: a floor needs "the same number of hops and commits", and this counts
them in the process itself. `/bench/access` shows what the node's relay would use, so that a
stream can be measured provider -> client without the relay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import parse_qs

from anyio import to_thread
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import yunhe.node
from yunhe.kernel.settings import load
from yunhe.node import Node

AFTERWARDS = "/tds/SendReceipt"  # the signed receipt, sent when the caller has its answer


class Counted:
    """The node's app; `/bench/...` is ours and is not counted."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app, self._node = app, node
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count, and pass on."""
        if scope["type"] == "http" and scope["path"].startswith("/bench/"):
            answer = await to_thread.run_sync(self._answer, scope)
            await answer(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"] != AFTERWARDS:
            self._requests += 1
        await self._app(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["path"] == "/bench/counts":
            found: object = {"requests": self._requests, "commits": self._node.db.commits}
        else:
            asked = parse_qs(scope["query_string"].decode())["contract"][0]
            contract = self._node.contracts.contract(asked)
            access = self._node.contracts.access(asked)
            peer = self._node.identity.mint(contract.peer_did)
            found = {"endpoint": access.endpoint, "token": access.token, "peer": peer}
        return Response(json.dumps(found), media_type="application/json")


class CountedNode(Node):
    """A node whose app counts."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.app = Counted(self.app, self)


if __name__ == "__main__":
    yunhe.node.Node = CountedNode  # type: ignore[misc]
    yunhe.node.serve(load(Path(sys.argv[1])))

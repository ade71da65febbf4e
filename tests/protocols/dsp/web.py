"""Two participants whose DSP faces call each other over HTTP, inside one process."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request

from contracts.nodes import CODE, Node, Peer, Product
from protocols.dsp import shapes
from yunhe.contracts import policy_from_terms
from yunhe.kernel.clock import SystemClock
from yunhe.kernel.errors import Unauthenticated
from yunhe.kernel.outbox import Outbox
from yunhe.protocols.dsp import (
    PATH,
    Catalog,
    CatalogEntry,
    DspClient,
    DspDelivery,
    OdrlAgreement,
    Replies,
    router,
    version_router,
)


def entry(product: Product, number: int = 0) -> CatalogEntry:
    return CatalogEntry(
        code=product.code,
        title_zh=f"肝病随访数据 {number}",
        title_en="NAFLD follow-up",
        description_zh="",
        description_en="Laboratory values",
        keywords=("肝", "liver"),
        policy=policy_from_terms(product.terms),
    )


class Shelf:
    """Entries in memory: dsp.Shelf."""

    def __init__(self, entries: Callable[[], list[CatalogEntry]]) -> None:
        self._entries = entries

    def beside(self, code: str, back: bool, limit: int, caller: str) -> list[CatalogEntry]:
        ordered = sorted(self._entries(), key=lambda e: e.code, reverse=back)
        rest = [e for e in ordered if not code or (e.code < code if back else e.code > code)]
        return rest[:limit]

    def entry(self, code: str, caller: str) -> CatalogEntry | None:
        return next((e for e in self._entries() if e.code == code), None)


class AppClient:
    """Calls an app without a socket; a server error is raised where it happened."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return asyncio.run(self._request(method, path, **options))

    async def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="https://node") as http:
            return await http.request(method, path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)


class Internet(httpx.BaseTransport):
    """Names to apps; every body that passes is kept. `fail` may answer in a node's stead."""

    def __init__(self) -> None:
        self.nodes: dict[str, WebNode] = {}
        self.bodies: list[tuple[str, bytes]] = []
        self.fail: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        if body:  # whatever leaves a node is strict, whoever is to read it
            shapes.check(json.loads(body))
        with self._lock:
            self.bodies.append((str(request.url), body))
            if (answer := self.fail(request)) is not None:
                return answer
        node = self.nodes.get(request.url.host)
        if node is None:
            raise httpx.ConnectError("no such host")
        headers = {name: request.headers[name] for name in ("authorization", "user-agent")}
        got = node.http.request(request.method, request.url.raw_path.decode(), content=body,
                                headers=headers)  # fmt: skip
        shapes.check(got.json())
        return httpx.Response(got.status_code, headers={"Link": got.headers.get("Link", "")},
                              content=got.content)  # fmt: skip


class WebNode(Node):
    """A participant with its HTTP face and its outbox running."""

    def __init__(
        self, folder: Path, name: str, net: Internet, decider: Any = None, **options: Any
    ) -> None:
        clock: Any = SystemClock()
        super().__init__(folder, name, clock, decider, OdrlAgreement(), **options)
        assert self.url.endswith(PATH)
        self.net = net
        net.nodes[f"{name}.example"] = self
        app = FastAPI()
        app.include_router(version_router())
        catalog = Catalog(
            self.did,
            self.url,
            Shelf(self.entries),
        )
        now = self.db.clock.now
        self.outbox = Outbox(self.db)
        replies = Replies(self.outbox.later)
        app.include_router(router(self.contracts, catalog, self.authenticate, now, replies=replies))
        self.app = app
        self.http = AppClient(app)
        self.client = DspClient(httpx.Client(transport=net), lambda did: f"{self.did}|{did}")
        self.contracts.install(self.outbox)
        self.opened: list[str] = []  # contracts of which a transfer's start left
        told = self.opened.append
        DspDelivery(self.contracts, self.client, now, replies, told).install(self.outbox)
        self.outbox.start()

    def entries(self) -> list[CatalogEntry]:
        return [entry(p, i) for i, p in enumerate(self.products.values())]

    def authenticate(self, request: Request) -> Peer:
        """A stand-in for identity: the token is `sender|audience`."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        sender, _, audience = token.partition("|")
        if audience != self.did:
            raise Unauthenticated
        for node in self.net.nodes.values():
            if node.did == sender:
                return node.peer
        return Peer(sender, None)

    def auth(self, sender: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {sender}|{self.did}"}

    def close(self) -> None:
        self.outbox.stop()
        super().close()


def until(check: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
    return found


__all__ = ["CODE", "Internet", "WebNode", "entry", "until"]

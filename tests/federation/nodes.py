"""Sovereign nodes in one process: own databases, keys and outboxes, joined by a wire of HTTP
requests that never leave the process (framing, signatures and tokens are the real ones)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx
from fastapi import FastAPI

from yunhe import catalog, contracts
from yunhe.evidence import EvidenceLog
from yunhe.federation import Federation
from yunhe.identity import Identity, Principal
from yunhe.identity.errors import DidUnresolvable
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, create_all, open_database
from yunhe.kernel.keys import KeyStore
from yunhe.kernel.outbox import Outbox
from yunhe.kernel.settings import NodeConfig, TrustRoot
from yunhe.protocols.tds import TdsClient, did_router, router
from yunhe.protocols.tds.handlers import TdsWire, handlers
from yunhe.sources import Sources

REGION = "123301000000000276"
HOSPITAL = "91330100MA00000665"
RESEARCH = "91320500MA0000074G"
REVIEWER = Principal("r1", "Reviewer", ("reviewer",), None)


def read_terms(policy: dict[str, Any]) -> contracts.Terms:
    return contracts.terms_from_policy(contracts.Policy.from_json(policy))


@dataclass
class Node:
    """One node with the services this test needs."""

    config: NodeConfig
    db: Database
    log: EvidenceLog
    identity: Identity
    holder: catalog.Holder
    register: catalog.Register
    federation: Federation
    box: Outbox
    client: TdsClient
    app: FastAPI

    def close(self) -> None:
        self.box.stop()
        self.register.stop()
        self.client.close()
        self.identity.close()
        self.db.close()


@dataclass
class Net:
    """The nodes, what went over the wire, and which hosts are unplugged."""

    folder: Path
    clock: ManualClock
    nodes: dict[str, Node] = field(default_factory=dict)
    said: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)  # message names that do not get through for now
    answers_lost: dict[str, int] = field(default_factory=dict)  # message name -> how often

    def fetch(self, url: str) -> bytes:
        host = url.split("/")[2]
        if host not in self.nodes:
            raise DidUnresolvable(why="its address does not answer")
        if "/dcp/status/" in url:
            number, *old = url.partition("/dcp/status/")[2].split("/")
            book = self.nodes[host].identity.book
            return book.published(int(number), bool(old)).encode()
        return json.dumps(self.nodes[host].identity.did_document()).encode()

    def send(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host in self.away or host not in self.nodes:
            raise httpx.ConnectError("unplugged", request=request)
        content = request.read()
        name = request.url.path.removeprefix("/tds/")
        if name in self.held:
            raise httpx.ConnectError("held", request=request)
        self.said.append((host, name, json.loads(content)))

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.nodes[host].app)
            async with httpx.AsyncClient(transport=transport) as http:
                return await http.request(
                    request.method,
                    str(request.url),
                    content=content,
                    headers=dict(request.headers),
                )

        got = asyncio.run(go())
        if self.answers_lost.get(name, 0):
            self.answers_lost[name] -= 1
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(got.status_code, headers=got.headers, stream=_Raw(got.content))

    def node(
        self,
        name: str,
        subject: str,
        role: str = "connector",
        review: str = "auto",
        parent: Node | None = None,
    ) -> Node:
        folder = self.folder / name
        config = NodeConfig(
            name=name,
            subject_code=subject,
            subject_name=f"{name} 单位",
            subject_name_en=name,
            address=f"http://{name}.example",
            data_dir=folder,
            roles=(role,),
            development=True,
            review=review,
            parent_address=parent.config.address if parent else "",
            parent_did=parent.config.did if parent else "",
            trust_roots=(TrustRoot(parent.config.did, parent.identity.key.public_jwk()),)
            if parent
            else (),
        )
        db = open_database(f"sqlite:///{folder / 'node.db'}", self.clock)
        create_all(db)
        keys = KeyStore(folder / "keys")
        log = EvidenceLog(db, keys.key("log"), f"{name}.example")
        log.install()
        who = Identity(db, log, keys, self.clock, config, self.fetch)
        holding = catalog.Holding(config.did, subject, config.subject_name, config.address)
        holder = catalog.Holder(db, log, Sources([folder]), read_terms, holding)
        register = catalog.Register(db, log, read_terms, config.region, review)
        box = Outbox(db)
        client = TdsClient(who, httpx.MockTransport(self.send))
        wire = TdsWire(client, who.address_of)
        wire.install(box)
        federation = Federation(db, who, holder, register, box, config, wire)
        federation.install()
        app = FastAPI()
        app.include_router(router(who, handlers(federation)))
        app.include_router(did_router(who))
        made = Node(config, db, log, who, holder, register, federation, box, client, app)
        self.nodes[f"{name}.example"] = made
        box.start()
        return made

    def names(self, host: str) -> list[str]:
        """The messages that reached a host, in order."""
        return [name for where, name, _ in self.said if where == f"{host}.example"]

    def until(self, true: Callable[[], Any], seconds: float = 10.0) -> None:
        """Wait for what the outbox threads bring about; the nodes' clock moves along."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.said[-3:]
            time.sleep(0.01)
            self.clock.advance(0.01)

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


class _Raw(httpx.SyncByteStream):
    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Any:
        yield self.content


def joined(net: Net, node: Node) -> Node:
    """A node registered at its parent, which reviews automatically."""
    node.federation.register_self()
    net.until(lambda: node.federation.status().state == "approved")
    return node


def resource_form(node: Node) -> catalog.ResourceForm:
    path = node.config.data_dir / "patients.parquet"
    if not path.exists():
        query = "SELECT i AS id, 40 + i % 40 AS age FROM range(50) t(i)"
        duckdb.sql(query).write_parquet(str(path))
    return catalog.ResourceForm(
        catalog.Text(f"{node.config.name} 肝病患者", f"{node.config.name} liver patients"),
        catalog.Text("脂肪肝患者的随访记录", "Follow-up of patients with fatty liver"),
        (catalog.TableForm("patients", (str(path),), "id"),),
    )


def product_form(node: Node, *resources: str) -> catalog.ProductForm:
    terms = contracts.Terms(("medical-research",), ("patients.age",), price=contracts.Price(100, 2))
    return catalog.ProductForm(
        catalog.Text(f"{node.config.name} 随访数据", f"{node.config.name} follow-up data"),
        catalog.Text("用于脂肪肝研究", "For research into fatty liver"),
        resources,
        contracts.policy_from_terms(terms).to_json(),
        None,
        ("肝病", "NAFLD"),
    )


def published(net: Net, node: Node) -> catalog.Product:
    """A product listed at the parent."""
    resource = node.holder.add_resource(resource_form(node))
    node.holder.submit_resource(resource.id)
    net.until(lambda: node.holder.resource(resource.id).state == "registered")
    product = node.holder.add_product(product_form(node, resource.id))
    node.holder.submit_product(product.id)
    net.until(lambda: node.holder.product(product.id).state == "registered")
    node.holder.list_product(product.id)
    net.until(lambda: node.holder.product(product.id).listed)
    return node.holder.product(product.id)

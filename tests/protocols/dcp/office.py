"""Nodes that speak DCP to each other in one process: HTTP requests that never leave it."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.responses import Response

from identity.nodes import World
from yunhe.identity import Identity
from yunhe.kernel import suites
from yunhe.kernel.asgi import StrictBody, problem_response
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.errors import YunheError
from yunhe.kernel.outbox import Outbox
from yunhe.protocols import dcp


def _problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, YunheError)
    return problem_response(error)


@dataclass
class Town:
    """An office that registers, a hospital that is registered, a foreign verifier."""

    world: World
    apps: dict[str, FastAPI] = field(default_factory=dict)
    boxes: dict[str, Outbox] = field(default_factory=dict)
    deliveries: dict[str, dcp.ClaimsDelivery] = field(default_factory=dict)
    verifiers: dict[str, dcp.Verifier] = field(default_factory=dict)
    said: list[httpx.Request] = field(default_factory=list)

    def node(self, name: str, **given: Any) -> Identity:
        who = self.world.node(name, **given)
        address = who.address_of(who.own_did)
        app = FastAPI()
        app.include_router(dcp.router(who, address))
        app.add_exception_handler(YunheError, _problem)
        app.add_middleware(StrictBody)
        self.apps[f"{name}.example"] = app
        client = dcp.ClaimsClient(httpx.Client(transport=httpx.MockTransport(self.send)), who)
        delivery = dcp.ClaimsDelivery(client, who)
        box = Outbox(self.world.databases[address])
        delivery.install(box)
        self.boxes[name], self.deliveries[name] = box, delivery
        self.verifiers[name] = dcp.Verifier(who, client)
        return who

    def send(self, request: httpx.Request) -> httpx.Response:
        self.said.append(request)
        content = request.read()

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.apps[request.url.host])
            async with httpx.AsyncClient(transport=transport) as http:
                url, headers = str(request.url), dict(request.headers)
                return await http.request(request.method, url, content=content, headers=headers)

        got = asyncio.run(go())
        return httpx.Response(got.status_code, headers=got.headers, content=got.content)

    def post(self, me: Identity, to: Identity, path: str, body: Any, **claims: Any) -> Any:
        """POST as `me`; claims change its self-issued token, `authorization` replaces it."""
        authorization = claims.pop("authorization", None)
        if authorization is None:
            authorization = f"Bearer {token(me, to, **claims)}"
        url = f"{to.address_of(to.own_did)}/dcp{path}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": authorization} if authorization else {}
        return self.send(httpx.Request("POST", url, content=content, headers=headers))

    def deliver(self) -> None:
        """Everything in the outboxes, until nothing waits."""
        for box in self.boxes.values():
            box.start()

    def close(self) -> None:
        for box in self.boxes.values():
            box.stop()


def token(me: Identity, to: Identity, **changed: Any) -> str:
    """A self-issued token of `me` for `to`; claims of None are left out."""
    key = changed.pop("key", me.claims_key)
    kid = changed.pop("kid", f"{me.own_did}#{key.kid}")
    now = int(me.clock.now().timestamp())
    claims = {
        "iss": me.own_did,
        "sub": me.own_did,
        "aud": to.own_did,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 300,
        **changed,
    }
    return suites.jwt(key, {n: v for n, v in claims.items() if v is not None}, kid)


def town(folder: Path, clock: ManualClock) -> Town:
    """The town before anything happened."""
    made = Town(World(folder, clock))
    made.node("office", role="functional-node")
    made.node("hospital")
    made.node("research", subject_code="91320500MA0000074G")
    return made


def identities(made: Town) -> tuple[Identity, Identity, Identity]:
    """Office, hospital, research."""
    office, hospital, research = made.world.made
    return office, hospital, research

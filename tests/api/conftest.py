"""One lone node in every role, with a client for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from anyio.from_thread import BlockingPortal, start_blocking_portal

from flow.world import hospital, settings
from yunhe.kernel.clock import ManualClock
from yunhe.node import Node

ROLES = ("admin", "reviewer", "provider", "user", "auditor", "operator")
FACES = ("/api/", "/dsp/", "/dcp/", "/tds/", "/data/", "/log/", "/delta/", "/.well-known/")
# What is counted about strangers, by source and minute; everything else is somebody's record.
COUNTERS = ("refusal",)


@dataclass
class Lone:
    """A node whose app is called without a socket; failures inside it raise here."""

    node: Node
    clock: ManualClock
    portal: BlockingPortal
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        door = httpx.ASGITransport(self.node.app, raise_app_exceptions=True)
        self.http = httpx.AsyncClient(transport=door, base_url=self.node.config.address)
        for role in ROLES:
            self.tokens[role] = self.node.identity.create_token(role, (role,))[1]

    def call(self, method: str, path: str, role: str = "admin", **more: Any) -> httpx.Response:
        """One request with the token of `role` ("" for none)."""
        headers = dict(more.pop("headers", {}))
        if role:
            headers.setdefault("Authorization", f"Bearer {self.tokens[role]}")
        path = path if path.startswith(FACES) else f"/api/v1{path}"
        return self.portal.call(lambda: self.http.request(method, path, headers=headers, **more))

    def raw(self, method: str, path: str, body: bytes, role: str = "admin") -> httpx.Response:
        """A body of our own making, said to be JSON."""
        return self.call(
            method, path, role, content=body, headers={"Content-Type": "application/json"}
        )

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        engine = self.node.db.engine
        with engine.connect() as connection:
            return {
                name: connection.scalar(sa.text(f'SELECT count(*) FROM "{name}"')) or 0
                for name in sa.inspect(engine).get_table_names()
                if not name.startswith(COUNTERS)
            }


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lone]:
    """The node; shared by the tests of a module, which leave nothing behind."""
    home = tmp_path_factory.mktemp("lone")
    clock = ManualClock()
    roles = ("connector", "functional-node")
    node = Node(settings("a", home, 8100, None, roles=roles, workers=0), clock)
    hospital(node.config.data_roots[0])
    with start_blocking_portal() as portal:
        made = Lone(node, clock, portal)
        yield made
        portal.call(made.http.aclose)
    node.stop()


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The RFC 9457 problem in a refusal, whole and in both languages."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) == {"type", "title", "status", "code", "detail", "remedy", "zh", "facts"}
    assert body["status"] == answer.status_code
    assert body["code"]
    assert body["detail"]
    assert body["zh"]["detail"]
    assert "Traceback" not in answer.text
    assert len(answer.content) < 10_000
    return body

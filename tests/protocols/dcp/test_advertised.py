"""The version document of a node says that it speaks DCP, and in which profiles."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from flow.world import settings
from yunhe.kernel.clock import ManualClock
from yunhe.node import Node


@pytest.mark.parametrize("roles", [("connector",), ("functional-node",)])
def test_the_version_document_names_dcp_to_strangers(tmp_path: Path, roles: tuple[str]) -> None:
    node = Node(settings("a", tmp_path, 8100, None, roles=roles, workers=0), ManualClock())
    door = httpx.ASGITransport(node.app)
    try:
        with start_blocking_portal() as portal:
            http = httpx.AsyncClient(transport=door, base_url=node.config.address)
            got = portal.call(http.get, "/.well-known/dspace-version")
            portal.call(http.aclose)
    finally:
        node.stop()
    assert got.status_code == 200
    (version,) = got.json()["protocolVersions"]
    assert version == {
        "version": "2025-1",
        "path": "/dsp/2025-1",
        "binding": "HTTPS",
        "auth": {
            "protocol": "DCP",
            "version": "1.0",
            "profile": ["vc20-bssl/jwt", "vc11-sl2021/jwt"],
        },
    }

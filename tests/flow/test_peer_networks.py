"""Peers in a private network: reached where the settings name it, by every way out of a node."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from flow.world import settings
from yunhe.contracts import DataAddress
from yunhe.identity import AddressForbidden
from yunhe.kernel.crash import CrashPoints
from yunhe.node import Node
from yunhe.protocols.arrow.sender import Parcel, Sending

WAYS: Final[dict[str, Callable[[Node, str], Any]]] = {
    "documents": lambda node, url: node.identity.fetch(f"{url}/.well-known/did.json"),
    "messages of the register": lambda node, url: node.tds_client.call(
        url, "did:web:x", "GetApplication", {}
    ),
    "messages of contracts": lambda node, url: node._http.get(f"{url}/x"),
    "data": lambda node, url: node.relay._connect(f"{url}/x", False, monotonic() + 5),
    "pushes": lambda node, url: Sending(
        DataAddress(f"{url}/x", "t", datetime.now(UTC)),
        Parcel(Path("x"), 1, "", "u"),
        node.pusher._egress,
        CrashPoints(),
    )._connect(),
}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    over = {"development": False, "address": "https://a.example", "worker_sandbox": "best"}
    config = settings("a", tmp_path, 1, None, **over, peer_networks=("10.20.0.0/16",))
    made = Node(config)
    yield made
    made.identity.close()
    made.db.close()


@pytest.mark.parametrize("way", WAYS)
def test_every_way_out_knows_the_networks(
    node: Node, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def refused(address: tuple[str, int], *_more: Any, **_named: Any) -> socket.socket:
        tried.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refused)
    with pytest.raises(Exception):  # noqa: B017  each way has its own word for it
        WAYS[way](node, "https://10.20.0.5")
    assert tried == ["10.20.0.5"]
    with pytest.raises(AddressForbidden):
        WAYS[way](node, "https://10.21.0.5")
    assert tried == ["10.20.0.5"]

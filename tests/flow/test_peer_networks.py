"""Peers in a private network: reached where the settings name it, by every way out of a node."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from flow.world import settings
from yunhe.contracts import DataAddress
from yunhe.identity import AddressForbidden
from yunhe.identity.guard import allowed
from yunhe.kernel.crash import CrashPoints
from yunhe.node import Node
from yunhe.protocols.arrow.sender import Parcel, Sending

INSIDE: Final = (ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00:20::/32"))
WAYS: Final[dict[str, Callable[[Node, str], Any]]] = {
    "documents": lambda node, url: node.identity.fetch(f"{url}/.well-known/did.json"),
    "messages of the register": lambda node, url: node.tds_client.call(
        url, "did:web:x", "GetApplication", {}
    ),
    "messages of contracts": lambda node, url: node._http.get(f"{url}/x"),
    "data": lambda node, url: node.relay._connect(f"{url}/x", sent=False),
    "pushes": lambda node, url: Sending(
        DataAddress(f"{url}/x", "t", datetime.now(UTC)),
        Parcel(Path("x"), 1, "", "u"),
        node.pusher._development,
        CrashPoints(),
        node.pusher._networks,
    )._connect(),
}


@pytest.mark.parametrize(
    ("address", "verdict"),
    [
        ("10.20.0.5", True),
        ("::ffff:10.20.0.5", True),
        ("fd00:20::5", True),
        ("1.1.1.1", True),
        ("10.21.0.5", False),
        ("192.168.0.1", False),
        ("fd00:21::5", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1", False),
        ("0.0.0.0", False),  # noqa: S104  an address to refuse
    ],
)
def test_only_the_named_networks_are_added(address: str, verdict: bool) -> None:
    assert allowed(address, False, INSIDE) == verdict


def test_no_network_makes_the_metadata_of_a_cloud_reachable() -> None:
    for network, address in (("169.254.0.0/16", "169.254.169.254"), ("127.0.0.0/8", "127.0.0.1")):
        assert not allowed(address, False, (ipaddress.ip_network(network),))


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

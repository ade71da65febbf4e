"""Where a node connects on somebody else's word: public addresses, and what the settings add."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

import pytest

from yunhe.kernel.egress import Egress

LINES: Final = (Path(__file__).parent / "fixtures" / "addresses.txt").read_text().splitlines()
ADDRESSES: Final = [tuple(line.split()) for line in LINES if not line.startswith("#")]
NAMED: Final = Egress(
    networks=(ipaddress.ip_network("10.20.0.0/16"), ipaddress.ip_network("fd00:20::/32"))
)


@pytest.mark.parametrize(("address", "verdict"), ADDRESSES)
def test_where_we_connect(address: str, verdict: str) -> None:
    assert Egress().allows(address) == (verdict == "public")
    assert Egress(local=True).allows(address) == (verdict in ("public", "development"))


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
    assert NAMED.allows(address) == verdict


def test_no_network_makes_the_metadata_of_a_cloud_reachable() -> None:
    for network, address in (("169.254.0.0/16", "169.254.169.254"), ("127.0.0.0/8", "127.0.0.1")):
        assert not Egress(networks=(ipaddress.ip_network(network),)).allows(address)


def test_plain_http_is_for_development() -> None:
    assert Egress().schemes == NAMED.schemes == ("https",)
    assert "http" in Egress(local=True).schemes

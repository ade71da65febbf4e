"""Where this node may connect on somebody else's word: the rule against request forgery.

In: an IP address that a name led to. Out: whether to go there. One value, made once from the
settings, goes to everything that calls a peer; the source of an HTTP API asks the same rule.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Translation prefixes embed an IPv4 address: 64:ff9b::/96 (RFC 6052), 64:ff9b:1::/48 (RFC 8215).
_NAT64: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
)
_SHARED: Final = ipaddress.IPv4Network("100.64.0.0/10")


@dataclass(frozen=True)
class Egress:
    """Public addresses over https, and what the settings add to them.

    `local`: loopback, every private network, and plain http (development). `networks`: these
    private networks.
    """

    local: bool = False
    networks: tuple[Network, ...] = ()

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes of URLs that may be called."""
        return ("https", "http") if self.local else ("https",)

    def allows(self, address: str) -> bool:
        """Whether to connect to the IP `address`.

        Never to link-local addresses (cloud metadata), multicast, reserved or unspecified ones,
        in whatever IPv6 address they hide.
        """
        try:
            ip = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        if ip.is_multicast or ip.is_unspecified or ip.is_link_local:
            return False
        if isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local:
            return False  # fec0::/10 is deprecated, routed by some, and "global" to the library
        if ip.is_loopback:  # before is_reserved, which counts ::1 in
            return self.local
        if ip.is_reserved:
            return False
        if ip.is_global or (self.local and (ip.is_private or ip in _SHARED)):
            return True
        return any(ip in network for network in self.networks)  # of another version it is in none


def _unwrapped(ip: Address) -> Address:
    """The IPv4 address inside a mapped, 6to4, Teredo or NAT64 IPv6 address, else itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if any(ip in net for net in _NAT64) or (int(ip) < 1 << 32 and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip

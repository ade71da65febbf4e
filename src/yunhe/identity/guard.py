"""Outgoing HTTP to addresses that strangers told us: only where a stranger may send us.

In: a URL. Out: a response, from an address that was checked at the moment of connecting (the
name is resolved once, and the socket opened to that very address, so a second DNS answer cannot
lead elsewhere). TLS still verifies the name. Server-side request forgery ends here.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from yunhe.identity.errors import AddressForbidden
from yunhe.identity.kept import Connections, Exchange, framed
from yunhe.kernel import limits
from yunhe.kernel.bodies import Unpackable, read_body
from yunhe.kernel.egress import Egress

Resolve = Callable[[str, int], list[str]]

# An address in which there is nothing to escape, to resolve or to leave out: it has one reading.
_PLAIN: Final = re.compile(
    r"(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?((?:/(?!\.)(?:[\w.~:-]|%[0-9A-F]{2})+)+)",
    re.ASCII,
)
_PORTS: Final = {"https": 443, "http": 80}
_LEAST_S: Final = 0.001  # a timeout of nothing would mean not to wait at all


def system_resolve(host: str, port: int) -> list[str]:
    """Every address the system knows for `host`, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _checked(host: str, port: int, egress: Egress, resolve: Resolve) -> list[str]:
    """The addresses of `host`, all of them allowed; raises AddressForbidden, OSError."""
    try:
        addresses = resolve(host, port)
    except UnicodeError as error:
        raise OSError(str(error)) from error
    # One forbidden address among good ones is an attack or a mistake: refuse them all.
    if not addresses or not all(egress.allows(ip) for ip in addresses):
        raise AddressForbidden(detail=f"{host} is {addresses}")
    return addresses


def guarded_socket(
    host: str,
    port: int,
    egress: Egress,
    timeout_s: float | None,
    scheme: str = "https",
    resolve: Resolve = system_resolve,
) -> socket.socket:
    """A TCP connection to a checked address of `host`, for callers that speak HTTP themselves.

    `timeout_s` is for the connection as a whole, however many addresses the name has; its timeout
    is what is left of that. TLS is the caller's, with `host` as the name to verify. Raises
    AddressForbidden (also for http outside development) or OSError.
    """
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    if scheme not in egress.schemes:
        raise AddressForbidden(detail=f"scheme {scheme}")
    last: OSError | None = None
    tried = _checked(host, port, egress, resolve)[: limits.ADDRESSES_TRIED_MAX]
    for place, address in enumerate(tried):
        left = None if ends is None else ends - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError(f"{host} does not answer") from last
        # A share of what is left: an address that is dead leaves the next ones theirs.
        share = None if left is None else left / (len(tried) - place)
        try:
            made = socket.create_connection((address, port), share)
        except OSError as error:
            last = error
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ends is not None:
            made.settimeout(max(ends - time.monotonic(), _LEAST_S))
        return made
    raise last or OSError("no address")


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport that connects only where `egress` allows it."""

    def __init__(
        self, egress: Egress, resolve: Resolve = system_resolve, connections_max: int = 64
    ) -> None:
        self._schemes = egress.schemes

        def opened(scheme: str, host: str, port: int, timeout_s: float | None) -> socket.socket:
            return guarded_socket(host, port, egress, timeout_s, scheme, resolve)

        self._connections = Connections(opened, connections_max)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; raises AddressForbidden before a byte leaves."""
        if request.url.scheme not in self._schemes:
            raise AddressForbidden(detail=f"scheme of {request.url}")
        return self._connections.send(request)

    def plainly(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        timeout_s: float,
    ) -> Exchange | None:
        """As `handle_request`, for an address of one reading; None for every other.

        What httpx does around a request costs twice what sending it does.
        """
        found = _PLAIN.fullmatch(url)
        if found is None:
            return None
        scheme, host, named, target = found.groups()
        port = int(named) if named else _PORTS[scheme]
        if scheme not in self._schemes:
            raise AddressForbidden(detail=f"scheme of {url}")
        if port > 65535 or (named and port == _PORTS[scheme]):
            return None
        head = {"Host": f"{host}:{port}" if named else host, **headers}
        if content is not None:
            head["Content-Length"] = str(len(content))
        pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in head.items()]
        message = framed(method.encode("ascii"), target.encode("ascii"), pairs, content or b"")
        waits = dict.fromkeys(("pool", "connect", "write", "read"), timeout_s)
        return self._connections.exchange((scheme, host, port), message, waits)

    def close(self) -> None:
        """Close every connection."""
        self._connections.close()


@dataclass(frozen=True)
class Told:
    """An answer read to its end, or just past the bound that was given."""

    status: int
    link: str  # its Link headers
    body: bytes


class GuardedClient(httpx.Client):
    """An httpx client behind the guard: no redirects, no proxies from the environment."""

    def __init__(self, egress: Egress, timeout_s: float, resolve: Resolve = system_resolve) -> None:
        self._guarded = GuardedTransport(egress, resolve)
        self._timeout_s = timeout_s
        super().__init__(
            transport=self._guarded, timeout=timeout_s, follow_redirects=False, trust_env=False
        )

    def plainly(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, most: int
    ) -> Told | None:
        """`ask` without the layers of httpx; None for what needs them: such an address, a hook."""
        if any(self.event_hooks.values()):
            return None
        got = self._guarded.plainly(method, url, headers, content, self._timeout_s)
        if got is None:
            return None
        try:
            coding, link = (_said(got, name) for name in (b"content-encoding", b"link"))
            return Told(got.answer.status, link, _body(got, coding, most))
        finally:
            got.close()


def ask(
    http: httpx.Client,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    bytes_max: int,
) -> Told:
    """One request of exactly these headers; read on only to `bytes_max`, and a part more.

    A body over the bound is too long, and not whole. Raises httpx.HTTPError, AddressForbidden.
    """
    if isinstance(http, GuardedClient):
        told = http.plainly(method, url, headers, content, bytes_max)
        if told is not None:
            return told
    # Made here: what the client adds of its own (cookies, parameters, a base URL) is nothing.
    waits = {"timeout": http.timeout.as_dict()}
    request = httpx.Request(method, url, headers=headers, content=content, extensions=waits)
    response = http.send(request, stream=True)
    try:
        body = body_of(response, bytes_max)
        return Told(response.status_code, response.headers.get("link", ""), body)
    finally:
        response.close()


def _said(got: Exchange, wanted: bytes) -> str:
    found = [value for name, value in got.answer.headers if name.lower() == wanted]
    return b", ".join(found).decode("latin-1").strip()


def body_of(response: httpx.Response, bytes_max: int) -> bytes:
    """The body of a streamed response, to its end or just past `bytes_max`.

    Unpacked here: the library would do it as often as the other side names a coding. Raises
    httpx.HTTPError.
    """
    if response.is_stream_consumed:  # of a transport inside this process: read when it was made
        return response.content[: bytes_max + 1]
    coding = response.headers.get("content-encoding", "")
    return _body(response.iter_raw(), coding, bytes_max)


def _body(parts: Iterable[bytes], coding: str, most: int) -> bytes:
    try:
        return read_body(parts, coding, most)
    except Unpackable as error:
        raise httpx.DecodingError(str(error)) from error

"""Where a foreign node speaks our version: its version document (DSP 2025-1 §Exposure of Versions).

In: the address of a node, with or without a version in its path. Out: its DSP base URL, of the
same origin always. The document is a stranger's: fetched by the guarded client, bounded, kept for
VERSION_CACHE_S. Nothing is guessed: a node that does not say 2025-1 over HTTPS is refused by name.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from yunhe.identity import guarded_body
from yunhe.kernel import limits
from yunhe.kernel.bodies import ACCEPTED
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import YunheError
from yunhe.protocols.dsp.body import clean
from yunhe.protocols.dsp.errors import PeerRefused, PeerSilent, VersionUnsupported, silent

VERSION: Final = "2025-1"
BINDING: Final = "HTTPS"
WELL_KNOWN: Final = "/.well-known/dspace-version"
_PACKED: Final = {"Accept-Encoding": ACCEPTED}
# Plain segments: nothing that leads to another host, upwards, or into a query.
_PATH: Final = re.compile(r"/|(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]{1,64}){1,16}/?")


class Versions:
    """What version documents said lately. `http` is a guarded client (identity.GuardedClient)."""

    def __init__(self, http: httpx.Client, now_s: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._now_s = now_s
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._lock = threading.Lock()

    def base(self, address: str) -> str:
        """The DSP base URL of the node at `address`; one that ends in the version is that already.

        Raises VersionUnsupported, PeerRefused, PeerSilent, AddressForbidden.
        """
        address = address.rstrip("/")
        if urlsplit(address).path.rpartition("/")[2] == VERSION:
            return address
        with self._lock:
            until, found = self._kept.get(address, (0.0, ""))
            if self._now_s() < until:
                return found
        found = address + _path(self._fetched(address))
        with self._lock:
            self._kept[address] = (self._now_s() + limits.VERSION_CACHE_S, found)
            self._kept.move_to_end(address)
            while len(self._kept) > limits.VERSIONS_CACHED_MAX:
                self._kept.popitem(last=False)
        return found

    def _fetched(self, address: str) -> Any:
        # Without our token: nobody has said yet who answers there.
        try:
            with self._http.stream("GET", address + WELL_KNOWN, headers=_PACKED) as response:
                raw = guarded_body(response, limits.VERSION_BYTES_MAX)
                if len(raw) > limits.VERSION_BYTES_MAX:
                    raise PeerSilent(why="its version document is too long")
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise silent(address, error) from error
        if status != 200:
            raise PeerRefused(status=status, why=f"no version document at {WELL_KNOWN}")
        try:
            return loads_strict(raw, limits.VERSION_BYTES_MAX)
        except YunheError as error:
            raise PeerSilent(detail=str(error), why="its version document is no JSON") from error


def _path(document: Any) -> str:
    """The path of our version and binding in a version document; "" for the address itself."""
    named = []
    for entry in _entries(document):
        version, binding = entry.get("version"), entry.get("binding", BINDING)
        if (version, binding) == (VERSION, BINDING):
            path = entry.get("path")
            if not isinstance(path, str) or _PATH.fullmatch(path) is None:
                raise PeerSilent(why=f"its version document gives no usable path for {VERSION}")
            return path.rstrip("/")
        named.append(clean(f"{version} ({binding})"[:60]))
    raise VersionUnsupported(offered=", ".join(named[:8]) or "–", ours=f"{VERSION} ({BINDING})")


def _entries(document: Any) -> Iterator[dict[str, Any]]:
    listed = document.get("protocolVersions") if isinstance(document, dict) else None
    for entry in listed if isinstance(listed, list) else [listed]:
        if isinstance(entry, dict):
            yield entry

"""did:web: this node's own document, and the keys of others from theirs.

In: a DID. Out: the public keys its document lists, cached for a while. A resolution is an
outgoing request on a stranger's word: bounded in size and time, guarded against SSRF.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httpx

from yunhe.identity import guard
from yunhe.identity.errors import DidUnreachable, DidUnresolvable
from yunhe.identity.model import Jwk
from yunhe.kernel import canonical, keys, limits
from yunhe.kernel.clock import Clock
from yunhe.kernel.errors import YunheError

CONTEXTS: Final = ("https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1")

_DID_WEB = re.compile(r"did:web:[A-Za-z0-9.-]+(?:%3A[0-9]{1,5})?(?::[A-Za-z0-9._~-]+)*\Z")

Fetch = Callable[[str], bytes]  # URL -> body; raises DidUnresolvable or AddressForbidden


class _Config(Protocol):
    @property
    def did(self) -> str: ...
    @property
    def address(self) -> str: ...


@dataclass(frozen=True)
class DidDocument:
    """What we use of a DID document: the DID and its Ed25519 keys by `kid`."""

    did: str
    jwks: tuple[Jwk, ...]


def document(config: _Config, jwk: Jwk, code: str = "") -> dict[str, Any]:
    """This node's DID document (DID Core 1.0 §5; spec: identifiers 10, DSP 2025-1 §discovery).

    `jwk` is the public key of purpose did; `code` the N04 connector code, once there is one.
    """
    method = f"{config.did}#{jwk['kid']}"
    base = config.address.rstrip("/")
    made: dict[str, Any] = {
        "@context": list(CONTEXTS),
        "id": config.did,
        "verificationMethod": [
            {
                "id": method,
                "type": "JsonWebKey2020",
                "controller": config.did,
                "publicKeyJwk": jwk,
            }
        ],
        "authentication": [method],
        "assertionMethod": [method],
        "capabilityInvocation": [method],
        "service": [
            {
                "id": f"{config.did}#dsp",
                "type": "DataService",
                "serviceEndpoint": f"{base}/.well-known/dspace-version",
            },
            {"id": f"{config.did}#tds", "type": "TdsService", "serviceEndpoint": f"{base}/tds"},
        ],
    }
    if code:
        made["alsoKnownAs"] = [f"ndi:{code}"]
    return made


def url_of(did: str, development: bool) -> str:
    """Where the document of a did:web stands (did:web §3.2); raises DidUnresolvable."""
    if len(did) > limits.DID_CHARS_MAX or not _DID_WEB.match(did):
        raise DidUnresolvable(why="it is not a did:web")
    host, *path = did.removeprefix("did:web:").split(":")
    if any(part in (".", "..") for part in path):
        raise DidUnresolvable(why="it is not a did:web")
    scheme = "http" if development else "https"
    return f"{scheme}://{unquote(host)}/{'/'.join(path or ['.well-known'])}/did.json"


class DidWebFetcher:
    """Fetches documents over HTTP: one address, no redirects, 64 KiB, five seconds in all."""

    def __init__(self, development: bool, resolve: guard.Resolve = guard.system_resolve) -> None:
        self._client = guard.client(development, limits.DID_FETCH_S_MAX, resolve)

    def __call__(self, url: str) -> bytes:
        """The body at `url`; raises DidUnresolvable or AddressForbidden."""
        deadline = time.monotonic() + limits.DID_FETCH_S_MAX
        body = bytearray()
        try:
            with self._client.stream("GET", url, headers={"accept": "application/json"}) as got:
                if got.status_code != 200:
                    raise DidUnresolvable(why=f"its address answers {got.status_code}")
                for chunk in got.iter_raw():
                    body += chunk
                    if len(body) > limits.DID_DOCUMENT_BYTES_MAX:
                        raise DidUnresolvable(why="its document is too large")
                    if time.monotonic() > deadline:
                        raise DidUnreachable(why="its address is too slow")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise DidUnreachable(detail=str(error), why="its address does not answer") from error
        return bytes(body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Resolver:
    """did:web documents with a bounded cache and a bounded number of fetches under way."""

    def __init__(self, fetch: Fetch, clock: Clock, development: bool) -> None:
        self._fetch = fetch
        self._clock = clock
        self._development = development
        self._cache: OrderedDict[str, tuple[datetime, DidDocument]] = OrderedDict()
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(limits.DID_FETCHES_MAX)

    def resolve(self, did: str, age_s_max: float = limits.DID_CACHE_S) -> DidDocument:
        """The document of `did`, at most `age_s_max` old; raises DidUnresolvable."""
        now = self._clock.now()
        with self._lock:
            held = self._cache.get(did)
        if held is not None and now - held[0] <= timedelta(seconds=age_s_max):
            return held[1]
        url = url_of(did, self._development)
        # Strangers cause these fetches: they may wait for slow addresses, not occupy every thread.
        if not self._slots.acquire(blocking=False):
            raise DidUnresolvable(why="too many are being resolved at once")
        try:
            found = parse(did, self._fetch(url))
        finally:
            self._slots.release()
        with self._lock:
            self._cache[did] = (now, found)
            self._cache.move_to_end(did)
            while len(self._cache) > limits.DID_CACHE_MAX:
                self._cache.popitem(last=False)
        return found


def parse(did: str, body: bytes) -> DidDocument:
    """Read a DID document; its `id` must be the DID asked for. Raises DidUnresolvable."""
    try:
        found = canonical.loads_strict(body, limits.DID_DOCUMENT_BYTES_MAX, 16)
    except YunheError as error:
        raise DidUnresolvable(detail=str(error), why="its document is not JSON") from error
    if not isinstance(found, dict) or found.get("id") != did:
        raise DidUnresolvable(why="its document is of another DID")
    methods = found.get("verificationMethod")
    jwks: list[Jwk] = []
    for method in methods if isinstance(methods, list) else []:
        jwk = _jwk_of(did, method)
        if jwk is not None and len(jwks) < limits.DID_DOCUMENT_KEYS_MAX:
            jwks.append(jwk)
    if not jwks:
        raise DidUnresolvable(why="its document has no Ed25519 key")
    return DidDocument(did, tuple(jwks))


def _jwk_of(did: str, method: Any) -> Jwk | None:
    if not isinstance(method, dict) or method.get("controller") != did:
        return None
    given = method.get("publicKeyJwk")
    if not isinstance(given, dict):
        return None
    try:
        kid = keys.thumbprint(given)
    except keys.BadSignature:
        return None  # a key of another kind; documents may list several kinds
    # Name and fragment are as the document says; both spellings find the key.
    fragment = str(method.get("id", "")).rpartition("#")[2]
    return {"kty": "OKP", "crv": "Ed25519", "x": given["x"], "kid": kid, "fragment": fragment}


def key_named(jwks: tuple[Jwk, ...], did: str, kid: object) -> Jwk | None:
    """The key a token header names: `did#fragment`, a bare thumbprint, or the only one."""
    if not isinstance(kid, str):
        return None
    owner, hash_, name = kid.rpartition("#")
    if hash_ and owner not in ("", did):
        return None
    for jwk in jwks:
        if name in (jwk.get("kid"), jwk.get("fragment")):
            return {part: jwk[part] for part in ("kty", "crv", "x", "kid")}
    return None

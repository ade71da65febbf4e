"""did:web: this node's own document, and the keys of others from theirs.

In: a DID. Out: the public keys its document lists, cached for a while. A resolution is an
outgoing request on a stranger's word: bounded in size and time, guarded against SSRF.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httpx

from yunhe.identity import guard
from yunhe.identity.errors import DidMismatch, DidUnreachable, DidUnresolvable
from yunhe.identity.model import Jwk
from yunhe.kernel import canonical, limits, suites
from yunhe.kernel.clock import Clock
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import YunheError

CONTEXTS: Final = (
    "https://www.w3.org/ns/did/v1",
    "https://w3id.org/security/suites/jws-2020/v1",
    "https://w3id.org/dspace-dcp/v1.0/dcp.jsonld",
)
RELATIONS: Final = ("authentication", "assertionMethod", "capabilityInvocation")

_DID_WEB = re.compile(r"did:web:[A-Za-z0-9.-]+(?:%3A[0-9]{1,5})?(?::[A-Za-z0-9._~-]+)*\Z")

Fetch = Callable[[str], bytes]  # URL -> body; raises DidUnresolvable or AddressForbidden


class _Config(Protocol):
    @property
    def did(self) -> str: ...
    @property
    def address(self) -> str: ...


@dataclass(frozen=True)
class Method:
    """A verification method: its key (of any suite we know), its fragment and `kid`."""

    fragment: str
    jwk: Jwk


@dataclass(frozen=True)
class DidDocument:
    """What we use of a DID document.

    `jwks` are its Ed25519 keys; `methods` all it has of our suites; `relations` names the
    fragments of each relation it declares; `services` the endpoints by type, the first of each.
    """

    did: str
    jwks: tuple[Jwk, ...]
    methods: tuple[Method, ...] = ()
    relations: Mapping[str, frozenset[str]] = field(default_factory=dict)
    services: Mapping[str, str] = field(default_factory=dict)

    def key(self, kid: object, relation: str) -> Jwk | None:
        """The key that a token header names, if the document lets it be used for `relation`.

        Without a kid the only method counts (DCP 1.0 §4.3.3). A document that declares no such
        relation at all restricts nothing: Eclipse's wallets publish none.
        """
        if kid is None:
            found = self.methods[0] if len(self.methods) == 1 else None
        else:
            found = next((m for m in self.methods if _names(self.did, kid, m)), None)
        allowed = self.relations.get(relation)
        if found is None or (allowed is not None and found.fragment not in allowed):
            return None
        return found.jwk


def _names(did: str, kid: object, method: Method) -> bool:
    owner, hash_, name = str(kid).rpartition("#")
    return (not hash_ or owner in ("", did)) and name in (method.fragment, method.jwk["kid"])


def document(
    config: _Config,
    jwks: Iterable[Jwk],
    code: str = "",
    services: Mapping[str, str] | None = None,
    retired: Iterable[Jwk] = (),
) -> dict[str, Any]:
    """This node's DID document (DID Core 1.0 §5; spec: identifiers 10, DSP 2025-1 §discovery).

    `jwks` are the public keys in use, `retired` those that still verify what they signed, `code`
    the N04 connector code, once there is one, `services` further endpoints (type -> path).
    """
    base = config.address.rstrip("/")
    current = {f"{config.did}#{jwk['kid']}": jwk for jwk in jwks}
    old = {f"{config.did}#{jwk['kid']}": jwk for jwk in retired}
    endpoints = {
        "DataService": "/.well-known/dspace-version",
        "TdsService": "/tds",
        **(services or {}),
    }
    names = {"DataService": "dsp", "TdsService": "tds"}
    made: dict[str, Any] = {
        "@context": list(CONTEXTS),
        "id": config.did,
        "verificationMethod": [
            {"id": method, "type": "JsonWebKey2020", "controller": config.did, "publicKeyJwk": jwk}
            for method, jwk in {**current, **old}.items()
        ],
        # A retired key verifies credentials and what was on its way; relations alike (DCP §6.9).
        **{relation: [*current, *old] for relation in RELATIONS},
        "service": [
            {
                "id": f"{config.did}#{names.get(kind, kind)}",
                "type": kind,
                "serviceEndpoint": base + path,
            }
            for kind, path in endpoints.items()
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

    def __init__(self, egress: Egress, resolve: guard.Resolve = guard.system_resolve) -> None:
        self._client = guard.GuardedClient(egress, limits.DID_FETCH_S_MAX, resolve)

    def __call__(self, url: str) -> bytes:
        """The body at `url`; raises DidUnresolvable or AddressForbidden."""
        deadline = time.monotonic() + limits.DID_FETCH_S_MAX
        body = bytearray()
        try:
            with self._client.stream("GET", url, headers={"accept": "application/json"}) as got:
                if got.status_code >= 500:
                    raise DidUnreachable(why=f"its address answers {got.status_code}")
                if got.status_code != 200:
                    raise DidUnresolvable(why=f"its address answers {got.status_code}")
                for chunk in got.iter_raw():
                    body += chunk
                    if len(body) > limits.DID_DOCUMENT_BYTES_MAX:
                        raise DidUnresolvable(why="its document is too large")
                    if time.monotonic() > deadline:
                        raise DidUnreachable(why="its address is too slow")
        except httpx.InvalidURL as error:
            raise DidUnresolvable(detail=str(error), why="its address is not a URL") from error
        except httpx.HTTPError as error:
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
            raise DidUnreachable(why="too many are being resolved at once")
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
        raise DidMismatch(why="its document is of another DID")
    methods = (_method(did, each) for each in _list(found, "verificationMethod"))
    known = tuple(m for m in methods if m is not None)[: limits.DID_DOCUMENT_KEYS_MAX]
    if not known:
        raise DidUnresolvable(why="its document has no key of a suite we know")
    jwks = tuple({**m.jwk, "fragment": m.fragment} for m in known if m.jwk["kty"] == "OKP")
    return DidDocument(did, jwks, known, _relations(did, found), _services(found))


def _method(did: str, method: Any) -> Method | None:
    if not isinstance(method, dict) or method.get("controller") != did:
        return None
    given = method.get("publicKeyJwk")
    if not isinstance(given, dict):
        return None
    try:
        jwk = suites.public(given)
    except suites.KeyRefused:
        return None  # a key of another kind; documents may list several kinds
    # Name and fragment are as the document says; both spellings find the key.
    return Method(str(method.get("id", "")).rpartition("#")[2], jwk)


def _relations(did: str, found: dict[str, Any]) -> dict[str, frozenset[str]]:
    made: dict[str, frozenset[str]] = {}
    for relation in RELATIONS:
        if relation not in found:
            continue
        named = [e.get("id") if isinstance(e, dict) else e for e in _list(found, relation)]
        own = [str(name).rpartition("#") for name in named]
        made[relation] = frozenset(part[2] for part in own if part[0] in ("", did))
    return made


def _services(found: dict[str, Any]) -> dict[str, str]:
    made: dict[str, str] = {}
    for entry in _list(found, "service"):
        if not isinstance(entry, dict):
            continue
        endpoint, kinds = entry.get("serviceEndpoint"), entry.get("type")
        if isinstance(endpoint, str) and len(endpoint) <= limits.ADDRESS_CHARS_MAX:
            for kind in kinds if isinstance(kinds, list) else [kinds]:
                made.setdefault(str(kind), endpoint.rstrip("/"))
    return made


def _list(found: dict[str, Any], name: str) -> list[Any]:
    value = found.get(name)
    return value[: limits.DID_LIST_MAX] if isinstance(value, list) else []


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

"""Calls to another node's DSP endpoints: one authorised request, a bounded answer.

In: a base URL, the peer's DID, a body. Out: status and JSON, if there is any (a peer's answer may
be empty and without a content type). Also the consumer's catalogue request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from yunhe.contracts import Why
from yunhe.identity import Told, guarded_ask
from yunhe.kernel import limits
from yunhe.kernel.bodies import ACCEPTED
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import YunheError
from yunhe.protocols.dsp.body import clean
from yunhe.protocols.dsp.errors import PeerRefused, PeerSilent, silent
from yunhe.protocols.dsp.offers import RemoteOffer, read_catalog, read_dataset
from yunhe.protocols.dsp.replies import OURS
from yunhe.protocols.dsp.versions import Versions
from yunhe.protocols.dsp.wire import CONTEXT, Json


@dataclass(frozen=True)
class Answer:
    """What came back; `body` is None where it was no JSON."""

    status: int
    body: Any
    next_url: str = ""

    def why(self) -> str:
        """`CODE: reason` of a DSP error, as far as the peer said one; each sentence on its line."""
        if not isinstance(self.body, dict):
            return f"HTTP_{self.status}: no reason given"
        code = str(self.body.get("code") or f"HTTP_{self.status}")[:80]
        reasons = self.body.get("reason") or self.body.get("detail") or "no reason given"
        texts = reasons if isinstance(reasons, list) else [reasons]
        # Two languages of one reason stay apart, so that each reader sees their own.
        said = "\n".join(
            " ".join(t.split()) if isinstance(t, str) else json.dumps(t) for t in texts
        )
        return clean(f"{code}: {said[: limits.REASON_CHARS_MAX]}")


class DspClient:
    """`http` is a guarded client (identity.GuardedClient); `mint(did)` makes our token for it."""

    def __init__(self, http: httpx.Client, mint: Callable[[str], str]) -> None:
        self._http = http
        self._mint = mint
        self.versions = Versions(http)

    def call(self, method: str, url: str, did: str, body: Json | None, bytes_max: int) -> Answer:
        """One request; raises httpx.HTTPError, YunheError (an address that is refused)."""
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": ACCEPTED,
            "Authorization": f"Bearer {self._mint(did)}",
            "Connection": "keep-alive",
            "User-Agent": OURS,
        }
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            text = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            content = text.encode()
        told = guarded_ask(self._http, method, url, headers, content, bytes_max)
        if len(told.body) > bytes_max:
            raise PeerSilent(why="its answer is too long")
        return Answer(told.status, _json(told.body), _next(told))

    def post(self, url: str, did: str, body: Json) -> Answer:
        """POST one message."""
        return self.call("POST", url, did, body, limits.DSP_REPLY_BYTES_MAX)

    def catalog(self, address: str, did: str, keyword: str = "") -> list[RemoteOffer]:
        """The offers of the provider at `address` (its node's, or its DSP base URL), all pages.

        Raises PeerSilent, PeerRefused, VersionUnsupported.
        """
        address = self.versions.base(address)
        wanted: Json = {"@context": CONTEXT, "@type": "CatalogRequestMessage"}
        if keyword:
            wanted["filter"] = [{"keyword": keyword}]
        found: list[RemoteOffer] = []
        url = f"{address}/catalog/request"
        for _ in range(limits.DSP_CATALOG_PAGES_MAX):
            got = self._asked("POST", url, did, wanted)
            found += read_catalog(got.body, address)
            if not got.next_url:
                break
            url = self._same_host(address, urljoin(url, got.next_url))
        return found

    def offers(self, address: str, did: str, product_code: str) -> list[RemoteOffer]:
        """The offers for one product; raises as `catalog`."""
        address = self.versions.base(address)
        url = f"{address}/catalog/datasets/{quote(product_code, safe=':')}"
        return read_dataset(self._asked("GET", url, did, None).body, did, address)

    def _asked(self, method: str, url: str, did: str, body: Json | None) -> Answer:
        try:
            got = self.call(method, url, did, body, limits.DSP_CATALOG_BYTES_MAX)
        except httpx.HTTPError as error:
            raise silent(url, error) from error
        if got.status != 200:
            code, _, said = got.why().partition(": ")
            why = Why(code, tuple(said.split("\n")))
            en, zh = (f"{code}: {why.text(lang)}" for lang in ("en", "zh"))
            raise PeerRefused(status=got.status, why=en, why_zh=zh)
        return got

    @staticmethod
    def _same_host(address: str, url: str) -> str:
        # Our token goes to this participant alone, wherever its pages point.
        if urlsplit(url)[:2] != urlsplit(address)[:2]:
            raise PeerSilent(why="its next page is on another host")
        return url


def _json(raw: bytes) -> Any:
    try:
        return loads_strict(raw, len(raw)) if raw.strip() else None
    except YunheError:
        return None


def _next(told: Told) -> str:
    if not told.link:
        return ""
    links = httpx.Response(told.status, headers={"Link": told.link}).links
    return str(links.get("next", {}).get("url", ""))

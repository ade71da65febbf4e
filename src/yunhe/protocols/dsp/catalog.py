"""The provider's catalogue as DCAT: pages by keyset, filters, nested catalogues of members.

In: what is listed, read in order of its code (`Shelf`). Out: datasets with one offer each. Pages
are linked by `Link` headers (DSP 2025-1 §Catalog HTTPS binding); an entry of another provider
stands in a nested catalogue with that provider's own service, as a node serves its federation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Final, Protocol, runtime_checkable
from urllib.parse import urlencode

from yunhe.contracts import PULL, PUSH, Policy
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.protocols.dsp import odrl, query_spec
from yunhe.protocols.dsp.errors import DatasetUnknown, FilterUnsupported
from yunhe.protocols.dsp.offers import TITLE
from yunhe.protocols.dsp.wire import CONTEXT, Json

_DESCRIPTION: Final = "http://purl.org/dc/terms/description"
_KEYWORD: Final = "http://www.w3.org/ns/dcat#keyword"


@dataclass(frozen=True)
class CatalogEntry:
    """What the catalogue shows of one listed product; texts in zh and en, either may be empty.

    `provider_did` and `address` (its DSP base URL) where the provider is not the node itself.
    """

    code: str
    title_zh: str
    title_en: str
    description_zh: str
    description_en: str
    keywords: tuple[str, ...]
    policy: Policy
    provider_did: str = ""
    address: str = ""


class Shelf(Protocol):
    """What is listed, for one caller's eyes."""

    def beside(self, code: str, back: bool, limit: int, caller: str) -> Sequence[CatalogEntry]:
        """Entries in order of their code: after `code`, or `back`wards before it; empty: the end.

        An empty `code` is before the first.
        """
        ...

    def entry(self, code: str, caller: str) -> CatalogEntry | None:
        """One entry."""
        ...


@runtime_checkable
class Counted(Protocol):
    """A shelf that finds the code at a place without reading what stands before it."""

    def code_at(self, position: int) -> str | None:
        """The code at a place (from 0) in order; None beyond the end."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a page begins: after a code, or `back`wards before it. The first page has none."""

    code: str = ""
    back: bool = False


Filter = tuple[str, str]  # ("id" | "keyword", value); EDC's also ("offset" | "limit", digits)


def offer_id(entry: CatalogEntry) -> str:
    """The id of a product's offer: the same while its terms are the same."""
    return f"urn:yunhe:offer:{entry.code}:{sha256_hex(entry.policy.to_json())[:16]}"


class Catalog:
    """The catalogue of one node at `base` (its DSP base URL)."""

    def __init__(self, did: str, base: str, shelf: Shelf) -> None:
        self._did = did
        self._base = base
        self._shelf = shelf

    def page(
        self, filters: Sequence[Filter], place: Place, caller: str = ""
    ) -> tuple[Json, dict[str, str]]:
        """One page, and its Link header."""
        window = {name: int(value) for name, value in filters if name in query_spec.WINDOW}
        size = min(window.get("limit", limits.DSP_CATALOG_PAGE), limits.DSP_CATALOG_PAGE)
        skip = window.get("offset", 0)
        if skip and len(window) == len(filters) and isinstance(self._shelf, Counted):
            last = self._shelf.code_at(skip - 1)
            place, skip = (Place(last), 0) if last is not None else (place, skip)
        found = list(islice(self._kept(filters, place, caller), skip, skip + size + 1))
        more = len(found) > size
        shown = found[:size][:: -1 if place.back else 1]
        body: Json = {
            "@context": CONTEXT,
            "@type": "Catalog",
            "@id": f"{self._base}#catalog",
            "participantId": self._did,
            "service": [_service(self._base)],
        }
        if own := [self._dataset(e) for e in shown if not e.address]:
            body["dataset"] = own
        if nested := self._nested([e for e in shown if e.address]):
            body["catalog"] = nested
        return body, self._links(filters, place, shown, more)

    def dataset(self, code: str, caller: str = "") -> Json:
        """One dataset; raises DatasetUnknown."""
        entry = self._shelf.entry(code, caller)
        if entry is None:
            raise DatasetUnknown
        return {"@context": CONTEXT, **self._dataset(entry)}

    def _kept(self, filters: Sequence[Filter], place: Place, caller: str) -> Iterator[CatalogEntry]:
        ids = {value for name, value in filters if name == "id"}
        words = [value.casefold() for name, value in filters if name == "keyword"]
        for entry in self._named(ids, caller) if ids else self._walk(place, caller):
            if all(any(word in text.casefold() for text in _searched(entry)) for word in words):
                yield entry

    def _named(self, ids: set[str], caller: str) -> Iterator[CatalogEntry]:
        """Filters are joined by AND: two different ids have nothing in common."""
        entry = self._shelf.entry(next(iter(ids)), caller) if len(ids) == 1 else None
        if entry is not None:
            yield entry

    def _walk(self, place: Place, caller: str) -> Iterator[CatalogEntry]:
        code, size = place.code, limits.DSP_CATALOG_PAGE + 1
        while batch := self._shelf.beside(code, place.back, size, caller):
            yield from batch
            if len(batch) < size:
                return
            code = batch[-1].code

    def _nested(self, entries: list[CatalogEntry]) -> list[Json]:
        entries = sorted(entries, key=lambda e: (e.provider_did, e.address))
        return [
            {
                "@id": f"{address}#catalog",
                "@type": "Catalog",
                "participantId": did,
                "service": [_service(address)],
                "dataset": [self._dataset(entry) for entry in theirs],
            }
            for (did, address), theirs in groupby(entries, lambda e: (e.provider_did, e.address))
        ]

    def _dataset(self, entry: CatalogEntry) -> Json:
        offer = {"@id": offer_id(entry), "@type": "Offer", **odrl.write(entry.policy)}
        service = _service(entry.address or self._base)["@id"]
        said: Json = {
            "@id": entry.code,
            "@type": "Dataset",
            "hasPolicy": [offer],
            "distribution": [
                {"@type": "Distribution", "format": format_, "accessService": service}
                for format_ in (PULL, PUSH)
            ],
        }
        if title := _texts(entry.title_zh, entry.title_en):
            said[TITLE] = title
        if description := _texts(entry.description_zh, entry.description_en):
            said[_DESCRIPTION] = description
        if entry.keywords:
            said[_KEYWORD] = list(entry.keywords)
        return said

    def _links(
        self, filters: Sequence[Filter], place: Place, shown: list[CatalogEntry], more: bool
    ) -> dict[str, str]:
        if not shown:
            return {}
        url = f"{self._base}/catalog/request?"
        filters = [each for each in filters if each[0] not in query_spec.WINDOW]
        previous = more if place.back else bool(place.code)
        links = []
        if previous:
            query = urlencode([*filters, ("before", shown[0].code)])
            links.append(f'<{url}{query}>; rel="previous"')
        if place.back or more:
            query = urlencode([*filters, ("after", shown[-1].code)])
            links.append(f'<{url}{query}>; rel="next"')
        return {"Link": ", ".join(links)} if links else {}


def _service(base: str) -> Json:
    return {"@id": f"{base}#service", "@type": "DataService", "endpointURL": base}


def _texts(zh: str, en: str) -> list[Json]:
    pairs = (("zh", zh), ("en", en))
    return [{"@value": text, "@language": lang} for lang, text in pairs if text]


def read_filters(said: Any) -> list[Filter]:
    """The `filter` of a CatalogRequestMessage; raises FilterUnsupported."""
    if said is None:
        return []
    if not isinstance(said, list) or len(said) > limits.DSP_FILTERS_MAX:
        raise FilterUnsupported(why=f"it is not a list of at most {limits.DSP_FILTERS_MAX}")
    found: list[Filter] = []
    for item in said:
        found += query_spec.read(item) if query_spec.is_query_spec(item) else [_filter(item)]
    return found


def _filter(item: Any) -> Filter:
    if not isinstance(item, dict) or len(item) != 1:
        raise FilterUnsupported(why="each filter is an object with one member")
    [(name, value)] = item.items()
    if not isinstance(value, str) or len(value) > limits.PID_CHARS_MAX:
        raise FilterUnsupported(why=f"{name[:40]} is not a short text")
    if name not in ("id", "keyword"):
        raise FilterUnsupported(why=f"{name[:40]} is neither id nor keyword")
    return name, value


def _searched(entry: CatalogEntry) -> Sequence[str]:
    return (
        entry.title_zh,
        entry.title_en,
        entry.description_zh,
        entry.description_en,
        *entry.keywords,
    )

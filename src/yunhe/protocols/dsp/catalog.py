"""The provider's catalogue as DCAT, and how a consumer's node reads another's.

In: listed products; a peer's Catalog body. Out: datasets with one offer each; `RemoteOffer`s.
Pages are linked by `Link` headers (DSP 2025-1 §Catalog); filters are by keyword or id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yunhe.contracts import Policy
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.protocols.dsp import odrl
from yunhe.protocols.dsp.errors import BadMessage, BadPolicy, DatasetUnknown, FilterUnsupported
from yunhe.protocols.dsp.wire import CONTEXT, Body, Json

_TITLE: Final = "http://purl.org/dc/terms/title"
_DESCRIPTION: Final = "http://purl.org/dc/terms/description"
_KEYWORD: Final = "http://www.w3.org/ns/dcat#keyword"
PULL: Final = "HttpData-PULL"


@dataclass(frozen=True)
class CatalogEntry:
    """What the catalogue shows of one listed product; texts in zh and en, either may be empty."""

    code: str
    title_zh: str
    title_en: str
    description_zh: str
    description_en: str
    keywords: tuple[str, ...]
    policy: Policy


@dataclass(frozen=True)
class RemoteOffer:
    """One offer in another node's catalogue."""

    offer_id: str
    product_code: str
    provider_did: str
    address: str
    title: str
    policy: Policy


Entries = Callable[[], Iterable[CatalogEntry]]


def offer_id(entry: CatalogEntry) -> str:
    """The id of a product's offer: the same while its terms are the same."""
    return f"urn:yunhe:offer:{entry.code}:{sha256_hex(entry.policy.to_json())[:16]}"


class Catalog:
    """The catalogue of one provider at `base` (its DSP base URL)."""

    def __init__(self, did: str, base: str, entries: Entries) -> None:
        self._did = did
        self._base = base
        self._entries = entries
        self._service = f"{base}#service"

    def page(self, wanted: Json, number: int) -> tuple[Json, dict[str, str]]:
        """One page of the catalogue for a CatalogRequestMessage, and its Link header."""
        keep = _filters(wanted.get("filter"))
        found = sorted(
            (e for e in self._entries() if all(k(e) for k in keep)), key=lambda e: e.code
        )
        first = (number - 1) * limits.DSP_CATALOG_PAGE
        shown = found[first : first + limits.DSP_CATALOG_PAGE]
        body: Json = {
            "@context": CONTEXT,
            "@type": "Catalog",
            "@id": f"{self._base}#catalog",
            "participantId": self._did,
            "service": [self._data_service()],
        }
        if shown:
            body["dataset"] = [self._dataset(entry) for entry in shown]
        more = first + limits.DSP_CATALOG_PAGE < len(found)
        return body, self._links(number, more)

    def dataset(self, code: str) -> Json:
        """One dataset; raises DatasetUnknown."""
        for entry in self._entries():
            if entry.code == code:
                return {"@context": CONTEXT, **self._dataset(entry)}
        raise DatasetUnknown

    def _data_service(self) -> Json:
        return {"@id": self._service, "@type": "DataService", "endpointURL": self._base}

    def _dataset(self, entry: CatalogEntry) -> Json:
        offer = {"@id": offer_id(entry), "@type": "Offer", **odrl.write(entry.policy)}
        how = {"@type": "Distribution", "format": PULL, "accessService": self._service}
        said: Json = {
            "@id": entry.code,
            "@type": "Dataset",
            "hasPolicy": [offer],
            "distribution": [how],
        }
        if title := _texts(entry.title_zh, entry.title_en):
            said[_TITLE] = title
        if description := _texts(entry.description_zh, entry.description_en):
            said[_DESCRIPTION] = description
        if entry.keywords:
            said[_KEYWORD] = list(entry.keywords)
        return said

    def _links(self, number: int, more: bool) -> dict[str, str]:
        url = f"{self._base}/catalog/request?page="
        links = [f'<{url}{number - 1}>; rel="previous"'] if number > 1 else []
        links += [f'<{url}{number + 1}>; rel="next"'] if more else []
        return {"Link": ", ".join(links)} if links else {}


def _texts(zh: str, en: str) -> list[Json]:
    pairs = (("zh", zh), ("en", en))
    return [{"@value": text, "@language": lang} for lang, text in pairs if text]


def _filters(said: Any) -> list[Callable[[CatalogEntry], bool]]:
    if said is None:
        return []
    if not isinstance(said, list) or len(said) > limits.DSP_FILTERS_MAX:
        raise FilterUnsupported(why=f"it is not a list of at most {limits.DSP_FILTERS_MAX}")
    return [_filter(item) for item in said]


def _filter(item: Any) -> Callable[[CatalogEntry], bool]:
    if not isinstance(item, dict) or len(item) != 1:
        raise FilterUnsupported(why="each filter is an object with one member")
    [(name, value)] = item.items()
    if not isinstance(value, str) or len(value) > limits.PID_CHARS_MAX:
        raise FilterUnsupported(why=f"{name[:40]} is not a short text")
    if name == "id":
        return lambda entry: entry.code == value
    if name == "keyword":
        word = value.casefold()
        return lambda entry: any(word in text.casefold() for text in _searched(entry))
    raise FilterUnsupported(why=f"{name[:40]} is neither id nor keyword")


def _searched(entry: CatalogEntry) -> Sequence[str]:
    return (
        entry.title_zh,
        entry.title_en,
        entry.description_zh,
        entry.description_en,
        *entry.keywords,
    )


def read_catalog(data: Any, address: str, depth: int = 3) -> list[RemoteOffer]:
    """The offers in a peer's Catalog, nested catalogues included; unreadable offers are left out.

    Raises BadMessage if it is no catalogue at all.
    """
    body = Body(data, "catalog")
    body.expect("Catalog")
    provider = body.text("participantId", "", chars_max=limits.DID_CHARS_MAX)
    found: list[RemoteOffer] = []
    for item in _items(body, "dataset"):
        found += read_dataset(item, provider, address)
    for nested in _items(body, "catalog") if depth else ():
        found += read_catalog(nested, address, depth - 1)
    return found


def read_dataset(data: Any, provider_did: str, address: str) -> list[RemoteOffer]:
    """The offers of one Dataset."""
    body = Body(data, "dataset")
    code, title = body.text("@id"), _title(body.data.get(_TITLE))
    found = []
    for offer in _items(body, "hasPolicy"):
        said = Body(offer, "hasPolicy")
        try:
            policy = odrl.read(said.data)
            id_ = said.text("@id")
        except (BadPolicy, BadMessage):
            continue  # one offer that we cannot read does not hide the others
        found.append(RemoteOffer(id_, code, provider_did, address, title, policy))
    return found


def _items(body: Body, name: str) -> list[Any]:
    value = body.data.get(name, [])
    return value if isinstance(value, list) else [value]


def _title(value: Any) -> str:
    for item in value if isinstance(value, list) else [value]:
        text = item.get("@value") if isinstance(item, dict) else item
        if isinstance(text, str) and text:
            return text
    return ""

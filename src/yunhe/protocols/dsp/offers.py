"""How a consumer's node reads another's catalogue: the offers in it, nested catalogues included.

In: a peer's Catalog or Dataset body. Out: `RemoteOffer`s; what cannot be read is left out and
hides nothing beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from yunhe.contracts import Policy
from yunhe.kernel import limits
from yunhe.protocols.dsp import odrl
from yunhe.protocols.dsp.body import Body
from yunhe.protocols.dsp.errors import BadMessage, BadPolicy

TITLE: Final = "http://purl.org/dc/terms/title"


@dataclass(frozen=True)
class RemoteOffer:
    """One offer in another node's catalogue."""

    offer_id: str
    product_code: str
    provider_did: str
    address: str
    title: str
    policy: Policy


def read_catalog(data: Any, address: str, depth: int = 3, provider: str = "") -> list[RemoteOffer]:
    """The offers in a peer's Catalog; a nested one speaks for the provider that it names.

    Raises BadMessage if it is no catalogue at all.
    """
    body = Body(data, "catalog")
    body.expect("Catalog")
    provider = body.text("participantId", provider, chars_max=limits.DID_CHARS_MAX)
    found: list[RemoteOffer] = []
    for item in _items(body, "dataset"):
        found += read_dataset(item, provider, address)
    for nested in _items(body, "catalog") if depth else ():
        found += read_catalog(nested, _address(nested) or address, depth - 1, provider)
    return found


def _address(data: Any) -> str:
    """Where the provider of a nested catalogue takes messages: its data service."""
    for service in _items(Body(data, "catalog"), "service"):
        url = service.get("endpointURL") if isinstance(service, dict) else None
        if isinstance(url, str) and 0 < len(url) <= limits.CALLBACK_CHARS_MAX:
            return url.rstrip("/")
    return ""


def read_dataset(data: Any, provider_did: str, address: str) -> list[RemoteOffer]:
    """The offers of one Dataset."""
    body = Body(data, "dataset")
    code, title = body.text("@id"), _title(body.data.get(TITLE))
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

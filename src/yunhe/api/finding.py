"""`/search`, `/catalogue`, `/offers`: find a product on any node, look, and see its offer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query

from yunhe import catalog, contracts
from yunhe.api.deps import FoundOffer, Parts, Services, User, face
from yunhe.api.forms import PeerAddress, terms_json
from yunhe.api.supply import table_json
from yunhe.kernel import limits
from yunhe.kernel.errors import NotFound, YunheError

router = face("finding")


@router.get("/search")
def search(
    parts: Parts,
    _who: User,
    q: Annotated[str, Query(min_length=1, max_length=limits.SEARCH_TEXT_CHARS_MAX)],
    limit: Annotated[int, Query(ge=1, le=limits.SEARCH_LIMIT_MAX)] = 20,
    offset: Annotated[int, Query(ge=0, le=limits.SEARCH_OFFSET_MAX)] = 0,
) -> dict[str, Any]:
    """Products of all nodes by Chinese or English words, best first."""
    page = parts.federation.search(q, limit, offset)
    return {"items": [_hit(hit) for hit in page.hits], "total": page.total}


@router.get("/catalogue/{code}")
def detail(code: str, parts: Parts, _who: User) -> dict[str, Any]:
    """Everything public of one product."""
    found = parts.federation.detail(code)
    return {
        **_hit(found.hit),
        "description_zh": found.hit.description.zh,
        "description_en": found.hit.description.en,
        "tables": [table_json(table) for table in found.tables],
        "terms": None if found.policy is None else _terms(contracts.Policy.from_json(found.policy)),
    }


@router.get("/offers/{code}")
def offer(
    code: str,
    parts: Parts,
    _who: User,
    provider: Annotated[str, Query(max_length=255)] = "",
    address: PeerAddress | None = None,
) -> dict[str, Any]:
    """The provider's own offer for a product; where it is, the catalogue knows."""
    if provider and address:
        found = _offered(parts, code, provider, address)
    else:
        found = _offered_where_listed(parts, code)
    for each in found:
        return {
            "offer_id": each.offer_id,
            "product_code": each.product_code,
            "provider_did": each.provider_did,
            "address": each.address,
            "terms": _terms(each.policy),
        }
    raise NotFound(what=f"offer for {code}")


def _offered_where_listed(parts: Services, code: str) -> Sequence[FoundOffer]:
    """As the provider says where the product was found; if it is not there, the catalogue knows."""
    if (place := parts.federation.places.kept(code)) is not None:
        with contextlib.suppress(YunheError):
            if found := _offered(parts, code, *place):
                return found
    return _offered(parts, code, *parts.federation.places.find(code))


def _offered(parts: Services, code: str, provider: str, address: str) -> Sequence[FoundOffer]:
    parts.identity.check_address(provider, address)
    return parts.offers(code, provider, address)


def _terms(policy: contracts.Policy) -> dict[str, Any]:
    return terms_json(policy.terms)


def _hit(hit: catalog.Hit) -> dict[str, Any]:
    return {
        "code": hit.code,
        "title_zh": hit.title.zh,
        "title_en": hit.title.en,
        "provider_did": hit.provider_did,
        "provider_name": hit.provider_name,
        "address": hit.address,
        "keywords": list(hit.keywords),
        "score": hit.score,
        "price": hit.price,
        "language": hit.language,
    }

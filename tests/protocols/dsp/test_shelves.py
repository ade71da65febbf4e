"""What a node shows in its catalogue: its own products by page, its federation's nested."""

from __future__ import annotations

from itertools import chain, pairwise
from pathlib import Path

import pytest

from catalog.catalogs import PROVIDER, STRANGER, Side, listed, side
from protocols.dsp import shapes
from protocols.dsp.web import WebNode
from yunhe import contracts
from yunhe.kernel import limits
from yunhe.kernel.db import Database
from yunhe.protocols import dsp
from yunhe.protocols.dsp.catalog import Catalog, Place
from yunhe.protocols.dsp.offers import read_catalog

NODE = "did:web:node.example"
BASE = "https://node.example/dsp/2025-1"
USE = contracts.Policy((contracts.Rule("permission", "use"),))


@pytest.fixture
def both(db: Database, tmp_path: Path) -> Side:
    return side(db, tmp_path)


def federation(both: Side, own: str = NODE) -> dsp.Shelves:
    theirs = dsp.FederationShelf(both.register, own, dsp.PATH)
    return dsp.Shelves([dsp.OwnShelf(both.holder), theirs])


def test_a_functional_node_nests_its_members_catalogues(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)
    shelf = dsp.FederationShelf(both.register, NODE, dsp.PATH)
    body, links = Catalog(NODE, BASE, shelf).page([], Place(), STRANGER)
    shapes.check(body)
    assert links == {}
    assert "dataset" not in body
    [nested] = body["catalog"]
    assert nested["participantId"] == PROVIDER

    [offer] = read_catalog(body, BASE)
    assert (offer.product_code, offer.provider_did) == (product.code, PROVIDER)
    assert offer.address == "https://provider.example" + dsp.PATH
    assert offer.policy == contracts.Policy.from_json(product.policy)
    alone = Catalog(NODE, BASE, shelf).dataset(product.code)
    shapes.check(alone)
    assert (
        alone["distribution"][0]["accessService"] == f"https://provider.example{dsp.PATH}#service"
    )


def test_ones_own_product_stands_once_though_it_is_registered_too(
    both: Side, tmp_path: Path
) -> None:
    product = listed(both, tmp_path)
    shelf = federation(both, own=PROVIDER)
    body, _ = Catalog(PROVIDER, BASE, shelf).page([], Place())
    assert [d["@id"] for d in body["dataset"]] == [product.code]
    assert "catalog" not in body
    assert shelf.entry(product.code, "") is not None
    assert shelf.entry(product.id, "") is None  # an inner id is nobody's business
    both.holder.withdraw(product.id, "superseded")
    assert shelf.entry(product.code, "") is None
    assert shelf.beside("", False, 10, "") == []


def test_a_product_for_some_is_shown_to_those_alone(both: Side, tmp_path: Path) -> None:
    product = listed(both, tmp_path)
    both.db.write(
        lambda tx: tx.connection.exec_driver_sql(
            "UPDATE catalog_register SET visible_to = ?", (f'["{STRANGER}"]',)
        )
    )
    shelf = dsp.FederationShelf(both.register, NODE, dsp.PATH)
    assert [e.code for e in shelf.beside("", False, 10, STRANGER)] == [product.code]
    assert shelf.beside("", False, 10, "did:web:other.example") == []
    assert shelf.entry(product.code, "did:web:other.example") is None


def entries(*codes: str, address: str = "") -> list[dsp.CatalogEntry]:
    return [dsp.CatalogEntry(c, c, "", "", "", (), USE, "did:web:m", address) for c in codes]


class Fixed:
    def __init__(self, *shown: dsp.CatalogEntry) -> None:
        self.shown = shown

    def beside(self, code: str, back: bool, limit: int, caller: str) -> list[dsp.CatalogEntry]:
        found = sorted(self.shown, key=lambda e: e.code, reverse=back)
        rest = [e for e in found if not code or (e.code < code if back else e.code > code)]
        return rest[:limit]

    def entry(self, code: str, caller: str) -> dsp.CatalogEntry | None:
        return next((e for e in self.shown if e.code == code), None)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pages_forth_and_back_over_several_shelves_miss_nothing(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DSP_CATALOG_PAGE", size)
    odd, even = Fixed(*entries("a", "c", "e")), Fixed(*entries("b", "d", address="https://m"))
    catalog = Catalog(NODE, BASE, dsp.Shelves([odd, even]))
    walked: list[list[str]] = []
    place: Place | None = Place()
    while place is not None:
        body, links = catalog.page([], place)
        walked.append(sorted(o.product_code for o in read_catalog(body, BASE)))
        place = Place(walked[-1][-1]) if 'rel="next"' in links.get("Link", "") else None
    assert list(chain.from_iterable(walked)) == ["a", "b", "c", "d", "e"]
    for earlier, later in pairwise(walked):
        body, _ = catalog.page([], Place(later[0], back=True))
        assert sorted(o.product_code for o in read_catalog(body, BASE)) == earlier


def test_words_in_a_link_and_in_the_body_are_joined(provider: WebNode, consumer: WebNode) -> None:
    got = provider.http.get(
        "/dsp/2025-1/catalog/request?keyword=zebra", headers=provider.auth(consumer.did)
    )
    assert "dataset" not in got.json()
    two = [("keyword", "肝"), ("keyword", "zebra")]
    body, _ = Catalog(NODE, BASE, Fixed(*entries("肝zebra", "肝"))).page(two, Place())
    assert [d["@id"] for d in body["dataset"]] == ["肝zebra"]


def test_filters_are_kept_while_paging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DSP_CATALOG_PAGE", 1)
    catalog = Catalog(NODE, BASE, Fixed(*entries("肝1", "肝2", "x")))
    _, links = catalog.page([("keyword", "肝")], Place())
    assert "keyword=%E8%82%9D" in links["Link"]
    assert "after=%E8%82%9D1" in links["Link"]


def test_a_nested_catalogue_without_a_name_is_its_parents() -> None:
    offer = {"@id": "o", "@type": "Offer", "permission": [{"action": "use"}]}
    inner = {"@type": "Catalog", "@id": "i", "dataset": [{"@id": "d", "hasPolicy": [offer]}]}
    outer = {"@type": "Catalog", "@id": "c", "participantId": "did:web:p", "catalog": [inner]}
    [found] = read_catalog(outer, BASE)
    assert (found.provider_did, found.address) == ("did:web:p", BASE)
    assert read_catalog({**outer, "catalog": [{**inner, "service": 7}, inner]}, BASE)

"""The HTTPS binding: whole conversations over HTTP, version and catalogue."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from contracts.nodes import FURTHEST, LISTED, Product
from protocols.dsp.hand import BASE, CTX, TCK, ask
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import (
    ContractTerminated,
    Price,
    State,
    Strategy,
    policy_from_terms,
)
from yunhe.kernel import limits
from yunhe.protocols.dsp import PeerRefused, PeerSilent, odrl

# --- whole conversations --------------------------------------------------------------------


def test_catalogue_to_data_address_over_http(provider: WebNode, consumer: WebNode) -> None:
    [offer] = consumer.client.catalog(provider.url, provider.did, keyword="肝病")
    assert (offer.product_code, offer.provider_did) == (CODE, provider.did)
    assert offer.policy == policy_from_terms(LISTED)
    assert consumer.client.offers(provider.url, provider.did, CODE) == [offer]

    compromise = replace(LISTED, price=Price(85, 1), uses_max=15)
    n = consumer.contracts.request(
        provider.did,
        offer.address,
        offer.product_code,
        offer.offer_id,
        replace(LISTED, price=Price(50, 0)),
        Strategy(accept=replace(FURTHEST, price=Price(70, 0)), counter=compromise),
    )
    until(lambda: consumer.contracts.negotiation(n.id).state is State.FINALIZED)
    done = consumer.contracts.negotiation(n.id)
    for node in (provider, consumer):
        contract = node.contracts.in_force(done.contract_id)
        assert (contract.signature_level, contract.terms) == ("both", compromise)
    said = json.loads(contract.agreement.document)
    assert said["urn:yunhe:policy"] == policy_from_terms(compromise).to_json()
    assert said["assigner"] == provider.did

    access = consumer.contracts.access(done.contract_id, wait_s=10)
    provider.contracts.authenticate_data_token(access.token, consumer.did)
    provider.contracts.terminate(done.contract_id, "breach")
    until(lambda: consumer.contracts.contract(done.contract_id).state == "terminated")
    with pytest.raises(ContractTerminated):
        consumer.contracts.access(done.contract_id)


def test_a_provider_may_begin_over_http(provider: WebNode, consumer: WebNode) -> None:
    begun = provider.contracts.offer(consumer.did, consumer.url, CODE, LISTED)
    ours = until(lambda: next(iter(consumer.contracts.negotiations()), None))
    assert (ours.state, ours.waiting_for) == (State.OFFERED, "you")
    compromise = replace(LISTED, price=Price(90, 1), uses_max=15)
    consumer.contracts.counter(ours.id, compromise)
    until(lambda: provider.contracts.negotiation(begun.id).state is State.FINALIZED)
    until(lambda: consumer.contracts.negotiation(ours.id).state is State.FINALIZED)
    contract_id = consumer.contracts.negotiation(ours.id).contract_id
    for node in (provider, consumer):
        assert node.contracts.in_force(contract_id).terms == compromise


def test_bodies_on_the_wire_are_dsp(provider: WebNode, consumer: WebNode, net: Internet) -> None:
    n = consumer.contracts.request(provider.did, provider.url, CODE, "offer-1", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.FINALIZED)
    bodies = {json.loads(b)["@type"]: json.loads(b) for _, b in net.bodies if b}
    for body in bodies.values():
        assert body["@context"] == CTX
        assert body["@id"].startswith("urn:uuid:")
    request = bodies["ContractRequestMessage"]
    assert "providerPid" not in request
    assert request["callbackAddress"] == consumer.url
    assert request["offer"]["@id"] == "offer-1"
    assert request["offer"]["target"] == CODE
    agreement = bodies["ContractAgreementMessage"]["agreement"]
    assert {"@id", "@type", "target", "assigner", "assignee", "timestamp"} <= set(agreement)
    assert bodies["ContractNegotiationEventMessage"]["eventType"] == "FINALIZED"
    urls = [url for url, _ in net.bodies]
    pid = consumer.contracts.negotiation(n.id).peer_pid
    assert f"{provider.url}/negotiations/{pid}/agreement/verification" in urls


def test_a_peer_that_is_away_gets_the_same_message_later(
    provider: WebNode, consumer: WebNode, net: Internet
) -> None:
    answers = iter([httpx.Response(code) for code in (503, 404, 401, 409, 500)])
    net.fail = lambda request: next(answers, None)
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.FINALIZED)
    requests = [json.loads(b) for url, b in net.bodies if url.endswith("negotiations/request")]
    assert len(requests) == 6
    assert len({body["@id"] for body in requests}) == 1
    assert len(provider.contracts.negotiations()) == 1


def test_a_refusal_ends_it_with_the_peers_reason(consumer: WebNode, provider: WebNode) -> None:
    n = consumer.contracts.request(provider.did, provider.url, "NOTHING", "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.TERMINATED, 15)
    error = consumer.contracts.negotiation(n.id).error
    assert error is not None
    assert error.code == "PRODUCT_NOT_OFFERED"


def test_an_ugly_answer_ends_it_all_the_same(consumer: WebNode, net: Internet) -> None:
    ugly = b'{"code": "a\\u0000\\ud800", "reason": ["\\u0000", {"x": "\\udfff"}, 7]}'
    net.fail = lambda request: httpx.Response(400, content=ugly)
    n = consumer.contracts.request("did:web:ugly", "https://ugly.example/dsp", CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.TERMINATED)
    error = consumer.contracts.negotiation(n.id).error
    assert error is not None
    assert error.code == "HTTP_400"


def test_an_unreachable_peer_shows_the_next_retry(consumer: WebNode) -> None:
    n = consumer.contracts.request("did:web:gone", "https://gone.example/dsp", CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).next_retry)
    assert consumer.contracts.negotiation(n.id).state is State.REQUESTED
    [stuck] = consumer.contracts.negotiations()
    assert stuck.stuck_because.endswith("gone.example: no connection.")
    assert stuck.next_retry is not None


# --- version and catalogue ------------------------------------------------------------------


def test_version_needs_no_token(provider: WebNode) -> None:
    got = provider.http.get("/.well-known/dspace-version")
    assert got.json() == {
        "protocolVersions": [{"version": "2025-1", "path": BASE, "binding": "HTTPS"}]
    }


def linked(node: WebNode, page: httpx.Response, rel: str) -> httpx.Response:
    url = page.links[rel]["url"].removeprefix(node.url)
    return node.http.get(BASE + url, headers={**node.auth(TCK), "Accept-Encoding": "none"})


def test_catalogue_pages_link_filter_and_compress(provider: WebNode, consumer: WebNode) -> None:
    for number in range(limits.DSP_CATALOG_PAGE + 5):
        code = f"P{number:04d}"
        provider.products[code] = Product(code=code)
    first = ask(provider, "/catalog/request", {}, **{"Accept-Encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    assert len(first.json()["dataset"]) == limits.DSP_CATALOG_PAGE
    assert 'rel="previous"' not in first.headers["link"]
    second = linked(provider, first, "next")
    assert len(second.json()["dataset"]) == 6
    assert 'rel="next"' not in second.headers["link"]
    back = linked(provider, second, "previous")
    assert back.json() == first.json()
    assert linked(provider, back, "next").json() == second.json()
    assert len(consumer.client.catalog(provider.url, provider.did)) == limits.DSP_CATALOG_PAGE + 6
    one = ask(provider, "/catalog/request", {"@type": "CatalogRequestMessage",
                                             "filter": [{"id": "P0003"}]}).json()  # fmt: skip
    assert [d["@id"] for d in one["dataset"]] == ["P0003"]
    none = ask(provider, "/catalog/request", {"filter": [{"keyword": "zebra"}]}).json()
    assert "dataset" not in none
    assert none["participantId"] == provider.did
    [offer] = one["dataset"][0]["hasPolicy"]
    assert "target" not in offer
    assert odrl.read(offer) == policy_from_terms(LISTED)


@pytest.mark.parametrize(
    "body",
    [
        {"filter": {"id": "x"}},
        {"filter": [3]},
        {"filter": [{"colour": "red"}]},
        {"filter": [{"id": 3}]},
        {"filter": [{"id": "a", "keyword": "b"}]},
        {"filter": [{"id": "a"}] * 99},
        {"@type": "ContractRequestMessage"},
        [],
        b"{",
    ],
)
def test_bad_catalogue_requests(provider: WebNode, body: Any) -> None:
    got = ask(provider, "/catalog/request", body)
    assert got.status_code == 400
    assert got.json()["@type"] == "CatalogError"


def test_catalogue_details(provider: WebNode) -> None:
    assert ask(provider, "/catalog/request", b"").status_code == 200
    head = provider.auth(TCK)
    good = provider.http.get(f"{BASE}/catalog/datasets/{CODE}", headers=head)
    assert good.json()["@type"] == "Dataset"
    missing = provider.http.get(f"{BASE}/catalog/datasets/CAT0103", headers=head)
    assert (missing.status_code, missing.json()["@type"]) == (404, "CatalogError")
    for place in ("after=", "after=" + "x" * 300, "after=a&before=b"):
        got = provider.http.get(f"{BASE}/catalog/request?{place}", headers=head)
        assert got.status_code == 400
    beyond = provider.http.get(f"{BASE}/catalog/request?after=~", headers=head)
    assert "dataset" not in beyond.json()
    assert "link" not in beyond.headers


def test_the_client_names_what_went_wrong(consumer: WebNode, provider: WebNode) -> None:
    with pytest.raises(PeerSilent):
        consumer.client.catalog("https://gone.example/dsp", "did:web:gone")
    with pytest.raises(PeerRefused, match="DSP_DATASET_UNKNOWN"):
        consumer.client.offers(provider.url, provider.did, "NOTHING")
    page = {"@type": "Catalog", "@id": "c", "participantId": "p"}
    elsewhere = {"Link": '<https://evil.example/x>; rel="next"'}
    consumer.net.fail = lambda request: httpx.Response(200, json=page, headers=elsewhere)
    with pytest.raises(PeerSilent, match="another host"):
        consumer.client.catalog(provider.url, provider.did)
    huge = httpx.Response(200, content=b"x" * (limits.DSP_CATALOG_BYTES_MAX + 1))
    consumer.net.fail = lambda request: huge
    with pytest.raises(PeerSilent, match="too long"):
        consumer.client.catalog(provider.url, provider.did)

"""The HTTPS binding: whole conversations over HTTP, every endpoint good and bad, hostile bodies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.nodes import FURTHEST, LISTED, Product
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import (
    AutomaticDecider,
    ContractTerminated,
    Price,
    State,
    Strategy,
    TransferState,
    Verb,
    policy_from_terms,
)
from yunhe.contracts.decide import Decision
from yunhe.kernel import limits
from yunhe.protocols.dsp import PeerRefused, PeerSilent, odrl

CTX = ["https://w3id.org/dspace/2025/1/context.jsonld"]
BASE = "/dsp/2025-1"
TCK = "did:web:tck.example"


@pytest.fixture
def net() -> Internet:
    return Internet()


@pytest.fixture
def provider(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    node = WebNode(tmp_path, "provider", net)
    yield node
    node.close()


@pytest.fixture
def consumer(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    node = WebNode(tmp_path, "consumer", net)
    yield node
    node.close()


@pytest.fixture
def manual(tmp_path: Path, net: Internet) -> Iterator[WebNode]:
    """A provider that holds every request, addressed by a peer that is not there."""
    net.fail = lambda request: httpx.Response(200) if "tck" in str(request.url) else None
    node = WebNode(tmp_path, "manual", net, AutomaticDecider(manual=True))
    yield node
    node.close()


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
    answers = iter([httpx.Response(code) for code in (503, 404, 401, 500)])
    net.fail = lambda request: next(answers, None)
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.FINALIZED)
    requests = [json.loads(b) for url, b in net.bodies if url.endswith("negotiations/request")]
    assert len(requests) == 5
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
    assert error.code == "PEER_REFUSED"


def test_an_unreachable_peer_shows_the_next_retry(consumer: WebNode) -> None:
    n = consumer.contracts.request("did:web:gone", "https://gone.example/dsp", CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).next_retry)
    assert consumer.contracts.negotiation(n.id).state is State.REQUESTED


# --- version and catalogue ------------------------------------------------------------------


def test_version_needs_no_token(provider: WebNode) -> None:
    got = provider.http.get("/.well-known/dspace-version")
    assert got.json() == {
        "protocolVersions": [{"version": "2025-1", "path": BASE, "binding": "HTTPS"}]
    }


def ask(node: WebNode, path: str, body: Any = None, sender: str = TCK, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    heads = {**node.auth(sender), **headers}
    return node.http.post(BASE + path, content=content, headers=heads)


def test_catalogue_pages_link_filter_and_compress(provider: WebNode, consumer: WebNode) -> None:
    for number in range(limits.DSP_CATALOG_PAGE + 5):
        code = f"P{number:04d}"
        provider.products[code] = Product(code=code)
    first = ask(provider, "/catalog/request", {}, **{"Accept-Encoding": "gzip"})
    assert first.headers["content-encoding"] == "gzip"
    assert len(first.json()["dataset"]) == limits.DSP_CATALOG_PAGE
    assert 'page=2>; rel="next"' in first.headers["link"]
    second = provider.http.get(
        f"{BASE}/catalog/request?page=2", headers={**provider.auth(TCK), "Accept-Encoding": "none"}
    )
    assert len(second.json()["dataset"]) == 6
    assert 'rel="previous"' in second.headers["link"]
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
    for page in ("0", "-1", "x", "٣", "99999999"):
        got = provider.http.get(f"{BASE}/catalog/request?page={page}", headers=head)
        assert got.status_code == 400
    beyond = provider.http.get(f"{BASE}/catalog/request?page=99", headers=head)
    assert "dataset" not in beyond.json()


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


# --- negotiation, spoken by hand ------------------------------------------------------------

OFFER = {"@id": "o1", "@type": "Offer", "target": CODE, **odrl.write(policy_from_terms(LISTED))}


def request_body(pid: str = "c1", **changes: Any) -> dict[str, Any]:
    return {
        "@context": CTX,
        "@type": "ContractRequestMessage",
        "consumerPid": pid,
        "offer": OFFER,
        "callbackAddress": "https://tck.example/",
        **changes,
    }


def begin(node: WebNode, pid: str = "c1") -> dict[str, str]:
    got = ask(node, "/negotiations/request", request_body(pid))
    assert got.status_code == 201, got.text
    body = got.json()
    assert body["state"] == "REQUESTED"
    return {"providerPid": body["providerPid"], "consumerPid": pid}


def show(node: WebNode, pid: str, kind: str = "negotiations") -> Any:
    return node.http.get(f"{BASE}/{kind}/{pid}", headers=node.auth(TCK)).json()


def test_the_provider_side_by_hand(manual: WebNode) -> None:
    pids = begin(manual)
    pid = pids["providerPid"]
    assert show(manual, pid)["state"] == "REQUESTED"
    manual.contracts.act(pid, Decision(Verb.OFFER, policy_from_terms(LISTED)))
    event = {"@type": "ContractNegotiationEventMessage", "eventType": "ACCEPTED", **pids}
    assert ask(manual, f"/negotiations/{pid}/events", event).status_code == 200
    until(lambda: show(manual, pid)["state"] == "AGREED")
    early = {**event, "eventType": "FINALIZED"}
    assert ask(manual, f"/negotiations/{pid}/events", early).status_code == 400
    verify = {"@type": "ContractAgreementVerificationMessage", "@id": "m1", **pids}
    path = f"/negotiations/{pid}/agreement/verification"
    assert ask(manual, path, verify).status_code == 200
    assert ask(manual, path, verify).status_code == 200  # the same message again
    assert ask(manual, path, {**verify, "@id": "m2"}).status_code == 400
    assert show(manual, pid)["state"] == "FINALIZED"
    over = {"@type": "ContractNegotiationTerminationMessage", **pids, "reason": [{"message": "x"}]}
    refused = ask(manual, f"/negotiations/{pid}/termination", over)
    assert refused.status_code == 400
    error = refused.json()
    assert error["@type"] == "ContractNegotiationError"
    assert {k: error[k] for k in pids} == pids
    [contract] = manual.contracts.contracts()
    assert contract.signature_level == "transport"


def test_counter_offers_and_termination_by_hand(manual: WebNode) -> None:
    pids = begin(manual)
    pid = pids["providerPid"]
    manual.contracts.act(pid, Decision(Verb.OFFER, policy_from_terms(FURTHEST)))
    # No callback, an empty constraint list, an extra context, no message id: all of it is read.
    counter = {
        "@context": [*CTX, "https://w3id.org/edc/dspace/v0.0.1"],
        "@type": "dspace:ContractRequestMessage",
        **pids,
        "offer": {"@id": "o2", "target": CODE,
                  "permission": [{"action": "use", "constraint": []}]},
    }  # fmt: skip
    path = f"/negotiations/{pid}/request"
    assert ask(manual, path, counter).status_code == 200
    assert ask(manual, path, counter).status_code == 400  # REQUESTED already
    assert show(manual, pid)["state"] == "REQUESTED"
    other = {**counter, "offer": {**OFFER, "target": "ANOTHER"}}
    manual.contracts.act(pid, Decision(Verb.OFFER, policy_from_terms(FURTHEST)))
    assert ask(manual, path, other).status_code == 400
    end = {"@type": "ContractNegotiationTerminationMessage", **pids, "code": 7,
           "reason": [{"message": "no"}, {"x": [1]}, 5]}  # fmt: skip
    assert ask(manual, f"/negotiations/{pid}/termination", end).status_code == 200
    n = manual.contracts.negotiation(pid)
    assert n.state is State.TERMINATED
    assert n.error is not None
    assert n.error.reasons == ("no", '{"x":[1]}', "5")


def test_the_consumer_side_by_hand(consumer: WebNode, net: Internet) -> None:
    net.fail = lambda request: httpx.Response(200) if "tck" in str(request.url) else None
    first = {
        "@type": "ContractOfferMessage",
        "providerPid": "p1",
        "offer": OFFER,
        "callbackAddress": "https://tck.example",
    }
    got = ask(consumer, "/negotiations/offers", first)
    assert (got.status_code, got.json()["state"]) == (201, "OFFERED")
    pids = {"providerPid": "p1", "consumerPid": got.json()["consumerPid"]}
    pid = pids["consumerPid"]
    again = {"@type": "ContractOfferMessage", "offer": OFFER, **pids}
    assert ask(consumer, f"/negotiations/{pid}/offers", again).status_code == 400  # OFFERED
    consumer.contracts.counter(pid, FURTHEST)
    assert ask(consumer, f"/negotiations/{pid}/offers", again).status_code == 200
    consumer.contracts.accept(pid)
    agreement = {
        "@id": "urn:uuid:a1",
        "@type": "Agreement",
        "target": CODE,
        "assigner": TCK,
        "assignee": consumer.did,
        **odrl.write(policy_from_terms(LISTED)),
    }
    said = {"@type": "ContractAgreementMessage", **pids, "agreement": agreement}
    assert ask(consumer, f"/negotiations/{pid}/agreement", said).status_code == 200
    assert show(consumer, pid)["state"] == "VERIFIED"
    final = {"@type": "ContractNegotiationEventMessage", "eventType": "FINALIZED", **pids}
    assert ask(consumer, f"/negotiations/{pid}/events", final).status_code == 200
    assert consumer.contracts.in_force("urn:uuid:a1", TCK).signature_level == "transport"

    # The transfer under it, with an address that says nothing of its token's end.
    t = consumer.contracts.request_transfer("urn:uuid:a1")
    data = {"@type": "DataAddress", "endpointType": "x", "endpoint": "https://tck.example/data",
            "endpointProperties": [{"name": "authorization", "value": "T"}]}  # fmt: skip
    ids = {"providerPid": "tp", "consumerPid": t.id}
    path = f"/transfers/{t.id}"
    early = {"@type": "TransferCompletionMessage", **ids}
    assert ask(consumer, f"{path}/completion", early).status_code == 400
    start = {"@type": "TransferStartMessage", **ids, "dataAddress": data}
    assert ask(consumer, f"{path}/start", start).status_code == 200
    assert show(consumer, t.id, "transfers")["state"] == "STARTED"
    assert consumer.contracts.access("urn:uuid:a1").token == "T"
    pause = {"@type": "TransferSuspensionMessage", **ids, "reason": []}
    assert ask(consumer, f"{path}/suspension", pause).status_code == 200
    assert ask(consumer, f"{path}/completion", early).status_code == 400
    stop = {"@type": "TransferTerminationMessage", **ids, "code": "X"}
    assert ask(consumer, f"{path}/termination", stop).status_code == 200
    assert consumer.contracts.transfer(t.id).state is TransferState.TERMINATED
    gone = ask(consumer, f"{path}/start", start)
    assert (gone.status_code, gone.json()["@type"]) == (400, "TransferError")


def test_the_provider_side_of_a_transfer_by_hand(provider: WebNode, consumer: WebNode) -> None:
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).contract_id)
    contract_id = consumer.contracts.negotiation(n.id).contract_id
    body = {
        "@type": "TransferRequestMessage",
        "consumerPid": "t1",
        "agreementId": contract_id,
        "format": "HttpData-PULL",
        "callbackAddress": consumer.url,
    }
    got = ask(provider, "/transfers/request", body, consumer.did)
    assert (got.status_code, got.json()["state"]) == (201, "REQUESTED")
    again = ask(provider, "/transfers/request", body, consumer.did)
    assert again.json()["providerPid"] == got.json()["providerPid"]
    stranger = ask(provider, "/transfers/request", body, TCK)
    other = {**body, "agreementId": "urn:no"}
    assert ask(provider, "/transfers/request", other, consumer.did).status_code == 400
    unknown = ask(provider, "/transfers/request", {**other, "consumerPid": "t1 "}, consumer.did)
    assert stranger.status_code == unknown.status_code == 404
    assert stranger.json()["code"] == unknown.json()["code"]
    pid = got.json()["providerPid"]
    done = {"@type": "TransferCompletionMessage", "providerPid": pid, "consumerPid": "t1"}
    assert ask(provider, f"/transfers/{pid}/completion", done, TCK).status_code == 404
    assert ask(provider, f"/transfers/{pid}/completion", done, consumer.did).status_code == 200
    provider.contracts.terminate(contract_id, "breach")
    late = ask(provider, "/transfers/request", {**body, "consumerPid": "t2"}, consumer.did)
    assert (late.status_code, late.json()["code"]) == (400, "CONTRACT_TERMINATED")


# --- strangers and hostile bodies -----------------------------------------------------------


def test_no_token_or_anothers_token_is_refused(provider: WebNode) -> None:
    got = provider.http.post(f"{BASE}/negotiations/request", json=request_body())
    assert (got.status_code, got.json()["@type"]) == (401, "ContractNegotiationError")
    assert provider.http.get(f"{BASE}/catalog/datasets/x").status_code == 401
    assert provider.contracts.negotiations() == []


def test_anothers_negotiation_looks_like_none(manual: WebNode) -> None:
    pids = begin(manual)
    pid = pids["providerPid"]
    mallory = "did:web:mallory.example"
    event = {"@type": "ContractNegotiationEventMessage", "eventType": "ACCEPTED"}
    theirs = ask(manual, f"/negotiations/{pid}/events", {**event, **pids}, mallory)
    none = {**event, "providerPid": "nope", "consumerPid": "c1"}
    nothing = ask(manual, "/negotiations/nope/events", none, mallory)
    assert theirs.status_code == nothing.status_code == 404
    assert theirs.json()["code"] == nothing.json()["code"]
    for path in (pid, "nope"):
        got = manual.http.get(f"{BASE}/negotiations/{path}", headers=manual.auth(mallory))
        assert got.status_code == 404
        assert got.json()["providerPid"] == path
    assert show(manual, pid)["state"] == "REQUESTED"


HOSTILE: list[Any] = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"{",
    b"\xff\xfe",
    b'{"a":1,"a":2}',
    b'{"a":NaN}',
    b"[" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    {},
    {"@type": 7},
    {"@type": "CatalogRequestMessage"},
    request_body(pid=""),
    request_body(consumerPid=7),
    request_body(consumerPid={"@id": ["x"]}),
    request_body(consumerPid="x" * 300),
    request_body(consumerPid="\ud800"),
    request_body(consumerPid="a\x00b"),
    request_body(odd=1e999),
    request_body(offer={**OFFER, "@id": "\udc00"}),
    request_body(offer={**OFFER, "permission": [{"action": "\ud800"}]}),
    request_body(offer={**OFFER, "permission": [{"action": "use", "odd": 10**400}]}),
    b'{"a":' + b"9" * 5000 + b"}",
    request_body(providerPid="p"),
    request_body(callbackAddress=None),
    request_body(callbackAddress="ftp://x"),
    request_body(callbackAddress="http://tck.example"),
    request_body(callbackAddress="https://u:p@tck.example"),
    request_body(callbackAddress="https://tck.example?x=1"),
    request_body(callbackAddress="https://[::1"),
    request_body(callbackAddress="https://x:99999999"),
    request_body(callbackAddress="https://x y"),
    request_body(callbackAddress="https://x/" + "y" * 2000),
    request_body(offer=None),
    request_body(offer=[OFFER]),
    request_body(offer={**OFFER, "@id": None}),
    request_body(offer={**OFFER, "target": None}),
    request_body(offer={**OFFER, "target": 3}),
    request_body(offer={**OFFER, "permission": "all"}),
    request_body(offer={**OFFER, "permission": [[]]}),
    request_body(offer={**OFFER, "inheritFrom": "urn:x"}),
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_first_requests_leave_nothing(manual: WebNode, body: Any) -> None:
    got = ask(manual, "/negotiations/request", body)
    assert got.status_code in (400, 413)
    error = got.json()
    assert error["@type"] == "ContractNegotiationError"
    assert error["providerPid"]
    assert error["consumerPid"]
    assert "Traceback" not in got.text
    assert manual.contracts.negotiations() == []
    assert manual.pending() == []


TAILS = ["request", "offers", "agreement", "agreement/verification", "events", "termination"]


@pytest.mark.parametrize("tail", TAILS)
def test_hostile_later_messages_change_nothing(manual: WebNode, tail: str) -> None:
    pids = begin(manual)
    pid = pids["providerPid"]
    for body in HOSTILE:
        got = ask(manual, f"/negotiations/{pid}/{tail}", body)
        assert 400 <= got.status_code < 500, (body, got.text)
    wrong = {**pids, "consumerPid": "c9", "eventType": "ACCEPTED", "offer": OFFER, "agreement": {}}
    assert ask(manual, f"/negotiations/{pid}/{tail}", wrong).status_code in (400, 404)
    assert show(manual, pid)["state"] == "REQUESTED"


@pytest.mark.parametrize("tail", ["start", "completion", "suspension", "termination"])
def test_hostile_transfer_messages(provider: WebNode, tail: str) -> None:
    for body in [*HOSTILE, {"providerPid": "x", "consumerPid": "y", "dataAddress": 3}]:
        got = ask(provider, f"/transfers/x/{tail}", body)
        assert 400 <= got.status_code < 500
        assert got.json()["@type"] == "TransferError"
    for body in HOSTILE:
        assert 400 <= ask(provider, "/transfers/request", body).status_code < 500


def test_ten_megabytes_are_refused_while_they_arrive(manual: WebNode) -> None:
    got = ask(manual, "/negotiations/request", b"[" + b"1," * (5 << 20))
    assert got.status_code == 413
    packed = gzip.compress(b" " * (10 << 20))
    got = ask(manual, "/negotiations/request", packed, **{"Content-Encoding": "gzip"})
    assert got.status_code == 400
    assert manual.contracts.negotiations() == []


def test_a_replayed_first_request_makes_no_second_negotiation(manual: WebNode) -> None:
    body = request_body(**{"@id": "urn:uuid:m1"})
    first, second = (ask(manual, "/negotiations/request", body).json() for _ in range(2))
    assert first == second
    assert len(manual.contracts.negotiations()) == 1
    fresh = ask(manual, "/negotiations/request", {**body, "@id": "urn:uuid:m2"})
    assert fresh.status_code == 400

"""What Eclipse EDC does differently, each from its real bodies (docs/interop.md), without EDC."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from contracts.nodes import LISTED, Product
from protocols.dsp.hand import BASE, CTX, TCK, ask, request_body
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import (
    PULL,
    Constraint,
    Policy,
    Rule,
    State,
    policy_from_terms,
    same_policy,
    terms_from_policy,
)
from yunhe.kernel import limits
from yunhe.protocols.dsp import odrl

EDC_CONTEXT = [*CTX, "https://w3id.org/edc/dspace/v0.0.1"]
EDC_NS = "https://w3id.org/edc/v0.0.1/ns/"
FOLDED = '[{"@value":"patients.age"},{"@value":"patients.id"}]'


def as_edc(policy: Policy) -> dict[str, Any]:
    """Our rules as EDC sends them back: lists folded, units and our own members gone."""
    said = odrl.write(policy)
    del said["odrl:conflict"]
    for rule in said["permission"]:
        for constraint in [
            *rule["constraint"],
            *(c for d in rule.get("duty", []) for c in d["constraint"]),
        ]:
            constraint.pop("odrl:unit", None)
            value = constraint["rightOperand"]
            if isinstance(value, list):
                folded = json.dumps([{"@value": v} for v in value], separators=(",", ":"))
                constraint["rightOperand"] = value[0] if len(value) == 1 else folded
    return said


def edc_request(**changes: Any) -> dict[str, Any]:
    offer = {
        "@id": "ZGVm:YXNzZXQ=:dXVpZA==",
        "@type": "Offer",
        "assigner": "did:web:provider.example",
        "target": CODE,
        **as_edc(policy_from_terms(LISTED)),
    }
    return {
        **request_body("edc-1", **{"@context": EDC_CONTEXT, "@id": "m-1"}),
        "offer": offer,
        **changes,
    }


# --- lists and units ------------------------------------------------------------------------


def test_a_folded_list_is_read_and_a_text_that_looks_like_one_survives() -> None:
    body = {"action": "odrl:read", "constraint": [
        {"leftOperand": "urn:yunhe:odrl:dataField", "operator": "isPartOf", "rightOperand": FOLDED}
    ]}  # fmt: skip
    policy = odrl.read({"permission": [body]})
    assert policy.rules[0].constraints[0].value == ("patients.age", "patients.id")
    odd = Policy((Rule("permission", "read", (Constraint("dataField", "eq", FOLDED),)),))
    assert odrl.read(odrl.write(odd)) == odd


@pytest.mark.parametrize("text", ['[{"@value":', '[{"@value":1}]', '[{"@value":"a","x":1}]', "[1]"])
def test_what_is_no_folded_list_stays_a_text(text: str) -> None:
    one = {"leftOperand": "odrl:purpose", "operator": "eq", "rightOperand": text}
    policy = odrl.read({"permission": [{"action": "odrl:read", "constraint": [one]}]})
    assert policy.rules[0].constraints[0].value == text


def test_one_value_is_the_list_of_it() -> None:
    listed = Policy((Rule("permission", "read", (Constraint("purpose", "isAnyOf", ("a",)),)),))
    single = Policy((Rule("permission", "read", (Constraint("purpose", "isAnyOf", "a"),)),))
    assert same_policy(listed, single)
    assert not same_policy(listed, Policy((replace(single.rules[0], action="x"),)))


def test_terms_survive_what_edc_makes_of_them() -> None:
    assert terms_from_policy(odrl.read(as_edc(policy_from_terms(LISTED)))) == LISTED


# --- the conversation -----------------------------------------------------------------------


def test_edc_gets_the_agreement_in_the_members_it_knows(provider: WebNode, net: Internet) -> None:
    net.fail = lambda request: httpx.Response(200) if "tck" in str(request.url) else None
    got = ask(provider, "/negotiations/request", edc_request())
    assert got.status_code == 201, got.text
    sent = until(lambda: [body for url, body in net.bodies if url.endswith("/agreement")])
    agreement = json.loads(sent[0])["agreement"]
    assert "urn:yunhe:policy" not in agreement
    assert terms_from_policy(odrl.read(agreement, frozenset({"timestamp"}))) == LISTED


def test_a_200_without_a_body_opens_a_negotiation(consumer: WebNode, net: Internet) -> None:
    net.fail = lambda request: httpx.Response(200)
    n = consumer.contracts.request(TCK, "https://edc.example/protocol/2025-1", CODE, "o", LISTED)
    until(lambda: any("edc.example" in url for url, _ in net.bodies))
    assert consumer.contracts.negotiation(n.id).state is State.REQUESTED
    [url] = [url for url, _ in net.bodies]
    assert url == "https://edc.example/protocol/2025-1/negotiations/request"


def test_409_and_its_list_of_messages_end_it_with_the_reason(
    consumer: WebNode, net: Internet
) -> None:
    body = {"@type": "ContractNegotiationError", "code": "409", "reason": ["cannot be requested"]}
    net.fail = lambda request: httpx.Response(409, json=body)
    n = consumer.contracts.request(TCK, "https://edc.example/p", CODE, "o", LISTED)
    until(lambda: consumer.contracts.negotiation(n.id).state is State.TERMINATED)
    error = consumer.contracts.negotiation(n.id).error
    assert error is not None
    assert "cannot be requested" in error.reasons[0]


def test_409_within_a_conversation_is_waited_out(
    provider: WebNode, net: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To give the agreement up would be to end what the peer is about to hear of."""
    monkeypatch.setattr(limits, "DSP_EARLY_RETRY_S", 600)
    monkeypatch.setattr(limits, "DSP_BUSY_S", 0.01)
    answers = [409, 404, 409, 409, 404]
    net.fail = lambda request: httpx.Response(answers.pop(0) if answers else 200)
    got = ask(provider, "/negotiations/request", edc_request())
    until(lambda: not answers and not provider.pending(), 30)
    found = provider.contracts.negotiation(got.json()["providerPid"])
    assert (found.state, found.error) == (State.AGREED, None)


def test_who_is_busy_is_left_alone_longer_than_it_takes_to_repeat_itself(
    provider: WebNode, net: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DSP_BUSY_S", 3600)
    net.fail = lambda request: httpx.Response(409)
    ask(provider, "/negotiations/request", edc_request())
    waits = until(lambda: [letter for letter in provider.pending() if letter.attempts])
    assert [letter.kind for letter in waits] == ["dsp.agreement"]
    found = provider.contracts.negotiations()[0]
    assert found.next_retry is not None
    assert (found.next_retry - provider.db.clock.now()).total_seconds() > 1800


def test_401_is_tried_again_with_a_fresh_token(consumer: WebNode, net: Internet) -> None:
    answers = [401, 200]
    net.fail = lambda request: httpx.Response(answers.pop(0) if answers else 200)
    consumer.contracts.request(TCK, "https://edc.example/p", CODE, "o", LISTED)
    until(lambda: not answers)
    first, second = (json.loads(body)["@id"] for _, body in net.bodies[:2])
    assert first == second


# --- catalogue and data address -------------------------------------------------------------


def spec(**said: Any) -> dict[str, Any]:
    body = {"@type": "QuerySpec", "sortOrder": "ASC", "filterExpression": [], **said}
    return {"@context": EDC_CONTEXT, "@type": "CatalogRequestMessage", "filter": [body]}


def codes(provider: WebNode, **said: Any) -> list[str]:
    got = ask(provider, "/catalog/request", spec(**said))
    assert got.status_code == 200, got.text
    return [dataset["@id"] for dataset in got.json().get("dataset", [])]


def test_the_query_spec_says_which_part_of_the_list(provider: WebNode) -> None:
    for number in range(9):
        provider.products[f"P{number}"] = Product(code=f"P{number}")
    everything = codes(provider, offset=0, limit=50)
    assert len(everything) == 10
    assert codes(provider, offset=4, limit=3) == everything[4:7]
    assert codes(provider, offset=10, limit=3) == []
    criterion = {"operandLeft": f"{EDC_NS}id", "operator": "=", "operandRight": "P3"}
    assert codes(provider, filterExpression=[criterion]) == ["P3"]


@pytest.mark.parametrize(
    "said",
    [
        {"offset": -1},
        {"offset": "x"},
        {"limit": 10**9},
        {"filterExpression": [{"operandLeft": "name", "operator": "=", "operandRight": "x"}]},
        {"filterExpression": [{"operandLeft": "id", "operator": "like", "operandRight": "x"}]},
        {"filterExpression": [{"operandLeft": "id", "operator": "=", "operandRight": 7}]},
        {"filterExpression": ["x"]},
    ],
)
def test_what_the_query_spec_cannot_ask_is_refused(provider: WebNode, said: Any) -> None:
    got = ask(provider, "/catalog/request", spec(**said))
    assert (got.status_code, got.json()["code"]) == (400, "DSP_FILTER_UNSUPPORTED")


def test_a_data_address_under_edcs_names_is_read(
    consumer: WebNode, provider: WebNode, net: Internet
) -> None:
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    contract_id = until(lambda: consumer.contracts.negotiation(n.id).contract_id)
    net.fail = lambda request: httpx.Response(200)
    t = consumer.contracts.request_transfer(contract_id, PULL)
    said = {"endpoint": "http://edc.example/public", "authorization": "TOKEN", "authType": "bearer"}
    properties = [
        {"@type": "EndpointProperty", "name": EDC_NS + name, "value": value}
        for name, value in said.items()
    ]
    body = {
        "@context": EDC_CONTEXT,
        "@type": "TransferStartMessage",
        "providerPid": "p-1",
        "consumerPid": t.id,
        "dataAddress": {
            "@type": "DataAddress",
            "endpointType": "https://w3id.org/idsa/v4.1/HTTP",
            "endpointProperties": properties,
        },
    }
    got = ask(consumer, f"/transfers/{t.id}/start", body, provider.did)
    assert got.status_code == 200, got.text
    access = consumer.contracts.access(contract_id, wait_s=2)
    assert (access.endpoint, access.token) == (said["endpoint"], "TOKEN")


def test_our_data_address_has_edcs_names_too(
    provider: WebNode, consumer: WebNode, net: Internet
) -> None:
    n = consumer.contracts.request(provider.did, provider.url, CODE, "o", LISTED)
    contract_id = until(lambda: consumer.contracts.negotiation(n.id).contract_id)
    access = consumer.contracts.access(contract_id, wait_s=10)
    [start] = [json.loads(body) for url, body in net.bodies if url.endswith("/start")]
    said = {p["name"]: p["value"] for p in start["dataAddress"]["endpointProperties"]}
    assert said[EDC_NS + "endpoint"] == access.endpoint
    assert said[EDC_NS + "authorization"] == said["authorization"] == access.token
    assert BASE in provider.url

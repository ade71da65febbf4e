"""Every negotiation and transfer endpoint, good and bad, spoken by hand."""

from __future__ import annotations

import httpx

from contracts.nodes import FURTHEST, LISTED
from protocols.dsp.hand import CTX, OFFER, TCK, ask, begin, show
from protocols.dsp.web import CODE, Internet, WebNode, until
from yunhe.contracts import (
    State,
    TransferState,
    Verb,
    policy_from_terms,
)
from yunhe.contracts.decide import Decision
from yunhe.protocols.dsp import odrl
from yunhe.protocols.dsp.wire import SIGNATURE


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
    assert ask(manual, path, {**verify, "@id": "m2"}).status_code == 200  # a peer that is not sure
    signed = {**verify, "@id": "m3", SIGNATURE: "e30..AA"}
    assert ask(manual, path, signed).status_code == 400  # other words are no repetition
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

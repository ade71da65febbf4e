"""Strangers, hostile bodies and replays at the HTTPS binding."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from protocols.dsp.hand import BASE, OFFER, ask, begin, request_body, show
from protocols.dsp.web import WebNode


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
    fresh = {**body, "@id": "urn:uuid:m2"}
    assert ask(manual, "/negotiations/request", fresh).json() == first  # a peer that is not sure
    others = (
        {"offer": {**body["offer"], "permission": [{"action": "use"}]}},
        {"offer": {**body["offer"], "@id": "another"}},
        {"callbackAddress": "https://elsewhere.example/"},
    )
    for number, other in enumerate(others, start=3):
        another = {**body, "@id": f"urn:uuid:m{number}", **other}
        assert ask(manual, "/negotiations/request", another).status_code == 400
    assert len(manual.contracts.negotiations()) == 1

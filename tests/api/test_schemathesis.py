"""Schemathesis over the OpenAPI of both faces of one node: whatever is sent, no answer is a 5xx.

Every operation gets requests that its schema allows and requests that it forbids, the same ones
in every run. The management API is called by an admin; the protocol faces by a stranger, and
those of DSP and DCP by a member too, so that what stands behind the door is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok

from api.conftest import Lone, problem
from yunhe.identity import Peer, SelfIssued

HOUSE = "/api/v1"
DSP, DCP = "/dsp/", "/dcp/"
FACES = (DSP, DCP, "/tds/", "/data/", "/log/", "/.well-known/")
READY = f"{HOUSE}/health/ready"  # this node is never started, so 503 is right: tests/monitor
EXAMPLES = 24  # of each operation and mode: what bounds a test here
# How long they take is the machine's affair: an hour of load must not fail what holds. Only what
# hangs is ended.
pytestmark = pytest.mark.timeout(1800)
MEMBER = "did:web:member.example"
SETTINGS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def operations(lone: Lone, *prefixes: str) -> Iterator[Any]:
    """The operations of the node's own schema below one of `prefixes`."""
    app = lone.node.app
    assert isinstance(app, FastAPI)
    for each in schemathesis.openapi.from_dict(app.openapi()).get_all_operations():
        assert isinstance(each, Ok), each
        operation = each.ok()
        if operation.path.startswith(prefixes) and operation.path != READY:
            yield operation


def modes(operation: Any) -> list[GenerationMode]:
    """What can be generated: any text is right for a path, so only the rest can be wrong."""
    made = [GenerationMode.POSITIVE]
    if operation.body or operation.query:
        made.append(GenerationMode.NEGATIVE)
    return made


def send(lone: Lone, case: Case[Any], role: str) -> httpx.Response:
    """The case as one request to the node; what fails inside it raises here."""
    parts = case.as_transport_kwargs(base_url=lone.node.config.address)
    asked: dict[str, Any] = {
        name: parts[name] for name in ("params", "json", "headers") if name in parts
    }
    if "data" in parts:
        asked["content"] = parts["data"]
    asked["headers"] = dict(asked["headers"])
    if role:
        asked["headers"]["Authorization"] = f"Bearer {lone.tokens[role]}"
    answer: httpx.Response = lone.portal.call(
        lambda: lone.http.request(case.method, parts["url"], **asked)
    )
    return answer


def refusal(case: Case[Any], answer: httpx.Response) -> None:
    """A 4xx says what is wrong: in a problem at the management API, as JSON everywhere."""
    if case.path.startswith(HOUSE):
        problem(answer)
    assert isinstance(answer.json(), dict)
    assert "json" in answer.headers["content-type"]
    assert "Traceback" not in answer.text


def run(lone: Lone, prefixes: tuple[str, ...], role: str = "") -> dict[str, set[int]]:
    """All examples of all operations; the statuses seen, by operation."""
    seen: dict[str, set[int]] = {}

    def tried(operation: Any, mode: GenerationMode) -> None:
        @SETTINGS
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case: Case[Any]) -> None:
            answer = send(lone, case, role)
            case.validate_response(answer, checks=[not_a_server_error])
            if answer.status_code >= 400:
                refusal(case, answer)
            seen.setdefault(operation.label, set()).add(answer.status_code)

        one()

    for operation in operations(lone, *prefixes):
        for mode in modes(operation):
            tried(operation, mode)
    return seen


def test_the_management_api(lone: Lone) -> None:
    seen = run(lone, (HOUSE,), "admin")
    assert len(seen) >= 45
    assert seen["POST /api/v1/tokens"] == {201, 400}
    assert [label for label, found in seen.items() if 401 in found] == []


def test_the_protocol_faces_to_a_stranger(lone: Lone) -> None:
    seen = run(lone, FACES)
    assert {label.split()[1].split("/")[1] for label in seen} == {f.strip("/") for f in FACES}
    assert len(seen) >= 30
    for label in ("POST /tds/{name}", "POST /dsp/2025-1/negotiations/request"):
        assert seen[label] == {401}, label


def test_dsp_and_dcp_to_a_member(lone: Lone, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer(MEMBER, True, "m", "91330100MA00000665", "M", {})
    monkeypatch.setattr(lone.node.verifier, "authenticate", lambda _: peer)
    verified = (peer, lambda _tx: peer)
    monkeypatch.setattr(lone.node.verifier, "verify", lambda _: verified)
    issued = SelfIssued(MEMBER, {}, "token")
    monkeypatch.setattr(lone.node.identity.foreign, "authenticate", lambda _: issued)
    seen = run(lone, (DSP, DCP))
    assert len(seen) >= 25
    assert 401 not in set().union(*seen.values())

"""The flows of the official kit without Java: one table (tck/flows.txt), a kit in Python.

Every row is played against a node in its TCK configuration, over its real routes, outbox and
delivery; each body that leaves it is checked. The two rows that the kit switches off run here.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tck import kit
from tck.node import US, Cut
from tck.script import Flow, read_flows

from protocols.dsp import shapes
from protocols.dsp.web import AppClient

FLOWS = read_flows()
BASE = "/dsp/2025-1"
KIT = "https://kit.example"
WAIT_S = 10.0
USE = {"permission": [{"action": "use", "constraint": []}]}
# verb: the tail of its URL and the `@type` of its message
SENDS = {
    "counter": ("request", "ContractRequestMessage"),
    "accept": ("events", "ContractNegotiationEventMessage"),
    "verify": ("agreement/verification", "ContractAgreementVerificationMessage"),
    "offer": ("offers", "ContractOfferMessage"),
    "agree": ("agreement", "ContractAgreementMessage"),
    "finalize": ("events", "ContractNegotiationEventMessage"),
    "start": ("start", "TransferStartMessage"),
    "suspend": ("suspension", "TransferSuspensionMessage"),
    "complete": ("completion", "TransferCompletionMessage"),
}
TYPES = {verb: type_ for verb, (_, type_) in SENDS.items()}
EVENTS = {"accept": "ACCEPTED", "finalize": "FINALIZED"}


class Post(httpx.BaseTransport):
    """Where the node's messages arrive; the kit reads them one by one."""

    def __init__(self) -> None:
        self.arrived: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.answers: dict[str, str] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.read())
        shapes.check(body)
        self.arrived.put((request.url.path, body))
        if not request.url.path.endswith("s/request"):
            return httpx.Response(200)  # no body and no content type, as the kit answers
        about = body.get("agreementId") or body["offer"]["target"]
        return httpx.Response(201, json={"providerPid": f"kit-{about}"})

    def next(self) -> tuple[str, dict[str, Any]]:
        return self.arrived.get(timeout=WAIT_S)


@pytest.fixture(scope="module")
def post() -> Post:
    return Post()


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory, post: Post) -> Iterator[Cut]:
    folder = tmp_path_factory.mktemp("tck")
    made = Cut(folder, "https://cut.example", KIT, httpx.Client(transport=post), pause_s=0.02)
    made.start()
    yield made
    made.stop()


class Play:
    """One row: the kit's side of it."""

    def __init__(self, flow: Flow, cut: Cut, post: Post) -> None:
        self.flow, self.post = flow, post
        self.http = AppClient(cut.app)
        self.kind = "transfers" if flow.group.startswith("TP") else "negotiations"
        self.we_provide = flow.group.endswith("_C")
        self.theirs = f"kit-{flow.key}"
        self.ours = ""

    def run(self) -> None:
        for step in self.flow.kit:
            match step[0]:
                case "<":
                    self.expect(step[1:])
                case "=":
                    self.see(step[1:])
                case "!":
                    self.send(step[1:], refused=True)
                case _:
                    self.send(step, refused=False)
        assert self.post.arrived.empty(), "it said more than the table has"

    def pids(self) -> dict[str, str]:
        names = (
            ("consumerPid", "providerPid") if self.we_provide else ("providerPid", "consumerPid")
        )
        return {names[0]: self.ours, names[1]: self.theirs}

    def send(self, verb: str, refused: bool) -> None:
        if hasattr(self, f"send_{verb}"):
            getattr(self, f"send_{verb}")(refused)
            return
        tail, type_ = SENDS.get(verb) or ("termination", f"{self.name}TerminationMessage")
        body = {"@type": type_, "@context": shapes.CONTEXT, **self.pids(), **self.members(verb)}
        got = self.http.post(f"{BASE}/{self.kind}/{self.ours}/{tail}", json=body)
        shapes.check(got.json())
        if refused:
            assert 400 <= got.status_code < 500
            assert got.status_code != 404
            assert got.json()["@type"] == f"{self.name.removesuffix('Process')}Error"
        else:
            assert got.status_code == 200, got.text

    @property
    def name(self) -> str:
        return "Transfer" if self.kind == "transfers" else "ContractNegotiation"

    def offer(self) -> dict[str, Any]:
        id_ = f"CD123:{self.flow.key}:456"
        return {"@type": "Offer", "@id": id_, "target": self.flow.key, **USE}

    def members(self, verb: str) -> dict[str, Any]:
        match verb:
            case "counter" | "offer":
                return {"offer": self.offer()}
            case "accept" | "finalize":
                return {"eventType": EVENTS[verb]}
            case "agree":
                parties = {"assigner": "TCK_PARTICIPANT", "assignee": US}
                named = {"@id": f"agreement-{self.flow.key}", "@type": "Agreement", **parties}
                return {"agreement": {**self.offer(), **named}}
            case "start" if self.we_provide:
                endpoint = {"endpointType": "https://w3id.org/idsa/v4.1/HTTP", "endpoint": KIT}
                return {"dataAddress": {"@type": "DataAddress", **endpoint}}
            case "terminate":
                return {"code": "1", "reason": [{"message": "enough"}]}
        return {}

    def send_request(self, refused: bool) -> None:
        body: dict[str, Any] = {"consumerPid": self.theirs, "callbackAddress": KIT}
        if self.kind == "transfers":
            body |= {"@type": "TransferRequestMessage", "agreementId": self.flow.key}
            body["format"] = "HttpData-PULL"
        else:
            body |= {"@type": "ContractRequestMessage", "offer": self.offer()}
        got = self.http.post(f"{BASE}/{self.kind}/request", json=body)
        assert got.status_code == 201, got.text
        shapes.check(got.json())
        assert got.json()["state"] == "REQUESTED"
        self.ours = got.json()["providerPid"]

    def send_trigger(self, refused: bool) -> None:
        wish = {"providerId": "TCK_PARTICIPANT", "connectorAddress": KIT}
        if self.kind == "transfers":
            wish |= {"agreementId": self.flow.key, "format": "HttpData-PULL"}
        else:
            wish |= {"offerId": f"offer{self.flow.key}", "datasetId": self.flow.key}
        assert self.http.post(f"/tck/{self.kind}/requests", json=wish).status_code == 200

    def send_version(self, refused: bool) -> None:
        got = self.http.get("/.well-known/dspace-version")
        assert got.json()["protocolVersions"] == [
            {"version": "2025-1", "path": BASE, "binding": "HTTPS"}
        ]

    def send_catalog(self, refused: bool) -> None:
        got = self.http.post(f"{BASE}/catalog/request", json={"@type": "CatalogRequestMessage"})
        shapes.check(got.json())
        assert self.flow.key in {item["@id"] for item in got.json()["dataset"]}

    def send_dataset(self, refused: bool) -> None:
        got = self.http.get(f"{BASE}/catalog/datasets/{self.flow.key}")
        shapes.check(got.json())
        assert (got.status_code, got.json()["@type"]) == (
            (404, "CatalogError") if refused else (200, "Dataset")
        )

    def expect(self, verb: str) -> None:
        path, body = self.post.next()
        if verb == "request" and not self.ours:
            assert path == f"/{self.kind}/request"
            self.ours = body["consumerPid"]
            return
        type_ = TYPES.get(verb) or f"{self.name}TerminationMessage"
        type_ = "ContractRequestMessage" if verb == "request" else type_
        assert (body["@type"], body.get("eventType")) == (type_, EVENTS.get(verb))
        assert {name: body[name] for name in ("providerPid", "consumerPid")} == self.pids()
        assert path.startswith(f"/{self.kind}/{self.theirs}/")

    def see(self, state: str) -> None:
        end = time.monotonic() + WAIT_S
        while True:
            got = self.http.get(f"{BASE}/{self.kind}/{self.ours}").json()
            shapes.check(got)
            said = {name: got[name] for name in ("state", "providerPid", "consumerPid")}
            if said == {"state": state, **self.pids()} or time.monotonic() > end:
                break
            time.sleep(0.01)
        assert said == {"state": state, **self.pids()}


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.id for flow in FLOWS])
def test_flow(flow: Flow, cut: Cut, post: Post) -> None:
    Play(flow, cut, post).run()


def test_the_table_has_the_kits_65() -> None:
    on = [flow for flow in FLOWS if not flow.off]
    groups = {flow.group for flow in on}
    counted = {group: sum(flow.group == group for flow in on) for group in groups}
    assert counted == {"MET": 1, "CAT": 3, "CN": 15, "CN_C": 16, "TP": 15, "TP_C": 15}
    assert len(on) == 65


def test_the_kits_output_is_read_and_its_exit_code_is_not() -> None:
    flows = [flow for flow in FLOWS if flow.group == "CAT"]
    output = (
        "[2026-01-01T00:00:00] Started: CAT:01-01: Verify a thing\n"
        "[2026-01-01T00:00:00] SUCCESSFUL: CAT:01-01\n"
        "FAILED: CAT:01-02\nPassed tests: 1\nFailed tests: 1\n"
        "     [CAT:01-02: Verify: another]\n     Unexpected 404 received\n"
    )
    found = kit.verdicts(output, flows)
    assert [(v.outcome, v.passed) for v in found] == [
        ("SUCCESSFUL", True),
        ("FAILED", False),
        ("MISSING", False),
    ]
    assert found[1].why == "Unexpected 404 received"
    assert kit.counts(output) == (1, 1)
    assert kit.counts("") == (-1, -1)

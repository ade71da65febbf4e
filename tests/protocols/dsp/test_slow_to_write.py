"""A connector that writes down what our reply told it only after a while, as Eclipse EDC does.

Over sockets: the peer is a server and a sender of its own. Its state machine says a message, reads
the reply, and 100 ms later has its new state; what comes before that it refuses with 409, forgets
that it was busy, and says its own message once more under a fresh id; a 4xx ends it.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import uvicorn

from protocols.dsp.hand import CTX, OFFER
from protocols.dsp.web import Internet, WebNode, until
from yunhe.contracts import PULL, State, TransferState
from yunhe.kernel import limits

DID = "did:web:eclipse.example"
ADDRESS = "https://eclipse.example/protocol/2025-1"
BUSY_S = 0.1
PID = "pid-of-eclipse"
# What it says, what it is once that is written, and what it then takes.
STEPS = {
    "negotiations/request": "REQUESTED",
    "agreement/verification": "VERIFIED",
    "transfers/request": "REQUESTED",
}
TAKES = {
    "agreement": ("REQUESTED", "AGREED"),
    "events": ("VERIFIED", "FINALIZED"),
    "start": ("REQUESTED", "STARTED"),
}


class Eclipse:
    """The consumer. `said` and `heard` are its log: what it posted, what came and the answer."""

    def __init__(self, node: str, auth: dict[str, str]) -> None:
        self.state, self.theirs, self.contract = "", "", ""
        self.said: list[tuple[str, int, float]] = []
        self.heard: list[tuple[str, int, float]] = []
        self._node, self._auth = node, auth
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._last: tuple[str, str, dict[str, Any]] = ("", "", {})
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = peer.hear(self.path.rpartition("/")[2], body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._run(self.server.serve_forever)

    def _run(self, call: Any, *args: Any) -> None:
        thread = threading.Thread(target=call, args=args)
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        self.server.shutdown()
        for thread in self._threads:
            thread.join()
        self.server.server_close()

    def say(self, path: str, step: str, body: dict[str, Any]) -> None:
        """Post one message, and be what it leads to a while after the reply."""
        self._last = (path, step, body)
        self._run(self._post, path, step, body)

    def _post(self, path: str, step: str, body: dict[str, Any]) -> None:
        began = time.monotonic()
        whole = {"@context": CTX, "@id": f"urn:uuid:{uuid.uuid4()}", **body}
        got = httpx.post(f"{self._node}/{path}", json=whole, headers=self._auth, trust_env=False)
        time.sleep(BUSY_S)
        with self._lock:
            self.said.append((step, got.status_code, began))
            if got.status_code >= 400:
                self.state = "TERMINATED"
            elif self.state in ("", "AGREED"):
                self.state = STEPS[step]
                self.theirs = got.json()["providerPid"]

    def hear(self, tail: str, body: dict[str, Any]) -> int:
        with self._lock:
            now, (wanted, then) = time.monotonic(), TAKES[tail]
            if self.state != wanted:
                self.heard.append((tail, 409, now))
                self._run(self._post, *self._last)
                return 409
            self.heard.append((tail, 200, now))
            self.state = then
        if tail == "agreement":
            self.contract = body["agreement"]["@id"]
            pids = {"providerPid": body["providerPid"], "consumerPid": PID}
            verified = {"@type": "ContractAgreementVerificationMessage", **pids}
            step = "agreement/verification"
            self.say(f"negotiations/{pids['providerPid']}/{step}", step, verified)
        return 200

    def negotiate(self) -> None:
        asked = {"consumerPid": PID, "offer": OFFER, "callbackAddress": ADDRESS}
        step = "negotiations/request"
        self.say(step, step, {"@type": "ContractRequestMessage", **asked})

    def transfer(self) -> None:
        for thread in self._threads[1:]:
            thread.join()  # nothing of the negotiation is under way any more
        self.state = ""
        asked = {"agreementId": self.contract, "format": PULL, "callbackAddress": ADDRESS}
        step = "transfers/request"
        self.say(step, step, {"@type": "TransferRequestMessage", "consumerPid": PID, **asked})


@pytest.fixture
def eclipse(provider: WebNode, net: Internet) -> Iterator[Eclipse]:
    """Such a peer of `provider`, each with a socket of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(provider.app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    until(lambda: server.started)
    port = listening.getsockname()[1]
    peer = Eclipse(f"http://127.0.0.1:{port}/dsp/2025-1", provider.auth(DID))
    there = f"http://127.0.0.1:{peer.server.server_port}"

    def forward(request: httpx.Request) -> httpx.Response | None:
        if request.url.host != "eclipse.example":
            return None
        body = request.content
        got = httpx.post(there + request.url.path, content=body, trust_env=False)
        return httpx.Response(got.status_code)

    net.fail = forward
    yield peer
    provider.outbox.stop()
    peer.stop()
    server.should_exit = True
    thread.join()


def test_our_answer_comes_after_a_rest(eclipse: Eclipse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DSP_REST_S", 1.0)
    eclipse.negotiate()
    until(lambda: eclipse.state == "FINALIZED", 30)
    asked = min(began for _, _, began in eclipse.said)
    tail, _, came = eclipse.heard[0]
    assert tail == "agreement"
    assert came - asked >= limits.DSP_REST_S


@pytest.mark.parametrize("rests", [True, False])
def test_whatever_it_repeats_it_gets_its_contract_and_its_transfer(
    eclipse: Eclipse, provider: WebNode, monkeypatch: pytest.MonkeyPatch, rests: bool
) -> None:
    if not rests:  # as if it took longer than any rest
        monkeypatch.setattr(limits, "DSP_REST_S", 0.0)
    eclipse.negotiate()
    until(lambda: eclipse.state in ("FINALIZED", "TERMINATED"), 30)
    assert eclipse.state == "FINALIZED"
    until(lambda: provider.contracts.negotiations()[0].state is State.FINALIZED)
    [contract] = provider.contracts.contracts()
    assert contract.id == eclipse.contract
    eclipse.transfer()
    until(lambda: eclipse.state in ("STARTED", "TERMINATED"), 30)
    assert eclipse.state == "STARTED"
    [transfer] = provider.contracts.transfers(contract.id)
    assert transfer.state is TransferState.STARTED
    assert all(status < 400 for _, status, _ in eclipse.said)
    if not rests:
        assert {tail for tail, status, _ in eclipse.heard if status == 409}
        assert len(eclipse.said) > len(STEPS)
    assert len(provider.contracts.negotiations()) == 1

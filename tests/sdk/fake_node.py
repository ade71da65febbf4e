"""A node's HTTP face in a thread: answers are scripted, requests are kept."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa

Answer = tuple[int, Any]

TERMS = {
    "purposes": ["medical-research"],
    "columns": ["patients.age", "patients.sex"],
    "expires_at": "2027-01-01T00:00:00.000000Z",
    "uses_max": 10,
    "rows_max": None,
    "row_filters": [{"table": "patients", "predicate": "age >= 18"}],
    "masks": [{"column": "patients.age", "method": "round:10"}],
    "minimum_group": 5,
    "price": {"per_use_fen": 1000, "per_row_fen": 2},
    "frequency": None,
    "pause": None,
    "inherit": False,
    "privacy": None,
    "applications": [],
    "release": None,
    "bytes_max": None,
    "rows_total": None,
    "bytes_total": None,
    "hours": None,
    "regions": [],
    "watermark": None,
    "aggregates": None,
    "keys_to": [],
}
OFFER = {
    "offer_id": "offer-1",
    "product_code": "P1",
    "provider_did": "did:web:hospital",
    "address": "http://hospital",
    "terms": TERMS,
}
CONTRACT = {
    "id": "c-1",
    "role": "consumer",
    "peer_did": "did:web:hospital",
    "product_code": "P1",
    "state": "in_force",
    "version": 1,
    "signature_level": "both",
    "terms": TERMS,
    "uses_left": 10,
    "signed_at": "2026-11-21T09:00:00.000000Z",
    "ended_reason": None,
}
PROBLEM = {
    "type": "urn:yunhe:error:PURPOSE_NOT_AGREED",
    "title": "PURPOSE_NOT_AGREED",
    "status": 403,
    "code": "PURPOSE_NOT_AGREED",
    "detail": "The purpose was not agreed.",
    "remedy": "Ask for it in a new contract.",
    "zh": {"detail": "未约定该用途。", "remedy": "请签订新合约。"},
    "facts": {"purpose": "marketing"},
}


def negotiation(state: str, version: int, **more: Any) -> dict[str, Any]:
    """The JSON of a negotiation in one state."""
    known = {"id": "n-1", "role": "consumer", "peer_did": "did:web:hospital"}
    found = {**known, "product_code": "P1", "state": state, "version": version, "offers": []}
    return {**found, "waiting_for": "", "contract_id": None, "error": None, **more}


def arrow_bytes(table: pa.Table) -> bytes:
    """An Arrow IPC stream of a table, in batches of two rows."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    return sink.getvalue()


@dataclass
class FakeNode:
    """`answers["GET /me"]` is an answer, a list of them used one by one, or a function."""

    url: str
    answers: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)
    stream: bytes = b""
    cut: bool = False
    ports: list[int] = field(default_factory=list)  # of the callers, one a request
    deaf_from: int = 0  # hang up on a repeated request of the caller's port `deaf_from`

    def answer(self, key: str, query: str, body: Any) -> Answer:
        """The scripted answer for a request, 404 where there is none."""
        found = self.answers.get(key, (404, {**PROBLEM, "code": "NOT_FOUND"}))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Callable):
            found = found(query, body)
        status, value = found
        return status, value


@contextmanager
def fake_node() -> Iterator[FakeNode]:
    """A fake node on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

        def _serve(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            path, _, query = self.path.partition("?")
            key = f"{self.command} {path.removeprefix('/api/v1')}"
            if node.deaf_from == self.client_address[1]:
                self.close_connection = True
                return
            node.ports.append(self.client_address[1])
            node.seen.append((key, query, body, {k.lower(): v for k, v in self.headers.items()}))
            if key == "POST /sql" and key not in node.answers:
                self._stream(body)
                return
            status, value = node.answer(key, query, body)
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

        def _stream(self, body: Any) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/vnd.apache.arrow.stream")
            self.send_header("transfer-encoding", "chunked")
            self.send_header("x-yunhe-use-id", body["use_id"])
            self.send_header("x-yunhe-groups-withheld", "true")
            self.end_headers()
            for start in range(0, len(node.stream), 100):
                piece = node.stream[start : start + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if node.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_args: Any) -> None:
            """A client that hangs up early is part of the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    node = FakeNode(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""Gathering trusted keys: from the right address, about the right DID, or not at all."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from yunhe.kernel.errors import Invalid
from yunhe.sdk import NodeUnreachable, UnexpectedAnswer, gather_trust

JWK = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}


@pytest.fixture
def node() -> Iterator[tuple[str, dict[str, str]]]:
    """A server on loopback and the texts it answers with, by path."""
    pages: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    document = {
        "id": f"did:web:127.0.0.1%3A{port}",
        "verificationMethod": [{"publicKeyJwk": JWK}],
    }
    pages["/.well-known/did.json"] = json.dumps(document)
    pages["/log/vkey"] = f"127.0.0.1:{port}/log+1a2b3c4d+AAAA\n"
    yield f"http://127.0.0.1:{port}", pages
    server.shutdown()
    server.server_close()


def test_keys_come_from_the_nodes_own_addresses(node: tuple[str, dict[str, str]]) -> None:
    address, _ = node
    found = gather_trust([address], [address + "/"])
    host = address.removeprefix("http://")
    did = "did:web:" + host.replace(":", "%3A")
    assert found["roots"] == [{"did": did, "jwk": JWK}]
    assert found["parties"] == {did: JWK}
    assert found["logs"] == {f"{host}/log": f"{host}/log+1a2b3c4d+AAAA"}


def test_a_document_about_another_did_is_refused(node: tuple[str, dict[str, str]]) -> None:
    address, pages = node
    document = json.loads(pages["/.well-known/did.json"])
    pages["/.well-known/did.json"] = json.dumps({**document, "id": "did:web:evil.example"})
    with pytest.raises(UnexpectedAnswer):
        gather_trust([address], [])


@pytest.mark.parametrize("body", ["", "[]", '{"id": 1}', "no"])
def test_an_odd_document_is_refused(node: tuple[str, dict[str, str]], body: str) -> None:
    address, pages = node
    pages["/.well-known/did.json"] = body
    with pytest.raises(UnexpectedAnswer):
        gather_trust([], [address])


def test_http_elsewhere_and_silence_are_refused() -> None:
    with pytest.raises(Invalid):
        gather_trust(["http://fn.example"], [])
    with pytest.raises(NodeUnreachable):
        gather_trust(["http://127.0.0.1:1"], [])

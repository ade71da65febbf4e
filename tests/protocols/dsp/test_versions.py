"""A foreign node's address is enough: its version document says where it speaks 2025-1."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from yunhe import identity
from yunhe.identity import AddressForbidden
from yunhe.kernel import limits
from yunhe.kernel.egress import Egress
from yunhe.protocols import dsp
from yunhe.protocols.dsp import DspClient, PeerRefused, PeerSilent
from yunhe.protocols.dsp.errors import VersionUnsupported
from yunhe.protocols.dsp.versions import Versions

EDC = {
    "@context": ["https://w3id.org/dspace/2025/1/context.jsonld"],
    "protocolVersions": [
        {"version": "v0.8", "path": "/", "binding": "HTTPS"},
        {"version": "2024/1", "path": "/2024/1", "binding": "HTTPS"},
        {"version": "2025-1", "path": "/2025-1", "binding": "HTTPS", "serviceId": "x"},
    ],
}
CATALOG = {
    "@type": "Catalog",
    "participantId": "did:web:foreign.example",
    "dataset": [
        {
            "@id": "P1",
            "@type": "Dataset",
            "hasPolicy": [{"@id": "o1", "@type": "Offer", "permission": [{"action": "use"}]}],
        }
    ],
}


class Foreign:
    """A tiny connector on loopback; `said` is what it answers by path."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[int, bytes]] = {}
        self.seen: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.seen.append((self.path, self.headers.get("authorization")))
                status, body = outer.said.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                if status in (301, 302):
                    self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _do  # noqa: N815 the names are the library's

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self._server.server_port}/protocol"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def says(self, document: Any, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.said["/protocol/.well-known/dspace-version"] = (status, body)

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    made = Foreign()
    yield made
    made.stop()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with identity.GuardedClient(Egress(local=True), 5.0) as client:
        yield client


def test_a_catalogue_is_asked_where_the_version_document_says(
    foreign: Foreign, http: httpx.Client
) -> None:
    foreign.says(EDC)
    foreign.said["/protocol/2025-1/catalog/request"] = (200, json.dumps(CATALOG).encode())
    client = DspClient(http, lambda did: "a-token")
    [offer] = client.catalog(foreign.root + "/", "did:web:foreign.example")
    assert (offer.offer_id, offer.address) == ("o1", f"{foreign.root}/2025-1")
    assert foreign.seen == [
        ("/protocol/.well-known/dspace-version", None),  # no token: nobody said yet who it is
        ("/protocol/2025-1/catalog/request", "Bearer a-token"),
    ]
    client.catalog(offer.address, "did:web:foreign.example")  # a base is taken as it is
    client.catalog(foreign.root, "did:web:foreign.example")  # and a document is kept
    assert len(foreign.seen) == 4


def test_a_kept_document_is_read_again_after_its_time(foreign: Foreign, http: httpx.Client) -> None:
    now = [0.0]
    versions = Versions(http, lambda: now[0])
    foreign.says(EDC)
    versions.base(foreign.root)
    moved = {"version": "2025-1", "path": "/moved", "binding": "HTTPS"}
    foreign.says({"protocolVersions": [moved]})
    now[0] = limits.VERSION_CACHE_S - 0.1
    assert versions.base(foreign.root) == f"{foreign.root}/2025-1"
    now[0] = limits.VERSION_CACHE_S
    assert versions.base(foreign.root) == f"{foreign.root}/moved"


@pytest.mark.parametrize("path", ["/", "/dsp/2025-1", "/a/b-c.d/", "/2025-1"])
def test_the_path_is_below_the_address(foreign: Foreign, http: httpx.Client, path: str) -> None:
    foreign.says({"protocolVersions": {"version": "2025-1", "path": path}})
    assert Versions(http).base(foreign.root) == foreign.root + path.rstrip("/")


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"version": "2024-1", "path": "/2024/1", "binding": "HTTPS"}],
        [{"version": "2025-1", "path": "/2025-1", "binding": "MQTT"}],
        ["2025-1"],
        None,
    ],
)
def test_a_node_without_our_version_is_refused_naming_what_it_speaks(
    foreign: Foreign, http: httpx.Client, entries: Any
) -> None:
    foreign.says({"protocolVersions": entries})
    with pytest.raises(VersionUnsupported) as refused:
        Versions(http).base(foreign.root)
    assert "2025-1" in refused.value.sentence("en")
    if entries and isinstance(entries[0], dict):
        assert str(entries[0]["version"]) in refused.value.sentence("zh")
    with pytest.raises(VersionUnsupported):  # a refusal is not kept
        Versions(http).base(foreign.root)


@pytest.mark.parametrize(
    "path",
    ["", "2025-1", "//evil.example/x", "/../x", "/a/../b", "/.", "/a?b=1", "/a#b", "/a//b", "/a\\b",
     "http://evil.example/2025-1", "@evil.example/", ".evil.example/", "/" + "a" * 65, "/a" * 17,
     "/a\n", 3, None],
)  # fmt: skip
def test_a_path_that_could_lead_elsewhere_is_refused(
    foreign: Foreign, http: httpx.Client, path: Any
) -> None:
    foreign.says({"protocolVersions": [{"version": "2025-1", "path": path, "binding": "HTTPS"}]})
    with pytest.raises(PeerSilent):
        Versions(http).base(foreign.root)


@pytest.mark.parametrize(
    "document",
    [b"", b"<html>", b"[" * 10_000, b" " * (limits.VERSION_BYTES_MAX + 1), b'{"a":1,"a":2}'],
)
def test_a_document_that_is_none_is_refused(
    foreign: Foreign, http: httpx.Client, document: bytes
) -> None:
    foreign.says(document)
    with pytest.raises(PeerSilent):
        Versions(http).base(foreign.root)


@pytest.mark.parametrize("status", [302, 401, 404, 500])
def test_another_answer_is_refused_and_no_redirect_followed(
    foreign: Foreign, http: httpx.Client, status: int
) -> None:
    foreign.says({}, status)
    with pytest.raises(PeerRefused):
        Versions(http).base(foreign.root)
    assert len(foreign.seen) == 1


def test_a_private_address_is_refused_outside_development(foreign: Foreign) -> None:
    foreign.says(EDC)
    with identity.GuardedClient(Egress(), 1.0) as http:
        for address in (foreign.root, "https://127.0.0.1/x", "https://169.254.169.254/latest"):
            with pytest.raises(AddressForbidden):
                Versions(http).base(address)
    assert foreign.seen == []


def test_our_own_node_is_found_the_same_way(foreign: Foreign, http: httpx.Client) -> None:
    entry = {"version": "2025-1", "path": dsp.PATH, "binding": "HTTPS"}
    foreign.says({"protocolVersions": [entry]})
    assert Versions(http).base(foreign.root) == foreign.root + dsp.PATH


def test_what_is_kept_is_bounded(
    foreign: Foreign, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "VERSIONS_CACHED_MAX", 1)
    versions = Versions(http)
    foreign.says(EDC)
    foreign.said["/other/.well-known/dspace-version"] = (200, json.dumps(EDC).encode())
    other = foreign.root.replace("/protocol", "/other")
    for address in (foreign.root, other, foreign.root):
        versions.base(address)
    assert len(foreign.seen) == 3

"""Rows of an HTTP API over real sockets: pages, pace and bounds; nobody is sent elsewhere."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest

from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError
from yunhe.sources import Connections, SourceAway, Sources

Answer = tuple[int, Any, dict[str, str]]
ROWS = [{"id": i, "name": f"甲{i}", "when": "2024-01-01"} for i in range(7)]


class Api:
    """A server whose one route is the test's own function of (path, query, headers)."""

    def __init__(self) -> None:
        self.answer: Callable[[str, dict[str, str], Any], Answer] = lambda *_: (200, ROWS, {})
        self.asked: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.asked.append(self.path)
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                status, body, headers = api.answer(parts.path, query, self.headers)
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr(limits, "SOURCE_HTTP_RATE", 1000)
    made = Api()
    yield made
    made.close()


def sources(folder: Path, api: Api, **more: Any) -> Sources:
    table = {"kind": "http-json", "address": api.address + "/v1", "allow_private": True, **more}
    return Sources([], folder / "snapshots", Connections({"reg": table}))


def ids(node: Sources, place: str = "http-json:reg/cases") -> list[int]:
    profile = node.profile(place)
    assert profile.types() == {"id": "BIGINT", "name": "VARCHAR", "when": "DATE"}
    files = list(node.fresh((profile.origin,), profile.types()).files)
    return [row[0] for row in duckdb.sql(f"SELECT id FROM read_parquet({files})").fetchall()]


def test_every_paging_brings_every_row_once(api: Api, tmp_path: Path) -> None:
    def paged(path: str, query: dict[str, str], headers: Any) -> Answer:
        at = int(query.get("at") or query.get("cursor") or query.get("offset") or 0)
        more = at + 3 < len(ROWS)
        body = {"data": ROWS[at : at + 3], "next": at + 3 if more else None}
        body["href"] = f"/v1/cases?at={at + 3}" if more else ""
        link = {"Link": f'<{api.address}/v1/cases?at={at + 3}>; rel="next"'} if more else {}
        return 200, body, link

    api.answer = paged
    for number, more in enumerate(
        (
            {"page": "link"},
            {"page": "link", "next": "/href"},
            {"page": "cursor", "next": "/next"},
            {"page": "offset"},
        )
    ):
        node = sources(tmp_path / str(number), api, items="/data", **more)
        assert ids(node) == list(range(7)), more


def test_a_busy_api_is_asked_again_with_its_token_and_at_its_pace(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REG_TOKEN", "CANARY-TOKEN")
    seen: list[str] = []

    def busy(path: str, query: dict[str, str], headers: Any) -> Answer:
        seen.append(headers["authorization"])
        return (200, ROWS, {}) if len(seen) > 2 else (429, {}, {"Retry-After": "0"})

    api.answer = busy
    assert ids(sources(tmp_path, api, token="env:REG_TOKEN")) == list(range(7))
    assert set(seen) == {"Bearer CANARY-TOKEN"}
    api.answer = lambda *_: (403, {"error": "CANARY-TOKEN"}, {})
    with pytest.raises(SourceAway) as refusal:
        sources(tmp_path / "b", api, token="env:REG_TOKEN").profile("http-json:reg/x")
    assert "CANARY" not in repr(refusal.value.problem()) + str(refusal.value)


def test_all_pages_together_have_their_time(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOURCE_HTTP_S_MAX", 0.5)

    def slow(path: str, query: dict[str, str], headers: Any) -> Answer:
        if len(api.asked) > 2:
            return 429, {}, {"Retry-After": "30"}
        at = int(query.get("offset") or 0)
        return 200, ROWS[at : at + 3], {}

    api.answer = slow
    began = time.monotonic()
    with pytest.raises(SourceAway, match="too long"):
        sources(tmp_path, api, page="offset").profile("http-json:reg/cases")
    assert time.monotonic() - began < 5  # not the thirty seconds that it asked to wait


def test_an_api_that_hangs_up_after_every_page_takes_no_descriptors(
    api: Api, tmp_path: Path
) -> None:
    """A connection a page, as HTTP/1.0 has it: thousands of pages would take all of the node's."""
    taken: list[int] = []

    def paged(path: str, query: dict[str, str], headers: Any) -> Answer:
        taken.append(len(os.listdir("/proc/self/fd")))
        at = int(query.get("cursor") or 0)
        return 200, {"data": ROWS[at % 7 :][:1], "next": at + 1 if at < 40 else None}, {}

    api.answer = paged
    node = sources(tmp_path, api, items="/data", page="cursor", next="/next")
    node.profile("http-json:reg/cases")
    assert len(taken) > 40
    assert max(taken) - min(taken) < 10


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\n\r\n[]",
    ],
    ids=["head", "body", "body without a length"],
)
def test_an_answer_that_only_drips_is_cut(
    first: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOURCE_PAGE_S_MAX", 0.4)
    ended = threading.Event()

    def drip(server: socket.socket) -> None:
        line, _ = server.accept()
        with line, suppress(OSError):
            line.sendall(first)
            while not ended.wait(0.02):
                line.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        where = f"http://127.0.0.1:{server.getsockname()[1]}"
        table = {"kind": "http-json", "address": where, "allow_private": True}
        began = time.monotonic()
        with pytest.raises(SourceAway, match="too long"):
            Sources([], tmp_path, Connections({"reg": table})).profile("http-json:reg/cases")
        ended.set()
        thread.join()
    assert time.monotonic() - began < 4  # each byte came in time


@pytest.mark.parametrize(
    "answer",
    [
        lambda api: (302, b"", {"Location": "http://169.254.169.254/latest"}),
        lambda api: (200, ROWS, {"Link": '<http://169.254.169.254/x>; rel="next"'}),
        lambda api: (200, ROWS, {"Link": f'<{api.address}/admin>; rel="next"'}),
        lambda api: (200, ROWS, {"Link": '<../admin>; rel="next"'}),
        lambda api: (200, ROWS, {"Link": '</v1/cases>; rel="next"'}),  # round and round
        lambda api: (200, b"[" * 100_000, {}),
        lambda api: (200, b'[{"id": NaN}]', {}),
        lambda api: (200, {"rows": 1}, {}),
        lambda api: (200, gzip.compress(b" " * (17 << 20)), {"Content-Encoding": "gzip"}),
        lambda api: (500, b"", {}),
    ],
)
def test_an_answer_that_leads_astray_is_refused(
    api: Api, tmp_path: Path, answer: Callable[[Api], Answer]
) -> None:
    api.answer = lambda *_: answer(api)
    with pytest.raises(YunheError) as refusal:
        sources(tmp_path, api, page="link").profile("http-json:reg/cases")
    assert refusal.value.code in ("SOURCE_AWAY", "SOURCE_TOO_LARGE")
    assert not [path for path in api.asked if "admin" in path]


@pytest.mark.parametrize("place", ["../admin", "a/../../admin", "%2e%2e/admin", "a\\..\\b"])
def test_a_path_that_climbs_is_refused(api: Api, tmp_path: Path, place: str) -> None:
    with pytest.raises(SourceAway):
        sources(tmp_path, api).profile(f"http-json:reg/{place}")
    assert api.asked == []


@pytest.mark.parametrize("place", ["/admin", "//evil.example/x", "http://evil.example/x"])
def test_a_path_is_always_taken_below_the_address(api: Api, tmp_path: Path, place: str) -> None:
    with suppress(SourceAway):
        sources(tmp_path, api).profile(f"http-json:reg/{place}")
    assert all(path.startswith("/v1/") for path in api.asked)


def test_a_private_address_needs_the_operators_word(api: Api, tmp_path: Path) -> None:
    node = sources(tmp_path, api, allow_private=False)
    with pytest.raises(SourceAway):
        node.profile("http-json:reg/cases")
    assert api.asked == []


def test_the_metadata_of_a_cloud_is_no_source_in_whatever_address_it_hides(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, hidden = sources(tmp_path, api), "64:ff9b::a9fe:a9fe"  # 169.254.169.254, by NAT64
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (hidden, 80, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(SourceAway, match="not public"):
        node.profile("http-json:reg/cases")


def test_an_answer_counts_for_its_age(api: Api, tmp_path: Path) -> None:
    node = sources(tmp_path, api, max_age_s=100_000_000)
    profile = node.profile("http-json:reg/cases")
    for _ in range(3):
        node.fresh((profile.origin,), profile.types())
    assert len(api.asked) == 2  # once to describe it, once under its pinned types

"""Who gets in, what every answer says about itself, and where a node lets itself be sent."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.conftest import Lone, problem
from flow.world import TERMS

QUERY = {"contract_id": "c", "sql": "SELECT 1", "purpose": "p"}


def bearer(lone: Lone, value: str) -> httpx.Response:
    """A call with an Authorization header of our own making."""
    return lone.call("GET", "/me", role="", headers={"Authorization": value})


def test_tokens_that_are_none(lone: Lone) -> None:
    good = lone.tokens["user"]
    head, middle, tail = good.split("_", 2)
    wrong = {
        "": "TOKEN_MISSING",
        "Bearer": "TOKEN_MISSING",
        "Bearer ": "TOKEN_MISSING",
        "Bearer nonsense": "TOKEN_UNKNOWN",
        f"Basic {good}": "TOKEN_UNKNOWN",
        f"Bearer {good[:-1]}": "TOKEN_UNKNOWN",
        f"Bearer {good}x": "TOKEN_UNKNOWN",
        f"Bearer {head}_{middle}_": "TOKEN_UNKNOWN",
        f"Bearer {head}_{'0' * len(middle)}_{tail}": "TOKEN_UNKNOWN",
        f"Bearer {good.upper()}": "TOKEN_UNKNOWN",
        f"Bearer {good} {good}": "TOKEN_UNKNOWN",
        "Bearer " + "y" * 60_000: "TOKEN_UNKNOWN",
        "Bearer yh_'; DROP TABLE api_token; --_x": "TOKEN_UNKNOWN",
        "Bearer \xff\xfe": "TOKEN_UNKNOWN",
    }
    for value, code in wrong.items():
        answer = lone.call(
            "GET", "/me", role="", headers={"Authorization": value.encode("latin-1")}
        )
        found = problem(answer)
        assert (found["status"], found["code"]) == (401, code), value[:60]
        assert answer.headers["www-authenticate"] == "Bearer"
        assert tail not in answer.text
    assert bearer(lone, f"bearer {good}").status_code == 200


def test_an_expired_and_a_revoked_token_say_so(lone: Lone) -> None:
    made = lone.call("POST", "/tokens", json={"name": "n", "roles": ["user"], "ttl_s": 60}).json()
    assert bearer(lone, f"Bearer {made['token']}").status_code == 200
    lone.clock.advance(60)
    assert problem(bearer(lone, f"Bearer {made['token']}"))["code"] == "TOKEN_EXPIRED"
    other = lone.call("POST", "/tokens", json={"name": "n", "roles": ["admin"]}).json()
    for _ in range(2):
        assert bearer(lone, f"Bearer {other['token']}").status_code == 200
    assert lone.call("DELETE", f"/tokens/{other['token_id']}").status_code == 204
    assert problem(bearer(lone, f"Bearer {other['token']}"))["code"] == "TOKEN_REVOKED"
    assert problem(lone.call("DELETE", f"/tokens/{other['token_id']}"))["status"] == 404
    listed = lone.call("GET", "/tokens")
    assert made["token"] not in listed.text


def test_a_peers_token_opens_no_management(lone: Lone) -> None:
    token = lone.node.identity.mint(lone.node.config.did)
    assert problem(bearer(lone, f"Bearer {token}"))["code"] == "TOKEN_UNKNOWN"


def test_an_api_token_opens_no_face_for_peers(lone: Lone) -> None:
    for method, path in (
        ("POST", "/dsp/2025-1/catalog/request"),
        ("POST", "/data/v1/query"),
        ("POST", "/tds/RegisterSubject"),
    ):
        answer = lone.call(method, path, json={})
        assert answer.status_code == 401, (path, answer.text)


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/health", ""),
        ("GET", "/me", "user"),
        ("GET", "/me", ""),
        ("GET", "/nothing", ""),
        ("POST", "/tokens", "admin"),
        ("PUT", "/tokens", "admin"),
        ("GET", "/.well-known/did.json", ""),
        ("POST", "/dsp/2025-1/catalog/request", ""),
        ("POST", "/tds/RegisterSubject", ""),
        ("POST", "/data/v1/query", ""),
    ],
)
def test_no_answer_is_sniffed_or_kept(lone: Lone, method: str, path: str, role: str) -> None:
    more = {"content": b"["} if method == "POST" else {}
    answer = lone.call(method, path, role, **more)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "server" not in answer.headers
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


FORBIDDEN = (
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/dsp",
    "http://[::ffff:169.254.169.254]/dsp",
    "http://0.0.0.0:8100/dsp",
    "http://224.0.0.1/dsp",
    "http://2852039166/dsp",  # 169.254.169.254 as one number
    "http://0xa9fea9fe/dsp",
)
MALFORMED = (
    "http://[",
    "http://a b/dsp",
    "http://:99999/dsp",
    "http://\u2100.example/",
    "http://",
    "x",
    "http://127.0.0.1@169.254.169.254/dsp",
    "http://a.example\\@b.example/",
)


def asked(lone: Lone, address: str) -> httpx.Response:
    """The provider's offers, from wherever the caller says they are."""
    query = {"provider": "urn:participant:evil", "address": address}
    return lone.call("GET", "/offers/X", "user", params=query)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_offers_are_never_fetched_from_inside(lone: Lone, address: str) -> None:
    before = lone.rows()
    found = problem(asked(lone, address))
    assert found["code"] == "ADDRESS_FORBIDDEN", found
    assert lone.rows() == before


@pytest.mark.parametrize("address", [*MALFORMED, "file:///etc/passwd", "gopher://x/", "ftp://x/"])
def test_addresses_that_are_none_are_refused(lone: Lone, address: str) -> None:
    before = lone.rows()
    assert problem(asked(lone, address))["status"] == 400
    assert lone.rows() == before


def _form(address: str) -> dict[str, Any]:
    return {
        "provider_did": "urn:participant:evil",
        "address": address,
        "product_code": "X",
        "offer_id": "o",
        "terms": TERMS.to_json(),
    }


@pytest.mark.parametrize("address", MALFORMED)
def test_a_negotiation_with_no_address_is_refused(lone: Lone, address: str) -> None:
    before = lone.rows()
    found = problem(lone.call("POST", "/negotiations", "user", json=_form(address)))
    assert found["facts"]["field"] == "address"
    assert lone.rows() == before


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_negotiation_is_never_sent_inside(lone: Lone, address: str) -> None:
    """Its version document would be the first thing asked for there: not even that is."""
    before = lone.rows()
    found = problem(lone.call("POST", "/negotiations", "user", json=_form(address)))
    assert (found["status"], found["code"]) == (403, "ADDRESS_FORBIDDEN")
    assert lone.rows() == before


def test_a_token_for_one_node_is_not_sent_to_another(lone: Lone) -> None:
    """A user may not pair a peer's DID with an address of his own: it would get our token."""
    victim = "did:web:127.0.0.1%3A1"  # nobody answers there, so nothing names other addresses
    before = lone.rows()
    form = {**_form("http://127.0.0.1:2/dsp/2025-1"), "provider_did": victim}
    assert problem(lone.call("POST", "/negotiations", "user", json=form))["status"] >= 400
    query = {"provider": victim, "address": "http://127.0.0.1:2"}
    assert problem(lone.call("GET", "/offers/X", "user", params=query))["status"] >= 400
    assert lone.rows() == before

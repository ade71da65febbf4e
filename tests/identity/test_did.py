"""did:web: where documents stand, what we read out of them, how long we remember."""

from __future__ import annotations

import json
from typing import Any

import pytest

from identity.nodes import World
from yunhe.identity import DidUnresolvable
from yunhe.identity.did import Resolver, key_named, parse, url_of
from yunhe.identity.errors import TrustRootUnpinned
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.settings import TrustRoot


@pytest.mark.parametrize(
    ("did", "url"),
    [
        ("did:web:a.example", "https://a.example/.well-known/did.json"),
        ("did:web:a.example%3A8443", "https://a.example:8443/.well-known/did.json"),
        ("did:web:a.example:org:one", "https://a.example/org/one/did.json"),
    ],
)
def test_where_a_document_stands(did: str, url: str) -> None:
    assert url_of(did, development=False) == url
    assert url_of(did, development=True) == url.replace("https", "http")


@pytest.mark.parametrize(
    "did",
    ["", "did:key:z6Mk", "did:web:", "did:web:a.example/x", "did:web:a.example#k",
     "did:web:a.example?x", "did:web:user@a.example", "did:web:a.example:..:x",
     "did:web:a.example%2Fx", "did:web:a b", "did:web:a.example\n", "did:web:" + "a" * 600],
)  # fmt: skip
def test_what_is_no_did_web(did: str) -> None:
    with pytest.raises(DidUnresolvable):
        url_of(did, development=True)


def test_our_own_document_reads_back(world: World) -> None:
    node = world.node("a")
    found = parse(node.own_did, json.dumps(node.did_document()).encode())
    assert [jwk["x"] for jwk in found.jwks] == [node.key.public_jwk()["x"]]
    assert "alsoKnownAs" not in node.did_document()


def test_documents_we_do_not_take(world: World) -> None:
    node = world.node("a")
    good = node.did_document()
    method = good["verificationMethod"][0]
    bad: list[Any] = [
        {**good, "id": "did:web:b.example"},
        {**good, "verificationMethod": []},
        {**good, "verificationMethod": {"a": 1}},
        {**good, "verificationMethod": [{**method, "controller": "did:web:b.example"}]},
        {**good, "verificationMethod": [{**method, "publicKeyJwk": {"kty": "RSA"}}]},
        {**good, "verificationMethod": [{**method, "publicKeyJwk": "x"}, 7, None]},
        [],
    ]
    for document in bad:
        with pytest.raises(DidUnresolvable):
            parse(node.own_did, json.dumps(document).encode())
    for raw in (b"", b"{", b"\xff", b"[" * 1000):
        with pytest.raises(DidUnresolvable):
            parse(node.own_did, raw)


def test_documents_are_remembered_for_a_while(world: World, clock: ManualClock) -> None:
    node = world.node("a")
    resolver = Resolver(world.fetch, clock, development=True)
    for _ in range(3):
        resolver.resolve(node.own_did)
    assert len(world.fetched) == 1
    clock.advance(301)
    resolver.resolve(node.own_did)
    assert len(world.fetched) == 2


def test_strangers_cannot_occupy_every_thread(world: World, clock: ManualClock) -> None:
    node = world.node("a")
    resolver = Resolver(world.fetch, clock, development=True)

    def nested(depth: int) -> bytes:
        if depth == 0:
            return world.documents[url_of(node.own_did, True)]
        inner = Resolver(lambda _url: nested(depth - 1), clock, development=True)
        inner._slots = resolver._slots
        inner.resolve(node.own_did)
        return world.documents[url_of(node.own_did, True)]

    outer = Resolver(lambda _url: nested(20), clock, development=True)
    outer._slots = resolver._slots
    with pytest.raises(DidUnresolvable, match="too many"):
        outer.resolve(node.own_did)
    resolver.resolve(node.own_did)


def test_a_kid_of_another_did_names_nothing(world: World) -> None:
    node = world.node("a")
    found = parse(node.own_did, json.dumps(node.did_document()).encode())
    assert key_named(found.jwks, node.own_did, f"did:web:b.example#{node.key.kid}") is None
    assert key_named(found.jwks, node.own_did, None) is None
    assert key_named(found.jwks, node.own_did, node.key.kid) is not None


def test_an_unpinned_root_is_for_development(world: World) -> None:
    office = world.node("office", role="functional-node")
    world.root = TrustRoot(office.own_did)
    with pytest.raises(TrustRootUnpinned):
        world.node("strict", development=False)
    node = world.node("loose")
    peer = node.authenticate_peer(f"Bearer {office.mint(node.own_did)}")
    assert peer.root
    world.documents.clear()
    world.clock.advance(10_000)  # pinned on first use
    assert node.authenticate_peer(f"Bearer {office.mint(node.own_did)}").root

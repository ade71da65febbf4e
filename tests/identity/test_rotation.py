"""Rotated keys: the new one signs, the old one verifies for an overlap, the log says so."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from identity.nodes import RESEARCH, World
from identity.test_registrar import admitted
from yunhe.identity import MEMBERSHIP_SCOPE, Identity, SelfIssued, jwts
from yunhe.identity import errors as e
from yunhe.kernel import limits, suites
from yunhe.kernel.keys import (
    BadSignature,
    KeyStore,
    KeyUnreadable,
    jws_detached,
    jwt,
    verify_jws_detached,
)


@pytest.fixture
def office(world: World) -> Identity:
    return world.node("office", role="functional-node")


@pytest.fixture
def hospital(world: World, office: Identity) -> Identity:
    return world.node("hospital")


def again(world: World, name: str) -> Identity:
    """The node after a restart: the same folder and database."""
    return world.node(name, db=world.databases[f"http://{name}.example"])


def kids(node: Identity) -> list[str]:
    methods = node.did_document()["verificationMethod"]
    return [method["publicKeyJwk"]["kid"] for method in methods]


def logged(world: World, node: Identity) -> list[dict[str, Any]]:
    log = world.logs[world.made.index(node)]
    return [entry.body for entry in log.find(kind="identity.key_rotated", limit=9)]


def test_the_old_key_verifies_during_the_overlap(
    world: World, office: Identity, hospital: Identity
) -> None:
    before = hospital.foreign.mint(office.own_did)  # on its way while the key is rotated
    old, new = hospital.rotation.rotate("dcp")
    assert old != new
    after = again(world, "hospital")
    assert after.claims_key.kid == new
    assert {old, new} <= set(kids(after))
    assert office.foreign.authenticate(f"Bearer {before}").did == hospital.own_did
    world.clock.advance(10)
    office.foreign.authenticate(f"Bearer {after.foreign.mint(office.own_did)}")
    assert [body["new"] for body in logged(world, hospital)] == [new]


@pytest.mark.parametrize("purpose", ["did", "dcp"])
def test_a_running_node_signs_with_the_new_key_at_once(
    world: World, office: Identity, hospital: Identity, purpose: str
) -> None:
    world.keep(hospital, admitted(office, hospital).credential)
    wallet = hospital.wallet.access_token(office.own_did, (MEMBERSHIP_SCOPE,))
    inline, foreign = hospital.mint(office.own_did), hospital.foreign.mint(office.own_did)
    old, new = hospital.rotation.rotate(purpose)
    held = {"did": hospital.key, "dcp": hospital.claims_key}[purpose]
    assert (held.kid, held.now.kid, held.public_jwk()["kid"]) == (new, new, new)
    assert {old, new} <= set(kids(hospital))
    # What was on its way still holds, here and at the peer.
    assert office.authenticate_peer(f"Bearer {inline}").member
    assert office.foreign.authenticate(f"Bearer {foreign}").did == hospital.own_did
    asker = SelfIssued(office.own_did, {}, wallet)
    assert hospital.wallet.present(asker, (MEMBERSHIP_SCOPE,)) == []
    # What is signed now is by the new key alone; the peer reads the document anew for it.
    world.publish(hospital)
    world.clock.advance(10)
    office.foreign.authenticate(f"Bearer {hospital.foreign.mint(office.own_did)}")
    peer = office.authenticate_peer(f"Bearer {hospital.mint(office.own_did)}")
    if purpose == "did":
        assert peer.jwk["x"] == hospital.key.public_jwk()["x"]
        world.keep(hospital, office.registrar.renew_credential(peer))
    other = world.node("research", RESEARCH)
    assert other.authenticate_peer(f"Bearer {hospital.mint(other.own_did)}").member


def test_a_root_goes_by_both_its_keys_during_the_overlap(
    world: World, office: Identity, hospital: Identity
) -> None:
    world.keep(hospital, admitted(office, hospital).credential)
    old, new = office.rotation.rotate("did")
    for node in (office, again(world, "office")):
        assert {key["kid"] for key in node.keys_of(office.own_did)} == {old, new}
        # A credential that it issued before the rotation.
        world.clock.advance(1)
        assert node.authenticate_peer(f"Bearer {hospital.mint(office.own_did)}").member


def test_a_key_that_is_rotated_while_others_sign_never_makes_a_mixed_token(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    ed, es = store.key("did"), store.es256("dcp")
    known = {key.kid: key.public_jwk() for key in (ed, es)}
    made: list[str] = []
    stop = threading.Event()

    def sign() -> None:
        while not stop.is_set():
            made.append(jwt(ed, {"a": 1}))
            held = es.now
            made.append(suites.jwt(held, {"a": 1}, held.kid))

    signer = threading.Thread(target=sign)
    signer.start()
    for _ in range(10):
        for purpose, suite in (("did", "Ed25519"), ("dcp", "ES256")):
            key = store.prepare(purpose, suite)
            known[key.kid] = key.public_jwk()
            store.promote(purpose, suite)
    stop.set()
    signer.join()
    assert len(made) > 20
    for token in made:
        draft = jwts.read(token)
        assert draft.verifies(known[draft.header["kid"]])


@pytest.mark.parametrize("purpose", ["did", "dcp"])
def test_two_rotations_at_once_leave_no_key_that_nobody_knows(
    world: World, hospital: Identity, purpose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each key that ever signed stands in the document, and in the log."""
    prepare, first = KeyStore.prepare, threading.Event()

    def slow(store: KeyStore, of: str, suite: str) -> suites.Signer:
        if not first.is_set():  # the first has read the old key, and the second overtakes it
            first.set()
            other.start()
            other.join(0.5)
        return prepare(store, of, suite)

    monkeypatch.setattr(KeyStore, "prepare", slow)
    seen: list[str] = []
    other = threading.Thread(target=lambda: seen.extend(hospital.rotation.rotate(purpose)))
    seen.extend(hospital.rotation.rotate(purpose))
    other.join()
    assert len(set(seen)) == 3
    assert set(seen) <= set(kids(hospital))
    assert {body["new"] for body in logged(world, hospital)} == set(seen) - {seen[0]}


def test_after_the_overlap_the_old_key_is_gone(world: World, hospital: Identity) -> None:
    old, new = hospital.rotation.rotate("dcp")
    world.clock.advance(limits.KEY_OVERLAP_DAYS * 86_400 + 1)
    found = kids(again(world, "hospital"))
    assert old not in found
    assert new in found


def test_what_we_signed_goes_by_the_keys_of_its_time(world: World, hospital: Identity) -> None:
    made, own = world.clock.now(), hospital.own_did
    said = jws_detached(hospital.key, b"receipt")
    old, new = hospital.rotation.rotate("did")
    world.clock.advance(limits.KEY_OVERLAP_DAYS * 86_400 + 1)
    late = world.clock.now()
    hospital.rotation.rotate("did")
    for node in (hospital, again(world, "hospital")):
        verify_jws_detached(node.ring.signer_of(own, said, made), said, b"receipt")
        # Neither for others, nor as of a time when it had ended.
        assert node.ring.signer_of(own, said, late)["kid"] != old
        assert new in {key["kid"] for key in node.keys_of(own)}
        assert old not in {key["kid"] for key in node.keys_of(own)}
        with pytest.raises(BadSignature):
            verify_jws_detached(node.ring.signer_of(own, said), said, b"receipt")


def test_a_node_whose_key_was_rotated_gets_a_new_credential(
    world: World, office: Identity, hospital: Identity
) -> None:
    world.keep(hospital, admitted(office, hospital).credential)
    hospital.rotation.rotate("did")
    after = again(world, "hospital")
    world.clock.advance(10)
    # Its credential is for the old key: it goes without until the registrar gave a new one.
    peer = office.authenticate_peer(f"Bearer {after.mint(office.own_did)}")
    world.keep(after, office.registrar.renew_credential(peer))
    other = world.node("research", RESEARCH)
    assert other.authenticate_peer(f"Bearer {after.mint(other.own_did)}").member


@pytest.mark.parametrize("purpose", ["log", "seal", "unknown"])
def test_only_keys_of_the_document_are_rotated(hospital: Identity, purpose: str) -> None:
    with pytest.raises(KeyUnreadable):
        hospital.rotation.rotate(purpose)


def test_a_crash_between_commit_and_file_is_mended_at_the_next_start(
    world: World, hospital: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_store: KeyStore, _purpose: str, _suite: str) -> None:
        raise OSError("cut")

    with monkeypatch.context() as patch:
        patch.setattr(KeyStore, "promote", crash)
        with pytest.raises(OSError, match="cut"):
            hospital.rotation.rotate("dcp")
    new = logged(world, hospital)[0]["new"]
    after = again(world, "hospital")
    assert after.claims_key.kid == new
    after.rotation.finish()
    assert again(world, "hospital").claims_key.kid == new


def test_a_root_rotates_with_both_keys_pinned(
    tmp_path: Path, world: World, office: Identity, hospital: Identity
) -> None:
    world.keep(hospital, admitted(office, hospital).credential)
    stranger = KeyStore(tmp_path / "x").key("did")
    assert hospital.ring.issuer_key(office.own_did, office.key.kid)["x"]
    with pytest.raises(e.TokenKeyUnknown):
        hospital.ring.issuer_key(office.own_did, stranger.kid)

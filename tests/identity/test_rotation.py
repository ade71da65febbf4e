"""Rotated keys: the new one signs, the old one verifies for an overlap, the log says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from identity.nodes import RESEARCH, World
from identity.test_registrar import admitted
from yunhe.identity import Identity
from yunhe.identity import errors as e
from yunhe.kernel import limits
from yunhe.kernel.keys import KeyStore, KeyUnreadable


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


def test_after_the_overlap_the_old_key_is_gone(world: World, hospital: Identity) -> None:
    old, new = hospital.rotation.rotate("dcp")
    world.clock.advance(limits.KEY_OVERLAP_DAYS * 86_400 + 1)
    found = kids(again(world, "hospital"))
    assert old not in found
    assert new in found


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

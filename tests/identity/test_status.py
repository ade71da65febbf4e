"""Revocation is seen everywhere within five seconds; without a list nobody is believed for long."""

from __future__ import annotations

from typing import Any

import pytest

from identity.nodes import RESEARCH, REVIEWER, World
from identity.test_registrar import admitted
from yunhe.identity import CredentialRefused, Identity
from yunhe.identity import errors as e
from yunhe.identity.model import StatusEntry
from yunhe.kernel import limits, suites

LIST = "http://office.example/dcp/status/1/2021"


@pytest.fixture
def office(world: World) -> Identity:
    return world.node("office", role="functional-node")


@pytest.fixture
def hospital(world: World, office: Identity) -> Identity:
    made = world.node("hospital")
    world.keep(made, admitted(office, made).credential)
    return made


@pytest.fixture
def research(world: World, hospital: Identity) -> Identity:
    return world.node("research", RESEARCH)


def call(me: Identity, to: Identity) -> None:
    assert to.authenticate_peer(f"Bearer {me.mint(to.own_did)}").member


def code_of(office: Identity) -> str:
    return office.connectors()[0].code


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_who_lost_its_standing_is_refused_within_five_seconds(
    world: World, office: Identity, hospital: Identity, research: Identity, verb: str
) -> None:
    call(hospital, research)
    getattr(office.registrar, verb)(code_of(office), ("breach",), REVIEWER)
    world.clock.advance(5)
    with pytest.raises(e.CredentialRevoked):
        call(hospital, research)


def test_who_is_resumed_is_a_member_again(
    world: World, office: Identity, hospital: Identity, research: Identity
) -> None:
    office.registrar.suspend(code_of(office), ("question",), REVIEWER)
    with pytest.raises(e.CredentialRevoked):
        call(hospital, research)
    office.registrar.resume(code_of(office), ("answered",), REVIEWER)
    world.clock.advance(5)
    call(hospital, research)


def test_the_list_is_asked_once_in_its_cache_time(
    world: World, hospital: Identity, research: Identity
) -> None:
    world.fetched.clear()
    for _ in range(3):
        call(hospital, research)
    world.clock.advance(limits.STATUS_CACHE_S)
    call(hospital, research)
    assert world.fetched == [LIST, LIST]


def test_a_silent_registrar_is_borne_for_the_grace_and_no_longer(
    world: World, hospital: Identity, research: Identity
) -> None:
    call(hospital, research)
    world.away.add("http://office.example")
    world.clock.advance(limits.STATUS_GRACE_S - 1)
    call(hospital, research)
    world.clock.advance(limits.STATUS_RETRY_S)
    with pytest.raises(e.StatusUnavailable):
        call(hospital, research)
    world.away.clear()
    world.clock.advance(limits.STATUS_RETRY_S)
    call(hospital, research)


def test_without_any_list_nobody_is_believed(
    world: World, hospital: Identity, research: Identity
) -> None:
    world.away.add("http://office.example")
    with pytest.raises(e.StatusUnavailable):
        call(hospital, research)


def test_the_grace_does_not_outlive_a_revocation_that_was_seen(
    world: World, office: Identity, hospital: Identity, research: Identity
) -> None:
    office.registrar.revoke(code_of(office), ("breach",), REVIEWER)
    with pytest.raises(e.CredentialRevoked):
        call(hospital, research)
    world.away.add("http://office.example")
    world.clock.advance(10)
    with pytest.raises(e.CredentialRevoked):
        call(hospital, research)


def serve(world: World, office: Identity, key: Any, **changed: Any) -> None:
    """Serve a list with changed claims in the place of the office's own."""
    from yunhe.identity import jwts

    claims = jwts.read(office.book.published(1, True)).claims
    claims.update({name: value for name, value in changed.items() if name != "subject"})
    claims["vc"]["credentialSubject"].update(changed.get("subject", {}))
    world.served[LIST] = suites.jwt(key, claims, f"{office.own_did}#{key.kid}").encode()


def test_a_list_by_another_key_is_refused(
    world: World, office: Identity, hospital: Identity, research: Identity
) -> None:
    serve(world, office, hospital.key)
    with pytest.raises(e.StatusRefused):
        call(hospital, research)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "did:web:hospital.example"},
        {"exp": 1},
        {"iat": 2**33},
        {"subject": {"statusPurpose": "suspension"}},
        {"subject": {"encodedList": "u!"}},
        {"vc": {}},
    ],
)
def test_a_list_that_is_not_the_one_meant_is_refused(
    world: World, office: Identity, hospital: Identity, research: Identity, changed: Any
) -> None:
    if "vc" in changed:
        claims = {"iss": office.own_did, "vc": {}}
        kid = f"{office.own_did}#{office.key.kid}"
        world.served[LIST] = suites.jwt(office.key, claims, kid).encode()
    else:
        serve(world, office, office.key, **changed)
    with pytest.raises(e.StatusRefused):
        call(hospital, research)


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xfe", b"a.b.c", b"x" * 100_000])
def test_what_is_no_token_is_no_list(
    world: World, hospital: Identity, research: Identity, body: bytes
) -> None:
    world.served[LIST] = body
    with pytest.raises(e.StatusRefused):
        call(hospital, research)


def test_an_index_that_no_list_has_is_refused(
    office: Identity, hospital: Identity, research: Identity
) -> None:
    far = StatusEntry("StatusList2021Entry", "revocation", 10**10, LIST)
    with pytest.raises(CredentialRefused, match="outside"):
        research.status.check((far,), office.own_did)


def test_neighbours_in_a_list_say_nothing_of_the_order(office: Identity, world: World) -> None:
    def places(tx: Any) -> list[tuple[int, int]]:
        return [office.book.place(tx, f"urn:{i}", "code") for i in range(20)]

    found = world.databases["http://office.example"].write(places)
    indices = [index for _, index in found]
    assert len(set(indices)) == 20
    assert indices != sorted(indices)

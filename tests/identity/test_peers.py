"""Self-issued tokens: every attack is refused with its own code; good ones pass once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from identity.nodes import RESEARCH, World
from identity.test_registrar import admitted
from yunhe.identity import (
    CredentialExpired,
    CredentialRefused,
    DidUnresolvable,
    Identity,
    MemberOnly,
    require_member,
)
from yunhe.identity import errors as e
from yunhe.identity.credentials import issue
from yunhe.identity.josenames import JoseNames
from yunhe.kernel import keys, limits
from yunhe.kernel.db import Database
from yunhe.kernel.errors import Unauthenticated
from yunhe.kernel.keys import KeyStore


@pytest.fixture
def office(world: World) -> Identity:
    return world.node("office", role="functional-node")


@pytest.fixture
def hospital(world: World, office: Identity) -> Identity:
    return world.node("hospital")


STATUS = {
    "type": "StatusList2021Entry",
    "statusPurpose": "revocation",
    "statusListIndex": "7",
    "statusListCredential": "http://office.example/dcp/status/1/2021",
}


def claims_of(me: Identity, audience: Identity, **changed: Any) -> dict[str, Any]:
    now = int(me.clock.now().timestamp())
    made = {
        "iss": me.own_did,
        "sub": me.own_did,
        "aud": audience.own_did,
        "jti": hashlib.sha256(str(time.perf_counter_ns()).encode()).hexdigest(),
        "iat": now,
        "exp": now + 300,
        **changed,
    }
    return {name: value for name, value in made.items() if value is not None}


def send(to: Identity, me: Identity, *, kid: str | None = None, **changed: Any) -> Any:
    token = keys.jwt(me.key, claims_of(me, to, **changed), kid=kid or f"{me.own_did}#{me.key.kid}")
    return to.authenticate_peer(f"Bearer {token}")


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_a_good_token_says_who(office: Identity, hospital: Identity) -> None:
    peer = office.authenticate_peer(f"Bearer {hospital.mint(office.own_did)}")
    assert peer.did == hospital.own_did
    assert peer.jwk["x"] == hospital.key.public_jwk()["x"]
    assert (peer.member, peer.root) == (False, False)
    with pytest.raises(MemberOnly):
        require_member(peer)


def test_the_trust_root_is_known_by_its_pinned_key(
    world: World, office: Identity, hospital: Identity
) -> None:
    world.documents.clear()
    peer = hospital.authenticate_peer(f"Bearer {office.mint(hospital.own_did)}")
    assert (peer.member, peer.root) == (True, True)


def test_a_bare_thumbprint_names_the_key_too(office: Identity, hospital: Identity) -> None:
    assert send(office, hospital, kid=hospital.key.kid).did == hospital.own_did


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"aud": "did:web:elsewhere.example"}, e.TokenAudience),
        ({"aud": ["did:web:office.example"]}, e.TokenMalformed),
        ({"aud": None}, e.TokenMalformed),
        ({"sub": "did:web:office.example"}, e.TokenIssuer),
        ({"sub": None}, e.TokenIssuer),
        ({"iss": None, "sub": None}, e.TokenMalformed),
        ({"iss": 7, "sub": 7}, e.TokenMalformed),
        ({"jti": None}, e.TokenMalformed),
        ({"jti": ""}, e.TokenMalformed),
        ({"jti": {"a": 1}}, e.TokenMalformed),
        ({"exp": None}, e.TokenMalformed),
        ({"exp": "soon"}, e.TokenMalformed),
        ({"exp": True}, e.TokenMalformed),
        ({"exp": 1e300}, e.TokenMalformed),
        ({"exp": 253402300799}, e.TokenLifetime),
        ({"iat": 253402300799, "exp": 253402300799}, e.TokenNotYet),
        ({"iat": None}, e.TokenMalformed),
        ({"iat": -5}, e.TokenMalformed),
        ({"credential": 5}, CredentialRefused),
        ({"credential": "a.b.c"}, CredentialRefused),
        ({"credential": "x"}, CredentialRefused),
    ],
)
def test_wrong_claims(
    office: Identity, hospital: Identity, changed: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        send(office, hospital, **changed)


@pytest.mark.parametrize(
    ("iat", "exp", "nbf", "error"),
    [
        (-400, -61, None, e.TokenExpired),
        (-300, -60, None, e.TokenExpired),
        (61, 100, None, e.TokenNotYet),
        (0, 100, 61, e.TokenNotYet),
        (0, 301, None, e.TokenLifetime),
        (0, 0, None, e.TokenLifetime),
        (10, 5, None, e.TokenLifetime),
    ],
)
def test_wrong_times(
    office: Identity,
    hospital: Identity,
    iat: int,
    exp: int,
    nbf: int | None,
    error: type[Exception],
) -> None:
    now = int(office.clock.now().timestamp())
    begins = None if nbf is None else now + nbf
    with pytest.raises(error):
        send(office, hospital, iat=now + iat, exp=now + exp, nbf=begins)


def test_half_a_minute_of_clock_difference_is_tolerated(
    office: Identity, hospital: Identity
) -> None:
    now = int(office.clock.now().timestamp())
    send(office, hospital, iat=now + 30, exp=now + 330)
    send(office, hospital, iat=now - 200, exp=now - 29)


def test_a_token_is_accepted_once(world: World, office: Identity, hospital: Identity) -> None:
    token = hospital.mint(office.own_did)
    office.authenticate_peer(f"Bearer {token}")
    with pytest.raises(e.TokenReplayed):
        office.authenticate_peer(f"bearer {token}")
    # A restart forgets nothing: the spent ones are in the database.
    again = world.node("office", role="functional-node", db=world.opened[0])
    with pytest.raises(e.TokenReplayed):
        again.authenticate_peer(f"Bearer {token}")


def test_a_token_used_from_many_threads_is_accepted_once(any_db: Database, world: World) -> None:
    office = world.node("office", role="functional-node", db=any_db)
    token = world.node("hospital").mint(office.own_did)

    def use(_: int) -> bool:
        try:
            office.authenticate_peer(f"Bearer {token}")
        except e.TokenReplayed:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(use, range(16))) == 1


def test_equal_jti_of_two_senders_do_not_meet(world: World, office: Identity) -> None:
    for name in ("one", "two"):
        send(office, world.node(name), jti="same")


def test_spent_tokens_are_pruned_only_after_they_are_dead(
    world: World, office: Identity, hospital: Identity
) -> None:
    token = hospital.mint(office.own_did)
    office.authenticate_peer(f"Bearer {token}")
    world.clock.advance(329)
    send(office, hospital)
    with pytest.raises(e.TokenReplayed):
        office.authenticate_peer(f"Bearer {token}")
    world.clock.advance(120)
    send(office, hospital)
    world.clock.advance(120)
    send(office, hospital)
    from yunhe.identity.store_access import peer_nonce

    left = world.opened[0].read(lambda tx: tx.all(peer_nonce.select()))
    assert all(row.expires_at > world.clock.now() for row in left[:-1])
    with pytest.raises(e.TokenExpired):
        office.authenticate_peer(f"Bearer {token}")


def said(token: str) -> Any:
    head = token.partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"]


def test_a_peer_is_answered_in_the_name_it_uses(office: Identity, hospital: Identity) -> None:
    kid = f"{hospital.own_did}#{hospital.key.kid}"
    assert said(office.mint(hospital.own_did)) == "Ed25519"
    for name in ("EdDSA", "Ed25519", "EdDSA"):
        token = keys.jwt(hospital.key, claims_of(hospital, office), kid=kid, algorithm=name)
        assert office.authenticate_peer(f"Bearer {token}").did == hospital.own_did
        assert said(office.mint(hospital.own_did)) == name
    assert said(office.mint("did:web:other.example")) == "Ed25519"
    answer = office.mint(hospital.own_did)
    assert hospital.authenticate_peer(f"Bearer {answer}").did == office.own_did


def test_a_forged_token_changes_no_name(
    tmp_path: Path, office: Identity, hospital: Identity
) -> None:
    thief = KeyStore(tmp_path / "thief").key("did")
    kid = f"{hospital.own_did}#{hospital.key.kid}"
    token = keys.jwt(thief, claims_of(hospital, office), kid=kid, algorithm="EdDSA")
    with pytest.raises(e.TokenSignature):
        office.authenticate_peer(f"Bearer {token}")
    assert said(office.mint(hospital.own_did)) == "Ed25519"


def test_the_setting_names_who_is_told_eddsa_first() -> None:
    names = JoseNames(["did:web:old.example"])
    assert names.name_for("did:web:old.example") == "EdDSA"
    assert names.name_for("did:web:new.example") == "Ed25519"
    names.heard("did:web:old.example", "Ed25519")
    names.heard("did:web:new.example", "none")
    assert names.name_for("did:web:old.example") == "Ed25519"
    assert names.name_for("did:web:new.example") == "Ed25519"
    for number in range(limits.CREDENTIAL_CACHE_MAX):
        names.heard(f"did:web:{number}.example", "EdDSA")
    assert names.name_for("did:web:old.example") == "EdDSA"


def test_algorithm_none(office: Identity, hospital: Identity) -> None:
    for alg in ("none", "None", "NONE", "", None, ["Ed25519"]):
        header = {"alg": alg, "kid": hospital.key.kid}
        token = f"{b64(header)}.{b64(claims_of(hospital, office))}."
        with pytest.raises(e.TokenAlgorithm):
            office.authenticate_peer(f"Bearer {token}")


def test_the_public_key_is_no_hmac_secret(office: Identity, hospital: Identity) -> None:
    head = b64({"alg": "HS256", "kid": f"{hospital.own_did}#{hospital.key.kid}"})
    signed = f"{head}.{b64(claims_of(hospital, office))}"
    mac = hmac.new(hospital.key.public_raw(), signed.encode(), "sha256").digest()
    with pytest.raises(e.TokenAlgorithm):
        office.authenticate_peer(f"Bearer {signed}.{b64(mac)}")


def test_another_key_under_the_right_kid(
    tmp_path: Path, office: Identity, hospital: Identity
) -> None:
    thief = KeyStore(tmp_path / "thief").key("did")
    kid = f"{hospital.own_did}#{hospital.key.kid}"
    token = keys.jwt(thief, claims_of(hospital, office), kid=kid)
    with pytest.raises(e.TokenSignature):
        office.authenticate_peer(f"Bearer {token}")


def test_a_foreign_kid(world: World, office: Identity, hospital: Identity) -> None:
    thief = world.node("thief")
    for kid in (
        f"{thief.own_did}#{thief.key.kid}",
        f"{hospital.own_did}#nothing",
        f"{thief.own_did}#{hospital.key.kid}",
        "",
    ):
        token = keys.jwt(thief.key, claims_of(hospital, office), kid=kid or "x")
        with pytest.raises(e.TokenKeyUnknown):
            office.authenticate_peer(f"Bearer {token}")


def test_an_unknown_did_is_refused(world: World, office: Identity, hospital: Identity) -> None:
    world.documents.clear()
    with pytest.raises(DidUnresolvable):
        send(office, hospital)


def test_a_rotated_key_is_found_by_fetching_again(
    tmp_path: Path, world: World, office: Identity, hospital: Identity
) -> None:
    send(office, hospital)
    world.clock.advance(10)
    hospital.key = KeyStore(tmp_path / "rotated").key("did")
    with pytest.raises(e.TokenKeyUnknown):
        send(office, hospital)
    world.publish(hospital)
    world.clock.advance(10)
    assert send(office, hospital).did == hospital.own_did


def test_unknown_kids_do_not_make_us_fetch_each_time(
    world: World, office: Identity, hospital: Identity
) -> None:
    for _ in range(5):
        with pytest.raises(e.TokenKeyUnknown):
            send(office, hospital, kid="nothing")
    assert len(world.fetched) == 1


@pytest.mark.parametrize(
    "header",
    ["", "Basic abc", "Bearer", "Bearer a.b", "Bearer a.b.c.d", "Bearer ..", "Bearer é.é.é",
     "Bearer " + "a" * 9000, "Bearer e30.e30.e30=", "Bearer W10.W10.W10"],
)  # fmt: skip
def test_nonsense(office: Identity, header: str) -> None:
    with pytest.raises((e.TokenMalformed, e.TokenMissing, e.TokenAlgorithm)):
        office.authenticate_peer(header)


def test_deep_or_double_claims_are_malformed(office: Identity, hospital: Identity) -> None:
    head = b64({"alg": "Ed25519", "kid": hospital.key.kid})
    deep = b64(b'{"a":' + b"[" * 500 + b"]" * 500 + b"}")
    for claims in (deep, b64(b'{"iss":"a","iss":"b"}'), b64(b"[]"), b64(b"\xff"), b64(b"NaN")):
        with pytest.raises(e.TokenMalformed):
            office.authenticate_peer(f"Bearer {head}.{claims}.{b64(b'x' * 64)}")


def test_critical_extensions_are_refused(office: Identity, hospital: Identity) -> None:
    for extra in ({"crit": ["x"]}, {"b64": False}):
        head = b64({"alg": "Ed25519", "kid": hospital.key.kid, **extra})
        with pytest.raises(e.TokenMalformed):
            office.authenticate_peer(f"Bearer {head}.{b64({})}.{b64(b'x' * 64)}")


# -- credentials -----------------------------------------------------------------------------


def member_of(world: World, office: Identity, hospital: Identity) -> Any:
    done = admitted(office, hospital)
    world.keep(hospital, done.credential)
    return hospital.check_credential(done.credential)


def test_an_expired_credential(world: World, office: Identity, hospital: Identity) -> None:
    member_of(world, office, hospital)
    held = hospital.own_credential()
    other = world.node("research", RESEARCH)
    send(other, hospital, credential=held)
    world.clock.advance(90 * 86_400)
    with pytest.raises(CredentialExpired):
        send(other, hospital, credential=held)
    # Our own mint leaves it out, so that we can still ask for a new one.
    assert not other.authenticate_peer(f"Bearer {hospital.mint(other.own_did)}").member


def test_a_stolen_credential(world: World, office: Identity, hospital: Identity) -> None:
    member_of(world, office, hospital)
    thief = world.node("thief")
    with pytest.raises(CredentialRefused, match="another holder"):
        send(office, thief, credential=hospital.own_credential())


def test_a_credential_by_nobody_we_trust_makes_no_member(
    world: World, office: Identity, hospital: Identity
) -> None:
    member = member_of(world, office, hospital)
    from dataclasses import replace

    fake = issue(hospital.key, replace(member, issuer=hospital.own_did), STATUS, office.clock.now())
    assert not send(world.node("research", RESEARCH), hospital, credential=fake).member


def test_a_forged_credential_in_the_roots_name(
    world: World, office: Identity, hospital: Identity
) -> None:
    member = member_of(world, office, hospital)
    forged = issue(hospital.key, member, STATUS, office.clock.now())
    with pytest.raises(CredentialRefused, match="signature"):
        send(world.node("research", RESEARCH), hospital, credential=forged)


def test_the_credential_binds_the_key(
    tmp_path: Path, world: World, office: Identity, hospital: Identity
) -> None:
    member_of(world, office, hospital)
    held = hospital.own_credential()
    hospital.key = KeyStore(tmp_path / "other").key("did")
    world.publish(hospital)
    with pytest.raises(e.TokenKeyUnknown):
        send(world.node("research", RESEARCH), hospital, credential=held)


@pytest.mark.parametrize("place", ["code", "subject", "id", "cnf", "type", "nbf"])
def test_a_credential_that_contradicts_itself(
    world: World, office: Identity, hospital: Identity, place: str
) -> None:
    member_of(world, office, hospital)
    _, payload, _ = hospital.own_credential().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    said = claims["vc"]["credentialSubject"]
    if place == "code":
        said["connectorCode"] = "691330100MA0000066533010F3K8T1W9"  # a product's
    elif place == "subject":
        said["subjectCode"] = RESEARCH
    elif place == "id":
        said["id"] = office.own_did
    elif place == "cnf":
        claims["cnf"]["jwk"]["kty"] = "oct"
    elif place == "type":
        claims["vc"]["type"] = "MembershipCredential"
    else:
        claims["nbf"] += 100
    token = keys.jwt(office.key, claims)
    with pytest.raises(CredentialRefused):
        send(world.node("research", RESEARCH), hospital, credential=token)


def test_one_signature_check_a_request_once_the_credential_is_known(
    world: World, office: Identity, hospital: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    member_of(world, office, hospital)
    other = world.node("research", RESEARCH)
    other.authenticate_peer(f"Bearer {hospital.mint(other.own_did)}")
    checked: list[bytes] = []
    real = keys.verify

    def counted(jwk: Any, message: bytes, signature: bytes) -> bool:
        checked.append(message)
        return real(jwk, message, signature)

    monkeypatch.setattr(keys, "verify", counted)
    other.authenticate_peer(f"Bearer {hospital.mint(other.own_did)}")
    assert len(checked) == 1


# -- properties ------------------------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), to=st.characters(codec="ascii"))
def test_no_changed_character_passes(
    office: Identity, hospital: Identity, place: float, to: str
) -> None:
    token = hospital.mint(office.own_did)
    office.peers.verify(f"Bearer {token}")
    at = int(place * len(token))
    if to == token[at]:
        return
    with pytest.raises(Unauthenticated):
        office.peers.verify(f"Bearer {token[:at]}{to}{token[at + 1 :]}x"[:-1])


def test_the_last_character_has_one_spelling(office: Identity, hospital: Identity) -> None:
    token = hospital.mint(office.own_did)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    passed = []
    for char in alphabet:
        try:
            office.peers.verify(f"Bearer {token[:-1]}{char}")
            passed.append(char)
        except Unauthenticated:
            continue
    assert passed == [token[-1]]


def test_on_both_databases(world: World, any_db: Database) -> None:
    office = world.node("office", role="functional-node", db=any_db)
    hospital = world.node("hospital")
    done = admitted(office, hospital)
    world.keep(hospital, done.credential)
    token = hospital.mint(office.own_did)
    assert office.authenticate_peer(f"Bearer {token}").code == done.code
    with pytest.raises(e.TokenReplayed):
        office.authenticate_peer(f"Bearer {token}")

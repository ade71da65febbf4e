"""Issued, stored, presented, verified, revoked: DCP between nodes, over their real endpoints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from identity.nodes import REVIEWER
from protocols.dcp.office import Town, token
from yunhe.identity import (
    MEMBERSHIP,
    MEMBERSHIP_SCOPE,
    Identity,
    SelfIssued,
    carries_access_token,
    jwts,
    supported,
)
from yunhe.identity import errors as e
from yunhe.identity.store_claims import issuance
from yunhe.identity.vcs import PROFILES
from yunhe.kernel import limits
from yunhe.protocols import dcp

CONTEXT = ["https://w3id.org/dspace-dcp/v1.0/dcp.jsonld"]
BOTH = [one.id for one in supported(MEMBERSHIP)]


def issued(here: Town, office: Identity, hospital: Identity) -> None:
    """Let the hospital ask and the office bring."""
    db = here.world.databases["http://hospital.example"]
    db.write(lambda tx: here.deliveries["hospital"].request_membership(tx, office.own_did))
    here.deliver()
    until = time.monotonic() + 5
    while len(hospital.wallet.credentials()) < len(PROFILES) and time.monotonic() < until:
        time.sleep(0.01)
    assert {one.profile for one in hospital.wallet.credentials()} == set(PROFILES)


def shown(me: Identity, to: Identity, scope: str = MEMBERSHIP_SCOPE) -> str:
    """The Authorization header of a foreign node: a token with an access token in it."""
    return f"Bearer {me.foreign.mint(to.own_did, me.wallet.access_token(to.own_did, (scope,)))}"


def test_issued_by_request_presented_and_verified(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    peer = here.verifiers["research"].authenticate(shown(hospital, research))
    assert peer.member
    assert (peer.did, peer.code) == (hospital.own_did, office.connectors()[0].code)
    assert peer.jwk["crv"] == "P-256"


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_a_revoked_member_is_refused_within_five_seconds(
    here: Town, office: Identity, hospital: Identity, research: Identity, verb: str
) -> None:
    issued(here, office, hospital)
    here.verifiers["research"].authenticate(shown(hospital, research))
    getattr(office.registrar, verb)(office.connectors()[0].code, ("breach",), REVIEWER)
    here.world.clock.advance(5)
    with pytest.raises(e.CredentialRevoked):
        here.verifiers["research"].authenticate(shown(hospital, research))
    with pytest.raises(e.CredentialRevoked):  # at the registrar itself, too
        here.verifiers["office"].authenticate(shown(hospital, office))


def asked(here: Town) -> int:
    return sum(request.url.path.endswith("/presentations/query") for request in here.said)


def talking(me: Identity, to: Identity) -> Callable[[], str]:
    """Headers of one conversation: fresh tokens, one access token."""
    wallet = me.wallet.access_token(to.own_did, (MEMBERSHIP_SCOPE,))
    return lambda: f"Bearer {me.foreign.mint(to.own_did, wallet)}"


def test_a_wallet_is_asked_once_in_a_while_and_its_status_each_time(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    verifier = here.verifiers["research"]
    speak = talking(hospital, research)
    here.said.clear()
    for _ in range(3):
        peer = verifier.authenticate(speak())
        assert (peer.did, peer.member) == (hospital.own_did, True)
    assert asked(here) == 1
    here.world.clock.advance(limits.FOREIGN_KNOWN_S)
    verifier.authenticate(speak())
    assert asked(here) == 2
    other = shown(hospital, research, "org.eclipse.dspace.dcp.vc.type:SomeOther:read")
    with pytest.raises(e.PresentationIncomplete):  # another token may open less: it is asked
        verifier.authenticate(other)
    assert asked(here) == 3
    # Known since a moment ago, with a list of 3 s ago: revoked now, refused within five seconds.
    here.world.clock.advance(3)
    verifier.authenticate(speak())
    office.registrar.revoke(office.connectors()[0].code, ("breach",), REVIEWER)
    here.world.clock.advance(limits.STATUS_CACHE_S)
    with pytest.raises(e.CredentialRevoked):
        verifier.authenticate(speak())


def test_what_is_known_of_a_foreign_peer_is_its_own_and_ends_with_its_credential(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    verifier = here.verifiers["research"]
    speak = talking(hospital, research)
    verifier.authenticate(speak())
    kid = f"{hospital.own_did}#{hospital.claims_key.kid}"
    forged = token(hospital, research, key=office.claims_key, kid=kid, token="known")
    with pytest.raises(e.TokenSignature):  # another key in its name gains nothing
        verifier.authenticate(f"Bearer {forged}")
    [(key, (_, found))] = verifier._shown.items()
    verifier._shown[key] = (
        hospital.clock.now(),
        [replace(one, expires_at=hospital.clock.now()) for one in found],
    )
    with pytest.raises(e.CredentialExpired):
        verifier.authenticate(speak())


def test_what_is_known_of_foreign_peers_is_bounded(
    here: Town, office: Identity, hospital: Identity, research: Identity,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(limits, "CREDENTIAL_CACHE_MAX", 0)
    issued(here, office, hospital)
    speak = talking(hospital, research)
    here.said.clear()
    for _ in range(2):
        here.verifiers["research"].authenticate(speak())
    assert asked(here) == 2


def test_tokens_of_our_own_kind_take_the_short_way(
    here: Town, hospital: Identity, research: Identity
) -> None:
    here.said.clear()
    header = f"Bearer {hospital.mint(research.own_did)}"
    assert here.verifiers["research"].authenticate(header).member
    assert here.said == []


def test_a_scope_that_the_access_token_does_not_cover_is_not_enough(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    other = "org.eclipse.dspace.dcp.vc.type:SomeOther:read"
    with pytest.raises(e.PresentationIncomplete):
        here.verifiers["research"].authenticate(shown(hospital, research, other))


def test_a_replayed_token_causes_no_request_of_ours(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    header = shown(hospital, research)
    here.verifiers["research"].authenticate(header)
    here.said.clear()
    with pytest.raises(e.TokenReplayed):
        here.verifiers["research"].authenticate(header)
    assert here.said == []


def test_a_stranger_is_refused_and_leaves_nothing_behind(
    here: Town, office: Identity, research: Identity
) -> None:
    body = {"type": "CredentialRequestMessage", "holderPid": "p1", "credentials": ids()}
    assert here.post(research, office, "/issuer/credentials", body).status_code == 403
    db = here.world.databases["http://office.example"]
    assert not db.read(lambda tx: list(tx.all(sa.select(issuance))))


def test_who_lost_its_standing_gets_a_rejection(
    here: Town, office: Identity, hospital: Identity
) -> None:
    office.registrar.suspend(office.connectors()[0].code, ("question",), REVIEWER)
    body = {"@context": CONTEXT, "type": "CredentialRequestMessage", "holderPid": "p1"}
    got = here.post(hospital, office, "/issuer/credentials", {**body, "credentials": ids()})
    assert got.status_code == 201
    id_ = got.headers["location"].rpartition("/")[2]
    issued_ = office.issuer.status(_si(hospital), id_)
    assert (issued_.status, issued_.holder_pid) == ("REJECTED", "p1")
    with pytest.raises(e.CredentialRequestUnknown):  # another's request does not exist
        office.issuer.status(_si(office), id_)


def _si(who: Identity) -> SelfIssued:
    return SelfIssued(who.own_did, who.claims_key.public_jwk(), "")


def ids(*names: str) -> list[dict[str, str]]:
    return [{"id": name} for name in names or BOTH]


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "SomeMessage"},
        {"holderPid": None},
        {"holderPid": ""},
        {"holderPid": 7},
        {"credentials": None},
        {"credentials": []},
        {"credentials": [7]},
        {"credentials": [{"id": "unknown"}]},
        {"credentials": [{"id": BOTH[0]}] * 1000},
    ],
)
def test_a_request_that_is_none_is_400(
    here: Town, office: Identity, hospital: Identity, changed: dict[str, Any]
) -> None:
    body = {"type": "CredentialRequestMessage", "holderPid": "p", "credentials": ids(), **changed}
    assert here.post(hospital, office, "/issuer/credentials", body).status_code == 400


def query(here: Town, asker: Identity, holder: Identity, body: Any, **claims: Any) -> Any:
    given = {"@context": CONTEXT, "type": "PresentationQueryMessage", **body}
    if "token" not in claims:
        claims["token"] = holder.wallet.access_token(asker.own_did, (MEMBERSHIP_SCOPE,))
    return here.post(asker, holder, "/holder/presentations/query", given, **claims)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"scope": [MEMBERSHIP_SCOPE]}, 200),
        ({"scope": [MEMBERSHIP_SCOPE.removesuffix(":read")]}, 200),
        ({"scope": ["org.eclipse.dspace.dcp.vc.id:urn:uuid:1"]}, 200),
        ({"scope": [MEMBERSHIP_SCOPE], "presentationDefinition": {"id": "x"}}, 400),
        ({"presentationDefinition": {"id": "x"}}, 501),
        ({"presentationDefinition": {}}, 400),
        ({"presentationDefinition": None}, 400),
        ({}, 400),
        ({"scope": []}, 400),
        ({"scope": MEMBERSHIP_SCOPE}, 400),
        ({"scope": ["some.alias:X"]}, 400),
        ({"scope": [7]}, 400),
        ({"scope": [MEMBERSHIP_SCOPE] * 1000}, 400),
        ({"type": "Other", "scope": [MEMBERSHIP_SCOPE]}, 400),
    ],
)
def test_the_rules_of_a_query(
    here: Town, hospital: Identity, research: Identity, body: dict[str, Any], status: int
) -> None:
    assert query(here, research, hospital, body).status_code == status


def test_more_than_the_access_token_grants_is_left_out(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    issued(here, office, hospital)
    other = "org.eclipse.dspace.dcp.vc.type:Other"
    asked = {"scope": [MEMBERSHIP_SCOPE, other]}
    assert len(query(here, research, hospital, asked).json()["presentation"]) == len(PROFILES)
    narrow = hospital.wallet.access_token(research.own_did, (other,))
    got = query(here, research, hospital, asked, token=narrow)
    assert (got.status_code, got.json()["presentation"]) == (200, [])


def test_access_tokens_of_others_open_nothing(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    body = {"scope": [MEMBERSHIP_SCOPE]}
    for_office = hospital.wallet.access_token(office.own_did, (MEMBERSHIP_SCOPE,))
    by_itself = research.wallet.access_token(research.own_did, (MEMBERSHIP_SCOPE,))
    for wrong in (for_office, by_itself, "fake", "a.b.c", None):
        assert query(here, research, hospital, body, token=wrong).status_code == 401
    late = hospital.wallet.access_token(research.own_did, (MEMBERSHIP_SCOPE,))
    here.world.clock.advance(400)
    assert query(here, research, hospital, body, token=late).status_code == 401
    # An identity token is no access token, though the same key signed it.
    other = hospital.foreign.mint(research.own_did)
    assert query(here, research, hospital, body, token=other).status_code == 401


def message(office: Identity, hospital: Identity, tokens: list[str], **changed: Any) -> Any:
    credentials = [{"credentialType": MEMBERSHIP, "format": "jwt", "payload": t} for t in tokens]
    return {
        "type": "CredentialMessage",
        "issuerPid": "i1",
        "holderPid": "h1",
        "status": "ISSUED",
        "credentials": credentials,
        **changed,
    }


def test_only_a_trusted_issuer_that_was_asked_may_write(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    held = office.connectors()[0].credential
    body = message(office, hospital, [held])
    path = "/holder/credentials"
    assert here.post(research, hospital, path, body).status_code == 403
    assert here.post(office, hospital, path, body).status_code == 404  # nobody asked
    db = here.world.databases["http://hospital.example"]
    db.write(lambda tx: hospital.wallet.expect(tx, "h1", office.own_did, ()))
    assert here.post(office, hospital, path, body).status_code == 200
    assert [one.jwt for one in hospital.wallet.credentials()] == [held]
    forged = held[:-8] + ("A" * 8 if not held.endswith("A" * 8) else "B" * 8)
    assert here.post(office, hospital, path, message(office, hospital, [forged])).status_code == 401
    for changed in ({"status": "MAYBE"}, {"holderPid": None}, {"credentials": []}):
        wrong = message(office, hospital, [held], **changed)
        assert here.post(office, hospital, path, wrong).status_code == 400


def test_offers_of_trusted_issuers_are_kept(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    body = {"type": "CredentialOfferMessage", "issuer": office.own_did, "credentials": ids()}
    assert here.post(office, hospital, "/holder/offers", body).status_code == 200
    assert here.post(research, hospital, "/holder/offers", body).status_code == 403
    own = {**body, "issuer": research.own_did}
    assert here.post(research, hospital, "/holder/offers", own).status_code == 403
    assert len(hospital.wallet.offers()) == 1


def test_the_metadata_and_the_lists_are_public(here: Town, office: Identity) -> None:
    for path in ("/issuer/metadata", "/schemas/MembershipCredential.json"):
        got = here.send(httpx.Request("GET", f"http://office.example/dcp{path}"))
        assert got.status_code == 200
    for path in ("/status/9", "/status/0", "/status/x"):
        got = here.send(httpx.Request("GET", f"http://office.example/dcp{path}"))
        assert got.status_code in (404, 422)
    metadata = here.send(httpx.Request("GET", "http://office.example/dcp/issuer/metadata")).json()
    assert metadata["issuer"] == office.own_did
    assert {one["id"] for one in metadata["credentialsSupported"]} == set(BOTH)


def test_our_own_kind_hears_one_token_and_the_others_another(
    here: Town, office: Identity, hospital: Identity, research: Identity
) -> None:
    speaker = dcp.Speaker(hospital)
    assert not carries_access_token(f"Bearer {speaker.mint(research.own_did)}")
    foreign = research.own_did.replace("research", "wallet")
    text = json.dumps(research.did_document()).replace("research.example", "wallet.example")
    text = text.replace("TdsService", "OtherService")
    here.world.documents["http://wallet.example/.well-known/did.json"] = text.encode()
    assert carries_access_token(f"Bearer {speaker.mint(foreign)}")


def test_one_access_token_of_ours_lasts_a_conversation_with_one_peer(
    here: Town, hospital: Identity
) -> None:
    def opened(did: str) -> object:
        return jwts.read(speaker.mint(did)).claims["token"]

    speaker = dcp.Speaker(hospital)
    document = json.dumps(hospital.did_document()).replace("TdsService", "OtherService")
    peers = [f"did:web:{name}.example" for name in ("wallet", "other")]
    for name in ("wallet", "other"):
        text = document.replace("hospital.example", f"{name}.example")
        here.world.documents[f"http://{name}.example/.well-known/did.json"] = text.encode()
    first = opened(peers[0])
    assert opened(peers[0]) == first
    assert opened(peers[1]) != first
    here.world.clock.advance(limits.ACCESS_TOKEN_REUSED_S)
    assert opened(peers[0]) != first

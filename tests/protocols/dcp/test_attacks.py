"""Tokens and presentations of attackers, each refused with its own code; addresses inward, too."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from identity.nodes import REVIEWER
from protocols.dcp.office import Town, token
from yunhe.identity import MEMBERSHIP, GuardedClient, Identity, presentations
from yunhe.identity import errors as e
from yunhe.identity.vcs import VC11, VC20, Credential, claims_of, read
from yunhe.kernel import suites
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import YunheError
from yunhe.kernel.keys import KeyStore
from yunhe.protocols import dcp

NOBODY = "did:web:nobody.example"


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"sub": NOBODY}, e.TokenIssuer),
        ({"iss": NOBODY}, e.TokenIssuer),
        ({"iss": NOBODY, "sub": NOBODY}, e.DidUnresolvable),
        ({"iss": "did:key:z6", "sub": "did:key:z6"}, e.DidUnresolvable),
        ({"aud": NOBODY}, e.TokenAudience),
        ({"aud": None}, e.TokenAudience),
        ({"aud": ["did:web:research.example", NOBODY]}, e.TokenAudience),
        ({"exp": 0}, e.TokenExpired),
        ({"exp": 2**33}, e.TokenLifetime),
        ({"iat": 2**33, "exp": 2**33 + 9}, e.TokenNotYet),
        ({"nbf": 2**33}, e.TokenNotYet),
        ({"jti": None}, e.TokenMalformed),
        ({"jti": 7}, e.TokenMalformed),
        ({"iat": None}, e.TokenMalformed),
        ({"exp": "soon"}, e.TokenMalformed),
        ({"exp": True}, e.TokenMalformed),
        ({"token": 7}, e.TokenMalformed),
        ({"kid": "did:web:hospital.example#other"}, e.TokenKeyUnknown),
        ({"kid": "did:web:research.example#x"}, e.TokenKeyUnknown),
    ],
)
def test_a_wrong_claim_is_refused_by_name(
    hospital: Identity, research: Identity, changed: dict[str, Any], code: type[YunheError]
) -> None:
    with pytest.raises(code):
        research.foreign.authenticate(f"Bearer {token(hospital, research, **changed)}")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer a.b", "Bearer ...", "x.y.z"])
def test_what_is_no_bearer_token_is_refused(research: Identity, header: str) -> None:
    with pytest.raises((e.TokenMissing, e.TokenMalformed)):
        research.foreign.authenticate(header)


def test_another_key_of_the_same_name_is_refused(
    tmp_path: Path, hospital: Identity, research: Identity
) -> None:
    key = KeyStore(tmp_path / "other").es256("dcp")
    kid = f"{hospital.own_did}#{hospital.claims_key.kid}"
    with pytest.raises(e.TokenSignature):
        research.foreign.authenticate(f"Bearer {token(hospital, research, key=key, kid=kid)}")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS256", ""])
def test_the_algorithm_is_not_the_senders_choice(
    hospital: Identity, research: Identity, algorithm: str
) -> None:
    _, payload, signature = token(hospital, research).split(".")
    header = b64({"alg": algorithm, "kid": f"{hospital.own_did}#{hospital.claims_key.kid}"})
    if algorithm == "HS256":  # the public key as the secret of an HMAC
        secret = json.dumps(hospital.claims_key.public_jwk()).encode()
        signed = f"{header}.{payload}".encode()
        signature = b64(hmac.new(secret, signed, hashlib.sha256).digest())
    with pytest.raises(e.TokenAlgorithm):
        research.foreign.authenticate(f"Bearer {header}.{payload}.{signature}")


def test_a_token_is_accepted_once(hospital: Identity, research: Identity) -> None:
    header = f"Bearer {token(hospital, research)}"
    assert research.foreign.authenticate(header).did == hospital.own_did
    with pytest.raises(e.TokenReplayed):
        research.foreign.authenticate(header)
    jti = json.loads(base64.urlsafe_b64decode(header.split(".")[1] + "=="))["jti"]
    again = token(hospital, research, jti=jti)  # one jti, another text
    with pytest.raises(e.TokenReplayed):
        research.foreign.authenticate(f"Bearer {again}")


def test_a_document_may_keep_a_key_from_speaking_for_its_subject(
    here: Town, hospital: Identity, research: Identity
) -> None:
    document = hospital.did_document()
    document["capabilityInvocation"] = document["capabilityInvocation"][:1]
    place = "http://hospital.example/.well-known/did.json"
    here.world.documents[place] = json.dumps(document).encode()
    with pytest.raises(e.TokenKeyUnknown):
        research.foreign.authenticate(f"Bearer {token(hospital, research)}")
    del document["capabilityInvocation"]  # says nothing of it: as Eclipse's wallets do
    here.world.documents[place] = json.dumps(document).encode()
    here.world.clock.advance(10)
    research.foreign.authenticate(f"Bearer {token(hospital, research)}")


# -- presentations ---------------------------------------------------------------------------


def issue(office: Identity, holder: str, profile: str, key: Any = None, **changed: Any) -> str:
    """A membership credential of the office's making, with something changed."""
    now = office.clock.now()
    made = Credential(
        id=f"urn:uuid:{uuid.uuid4()}",
        profile=profile,
        types=("VerifiableCredential", MEMBERSHIP),
        issuer=changed.pop("issuer", office.own_did),
        holder=holder,
        subject=changed.pop("subject", {"id": holder}),
        begins_at=now + changed.pop("begins", timedelta(0)),
        expires_at=now + changed.pop("lives", timedelta(days=1)),
        status=(),
        schemas=(),
        jwt="",
    )
    claims = claims_of(made, {}, now)
    body = claims["vc"] if profile == VC11 else claims
    del body["credentialStatus"]
    body.update(changed)
    signer = key or office.key
    return suites.jwt(signer, claims, f"{office.own_did}#{signer.kid}")


def present(me: Identity, to: Identity, *tokens: str) -> list[object]:
    held = [read(one)[1] for one in tokens]
    made = presentations.make(me.claims_key, me.own_did, to.own_did, held, me.clock.now())
    return list(made)


def no_schema(_address: str, _subject: dict[str, Any]) -> None:
    raise AssertionError("nobody asked")


@pytest.mark.parametrize("profile", [VC11, VC20])
def test_a_good_presentation_is_accepted_once(
    office: Identity, hospital: Identity, research: Identity, profile: str
) -> None:
    shown = present(hospital, research, issue(office, hospital.own_did, profile))
    found = research.presentations.verify(shown, hospital.own_did, no_schema)
    assert [one.profile for one in found] == [profile]
    with pytest.raises(e.TokenReplayed):
        research.presentations.verify(shown, hospital.own_did, no_schema)


@pytest.mark.parametrize("profile", [VC11, VC20])
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"lives": timedelta(seconds=-1)}, e.CredentialExpired),
        ({"begins": timedelta(hours=1)}, e.CredentialNotYet),
        ({"subject": {"id": NOBODY}}, e.CredentialHolder),
        ({"issuer": NOBODY}, e.CredentialUntrusted),
        ({"credentialStatus": {"type": "Other"}}, e.CredentialRefused),
        ({"credentialStatus": {"type": "BitstringStatusListEntry"}}, e.CredentialRefused),
        ({"credentialSubject": []}, e.CredentialRefused),
        ({"credentialSchema": {"type": "JsonSchema"}}, e.CredentialRefused),
        ({"expirationDate": "2020-01-01T00:00:00Z"}, e.CredentialExpired),
        ({"validUntil": "yesterday"}, e.CredentialRefused),
        ({"validUntil": "9999-12-31T23:59:59-12:00"}, e.CredentialRefused),
        ({"validFrom": "2026-01-01T00:00:00"}, e.CredentialRefused),
    ],
)
def test_a_credential_that_does_not_hold_is_refused_by_name(
    office: Identity,
    hospital: Identity,
    research: Identity,
    profile: str,
    changed: dict[str, Any],
    code: type[YunheError],
) -> None:
    made = issue(office, hospital.own_did, profile, **changed)
    with pytest.raises(code):
        research.presentations.credential(made, hospital.own_did)


def test_a_credential_forged_in_the_roots_name(
    office: Identity, hospital: Identity, research: Identity
) -> None:
    forged = issue(office, hospital.own_did, VC20, key=hospital.key)
    with pytest.raises(e.CredentialSignature):
        research.presentations.credential(forged, hospital.own_did)


def vp(me: Identity, to: Identity, *tokens: str, key: Any = None, **changed: Any) -> list[object]:
    now = int(me.clock.now().timestamp())
    signer = key or me.claims_key
    inner = {"type": ["VerifiablePresentation"], "verifiableCredential": list(tokens)}
    claims = {
        "iss": me.own_did,
        "sub": me.own_did,
        "aud": to.own_did,
        "jti": uuid.uuid4().hex,
        "iat": now,
        "exp": now + 60,
        "vp": inner,
        **changed,
    }
    kid = f"{me.own_did}#{me.claims_key.kid}"
    return [suites.jwt(signer, {n: v for n, v in claims.items() if v is not None}, kid)]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"aud": NOBODY}, e.PresentationRefused),
        ({"iss": NOBODY}, e.PresentationRefused),
        ({"sub": NOBODY}, e.PresentationRefused),
        ({"exp": 0}, e.TokenExpired),
        ({"nbf": 2**33}, e.TokenNotYet),
        ({"jti": None}, e.PresentationRefused),
        ({"vp": {"type": "Other", "verifiableCredential": []}}, e.PresentationRefused),
        ({"vp": {"type": ["VerifiablePresentation"]}}, e.PresentationRefused),
        (
            {"vp": {"type": ["VerifiablePresentation"], "verifiableCredential": ["x"] * 99}},
            e.PresentationRefused,
        ),
        (
            {"vp": {"type": "VerifiablePresentation", "holder": NOBODY}},
            e.PresentationRefused,
        ),
    ],
)
def test_a_presentation_that_does_not_hold_is_refused(
    office: Identity,
    hospital: Identity,
    research: Identity,
    changed: dict[str, Any],
    code: type[YunheError],
) -> None:
    good = issue(office, hospital.own_did, VC11)
    shown = vp(hospital, research, good, **changed)
    with pytest.raises(code):
        research.presentations.verify(shown, hospital.own_did, no_schema)


def test_a_presentation_by_another_key_or_of_another_shape(
    office: Identity, hospital: Identity, research: Identity
) -> None:
    good = issue(office, hospital.own_did, VC11)
    bad: tuple[list[object], ...] = (
        vp(hospital, research, good, key=research.claims_key),
        [{"type": "VerifiablePresentation"}],
        ["a.b.c"],
        present(hospital, research, good) * 99,
    )
    for shown in bad:
        with pytest.raises(e.PresentationRefused):
            research.presentations.verify(shown, hospital.own_did, no_schema)


def test_a_stolen_credential_is_nothing_to_its_thief(
    office: Identity, hospital: Identity, research: Identity
) -> None:
    stolen = issue(office, hospital.own_did, VC11)
    with pytest.raises(e.CredentialHolder):
        research.presentations.verify(vp(office, research, stolen), office.own_did, no_schema)


# -- addresses of strangers ------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.example",
        "file:///etc/passwd",
        "ftp://hospital.example",
        "http://[fe80::1]/",
    ],
)
def test_a_wallet_at_an_inward_address_is_never_asked(
    here: Town, hospital: Identity, research: Identity, endpoint: str
) -> None:
    document = hospital.did_document()
    document["service"] = [{"id": "#x", "type": "CredentialService", "serviceEndpoint": endpoint}]
    place = "http://hospital.example/.well-known/did.json"
    here.world.documents[place] = json.dumps(document).encode()
    http = GuardedClient(Egress(local=True), 1, lambda _host, _port: ["169.254.169.254"])
    asking = dcp.Verifier(research, dcp.ClaimsClient(http, research))
    header = f"Bearer {hospital.foreign.mint(research.own_did, 'token')}"
    with pytest.raises((e.AddressForbidden, dcp.PeerFailed)):
        asking.authenticate(header)
    http.close()


@pytest.mark.parametrize("service", [[], [7], [{"type": "CredentialService"}], "none"])
def test_a_document_without_a_wallet_is_refused(
    here: Town, hospital: Identity, research: Identity, service: Any
) -> None:
    document = {**hospital.did_document(), "service": service}
    place = "http://hospital.example/.well-known/did.json"
    here.world.documents[place] = json.dumps(document).encode()
    header = f"Bearer {hospital.foreign.mint(research.own_did, 'token')}"
    with pytest.raises(dcp.NoSuchService):
        here.verifiers["research"].authenticate(header)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(200, content=b"{}"),
        httpx.Response(200, json={"presentation": "none"}),
        httpx.Response(200, json={"presentation": []}),
        httpx.Response(401),
        httpx.Response(302, headers={"location": "http://169.254.169.254/"}),
    ],
)
def test_an_answer_that_is_none_is_a_refusal(
    hospital: Identity, research: Identity, answer: httpx.Response
) -> None:
    streamed = httpx.Response(
        answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content)
    )
    http = httpx.Client(transport=httpx.MockTransport(lambda _request: streamed))
    asking = dcp.Verifier(research, dcp.ClaimsClient(http, research))
    header = f"Bearer {hospital.foreign.mint(research.own_did, 'token')}"
    with pytest.raises((e.PresentationRefused, e.PresentationIncomplete)):
        asking.authenticate(header)


def test_an_endless_answer_ends_at_the_bound(hospital: Identity, research: Identity) -> None:
    def endless() -> Any:
        while True:
            yield b" " * 65_536

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Any:
            return endless()

    http = httpx.Client(
        transport=httpx.MockTransport(lambda _request: httpx.Response(200, stream=Stream()))
    )
    asking = dcp.Verifier(research, dcp.ClaimsClient(http, research))
    with pytest.raises(dcp.PeerFailed):
        asking.authenticate(f"Bearer {hospital.foreign.mint(research.own_did, 'token')}")


def test_only_a_registrar_issues(hospital: Identity, office: Identity) -> None:
    asker = hospital.foreign.authenticate(f"Bearer {token(office, hospital)}")
    with pytest.raises(e.NotRegistrar):
        hospital.issuer.request(asker, "p", ())


def test_a_suspended_connector_is_issued_nothing(
    here: Town, office: Identity, hospital: Identity
) -> None:
    office.registrar.suspend(office.connectors()[0].code, ("question",), REVIEWER)
    asker = office.foreign.authenticate(f"Bearer {token(hospital, office)}")
    id_ = office.issuer.request(asker, "p", (office.issuer.objects[0].id,))
    assert office.issuer.status(asker, id_).status == "REJECTED"

"""The membership credential: a VC-JWT that a registrar issues to a connector.

In: what the registrar knows of the connector. Out: a JWT any node verifies offline with the
registrar's pinned key. VC Data Model 1.1 §6.3.1 shape; `cnf.jwk` (RFC 7800) binds the key.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from yunhe.identity import jwts, vcs
from yunhe.identity.errors import CredentialExpired, CredentialRefused
from yunhe.identity.model import Held, Jwk, Membership, StatusEntry
from yunhe.kernel import ids, keys, limits

CONTEXT: Final = "https://www.w3.org/2018/credentials/v1"
TYPES: Final = ("VerifiableCredential", "MembershipCredential")
_SKEW: Final = timedelta(seconds=limits.SI_TOKEN_SKEW_S)


def issue(key: keys.SigningKey, member: Membership, status: dict[str, Any], now: datetime) -> str:
    """Sign the credential of `member`; `member.issuer` is the registrar's DID.

    `status` is its credentialStatus. The id of the entry says nothing its other members do not,
    and this credential travels with every request: it is left out.
    """
    claims = {
        "iss": member.issuer,
        "sub": member.did,
        "jti": f"urn:uuid:{member.id}",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(member.expires_at.timestamp()),
        "cnf": {"jwk": {part: member.jwk[part] for part in ("kty", "crv", "x")}},
        "vc": {
            "@context": [CONTEXT],
            "type": list(TYPES),
            "credentialStatus": {name: status[name] for name in status if name != "id"},
            "credentialSubject": {
                "id": member.did,
                "subjectCode": member.subject_code,
                "connectorCode": member.code,
                "name": member.name,
                "nameEn": member.name_en,
                "address": member.address,
            },
        },
    }
    key = key.now
    return keys.jwt(key, claims, kid=f"{member.issuer}#{key.kid}")


def is_for(token: str, jwk: Jwk) -> bool:
    """Whether a credential of ours binds this key: after a rotation the old ones do not."""
    cnf = jwts.read(token).claims.get("cnf")
    bound = cnf.get("jwk") if isinstance(cnf, dict) else None
    return isinstance(bound, dict) and bound.get("x") == jwk["x"]


def held(token: str) -> Held:
    """What a credential says of itself that was verified when it was kept."""
    claims = jwts.read(token).claims
    begins, ends = (datetime.fromtimestamp(jwts.seconds(claims, at), UTC) for at in ("nbf", "exp"))
    return Held(token, begins, ends, _dig(claims, "cnf", "jwk"))


def issuer_of(token: str) -> str:
    """Who claims to have issued this credential, unverified; raises CredentialRefused."""
    try:
        return jwts.text(jwts.read(token).claims, "iss")
    except jwts.JwtUnreadable as error:
        raise CredentialRefused(why=str(error)) from error


def verify(token: str, issuer_keys: tuple[Jwk, ...], now: datetime) -> Membership:
    """The membership a credential proves, signed by one of `issuer_keys` and valid at `now`.

    Raises CredentialRefused (naming the fault) or CredentialExpired.
    """
    try:
        return _verify(jwts.read(token), issuer_keys, now)
    except jwts.JwtUnreadable as error:
        raise CredentialRefused(why=str(error)) from error
    except ids.BadCode as error:
        raise CredentialRefused(why="its connector code is not valid") from error
    except keys.BadSignature as error:
        raise CredentialRefused(why="its cnf key is not an Ed25519 key") from error


def _verify(draft: jwts.Draft, issuer_keys: tuple[Jwk, ...], now: datetime) -> Membership:
    if not draft.algorithm_accepted:
        raise CredentialRefused(why="its algorithm is not accepted")
    if not any(draft.signed_by(jwk) for jwk in issuer_keys):
        raise CredentialRefused(why="its signature is not of the issuer")
    claims = draft.claims
    expires_at = datetime.fromtimestamp(jwts.seconds(claims, "exp"), UTC)
    if expires_at <= now:
        raise CredentialExpired
    if datetime.fromtimestamp(jwts.seconds(claims, "nbf"), UTC) > now + _SKEW:
        raise CredentialRefused(why="it is dated in the future")
    said = _dig(claims, "vc", "credentialSubject")
    if not set(TYPES) <= set(_texts(_dig(claims, "vc").get("type"))):
        raise CredentialRefused(why="it is no membership credential")
    did = jwts.text(claims, "sub")
    if said.get("id") != did:
        raise CredentialRefused(why="it is about another holder")
    code = ids.parse(jwts.text(said, "connectorCode"))
    if code.type is not ids.CodeType.CONNECTOR or code.subject != said.get("subjectCode"):
        raise CredentialRefused(why="its codes do not fit each other")
    jwk = _dig(claims, "cnf", "jwk")
    kid = keys.thumbprint(jwk)
    return Membership(
        issuer=jwts.text(claims, "iss"),
        did=did,
        code=code.stem,
        subject_code=code.subject,
        name=jwts.text(said, "name"),
        name_en=str(said.get("nameEn") or ""),
        address=str(said.get("address") or ""),
        jwk={"kty": "OKP", "crv": "Ed25519", "x": jwk["x"], "kid": kid},
        expires_at=expires_at,
        id=jwts.text(claims, "jti").removeprefix("urn:uuid:"),
        status=_status(claims),
    )


def _status(claims: dict[str, Any]) -> tuple[StatusEntry, ...]:
    # An issuer need not keep a list: a credential that names none is good until it ends.
    found = _dig(claims, "vc").get("credentialStatus")
    return () if found is None else (vcs.status_entry(found),)


def _dig(claims: dict[str, Any], *path: str) -> dict[str, Any]:
    found: Any = claims
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise CredentialRefused(why=f"{'.'.join(path)} is missing")
    return found


def _texts(value: Any) -> list[str]:
    return [part for part in value if isinstance(part, str)] if isinstance(value, list) else []

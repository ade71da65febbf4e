"""Verifiable credentials as JWT, both profiles of DCP 1.0: vc20-bssl/jwt and vc11-sl2021/jwt.

In: JWT text of any issuer. Out: one typed Credential whatever its profile, unverified; and the
claims of the credentials we issue ourselves. Who signed it is for presentations.py to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from yunhe.identity import jwts
from yunhe.identity.errors import CredentialRefused
from yunhe.identity.model import StatusEntry
from yunhe.kernel import limits
from yunhe.kernel.clock import to_second

VC20: Final = "vc20-bssl/jwt"
VC11: Final = "vc11-sl2021/jwt"
PROFILES: Final = (VC20, VC11)
CONTEXT_20: Final = "https://www.w3.org/ns/credentials/v2"
CONTEXT_11: Final = "https://www.w3.org/2018/credentials/v1"
MEMBERSHIP: Final = "MembershipCredential"
ENTRY_TYPES: Final = ("BitstringStatusListEntry", "StatusList2021Entry")


@dataclass(frozen=True)
class Credential:
    """What a credential says, before or after its verification."""

    id: str
    profile: str
    types: tuple[str, ...]
    issuer: str
    holder: str
    subject: dict[str, Any]
    begins_at: datetime
    expires_at: datetime | None
    status: tuple[StatusEntry, ...]
    schemas: tuple[str, ...]
    jwt: str


def read(token: str) -> tuple[jwts.Draft, Credential]:
    """Read a VC-JWT of either profile; raises CredentialRefused naming the fault."""
    try:
        draft = jwts.read(token, limits.CREDENTIAL_BYTES_MAX)
        return draft, _read(draft.claims, token)
    except jwts.JwtUnreadable as error:
        raise CredentialRefused(why=str(error)) from error


def _read(claims: dict[str, Any], token: str) -> Credential:
    old = claims.get("vc")
    profile, body = (VC11, old) if isinstance(old, dict) else (VC20, claims)
    subject = body.get("credentialSubject")
    if not isinstance(subject, dict):
        raise CredentialRefused(why="it has not one subject")
    issuer = _issuer(claims, body)
    # Some issuers put something else into `sub`; whom the claims are about is said beside them.
    holder = subject.get("id", claims.get("sub"))
    if not isinstance(holder, str):
        raise CredentialRefused(why="its subject is not one DID")
    begins, ends = _times(claims, body)
    return Credential(
        id=str(claims.get("jti") or body.get("id") or "")[: limits.DID_CHARS_MAX],
        profile=profile,
        types=tuple(str(kind) for kind in _list(body.get("type"))),
        issuer=issuer,
        holder=holder,
        subject=subject,
        begins_at=begins,
        expires_at=ends,
        status=tuple(status_entry(entry) for entry in _list(body.get("credentialStatus"))),
        schemas=tuple(_schema(entry) for entry in _list(body.get("credentialSchema"))),
        jwt=token,
    )


def _issuer(claims: dict[str, Any], body: dict[str, Any]) -> str:
    said = body.get("issuer", claims.get("iss"))
    issuer = said.get("id") if isinstance(said, dict) else said
    if not isinstance(issuer, str) or claims.get("iss", issuer) != issuer:
        raise CredentialRefused(why="its issuer is not one DID")
    return issuer


def _times(claims: dict[str, Any], body: dict[str, Any]) -> tuple[datetime, datetime | None]:
    begins = [_moment(body[name]) for name in ("issuanceDate", "validFrom") if body.get(name)]
    ends = [_moment(body[name]) for name in ("expirationDate", "validUntil") if body.get(name)]
    for name, found in (("nbf", begins), ("exp", ends)):
        if claims.get(name) is not None:
            found.append(datetime.fromtimestamp(jwts.seconds(claims, name), UTC))
    if not begins:
        begins = [datetime.fromtimestamp(jwts.seconds(claims, "iat"), UTC)]
    # Said twice, the narrower one counts.
    return max(begins), min(ends) if ends else None


def _moment(value: Any) -> datetime:
    try:
        found = datetime.fromisoformat(str(value))
        if found.tzinfo is None:
            raise CredentialRefused(why="one of its dates has no time zone")
        return found.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # the latter of a day that UTC does not have
        raise CredentialRefused(why="one of its dates cannot be read") from error


def status_entry(value: Any) -> StatusEntry:
    """One entry of credentialStatus; raises CredentialRefused for what we cannot check."""
    if not isinstance(value, dict) or value.get("type") not in ENTRY_TYPES:
        raise CredentialRefused(why="its status is of a kind we cannot check")
    index, url = str(value.get("statusListIndex", "")), value.get("statusListCredential")
    if not (index.isascii() and index.isdigit() and len(index) < 12 and isinstance(url, str)):
        raise CredentialRefused(why="its status entry is not whole")
    if len(url) > limits.DID_CHARS_MAX:
        raise CredentialRefused(why="its status list address is too long")
    return StatusEntry(str(value["type"]), str(value.get("statusPurpose", "")), int(index), url)


def _schema(value: Any) -> str:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise CredentialRefused(why="its schema is not named")
    return str(value["id"])


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    if len(found) > limits.CREDENTIALS_MAX:
        raise CredentialRefused(why="one of its lists is too long")
    return found


def claims_of(made: Credential, status: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The JWT claims of a credential of ours, in its profile; `status` as credentialStatus."""
    ends = made.expires_at or now
    whole: dict[str, Any] = {
        "iss": made.issuer,
        "sub": made.holder,
        "jti": made.id,
        "iat": int(now.timestamp()),
        "nbf": int(made.begins_at.timestamp()),
        "exp": int(ends.timestamp()),
    }
    body: dict[str, Any] = {
        "@context": [CONTEXT_11 if made.profile == VC11 else CONTEXT_20],
        "id": made.id,
        "type": list(made.types),
        "issuer": made.issuer,
        "credentialSubject": made.subject,
        "credentialStatus": status,
    }
    begins, until = to_second(made.begins_at), to_second(ends)
    if made.profile == VC11:
        return {**whole, "vc": {**body, "issuanceDate": begins, "expirationDate": until}}
    return {**whole, **body, "validFrom": begins, "validUntil": until}

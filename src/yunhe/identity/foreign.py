"""Self-issued tokens as DCP 1.0 has them: what foreign nodes send us, and what we send them.

In: an Authorization header. Out: who sent it, with the opaque access token for its credential
service. Keys come from the sender's DID document, of any suite we know; nothing is inlined.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from yunhe.identity import jwts, store_access
from yunhe.identity.errors import (
    TokenAlgorithm,
    TokenAudience,
    TokenExpired,
    TokenIssuer,
    TokenLifetime,
    TokenMalformed,
    TokenMissing,
    TokenNotYet,
    TokenReplayed,
    TokenSignature,
)
from yunhe.identity.keyring import KeyRing
from yunhe.identity.model import Jwk
from yunhe.identity.peers import nonce_id
from yunhe.kernel import limits, suites
from yunhe.kernel.db import Database, Tx

_SKEW: Final = timedelta(seconds=limits.SI_TOKEN_SKEW_S)
_LIFE: Final = timedelta(seconds=limits.SI_TOKEN_S_MAX)
_FOREIGN_LIFE: Final = timedelta(seconds=limits.FOREIGN_TOKEN_S_MAX)


@dataclass(frozen=True)
class SelfIssued:
    """A self-issued token that verified and was spent; `token` opens the sender's wallet."""

    did: str
    jwk: Jwk
    token: str


class ForeignTokens:
    """Checks and mints DCP tokens of one node; the key is ES256, which everyone verifies."""

    def __init__(self, db: Database, own_did: str, key: suites.Signer, ring: KeyRing) -> None:
        self._db = db
        self._own_did = own_did
        self._key = key
        self._ring = ring

    def mint(self, audience: str, token: str = "") -> str:
        """A token for one request to `audience`; `token` is what it shows our wallet, or its."""
        now = self._db.clock.now()
        claims: dict[str, Any] = {
            "iss": self._own_did,
            "sub": self._own_did,
            "aud": audience,
            "jti": uuid.uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int((now + _LIFE).timestamp()),
        }
        if token:
            claims["token"] = token
        key = self._key.now
        return suites.jwt(key, claims, f"{self._own_did}#{key.kid}")

    def authenticate(self, authorization: str) -> SelfIssued:
        """Who sent this header; the token is spent by it.

        Checks in order (DCP 1.0 §4.3.3): form, algorithm, iss = sub, DID, key and its relation,
        signature, audience, times, replay. Raises Token*, Did*, AddressForbidden.
        """
        draft = _draft(authorization)
        try:
            found, ends = self._verify(draft)
            spent = nonce_id("si", found.did, jwts.text(draft.claims, "jti"))
        except jwts.JwtUnreadable as error:
            raise TokenMalformed(why=str(error)) from error
        self._db.write(lambda tx: _spend(tx, spent, ends + _SKEW))
        return found

    def _verify(self, draft: jwts.Draft) -> tuple[SelfIssued, datetime]:
        claims = draft.claims
        if not draft.suite_known:
            raise TokenAlgorithm
        did = jwts.text(claims, "iss")
        if claims.get("sub") != did:
            raise TokenIssuer
        jwk = self._ring.named_key(did, draft.header.get("kid"), "capabilityInvocation")
        if not draft.verifies(jwk):
            raise TokenSignature
        if audience(claims) != self._own_did:
            raise TokenAudience
        ends = times(claims, self._db.clock.now())
        token = claims.get("token", "")
        if not isinstance(token, str):
            raise jwts.JwtUnreadable("the claim token is not text")
        return SelfIssued(did, jwk, token), ends

    def spend(self, did: str, jti: str, ends: datetime) -> None:
        """Remember the jti of a presentation; raises TokenReplayed."""
        self._db.write(lambda tx: _spend(tx, nonce_id("vp", did, jti), ends + _SKEW))


def carries_access_token(authorization: str) -> bool:
    """Whether a header holds a DCP token with an access token: what foreign nodes send.

    Nothing is verified: this only chooses who does. Tokens of our own nodes inline their
    credential instead.
    """
    return told_apart(authorization)[0]


def told_apart(authorization: str) -> tuple[bool, jwts.Draft | None]:
    """`carries_access_token`, and the token as it was read for that; None where there is none."""
    try:
        draft = _draft(authorization)
    except (TokenMissing, TokenMalformed):
        return False, None
    return "token" in draft.claims and "credential" not in draft.claims, draft


def _draft(authorization: str) -> jwts.Draft:
    scheme, _, token = authorization.strip().partition(" ")
    if not scheme:
        raise TokenMissing
    if scheme.lower() != "bearer" or not token:
        raise TokenMalformed(why="it is no bearer token")
    try:
        return jwts.read(token.strip())
    except jwts.JwtUnreadable as error:
        raise TokenMalformed(why=str(error)) from error


def _spend(tx: Tx, nonce: str, ends: datetime) -> None:
    if not store_access.spend_nonce(tx, nonce, ends):
        raise TokenReplayed


def audience(claims: dict[str, Any]) -> str:
    """The one audience of a token; a list of one counts as that one."""
    found = claims.get("aud")
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found if isinstance(found, str) else ""


def times(claims: dict[str, Any], now: datetime) -> datetime:
    """When a token ends; raises TokenExpired, TokenNotYet, TokenLifetime, JwtUnreadable."""
    issued = datetime.fromtimestamp(jwts.seconds(claims, "iat"), UTC)
    ends = datetime.fromtimestamp(jwts.seconds(claims, "exp"), UTC)
    begins = issued
    if "nbf" in claims:
        begins = datetime.fromtimestamp(jwts.seconds(claims, "nbf"), UTC)
    if ends + _SKEW <= now:
        raise TokenExpired
    if max(issued, begins) > now + _SKEW:
        raise TokenNotYet(skew_s=limits.SI_TOKEN_SKEW_S)
    if not timedelta(0) < ends - issued <= _FOREIGN_LIFE:
        raise TokenLifetime(limit_s=limits.FOREIGN_TOKEN_S_MAX)
    return ends

"""Self-issued tokens as DCP 1.0 has them: what foreign nodes send us, and what we send them.

In: an Authorization header. Out: who sent it, with the opaque access token for its credential
service. Keys come from the sender's DID document, of any suite we know; nothing is inlined.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from yunhe.identity import jwts, store_access
from yunhe.identity.bearer import SKEW, audience, ends_at, new_claims, nonce_id, read_bearer
from yunhe.identity.errors import (
    TokenAlgorithm,
    TokenAudience,
    TokenIssuer,
    TokenMalformed,
    TokenMissing,
    TokenReplayed,
    TokenSignature,
)
from yunhe.identity.keyring import KeyRing
from yunhe.identity.model import Jwk
from yunhe.kernel import limits, suites
from yunhe.kernel.db import Database, Tx


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

    def mint(self, audience_did: str, token: str = "") -> str:
        """A token for one request; `token` is what `audience_did` shows our wallet, or we its."""
        claims = new_claims(self._own_did, audience_did, self._db.clock.now())
        if token:
            claims["token"] = token
        key = self._key.now
        return suites.jwt(key, claims, f"{self._own_did}#{key.kid}")

    def authenticate(self, authorization: str) -> SelfIssued:
        """Who sent this header; the token is spent by it.

        Checks in order (DCP 1.0 §4.3.3): form, algorithm, iss = sub, DID, key and its relation,
        signature, audience, times, replay. Raises Token*, Did*, AddressForbidden.
        """
        draft = read_bearer(authorization)
        try:
            found, ends = self._verify(draft)
            spent = nonce_id("si", found.did, jwts.text(draft.claims, "jti"))
        except jwts.JwtUnreadable as error:
            raise TokenMalformed(why=str(error)) from error
        self._db.write(lambda tx: _spend(tx, spent, ends + SKEW))
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
        ends = ends_at(claims, self._db.clock.now(), limits.FOREIGN_TOKEN_S_MAX)
        token = claims.get("token", "")
        if not isinstance(token, str):
            raise jwts.JwtUnreadable("the claim token is not text")
        return SelfIssued(did, jwk, token), ends

    def spend(self, did: str, jti: str, ends: datetime) -> None:
        """Remember the jti of a presentation; raises TokenReplayed."""
        self._db.write(lambda tx: _spend(tx, nonce_id("vp", did, jti), ends + SKEW))


def carries_access_token(authorization: str) -> bool:
    """Whether a header holds a DCP token with an access token: what foreign nodes send.

    Nothing is verified: this only chooses who does. Tokens of our own nodes inline their
    credential instead.
    """
    return told_apart(authorization)[0]


def told_apart(authorization: str) -> tuple[bool, jwts.Draft | None]:
    """`carries_access_token`, and the token as it was read for that; None where there is none."""
    try:
        draft = read_bearer(authorization)
    except (TokenMissing, TokenMalformed):
        return False, None
    return "token" in draft.claims and "credential" not in draft.claims, draft


def _spend(tx: Tx, nonce: str, ends: datetime) -> None:
    if not store_access.spend_nonce(tx, nonce, ends):
        raise TokenReplayed

"""What every self-issued token keeps to, of our own kind or a foreign node's: form, life, once.

In: an Authorization header, claims. Out: a token as read, the claims of a new one, when one ends,
the key under which a spent one is remembered. Whose it is and what it opens is said in `peers` and
`foreign`.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from yunhe.identity import jwts
from yunhe.identity.errors import (
    TokenExpired,
    TokenLifetime,
    TokenMalformed,
    TokenMissing,
    TokenNotYet,
)
from yunhe.kernel import limits

SKEW: Final = timedelta(seconds=limits.SI_TOKEN_SKEW_S)  # how far two clocks may be apart
_LIFE: Final = timedelta(seconds=limits.SI_TOKEN_S_MAX)


def new_claims(own_did: str, audience_did: str, now: datetime) -> dict[str, Any]:
    """Of a token for one request: iss = sub = our DID, 300 s, fresh jti."""
    return {
        "iss": own_did,
        "sub": own_did,
        "aud": audience_did,
        "jti": uuid.uuid4().hex,
        "iat": int(now.timestamp()),
        "exp": int((now + _LIFE).timestamp()),
    }


def read_bearer(authorization: str) -> jwts.Draft:
    """The token of a header, nothing of it verified; raises TokenMissing, TokenMalformed."""
    scheme, _, token = authorization.strip().partition(" ")
    if not scheme:
        raise TokenMissing
    if scheme.lower() != "bearer" or not token:
        raise TokenMalformed(why="it is no bearer token")
    try:
        return jwts.read(token.strip())
    except jwts.JwtUnreadable as error:
        raise TokenMalformed(why=str(error)) from error


def audience(claims: dict[str, Any]) -> str:
    """The one audience of a token; a list of one counts as that one."""
    found = claims.get("aud")
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found if isinstance(found, str) else ""


def ends_at(claims: dict[str, Any], now: datetime, life_s_max: int) -> datetime:
    """When a token ends, which is good now and not made for longer than `life_s_max`.

    Raises TokenExpired, TokenNotYet, TokenLifetime, JwtUnreadable.
    """
    issued = datetime.fromtimestamp(jwts.seconds(claims, "iat"), UTC)
    ends = datetime.fromtimestamp(jwts.seconds(claims, "exp"), UTC)
    begins = issued
    if "nbf" in claims:
        begins = datetime.fromtimestamp(jwts.seconds(claims, "nbf"), UTC)
    if ends <= now - SKEW:  # nothing is added to what may be the last second of 9999
        raise TokenExpired
    if max(issued, begins) > now + SKEW:
        raise TokenNotYet(skew_s=limits.SI_TOKEN_SKEW_S)
    if not timedelta(0) < ends - issued <= timedelta(seconds=life_s_max):
        raise TokenLifetime(limit_s=life_s_max)
    return ends


def nonce_id(scope: str, did: str, value: str) -> str:
    """The key of a nonce in the replay store: fixed width, whatever a stranger sends."""
    return hashlib.sha256(f"{scope}\n{did}\n{value}".encode()).hexdigest()

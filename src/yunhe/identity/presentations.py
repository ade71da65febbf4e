"""Presentations: made by the holder for one verifier, verified claim by claim by that verifier.

In: JWT presentations from a credential service. Out: the credentials in them that hold, or the
first thing that does not (DCP 1.0 §5.4.3). Both profiles; one presentation is of one profile.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from yunhe.identity import jwts, vcs
from yunhe.identity.bearer import audience, ends_at
from yunhe.identity.errors import (
    CredentialExpired,
    CredentialHolder,
    CredentialNotYet,
    CredentialRefused,
    CredentialSignature,
    CredentialUntrusted,
    PresentationRefused,
    TokenKeyUnknown,
)
from yunhe.identity.foreign import ForeignTokens
from yunhe.identity.keyring import KeyRing
from yunhe.identity.status import StatusCheck
from yunhe.kernel import limits, suites
from yunhe.kernel.clock import Clock

_SKEW: Final = timedelta(seconds=limits.SI_TOKEN_SKEW_S)
_DATA: Final = "data:application/vc+jwt,"

SchemaCheck = Callable[[str, dict[str, Any]], None]  # schema address, subject; raises


def make(
    key: suites.Signer, own_did: str, verifier: str, held: list[vcs.Credential], now: datetime
) -> list[str]:
    """One signed presentation a profile, for `verifier` alone, good for PRESENTATION_S_MAX."""
    made: list[str] = []
    for profile in vcs.PROFILES:
        tokens = [one.jwt for one in held if one.profile == profile]
        if tokens:
            claims = _claims(profile, tokens, own_did, verifier, now)
            typ = "JWT" if profile == vcs.VC11 else "vp+jwt"
            made.append(suites.jwt(key, claims, f"{own_did}#{key.kid}", typ))
    return made


def _claims(
    profile: str, tokens: list[str], own_did: str, verifier: str, now: datetime
) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "iss": own_did,
        "sub": own_did,
        "aud": verifier,
        "jti": f"urn:uuid:{uuid.uuid4()}",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(now.timestamp()) + limits.PRESENTATION_S_MAX,
    }
    kind = ["VerifiablePresentation"]
    if profile == vcs.VC11:
        body = {"@context": [vcs.CONTEXT_11], "type": kind, "verifiableCredential": tokens}
        return {**whole, "vp": {**body, "holder": own_did}}
    wrapped = [
        {
            "@context": [vcs.CONTEXT_20],
            "type": ["EnvelopedVerifiableCredential"],
            "id": _DATA + token,
        }
        for token in tokens
    ]
    return {
        **whole,
        "@context": [vcs.CONTEXT_20],
        "type": kind,
        "holder": own_did,
        "verifiableCredential": wrapped,
    }


class PresentationCheck:
    """Verifies presentations for one node."""

    def __init__(
        self,
        clock: Clock,
        own_did: str,
        ring: KeyRing,
        tokens: ForeignTokens,
        status: StatusCheck,
    ) -> None:
        self._clock = clock
        self._own_did = own_did
        self._ring = ring
        self._tokens = tokens
        self._status = status

    def verify(
        self, presentations: list[object], holder: str, schema: SchemaCheck
    ) -> list[vcs.Credential]:
        """Every credential of the presentations of `holder`; one that fails fails them all.

        Raises PresentationRefused, Credential*, StatusUnavailable, Token*, Did*.
        """
        if len(presentations) > limits.PRESENTATIONS_MAX:
            raise PresentationRefused(why="there are too many")
        found: list[vcs.Credential] = []
        for text in presentations:
            if not isinstance(text, str):
                raise PresentationRefused(why="it is no JWT")
            for token in self._presentation(text, holder):
                found.append(self.credential(token, holder))
                if len(found) > limits.CREDENTIALS_MAX:
                    raise PresentationRefused(why="it holds too many credentials")
        self.standing(found)
        for one in found:
            for address in one.schemas:
                schema(address, one.subject)
        return found

    def standing(self, found: Iterable[vcs.Credential]) -> None:
        """Refuse credentials, verified before, that have ended or whose list says otherwise now.

        Raises CredentialExpired, CredentialRevoked, CredentialRefused, Status*.
        """
        now = self._clock.now()
        for one in found:
            if one.expires_at is not None and one.expires_at <= now:
                raise CredentialExpired
            self._status.check(one.status, one.issuer)

    def _presentation(self, text: str, holder: str) -> list[str]:
        try:
            draft = jwts.read(text, 4 * limits.CREDENTIAL_BYTES_MAX)
            return self._inside(draft, holder)
        except jwts.JwtUnreadable as error:
            raise PresentationRefused(why=str(error)) from error

    def _inside(self, draft: jwts.Draft, holder: str) -> list[str]:
        claims = draft.claims
        if not draft.suite_known:
            raise PresentationRefused(why="its algorithm is not accepted")
        if jwts.text(claims, "iss") != holder or claims.get("sub", holder) != holder:
            raise PresentationRefused(why="it is of another holder")
        try:
            jwk = self._ring.named_key(holder, draft.header.get("kid"), "authentication")
        except TokenKeyUnknown as error:
            raise PresentationRefused(why="its key is not the holder's") from error
        if not draft.verifies(jwk):
            raise PresentationRefused(why="its signature is not of the holder")
        if audience(claims) != self._own_did:
            raise PresentationRefused(why="it is for another verifier")
        ends = ends_at(claims, self._clock.now(), limits.FOREIGN_TOKEN_S_MAX)
        old = claims.get("vp")
        body = old if isinstance(old, dict) else claims
        if "VerifiablePresentation" not in _texts(body.get("type")):
            raise PresentationRefused(why="it is no presentation")
        if body.get("holder", holder) != holder:
            raise PresentationRefused(why="it names another holder")
        given = body.get("verifiableCredential")
        tokens = given if isinstance(given, list) else [given]
        if len(tokens) > limits.CREDENTIALS_MAX:
            raise PresentationRefused(why="it holds too many credentials")
        found = [_enveloped(each, isinstance(old, dict)) for each in tokens]
        self._tokens.spend(holder, jwts.text(claims, "jti"), ends)
        return found

    def credential(self, token: str, holder: str) -> vcs.Credential:
        """A credential about `holder` by a trust root, in time; its status is not asked here.

        Raises CredentialUntrusted, CredentialSignature, CredentialHolder, CredentialNotYet,
        CredentialExpired, CredentialRefused.
        """
        draft, found = vcs.read(token)
        if not draft.suite_known:
            raise CredentialRefused(why="its algorithm is not accepted")
        if not self._ring.is_root(found.issuer):
            raise CredentialUntrusted
        try:
            jwk = self._ring.issuer_key(found.issuer, draft.header.get("kid"))
        except TokenKeyUnknown as error:
            raise CredentialSignature from error
        if not draft.verifies(jwk):
            raise CredentialSignature
        if found.holder != holder:
            raise CredentialHolder
        now = self._clock.now()
        if found.begins_at > now + _SKEW:
            raise CredentialNotYet
        if found.expires_at is not None and found.expires_at <= now:
            raise CredentialExpired
        return found


def _enveloped(value: object, old: bool) -> str:
    if old and isinstance(value, str):
        return value
    if not old and isinstance(value, dict):
        address = value.get("id")
        if isinstance(address, str) and address.startswith(_DATA):
            return address.removeprefix(_DATA)
    raise PresentationRefused(why="a credential in it is of another profile")


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]

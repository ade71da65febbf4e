"""The holder's wallet: credentials that registrars wrote, and which of them a verifier may see.

In: credential messages and offers of trust roots, queries of verifiers. Out: presentations.
An access token names one verifier and the scopes it may read; without one nothing is shown.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from yunhe.identity import jwts, presentations, store_claims, vcs
from yunhe.identity.bearer import audience, ends_at
from yunhe.identity.errors import (
    AccessTokenMissing,
    AccessTokenRefused,
    CredentialRequestUnknown,
    IssuerUntrusted,
    QueryInvalid,
)
from yunhe.identity.foreign import SelfIssued
from yunhe.identity.keyring import KeyRing
from yunhe.identity.presentations import PresentationCheck
from yunhe.kernel import limits, suites
from yunhe.kernel.db import Database, Tx

if TYPE_CHECKING:
    from yunhe.evidence import EvidenceLog

TYPE_ALIAS: Final = "org.eclipse.dspace.dcp.vc.type"
ID_ALIAS: Final = "org.eclipse.dspace.dcp.vc.id"
MEMBERSHIP_SCOPE: Final = f"{TYPE_ALIAS}:{vcs.MEMBERSHIP}:read"
_TYP: Final = "at+jwt"
_NAME: Final = re.compile(r"[\x21-\x7e]{1,256}\Z")


@dataclass(frozen=True)
class Scope:
    """What one scope names: credentials of a type, or the one with an id."""

    alias: str
    name: str

    def covers(self, types: Iterable[str], id_: str) -> bool:
        """Whether a credential of these types and this id is meant."""
        return self.name in types if self.alias == TYPE_ALIAS else self.name == id_


@dataclass(frozen=True)
class Written:
    """A credential message of an issuer, as it was read."""

    issuer_pid: str
    holder_pid: str
    status: str
    reason: str
    tokens: tuple[str, ...]


def scope_of(text: str) -> Scope:
    """Read `alias:name`, with or without the `:read` that Eclipse appends; raises QueryInvalid."""
    for alias in (TYPE_ALIAS, ID_ALIAS):
        if text.startswith(f"{alias}:"):
            name = text.removeprefix(f"{alias}:").removesuffix(":read")
            if _NAME.match(name):
                return Scope(alias, name)
    raise QueryInvalid(field="scope", why="has an alias or a name that is not known here")


class Wallet:
    """The credentials of one node."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        own_did: str,
        key: suites.Signer,
        ring: KeyRing,
        check: PresentationCheck,
    ) -> None:
        self._db = db
        self._evidence = evidence
        self._own_did = own_did
        self._key = key
        self._ring = ring
        self._check = check

    # -- being read --------------------------------------------------------------------------

    def access_token(self, verifier: str, scopes: tuple[str, ...]) -> str:
        """An opaque token with which `verifier` alone may read `scopes`, for five minutes."""
        now = self._db.clock.now()
        claims = {
            "iss": self._own_did,
            "aud": verifier,
            "scope": [*dict.fromkeys(scopes)],
            "jti": uuid.uuid4().hex,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=limits.ACCESS_TOKEN_S_MAX)).timestamp()),
        }
        key = self._key.now
        return suites.jwt(key, claims, key.kid, _TYP)

    def present(self, asker: SelfIssued, scopes: tuple[str, ...]) -> list[str]:
        """Presentations of what `asker` asks for and its access token allows, no more.

        What the token does not cover is left out (DCP 1.0 §5.4.1.2). Raises AccessToken*,
        QueryInvalid.
        """
        granted = self._granted(asker)
        wanted = [scope_of(text) for text in scopes]
        now = self._db.clock.now()
        rows = self._db.read(lambda tx: list(store_claims.held_at(tx, now)))
        chosen: dict[tuple[str, str, str], vcs.Credential] = {}
        for row in rows:
            for scope in wanted:
                if not scope.covers(row.types, row.id):
                    continue
                if any(each.covers(row.types, row.id) for each in granted):
                    # Rows come newest first: of one kind by one issuer the newest is shown.
                    place = (scope.name, row.issuer, row.profile)
                    chosen.setdefault(place, vcs.read(row.jwt)[1])
        shown = list({one.jwt: one for one in chosen.values()}.values())
        shown = shown[: limits.CREDENTIALS_MAX]
        return presentations.make(self._key.now, self._own_did, asker.did, shown, now)

    def _granted(self, asker: SelfIssued) -> list[Scope]:
        if not asker.token:
            raise AccessTokenMissing
        try:
            draft = jwts.read(asker.token)
            if draft.header.get("typ") != _TYP or not draft.verifies(
                self._key.public_of(draft.header.get("kid"))
            ):
                raise AccessTokenRefused(why="it is not of this holder")
            ends_at(draft.claims, self._db.clock.now(), limits.FOREIGN_TOKEN_S_MAX)
        except jwts.JwtUnreadable as error:
            raise AccessTokenRefused(why=str(error)) from error
        if audience(draft.claims) != asker.did:
            raise AccessTokenRefused(why="it was given to another verifier")
        return [scope_of(str(text)) for text in draft.claims.get("scope", ())]

    # -- being written -----------------------------------------------------------------------

    def request(self, tx: Tx, issuer: str, objects: tuple[str, ...]) -> str:
        """Begin a request for credentials at a trust root; the holderPid it will answer to."""
        if not self._ring.is_root(issuer):
            raise IssuerUntrusted
        pid = tx.new_id()
        self.expect(tx, pid, issuer, objects)
        return pid

    def expect(self, tx: Tx, pid: str, issuer: str, objects: tuple[str, ...]) -> None:
        """Let `issuer` answer to `pid`; for requests whose id was agreed elsewhere."""
        store_claims.add_request(tx, pid, issuer, list(objects))

    def write(self, issuer: SelfIssued, said: Written) -> None:
        """Take the answer to a request of ours (DCP 1.0 §6.5).

        All credentials are verified before any is kept. Raises IssuerUntrusted,
        CredentialRequestUnknown, Credential*.
        """
        if not self._ring.is_root(issuer.did):
            raise IssuerUntrusted
        asked = self._db.read(lambda tx: store_claims.find_request(tx, said.holder_pid))
        if asked is None or asked.issuer_did != issuer.did:
            raise CredentialRequestUnknown
        held = [self._check.credential(token, self._own_did) for token in said.tokens]
        if any(one.issuer != issuer.did for one in held):
            raise IssuerUntrusted
        self._db.write(lambda tx: self._keep(tx, said, held))

    def _keep(self, tx: Tx, said: Written, held: list[vcs.Credential]) -> None:
        store_claims.answer_request(tx, said.holder_pid, said.status, said.reason)
        store_claims.prune_held(tx)
        for one in held:
            digest = hashlib.sha256(one.jwt.encode()).hexdigest()
            if store_claims.hold(tx, digest, one):
                body = {"code": "", "issuer": one.issuer, "credential_sha256": digest}
                self._evidence.record(tx, "identity.credential_stored", body)

    def offered(self, issuer: SelfIssued, objects: list[dict[str, Any]]) -> None:
        """Keep an offer of a trust root (DCP 1.0 §6.6); raises IssuerUntrusted."""
        if not self._ring.is_root(issuer.did):
            raise IssuerUntrusted
        self._db.write(lambda tx: store_claims.add_offer(tx, tx.new_id(), issuer.did, objects))

    def offers(self) -> list[dict[str, Any]]:
        """The offers kept, newest first: issuer, objects, received_at."""
        rows = self._db.read(lambda tx: list(store_claims.offers(tx)))
        return [
            {"issuer": r.issuer_did, "objects": r.objects, "received_at": r.received_at}
            for r in rows
        ]

    def credentials(self) -> list[vcs.Credential]:
        """What we hold and is in force, newest first."""
        now = self._db.clock.now()
        rows = self._db.read(lambda tx: list(store_claims.held_at(tx, now)))
        return [vcs.read(row.jwt)[1] for row in rows]

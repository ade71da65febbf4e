"""Mutual authentication of nodes by short self-issued tokens (DCP 1.0 §4; N03 7.2.3).

In: an Authorization header. Out: a Peer, or a refusal with its own code. A token is for one
audience, lives at most 300 s and is accepted once; it carries the membership credential, so
a member is recognised without asking anyone.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from yunhe.identity import credentials, jwts, store, store_access
from yunhe.identity.bearer import SKEW, ends_at, new_claims, nonce_id, read_bearer
from yunhe.identity.did import key_named
from yunhe.identity.errors import (
    CredentialExpired,
    CredentialRefused,
    MemberOnly,
    PeerSuspended,
    TokenAlgorithm,
    TokenAudience,
    TokenIssuer,
    TokenKeyUnknown,
    TokenMalformed,
    TokenReplayed,
    TokenSignature,
)
from yunhe.identity.josenames import JoseNames
from yunhe.identity.keyring import KeyRing
from yunhe.identity.model import Held, Jwk, Membership, Peer, State
from yunhe.identity.status import StatusCheck
from yunhe.kernel import keys, limits
from yunhe.kernel.db import Database, Tx


@dataclass(frozen=True)
class Verified:
    """A token that verified, not yet spent; `admit` spends it inside a transaction."""

    peer: Peer
    nonce_id: str
    nonce_expires_at: datetime
    credential_code: str
    credential: str = ""  # the VC-JWT it carried, verified


class Peers:
    """Mints this node's tokens and checks those of others."""

    def __init__(
        self,
        db: Database,
        own_did: str,
        key: keys.SigningKey,
        ring: KeyRing,
        registrar: bool,
        status: StatusCheck,
        names: JoseNames,
    ) -> None:
        self._db = db
        self._status = status
        self._names = names
        self._registrar = registrar
        self._own_did = own_did
        self._key = key
        self._ring = ring
        self._memberships: OrderedDict[bytes, Membership] = OrderedDict()
        self._lock = threading.Lock()
        self._held: tuple[str, datetime] | None = None
        self._kept: set[str] = set()  # digests of peers' credentials that the database has
        self._prune_at = db.clock.now()

    # -- our own tokens ----------------------------------------------------------------------

    def mint(self, audience_did: str, credential: bool = True) -> str:
        """A token for one request to `audience_did`: iss = sub = our DID, 300 s, fresh jti.

        Carries our membership credential when we hold a valid one (not with
        `credential=False`, as a connector does that registers anew).
        """
        now = self._db.clock.now()
        claims = new_claims(self._own_did, audience_did, now)
        held = self.own_credential(now) if credential else None
        if held is not None:
            claims["credential"] = held
        key = self._key.now
        kid = f"{self._own_did}#{key.kid}"
        return keys.jwt(key, claims, kid=kid, algorithm=self._names.name_for(audience_did))

    def forget_own(self) -> None:
        """Read our credential from the database again at the next `mint`."""
        self._held = None

    def own_credential(self, now: datetime) -> str | None:
        """Our credential in force for our present key, the one that lasts longest."""
        held = self._held
        if held is None or held[1] <= now:
            # Only what exists is kept: a replica that stored none yet asks again each time.
            rows = self._db.read(lambda tx: store_access.own_credentials_at(tx, now))
            jwk = self._key.public_jwk()
            held = next((row for row in rows if credentials.is_for(row[0], jwk)), None)
            self._held = held
        return None if held is None else held[0]

    def credential_ends(self, now: datetime) -> datetime | None:
        """When the one that `own_credential` gives ends."""
        self.own_credential(now)
        held = self._held
        return None if held is None else held[1]

    # -- tokens of others --------------------------------------------------------------------

    def authenticate_peer(self, authorization: str) -> Peer:
        """The node behind an Authorization header; the token is spent by this.

        Checks in order (DCP 1.0 §4.3.3): form, algorithm, iss = sub, DID and key, signature,
        audience, times, replay, standing. Raises the Token*, Credential*, Did* errors and
        PeerSuspended, each with its own code.
        """
        verified = self.verify(authorization)
        return self._db.write(lambda tx: self.admit(tx, verified))

    def verify(self, authorization: str, read: jwts.Draft | None = None) -> Verified:
        """Everything of `authenticate_peer` that needs no write; the token stays unspent.

        `read`: the token of this very header, where it was read already.
        """
        draft = read or read_bearer(authorization)
        try:
            return self._verify(draft)
        except jwts.JwtUnreadable as error:
            raise TokenMalformed(why=str(error)) from error

    def _verify(self, draft: jwts.Draft) -> Verified:
        claims = draft.claims
        if not draft.algorithm_accepted:
            raise TokenAlgorithm
        did = jwts.text(claims, "iss")
        if claims.get("sub") != did:
            raise TokenIssuer
        now = self._db.clock.now()
        member = self._membership(claims, did, now)
        jwk = self._key_of(draft, did, member)
        if not draft.signed_by(jwk):
            raise TokenSignature
        if jwts.text(claims, "aud") != self._own_did:
            raise TokenAudience
        expires_at = ends_at(claims, now, limits.SI_TOKEN_S_MAX)
        self._names.heard(did, str(draft.header["alg"]))
        root = self._ring.is_root(did)
        peer = Peer(
            did=did,
            member=member is not None or root,
            code=member.code if member else "",
            subject_code=member.subject_code if member else "",
            name=member.name if member else "",
            jwk=jwk,
            root=root,
            name_en=member.name_en if member else "",
            address=member.address if member else "",
        )
        return Verified(
            peer,
            nonce_id("si", did, jwts.text(claims, "jti")),
            expires_at + SKEW,
            peer.code,
            str(claims["credential"]) if member else "",
        )

    def _key_of(self, draft: jwts.Draft, did: str, member: Membership | None) -> Jwk:
        kid = draft.header.get("kid")
        if member is None or self._ring.is_root(did):
            return self._ring.key_of(did, kid)
        found = key_named((member.jwk,), did, kid)
        if found is None:
            raise TokenKeyUnknown(detail=f"the credential of {did} has no key {kid!r}")
        return found

    def _membership(self, claims: dict[str, object], did: str, now: datetime) -> Membership | None:
        """The verified membership a token carries; None without one, or by an unknown issuer."""
        token = claims.get("credential")
        if token is None:
            return None
        if not isinstance(token, str):
            raise CredentialRefused(why="it is not text")
        digest = hashlib.sha256(token.encode()).digest()
        with self._lock:
            found = self._memberships.get(digest)
        if found is None:
            issuer = credentials.issuer_of(token)
            if not self._ring.is_root(issuer):
                return None
            found = credentials.verify(token, self._ring.keys_of(issuer), now)
            self._remember(digest, found)
        if found.expires_at <= now:
            raise CredentialExpired
        if found.did != did:
            raise CredentialRefused(why="it is about another holder")
        if found.issuer != self._own_did:  # our own register is asked in `_standing`
            self._status.check(found.status, found.issuer)
        return found

    def _remember(self, digest: bytes, found: Membership) -> None:
        with self._lock:
            self._memberships[digest] = found
            while len(self._memberships) > limits.CREDENTIAL_CACHE_MAX:
                self._memberships.popitem(last=False)

    # -- spending ----------------------------------------------------------------------------

    def admit(self, tx: Tx, verified: Verified, sequence: str = "") -> Peer:
        """Spend the token (and a message's sequence number) and check the peer's standing.

        Raises TokenReplayed, PeerSuspended. The replay store outlives a restart and is shared
        by replicas; expired entries are pruned on the way.
        """
        peer = self._standing(tx, verified)
        if not store_access.spend_nonce(tx, verified.nonce_id, verified.nonce_expires_at):
            raise TokenReplayed
        if sequence:
            # N03 8.2: kept twice the window within which a timestamp is accepted.
            ends = tx.now + timedelta(seconds=2 * limits.TDS_WINDOW_S)
            if not store_access.spend_nonce(tx, nonce_id("tds", peer.did, sequence), ends):
                raise TokenReplayed
        if verified.credential:
            self._keep(tx, peer.did, verified.credential)
        if tx.now >= self._prune_at:
            store_access.prune_nonces(tx)
            later = tx.now + timedelta(seconds=limits.NONCE_PRUNE_S)
            tx.after_commit(lambda: self._pruned(later))
        return peer

    def _keep(self, tx: Tx, did: str, credential: str) -> None:
        """A bundle years later shows who the parties were: keep what they showed us."""
        digest = hashlib.sha256(credential.encode()).hexdigest()
        if digest not in self._kept:
            store_access.keep_peer_credential(tx, digest, did, credential)
            tx.after_commit(lambda: self._remember_kept(digest))

    def _remember_kept(self, digest: str) -> None:
        if len(self._kept) >= limits.CREDENTIAL_CACHE_MAX:
            self._kept.clear()
        self._kept.add(digest)

    def credential_of(self, did: str) -> str:
        """The newest membership credential a peer has shown us; "" when it never did."""
        return self._db.read(lambda tx: store_access.peer_credential_of(tx, did))

    def credentials_of(self, did: str) -> list[Held]:
        """Every credential that we held or a peer has shown us, the oldest first."""

        def read(tx: Tx) -> list[str]:
            if did == self._own_did:
                return store_access.own_credentials(tx)
            return store_access.peer_credentials(tx, did)

        return [credentials.held(token) for token in self._db.read(read)]

    def _pruned(self, next_at: datetime) -> None:
        self._prune_at = next_at

    def _standing(self, tx: Tx, verified: Verified) -> Peer:
        """What our own register says of the peer; it outranks the credential."""
        peer = verified.peer
        if not self._registrar:
            return peer
        held = store.live_connector(tx, peer.did)
        if held is not None and held.state in (State.SUSPENDED, State.CANCEL_PENDING):
            raise PeerSuspended(state=held.state.value)
        if verified.credential_code and (held is None or held.code != verified.credential_code):
            gone = store.find_connector(tx, verified.credential_code)
            if gone is not None and gone.state is State.CANCELLED:
                raise PeerSuspended(state=gone.state.value)
        if held is None or peer.member or held.jwk.get("x") != peer.jwk["x"]:
            return peer
        return replace(
            peer,
            member=True,
            code=held.code,
            subject_code=held.subject_code,
            name=held.name,
            name_en=held.name_en,
            address=held.address,
        )


def require_member(peer: Peer) -> None:
    """Refuse a peer no trust root vouches for; raises MemberOnly."""
    if not peer.member:
        raise MemberOnly

"""Sharing profiles: the credential that a stock Delta Sharing client is given.

In: a contract, a purpose, who asks. Out: a profile file's content; later, who shows its token.
The secret is shown once, only its SHA-256 is kept; it ends with the contract, its own time, or
`revoke`, whichever comes first.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from yunhe.contracts import Contract, Contracts, Side
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.protocols.delta import store
from yunhe.protocols.delta.errors import (
    ProfileNotFound,
    ProfilesTooMany,
    ProfileUnknown,
    SharingAsConsumer,
    SharingNeedsPurpose,
    SharingNeedsRows,
)
from yunhe.protocols.delta.store import Profile

PATH: Final = "/delta/v1"
_PREFIX: Final = "yhd"
_CHARS_MAX: Final = 256
_NO_HASH: Final = hashlib.sha256(b"").hexdigest()


class Recorder(Protocol):
    """The part of the evidence log asked here."""

    def record(self, tx: Tx, kind: str, body: dict[str, Any]) -> object: ...


@dataclass(frozen=True)
class MadeProfile:
    """A fresh profile and the content of its file, secret and all."""

    profile: Profile
    file: dict[str, Any]


class Profiles:
    """The profiles of one node, all of them for its contracts as consumer."""

    def __init__(
        self, db: Database, evidence: Recorder, contracts: Contracts, address: str
    ) -> None:
        """`address`: the public address of this node."""
        self._db, self._evidence = db, evidence
        self._contracts, self._endpoint = contracts, address + PATH

    def create(self, contract_id: str, purpose: str, principal: str, ttl_s: int) -> MadeProfile:
        """Make a profile for `ttl_s` seconds at most; no purpose: the contract's only one.

        Raises why the contract does not bind, SharingAsConsumer, SharingNeedsRows,
        SharingNeedsPurpose, ProfilesTooMany.
        """
        contract = self._contracts.in_force(contract_id)
        purpose = _purpose(contract, purpose)
        profile_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)

        def verb(tx: Tx) -> Profile:
            if store.live(tx, contract.id) >= limits.DELTA_PROFILES_MAX:
                raise ProfilesTooMany(limit=limits.DELTA_PROFILES_MAX)
            ends = tx.now + timedelta(seconds=min(ttl_s, limits.DELTA_PROFILE_S_MAX))
            if contract.expires_at is not None:
                ends = min(ends, contract.expires_at)
            made = Profile(profile_id, contract.id, principal[:128], purpose, tx.now, ends)
            store.add(tx, made, _hash(secret))
            told = {"profile_id": profile_id, "contract_id": contract.id, "purpose": purpose}
            told |= {"principal": made.principal, "expires_at": iso(ends)}
            self._evidence.record(tx, "sharing.profile_created", told)
            return made

        made = self._db.write(verb)
        file = {
            "shareCredentialsVersion": 1,
            "endpoint": self._endpoint,
            "bearerToken": f"{_PREFIX}_{profile_id}_{secret}",
            "expirationTime": iso(made.expires_at),
        }
        return MadeProfile(made, file)

    def authenticate(self, header: str) -> tuple[Profile, Contract]:
        """The profile behind `Bearer …` and its contract; raises ProfileUnknown, and why the
        contract does not bind."""
        scheme, _, token = header.strip().partition(" ")
        prefix, _, rest = token.strip().partition("_")
        profile_id, _, secret = rest.partition("_")
        well = scheme.lower() == "bearer" and prefix == _PREFIX and len(token) <= _CHARS_MAX
        if not well or not secret:
            raise ProfileUnknown
        found = self._db.read(lambda tx: store.find(tx, profile_id))
        # The same work for unknown ids, so that the time tells nothing.
        same = hmac.compare_digest(_hash(secret), found[1] if found else _NO_HASH)
        if found is None or not same:
            raise ProfileUnknown
        return found[0], self.check(profile_id)

    def check(self, profile_id: str) -> Contract:
        """The contract of a profile that counts now; raises as `authenticate`."""
        found = self._db.read(lambda tx: store.find(tx, profile_id))
        if found is None or found[0].revoked_at is not None:
            raise ProfileUnknown
        if found[0].expires_at <= self._db.clock.now():
            raise ProfileUnknown
        return self._contracts.in_force(found[0].contract_id)

    def of_contract(self, contract_id: str) -> list[Profile]:
        """The profiles of a contract, the latest first."""
        return self._db.read(lambda tx: store.of_contract(tx, contract_id))

    def revoke(self, profile_id: str) -> None:
        """End a profile and the addresses it was given, at once; raises ProfileNotFound."""

        def verb(tx: Tx) -> None:
            if not store.revoke(tx, profile_id):
                raise ProfileNotFound
            self._evidence.record(tx, "sharing.profile_revoked", {"profile_id": profile_id})

        self._db.write(verb)


def _purpose(contract: Contract, purpose: str) -> str:
    terms = contract.terms
    if contract.role is not Side.CONSUMER:
        raise SharingAsConsumer
    if terms.minimum_group:
        raise SharingNeedsRows
    said = purpose or (terms.purposes[0] if len(terms.purposes) == 1 else "")
    if said not in terms.purposes:
        raise SharingNeedsPurpose(purposes=", ".join(terms.purposes))
    return said


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

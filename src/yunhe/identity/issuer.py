"""The issuer service of a registrar: what it issues, to whom, and the message that brings it.

In: credential requests of foreign holders (DCP 1.0 §6.4). Out: a decision at once, from the
register; credentials with their place in the status lists; an outbox message to the holder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from yunhe.identity import store, store_claims, vcs
from yunhe.identity.errors import CredentialRequestUnknown, MemberOnly, NotRegistrar, QueryInvalid
from yunhe.identity.foreign import SelfIssued
from yunhe.identity.rules import USABLE
from yunhe.identity.status import StatusBook
from yunhe.kernel import canonical, limits, outbox, suites
from yunhe.kernel.db import Database, Tx

if TYPE_CHECKING:
    from yunhe.evidence import EvidenceLog

KIND: Final = "dcp.CredentialMessage"


@dataclass(frozen=True)
class Supported:
    """One thing that can be asked for: a credential type in a profile."""

    id: str
    credential_type: str
    profile: str


@dataclass(frozen=True)
class Issued:
    """What stands behind a request: its two pids and how it went."""

    issuer_pid: str
    holder_pid: str
    status: str


def supported(*credential_types: str) -> tuple[Supported, ...]:
    """Every type in every profile, with ids that never change."""
    return tuple(
        Supported(f"urn:yunhe:credential:{kind}:{profile.replace('/', ':')}", kind, profile)
        for kind in credential_types
        for profile in vcs.PROFILES
    )


# The subject claims of a holder for a credential type, and its connector code; None refuses.
Entitle = Callable[[Tx, str, str], tuple[dict[str, Any], str] | None]


def registered(tx: Tx, did: str, credential_type: str) -> tuple[dict[str, Any], str] | None:
    """The register decides: connectors in good standing are members."""
    held = store.live_connector(tx, did)
    if credential_type != vcs.MEMBERSHIP or held is None or held.state not in USABLE:
        return None
    subject = {
        "id": did,
        "subjectCode": held.subject_code,
        "connectorCode": held.code,
        "name": held.name,
        "nameEn": held.name_en,
        "address": held.address,
    }
    return subject, held.code


class Issuer:
    """Issues credentials of one registrar; refuses on any other node."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        own_did: str,
        key: suites.Signer,
        book: StatusBook,
        serves: bool,
    ) -> None:
        self._db = db
        self._evidence = evidence
        self._own_did = own_did
        self._key = key
        self._book = book
        self.serves = serves
        self.objects = supported(vcs.MEMBERSHIP)
        self.entitle: Entitle = registered

    def request(self, holder: SelfIssued, holder_pid: str, ids: tuple[str, ...]) -> str:
        """Take a request, decide it and queue the answer; the id of the request.

        Strangers are refused without a trace: anybody can make a DID, and a record of each
        request would be theirs to fill our disk with. Raises NotRegistrar, MemberOnly,
        QueryInvalid for an object that is not offered.
        """
        if not self.serves:
            raise NotRegistrar
        known = {one.id: one for one in self.objects}
        if not set(ids) <= set(known):
            raise QueryInvalid(field="credentials", why="names an object that is not offered")
        wanted = tuple(known[id_] for id_ in dict.fromkeys(ids))
        return self._db.write(lambda tx: self._decide(tx, holder, holder_pid, wanted))

    def _decide(
        self, tx: Tx, holder: SelfIssued, holder_pid: str, wanted: tuple[Supported, ...]
    ) -> str:
        id_ = tx.new_id()
        entitled = [(one, self.entitle(tx, holder.did, one.credential_type)) for one in wanted]
        # A request is answered whole: one refusal refuses it (DCP 1.0 §6.5.1).
        granted = all(claims is not None for _, claims in entitled)
        if not granted and store.live_connector(tx, holder.did) is None:
            raise MemberOnly
        made = [
            {"type": one.credential_type, "profile": one.profile, "jwt": self._issue(tx, one, *got)}
            for one, got in entitled
            if granted and got is not None
        ]
        status = "ISSUED" if granted else "REJECTED"
        reason = "" if granted else "the holder is not registered here in good standing"
        store_claims.add_issuance(
            tx, id_, holder.did, holder_pid, [one.id for one in wanted], status, reason
        )
        self._evidence.record(
            tx,
            "identity.credentials_issued" if granted else "identity.credentials_refused",
            {
                "request_id": id_,
                "holder": holder.did,
                "objects": [one.id for one in wanted],
                "credentials_sha256": [canonical.sha256_hex(m["jwt"].encode()) for m in made],
            },
        )
        payload = {
            "issuer_pid": id_,
            "holder_pid": holder_pid,
            "status": status,
            "reason": reason,
            "credentials": made,
            "token": holder.token,
        }
        outbox.enqueue(tx, KIND, holder.did, f"dcp:{id_}", payload)
        return id_

    def _issue(self, tx: Tx, what: Supported, subject: dict[str, Any], code: str) -> str:
        id_ = f"urn:uuid:{tx.new_id()}"
        made = vcs.Credential(
            id=id_,
            profile=what.profile,
            types=("VerifiableCredential", what.credential_type),
            issuer=self._own_did,
            holder=str(subject["id"]),
            subject=subject,
            begins_at=tx.now,
            expires_at=tx.now + timedelta(days=limits.CREDENTIAL_DAYS),
            status=(),
            schemas=(),
            jwt="",
        )
        entry = self._book.entry(self._book.place(tx, id_, code), what.profile)
        claims = vcs.claims_of(made, entry, tx.now)
        typ = "JWT" if what.profile == vcs.VC11 else "vc+jwt"
        key = self._key.now
        return suites.jwt(key, claims, f"{self._own_did}#{key.kid}", typ)

    def status(self, holder: SelfIssued, request_id: str) -> Issued:
        """How a request of `holder` went; another's is not found (CredentialRequestUnknown)."""
        found = self._db.read(lambda tx: store_claims.find_issuance(tx, request_id))
        if found is None or found.holder_did != holder.did:
            raise CredentialRequestUnknown
        return Issued(found.id, found.holder_pid, found.status)

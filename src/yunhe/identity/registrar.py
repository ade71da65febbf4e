"""The registrar of a functional node: forms in, review, codes and credentials out.

In: forms of authenticated peers, decisions of reviewers. Out: applications with every version
(T11 7.2.1a), registered subjects and connectors, N04 codes, membership credentials.
Events: ApplicationSubmitted, ApplicationDecided, ConnectorStateChanged.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from yunhe.identity import credentials, rules, store
from yunhe.identity.errors import (
    AlreadyRegistered,
    ApplicationNotFound,
    ApplicationPending,
    ConnectorNotFound,
    CredentialNotHeld,
    FormInvalid,
    NotRegistrar,
    PeerSuspended,
    StepNotAllowed,
    SubjectNotRegistered,
)
from yunhe.identity.events import (
    ApplicationDecided,
    ApplicationSubmitted,
    ConnectorStateChanged,
)
from yunhe.identity.model import (
    Application,
    Connector,
    ConnectorForm,
    Kind,
    Membership,
    Peer,
    Principal,
    State,
    Subject,
    SubjectForm,
)
from yunhe.identity.rules import Step
from yunhe.identity.status import StatusBook
from yunhe.identity.tokens import require
from yunhe.identity.vcs import VC11
from yunhe.kernel import canonical, ids, keys, limits
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.settings import NodeConfig

if TYPE_CHECKING:
    from yunhe.evidence import EvidenceLog

AUTO: Final = "auto"  # the reviewer's name when the configuration says review = "auto"
_CODE_TRIES_MAX: Final = 8
# What the status lists say of a connector in each state that `_move` leads to.
STATUS: Final = {
    State.ACTIVE: "valid",
    State.SUSPENDED: "suspended",
    State.CANCELLED: "revoked",
}


class Registrar:
    """Registers subjects and connectors of one region; refuses on any other node."""

    def __init__(
        self,
        db: Database,
        evidence: EvidenceLog,
        key: keys.SigningKey,
        config: NodeConfig,
        book: StatusBook,
    ) -> None:
        self._db = db
        self._evidence = evidence
        self._key = key
        self._config = config
        self._book = book
        self._serves = "functional-node" in config.roles

    # -- applying ----------------------------------------------------------------------------

    def apply_subject(self, form: SubjectForm, peer: Peer) -> Application:
        """Apply for an organisation's registration (N03 7.1.1.1).

        Sent again unchanged it answers the same application; sent after a return it is the next
        version. Raises FormInvalid, BadCode, ApplicationPending, AlreadyRegistered.
        """
        rules.check_subject(form)
        return self._db.write(lambda tx: self._apply(tx, Kind.SUBJECT, form.as_dict(), peer))

    def apply_connector(self, form: ConnectorForm, peer: Peer) -> Application:
        """Apply for a connector of a registered organisation (N03 7.2.1); the key is the peer's.

        As `apply_subject`; raises SubjectNotRegistered too.
        """
        rules.check_connector(form, self._config.development)
        return self._db.write(lambda tx: self._apply(tx, Kind.CONNECTOR, form.as_dict(), peer))

    def resubmit(
        self, application_id: str, form: SubjectForm | ConnectorForm, peer: Peer
    ) -> Application:
        """Send a returned application again, edited; every version stays.

        Raises ApplicationNotFound (also for another's), StepNotAllowed, FormInvalid.
        """
        if isinstance(form, SubjectForm):
            kind = Kind.SUBJECT
            rules.check_subject(form)
        else:
            kind = Kind.CONNECTOR
            rules.check_connector(form, self._config.development)

        def verb(tx: Tx) -> Application:
            held = store.find_application(tx, application_id)
            if held is None or held.applicant_did != peer.did or held.kind is not kind:
                raise ApplicationNotFound
            return self._resubmit(tx, held, form.as_dict(), peer)

        return self._db.write(verb)

    def _apply(self, tx: Tx, kind: Kind, form: dict[str, Any], peer: Peer) -> Application:
        if not self._serves:
            raise NotRegistrar
        if kind is Kind.CONNECTOR:
            self._usable_subject(tx, form["subject_code"])
        latest = store.latest_application(tx, kind, peer.did)
        if latest is not None and latest.state is State.RETURNED:
            return self._resubmit(tx, latest, form, peer)
        if latest is not None and latest.form == form and self._stands(tx, latest):
            return self._whole(tx, latest.id)
        if latest is not None and latest.state is State.SUBMITTED:
            raise ApplicationPending
        self._not_registered(tx, kind, form, peer)
        made = Application(
            id=tx.new_id(),
            kind=kind,
            applicant_did=peer.did,
            applicant_jwk=peer.jwk,
            state=rules.advance(State.DRAFT, Step.SUBMIT),
            version=1,
            form=form,
            reasons=(),
            code="",
            credential="",
            submitted_at=tx.now,
            decided_at=None,
            reviewer="",
        )
        if not store.add_application(tx, made):
            raise ApplicationPending
        return self._submitted(tx, made)

    def _resubmit(self, tx: Tx, held: Application, form: dict[str, Any], peer: Peer) -> Application:
        rules.advance(held.state, Step.SUBMIT)
        self._not_registered(tx, held.kind, form, peer)
        if not store.resubmit(tx, held, form, peer.jwk):
            raise StepNotAllowed(state=held.state.value, step=Step.SUBMIT.value)
        return self._submitted(tx, self._whole(tx, held.id))

    def _submitted(self, tx: Tx, made: Application) -> Application:
        self._evidence.record(
            tx,
            "identity.applied",
            {
                "application_id": made.id,
                "kind": made.kind.value,
                "applicant": made.applicant_did,
                "version": made.version,
                "form_sha256": canonical.sha256_hex(made.form),
            },
        )
        tx.emit(ApplicationSubmitted(made.id, made.kind, made.applicant_did, made.version))
        if self._config.review == "auto" and self._vouched(tx, made):
            return self._review(tx, self._whole(tx, made.id), "approve", (), AUTO)
        return self._whole(tx, made.id)

    def _vouched(self, tx: Tx, made: Application) -> bool:
        """Whether a connector may be approved unseen: only for its subject's own DID (ACC-5)."""
        if made.kind is Kind.SUBJECT:
            return True
        owner = store.find_subject(tx, made.form["subject_code"])
        return owner is not None and owner.did == made.applicant_did

    def _stands(self, tx: Tx, latest: Application) -> bool:
        """Whether an equal application still means something, so that it answers the new one."""
        if latest.state is State.SUBMITTED:
            return True
        if latest.state is not State.ACTIVE:
            return False
        if latest.kind is Kind.SUBJECT:
            return store.find_subject(tx, latest.code) is not None
        held = store.find_connector(tx, latest.code)
        return held is not None and held.state is not State.CANCELLED

    def _not_registered(self, tx: Tx, kind: Kind, form: dict[str, Any], peer: Peer) -> None:
        if kind is Kind.SUBJECT:
            if store.find_subject(tx, form["subject_code"]) is not None:
                raise AlreadyRegistered(what=form["subject_code"])
        elif store.live_connector(tx, peer.did) is not None:
            raise AlreadyRegistered(what=peer.did)

    def _usable_subject(self, tx: Tx, subject_code: str) -> Subject:
        found = store.find_subject(tx, subject_code)
        if found is None or found.state not in rules.USABLE:
            raise SubjectNotRegistered(subject_code=subject_code)
        return found

    # -- reviewing ---------------------------------------------------------------------------

    def review(
        self, application_id: str, decision: str, reasons: tuple[str, ...], reviewer: Principal
    ) -> Application:
        """Decide `approve`, `return` or `reject`; the latter two state reasons (T12 4.4k).

        Approval registers, allocates the code and issues the credential in the same commit
        (ACC-10). Raises RoleMissing, ApplicationNotFound, ReasonsMissing, StepNotAllowed,
        AlreadyRegistered, SubjectNotRegistered.
        """
        require(reviewer, "reviewer")
        return self._db.write(
            lambda tx: self._review(
                tx, self._whole(tx, application_id), decision, tuple(reasons), reviewer.id
            )
        )

    def _review(
        self, tx: Tx, held: Application, decision: str, reasons: tuple[str, ...], reviewer: str
    ) -> Application:
        after = rules.advance(held.state, *rules.steps_of(decision, reasons))
        code, credential = "", ""
        if decision == "approve" and held.kind is Kind.SUBJECT:
            code = self._register_subject(tx, held)
        elif decision == "approve":
            code, credential = self._register_connector(tx, held)
        if not store.decide(tx, held, after, decision, reasons, reviewer, code, credential):
            raise StepNotAllowed(state=held.state.value, step=decision)
        self._evidence.record(
            tx,
            "identity.reviewed",
            {
                "application_id": held.id,
                "version": held.version,
                "decision": decision,
                "reasons": list(reasons),
                "reviewer": reviewer,
            },
        )
        tx.emit(
            ApplicationDecided(
                held.id,
                held.kind,
                held.applicant_did,
                decision,
                reasons,
                code,
                credential,
                held.form.get("address", ""),
            )
        )
        return self._whole(tx, held.id)

    def _register_subject(self, tx: Tx, held: Application) -> str:
        form = held.form
        made = Subject(
            subject_code=form["subject_code"],
            name=form["name"],
            name_en=form["name_en"],
            address=form["address"],
            did=held.applicant_did,
            state=State.ACTIVE,
            registered_at=tx.now,
        )
        if not store.add_subject(tx, made):
            raise AlreadyRegistered(what=made.subject_code)
        self._registered(tx, Kind.SUBJECT, made.subject_code, made.did, "")
        return made.subject_code

    def _register_connector(self, tx: Tx, held: Application) -> tuple[str, str]:
        form = held.form
        self._usable_subject(tx, form["subject_code"])
        if store.live_connector(tx, held.applicant_did) is not None:
            raise AlreadyRegistered(what=held.applicant_did)
        member = self._member(tx, self._free_code(tx, form["subject_code"]), held)
        credential = self._signed(tx, member)
        made = Connector(
            code=member.code,
            subject_code=member.subject_code,
            did=member.did,
            jwk=member.jwk,
            name=member.name,
            name_en=member.name_en,
            address=member.address,
            state=State.ACTIVE,
            credential=credential,
            credential_expires_at=member.expires_at,
            registered_at=tx.now,
        )
        if not store.add_connector(tx, made):
            raise AlreadyRegistered(what=held.applicant_did)
        self._registered(tx, Kind.CONNECTOR, made.code, made.did, credential)
        return made.code, credential

    def _free_code(self, tx: Tx, subject_code: str) -> str:
        """A code of type 5 in this node's region that was never given out (N04 5.3)."""
        for _ in range(_CODE_TRIES_MAX):
            code = ids.allocate(
                ids.CodeType.CONNECTOR,
                subject_code,
                self._config.region,
                ids.random8(tx.new_id()),
            )
            if store.find_connector(tx, code.stem) is None:
                return code.stem
        raise AlreadyRegistered(what="every code tried")

    def _member(self, tx: Tx, code: str, held: Application) -> Membership:
        form = held.form
        return Membership(
            issuer=self._config.did,
            did=held.applicant_did,
            code=code,
            subject_code=form["subject_code"],
            name=form["name"],
            name_en=form["name_en"],
            address=form["address"],
            jwk=held.applicant_jwk,
            expires_at=tx.now + timedelta(days=limits.CREDENTIAL_DAYS),
            id=tx.new_id(),
        )

    def _signed(self, tx: Tx, member: Membership) -> str:
        place = self._book.place(tx, member.id, member.code)
        return credentials.issue(self._key, member, self._book.entry(place, VC11), tx.now)

    def _registered(self, tx: Tx, kind: Kind, code: str, did: str, credential: str) -> None:
        body = {"kind": kind.value, "code": code, "did": did}
        if credential:
            body["credential_sha256"] = canonical.sha256_hex(credential.encode())
        self._evidence.record(tx, "identity.registered", body)

    # -- credentials and standing ------------------------------------------------------------

    def renew_credential(self, peer: Peer) -> str:
        """A credential for the peer's present key (SubmitCredentialRequest, N03 7.2.1).

        The one in force while it lasts for more than half its life, else a new one.
        Raises CredentialNotHeld for who is no connector here, PeerSuspended.
        """
        return self._db.write(lambda tx: self._renew(tx, peer))

    def _renew(self, tx: Tx, peer: Peer) -> str:
        held = store.live_connector(tx, peer.did)
        if held is None:
            raise CredentialNotHeld
        if held.state not in rules.USABLE:
            raise PeerSuspended(state=held.state.value)
        half = timedelta(days=limits.CREDENTIAL_DAYS) / 2
        if held.jwk.get("x") == peer.jwk["x"] and held.credential_expires_at - tx.now > half:
            return held.credential
        member = Membership(
            issuer=self._config.did,
            did=held.did,
            code=held.code,
            subject_code=held.subject_code,
            name=held.name,
            name_en=held.name_en,
            address=held.address,
            jwk=peer.jwk,
            expires_at=tx.now + timedelta(days=limits.CREDENTIAL_DAYS),
            id=tx.new_id(),
        )
        credential = self._signed(tx, member)
        if not store.renew_connector(tx, held, peer.jwk, credential, member.expires_at):
            raise StepNotAllowed(state=held.state.value, step="renew")
        self._evidence.record(
            tx,
            "identity.credential_renewed",
            {"code": held.code, "credential_sha256": canonical.sha256_hex(credential.encode())},
        )
        return credential

    def suspend(self, code: str, reasons: tuple[str, ...], reviewer: Principal) -> Connector:
        """Refuse a connector here from now on, until `resume`; reasons are required."""
        return self._move(code, "suspended", (Step.SUSPEND,), reasons, reviewer)

    def resume(self, code: str, reasons: tuple[str, ...], reviewer: Principal) -> Connector:
        """Lift a suspension; reasons are required."""
        return self._move(code, "resumed", (Step.RESUME,), reasons, reviewer)

    def revoke(self, code: str, reasons: tuple[str, ...], reviewer: Principal) -> Connector:
        """Cancel a connector for good: its code stays as a tombstone (N03 7.2.2, N04 5)."""
        steps = (Step.REQUEST_CANCEL, Step.CANCEL)
        return self._move(code, "cancelled", steps, reasons, reviewer)

    def _move(
        self,
        code: str,
        done: str,
        steps: tuple[Step, ...],
        reasons: tuple[str, ...],
        reviewer: Principal,
    ) -> Connector:
        require(reviewer, "reviewer")
        rules.steps_of("return", reasons)  # the same duty to state reasons

        def verb(tx: Tx) -> Connector:
            held = store.find_connector(tx, code)
            if held is None:
                raise ConnectorNotFound
            after = rules.advance(held.state, *steps)
            if not store.move_connector(tx, held, after, reasons):
                raise StepNotAllowed(state=held.state.value, step=steps[0].value)
            self._book.mark(tx, code, STATUS[after])
            self._evidence.record(
                tx,
                f"identity.{done}",
                {
                    "code": code,
                    "did": held.did,
                    "reasons": list(reasons),
                    "reviewer": reviewer.id,
                },
            )
            tx.emit(ConnectorStateChanged(code, held.did, after.value, reasons))
            return replace(held, state=after, reasons=reasons)

        return self._db.write(verb)

    # -- queries -----------------------------------------------------------------------------

    def application(self, application_id: str, peer: Peer | None = None) -> Application:
        """One application with its versions; a peer sees only its own (ApplicationNotFound)."""
        found = self._db.read(lambda tx: self._whole(tx, application_id))
        if peer is not None and found.applicant_did != peer.did:
            raise ApplicationNotFound
        return found

    def list_applications(self, state: str = "", kind: str = "") -> list[Application]:
        """Applications in `state` and of `kind` ('' = any), oldest first; raises FormInvalid."""
        try:
            wanted = State(state) if state else None
            which = Kind(kind) if kind else None
        except ValueError as error:
            raise FormInvalid(field="state", why="is unknown") from error
        return self._db.read(lambda tx: store.applications(tx, wanted, which))

    def subjects(self) -> list[Subject]:
        """Every registered subject, by code."""
        return self._db.read(store.subjects)

    def connectors(self) -> list[Connector]:
        """Every connector ever registered, by code."""
        return self._db.read(store.connectors)

    def connector(self, code: str) -> Connector:
        """One connector by its code; raises ConnectorNotFound."""
        found = self._db.read(lambda tx: store.find_connector(tx, code))
        if found is None:
            raise ConnectorNotFound
        return found

    def _whole(self, tx: Tx, application_id: str) -> Application:
        found = store.find_application(tx, application_id)
        if found is None:
            raise ApplicationNotFound
        return found

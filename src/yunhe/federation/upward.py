"""This node towards its parent: register, submit catalogue entries, take in decisions.

In: events of the catalogue, answers and results from the parent. Out: outbox messages
`tds.<Name>` in order within a conversation, the holder's states, our code and credential.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any, Final

from yunhe import catalog
from yunhe.federation import store
from yunhe.federation.errors import NoParent
from yunhe.federation.model import KINDS, REGISTRATION, UPWARD, Payload, Status, Wire
from yunhe.identity import Identity
from yunhe.kernel import ids, limits, outbox, tongues
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.kernel.outbox import Message, Outbox
from yunhe.kernel.settings import NodeConfig

log = logging.getLogger(__name__)

# The words both registers use for an application's state -> what it means here.
DECISIONS = {
    "active": "approve",
    "registered": "approve",
    "returned": "return",
    "rejected": "reject",
    "superseded": "",
    "submitted": "",
    "waiting": "",
}

_REGISTRATION: Final = "registration"  # the conversation of our own registration
_MEMBER: Final = ("credential", "done")  # the steps of a connector that has its code


class Upward:
    """Everything this node says to its parent and hears of it."""

    def __init__(
        self,
        db: Database,
        identity: Identity,
        holder: catalog.Holder,
        wire: Wire,
        config: NodeConfig,
    ) -> None:
        self._db = db
        self._identity = identity
        self._holder = holder
        self._wire = wire
        self._config = config
        self._parent = config.parent_did
        self._reconciled: datetime | None = None  # when withdrawals were last looked through

    def install(self, box: Outbox) -> None:
        """Listen to the fate of what this side sends."""
        for name in REGISTRATION:
            box.on_delivered(f"tds.{name}", self._registration_delivered)
            box.on_gave_up(f"tds.{name}", self._registration_refused)
        for name in KINDS:
            box.on_delivered(f"tds.{name}", self._submission_delivered)
            box.on_gave_up(f"tds.{name}", self._submission_refused)
        self._identity.rotation.watch(self._rekeyed)

    # -- our own registration -------------------------------------------------------------------

    def register_self(self) -> Status:
        """Apply for our subject, then our connector, then its credential; each step follows the
        approval of the one before. Called again after a return it sends the step again.

        Raises NoParent.
        """
        if not self._parent:
            raise NoParent

        def verb(tx: Tx) -> None:
            row = store.standing(tx, self._parent)
            if row is not None and row.state == "submitted":
                return
            if row is not None and row.state == "approved" and self._identity.own_credential():
                return
            # Approved without a credential in force: cancelled or expired, so from the beginning.
            step = "subject" if row is None or row.step == "done" else row.step
            store.set_standing(tx, self._parent, step=step, state="submitted", reasons=[])
            self._send_step(tx, step)

        self._db.write(verb)
        return self.status()

    def _send_step(self, tx: Tx, step: str) -> None:
        config = self._config
        form = {
            "subject_code": config.subject_code,
            "name": config.subject_name,
            "name_en": config.subject_name_en,
            "address": config.address,
        }
        if step == "subject":
            self._enqueue(tx, "RegisterSubject", {"form": form}, _REGISTRATION)
        elif step == "connector":
            connector = {**form, "name": config.name, "name_en": ""}
            self._enqueue(tx, "RegisterConnector", {"form": connector}, _REGISTRATION)
        else:
            store.set_standing(tx, self._parent, asked_at=tx.now)
            self._enqueue(tx, "SubmitCredentialRequest", {}, _REGISTRATION)

    def _registration_delivered(self, tx: Tx, message: Message, reply: Payload | None) -> None:
        reply = reply or {}
        self._contact(tx)
        if message.kind == "tds.SubmitCredentialRequest":
            self._credential(tx, str(reply.get("credential", "")))
            return
        kind = "subject" if message.kind == "tds.RegisterSubject" else "connector"
        application = {f"{kind}_application": str(reply.get("application_id", ""))[:80]}
        store.set_standing(tx, self._parent, **application)
        self.registration_decided(tx, kind, reply)

    def registration_decided(self, tx: Tx, kind: str, told: Payload) -> None:
        """Take in what the parent says of our application; repeats change nothing."""
        row = store.standing(tx, self._parent)
        decision = DECISIONS.get(str(told.get("state", "")), "")
        if row is None or row.step != kind or row.state != "submitted" or not decision:
            return
        reasons = [_sentence(reason) for reason in told.get("reasons") or ()]
        if decision != "approve":
            state = "returned" if decision == "return" else "rejected"
            store.set_standing(tx, self._parent, state=state, reasons=reasons)
            return
        code = {f"{kind}_code": str(told.get("code", ""))[:65]}
        after = "connector" if kind == "subject" else "credential"
        store.set_standing(tx, self._parent, step=after, reasons=[], **code)
        self._send_step(tx, after)

    def _credential(self, tx: Tx, jwt: str) -> None:
        try:
            member = self._identity.store_credential(tx, jwt)
        except YunheError as error:
            log.warning("the parent's credential is not acceptable: %s", error)
            why = [error.sentence("en")]
            store.set_standing(tx, self._parent, state="returned", reasons=why)
            return
        store.set_standing(
            tx,
            self._parent,
            step="done",
            state="approved",
            reasons=[],
            connector_code=member.code,
            subject_code=member.subject_code,
        )

    def _registration_refused(self, tx: Tx, message: Message, why: str) -> None:
        row = store.standing(tx, self._parent)
        if row is not None and row.step == "done":
            # A renewal that failed: the credential in force stays, the next day asks again.
            store.set_standing(tx, self._parent, last_error=why[:500])
            return
        store.set_standing(
            tx, self._parent, state="returned", reasons=[why[:500]], last_error=why[:500]
        )

    # -- catalogue entries ----------------------------------------------------------------------

    def submit(self, tx: Tx, kind: str, local_id: str, record: Payload) -> None:
        """Send a submission up; order holds for each entry. Raises NoParent."""
        if not self._parent:
            raise NoParent
        name = UPWARD[kind]
        if kind == "revoke" and ids.parse(record["code"]).type is ids.CodeType.RESOURCE:
            name = "RevokeDataResource"
        self._enqueue(tx, name, {"record": record}, f"catalog:{local_id}")

    def _submission_delivered(self, tx: Tx, message: Message, reply: Payload | None) -> None:
        self._contact(tx)
        kind, record = KINDS[message.kind.removeprefix("tds.")], message.payload["record"]
        told = reply or {}
        if not self.entry_decided(tx, kind, record["local_id"], record["version"], told):
            store.wait_for(
                tx,
                str(told.get("application_id", ""))[:80],
                kind,
                record["local_id"],
                record["version"],
            )

    def entry_decided(self, tx: Tx, kind: str, local_id: str, version: int, told: Payload) -> bool:
        """Take in what the parent says of a submission; False while it is undecided."""
        state = str(told.get("state", ""))
        decision = DECISIONS.get(state, "")
        if not decision and state != "superseded":
            return False
        store.decided(tx, kind, local_id, version)
        reasons = tuple(reason for reason in told.get("reasons") or () if isinstance(reason, dict))
        if decision:
            code = str(told.get("code", ""))[:65]
            self._tell(tx, kind, local_id, version, decision, code, reasons)
        return True

    def _tell(
        self,
        tx: Tx,
        kind: str,
        local_id: str,
        version: int,
        decision: str,
        code: str,
        reasons: tuple[dict[str, str], ...],
    ) -> None:
        """Whoever keeps the entry: the holder, of a program its author."""
        if kind == "application":
            tx.emit(catalog.ApplicationReviewed(local_id, version, decision, reasons))
        else:
            self._holder.on_reviewed(tx, kind, local_id, version, decision, code, reasons)

    def _submission_refused(self, tx: Tx, message: Message, why: str) -> None:
        kind, record = KINDS[message.kind.removeprefix("tds.")], message.payload["record"]
        store.set_standing(tx, self._parent, last_error=why[:500])
        both = tongues.in_both(why)
        en, zh = (tongues.of(both, lang)[:500] for lang in ("en", "zh"))
        reason = {"field": "", "rule": "wire", "en": en, "zh": zh, "weight": "return"}
        self._tell(tx, kind, record["local_id"], record["version"], "return", "", (reason,))

    # -- asking after -----------------------------------------------------------------------------

    def poll(self) -> None:
        """Ask the parent after everything undecided: pushed results can be lost, and a node
        behind a firewall gets none (GetApplication). Renews the credential in time, and tells of
        withdrawals again that the parent did not take."""
        if not self._parent:
            return
        self._reconcile()
        row = self._db.read(lambda tx: store.standing(tx, self._parent))
        if row is not None and row.state == "submitted" and row.step in ("subject", "connector"):
            application = getattr(row, f"{row.step}_application")
            if application:
                told = self._ask(application)
                self._db.write(lambda tx: self.registration_decided(tx, row.step, told))
        for each in self._db.read(lambda tx: store.undecided(tx, limits.PENDING_ASKED_MAX)):
            self._poll_entry(each)
        self._db.write(self._renew)

    def _reconcile(self) -> None:
        """At the start and now and then: what is withdrawn here is withdrawn at the parent."""
        now = self._db.clock.now()
        pause = timedelta(seconds=limits.WITHDRAWN_AGAIN_S)
        if self._reconciled is not None and now - self._reconciled < pause:
            return

        def verb(tx: Tx) -> int:
            row = store.standing(tx, self._parent)
            if row is None or row.step != "done":
                return 0
            return self._holder.withdraw_again(tx, _under_way)

        if told := self._db.write(verb):
            log.info("%d withdrawals that the parent had not taken are told again", told)
        self._reconciled = now

    def _poll_entry(self, row: Any) -> None:
        told = self._ask(row.application_id)
        self._db.write(lambda tx: self.entry_decided(tx, row.kind, row.local_id, row.version, told))

    def _ask(self, application_id: str) -> Payload:
        try:
            told = self._call("GetApplication", {"application_id": application_id})
        except Unavailable:
            raise
        except YunheError as error:
            # One refused question must not keep the others from being asked.
            log.warning("the parent does not tell of %s: %s", application_id, error)
            return {}
        self._db.write(self._contact)
        return told

    def _renew(self, tx: Tx) -> None:
        row = store.standing(tx, self._parent)
        if row is None or row.step not in _MEMBER or row.asked_at is None:
            return
        if any(each["state"] == "pending" for each in outbox.pending(tx, _REGISTRATION)):
            return  # the parent is away: one that waits says it all
        # Without one in force (a rotation that a crash cut short) it is asked for much sooner.
        held = bool(self._identity.own_credential())
        often = timedelta(seconds=limits.CREDENTIAL_MISSED_S)
        pause = timedelta(hours=limits.CREDENTIAL_ASK_HOURS) if held else often
        if tx.now - row.asked_at >= pause:
            self._send_step(tx, "credential")

    def _rekeyed(self) -> None:
        """Our key is another: ask for the credential that binds it, or nobody takes us in."""
        if not self._parent or self._identity.own_credential():
            return

        def verb(tx: Tx) -> None:
            row = store.standing(tx, self._parent)
            if row is not None and row.step in _MEMBER:
                # Also behind one under way: its answer may be for the key before.
                self._send_step(tx, "credential")

        self._db.write(verb)

    # -- live questions ---------------------------------------------------------------------------

    def ask(self, name: str, payload: Payload) -> Payload:
        """Ask the parent now and wait for its answer; raises NoParent, what the wire raises."""
        if not self._parent:
            raise NoParent
        return self._call(name, payload)

    def status(self) -> Status:
        """How this node stands with its parent."""

        def read(tx: Tx) -> Status:
            row = store.standing(tx, self._parent)
            return Status(
                state="none" if row is None else row.state,
                step="subject" if row is None else row.step,
                subject_code="" if row is None else row.subject_code,
                connector_code="" if row is None else row.connector_code,
                did=self._config.did,
                parent_did=self._parent,
                reasons=() if row is None else tuple(row.reasons),
                last_contact=None if row is None else row.last_contact,
                last_error="" if row is None else row.last_error,
                waiting=store.count_waiting(tx),
            )

        return self._db.read(read)

    def _call(self, name: str, payload: Payload) -> Payload:
        return self._wire.call(self._config.parent_address, self._parent, name, payload)

    def _contact(self, tx: Tx) -> None:
        store.set_standing(tx, self._parent, last_contact=tx.now, last_error="")

    def _enqueue(self, tx: Tx, name: str, payload: Payload, conversation: str) -> None:
        outbox.enqueue(
            tx,
            f"tds.{name}",
            self._parent,
            conversation,
            payload,
            address=self._config.parent_address,
        )


def _under_way(tx: Tx, local_id: str) -> bool:
    waits = store.waits(tx, "revoke", local_id)
    return waits or bool(outbox.pending(tx, f"catalog:{local_id}"))


def _sentence(reason: object) -> str:
    if isinstance(reason, dict):
        return str(reason.get("en", ""))[:500]
    return str(reason)[:500]

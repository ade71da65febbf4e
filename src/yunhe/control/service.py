"""The verbs of usage control: check, admit, release, post, void, recover, correct.

In: uses asked for by authenticated peers; ContractInForce and ContractEnded of the contracts.
Out: verdicts and Grants. Each verb is one transaction with its evidence entry and its event:
reserved -> released (durable before the first byte leaves) -> posted | void (DESIGN §4.9).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from yunhe.contracts import (
    Contract,
    ContractEnded,
    ContractInForce,
    ContractTerminated,
    Privacy,
    Terms,
    terms_from_policy,
)
from yunhe.control import budget, store, volume
from yunhe.control.bodies import arrived, asked, bound, posted, posting, quota_of
from yunhe.control.errors import (
    ContractChanged,
    CorrectionRefused,
    GrantForged,
    RowsOverGrant,
    UnknownUsesTooMany,
    UseAlreadySpent,
    UseIdTaken,
    UseOutOfOrder,
    refusal,
)
from yunhe.control.events import (
    UseAdmitted,
    UseCorrected,
    UseDenied,
    UsePosted,
    UseReleased,
    UseVoided,
)
from yunhe.control.grant import Grant, mint
from yunhe.control.judge import Agreed, Judge
from yunhe.control.left import Left, Said, left
from yunhe.control.model import (
    ANSWERS,
    DENY,
    Context,
    Denial,
    Posted,
    Quota,
    Reason,
    Recorder,
    Recovered,
    Use,
    UseRecord,
    Verdict,
)
from yunhe.control.overlap import Answered
from yunhe.control.store_answers import audit
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import YunheError
from yunhe.kernel.money import charge

_RESERVE_TRIES_MAX = 3


class Control:
    """The gate of one node. One instance a process; listens to the contracts' events."""

    def __init__(
        self, db: Database, evidence: Recorder, holder: str = "", agreed: Agreed | None = None
    ) -> None:
        """`holder`: which of several processes on one database this is, "" of one;
        `agreed`: a contract's policy as both signed it, which the quota's must equal."""
        self._db = db
        self._holder = holder
        self._evidence = evidence
        self._judge = Judge(agreed)
        self.bits_said: Said | None = None  # set by whoever runs programs, and counts theirs
        db.events.on(ContractInForce, self._open)
        db.events.on(ContractEnded, self._close)

    # -- contracts --------------------------------------------------------------------------

    def _open(self, tx: Tx, event: ContractInForce) -> None:
        if event.contract.role == "provider":  # the consumer's node admits nothing under it
            store.open_quota(tx, quota_of(event))

    def _close(self, tx: Tx, event: ContractEnded) -> None:
        contract = event.contract
        why = "; ".join(contract.end.reasons or (contract.end.code,)) if contract.end else ""
        store.close_quota(tx, contract.id, contract.state, contract.version, why)

    # -- asking -----------------------------------------------------------------------------

    def check(self, use: Use) -> Verdict:
        """Would this use be admitted now? Changes nothing but one evidence entry for a denial."""
        bound(use)
        verdict = self._db.read(lambda tx: self._judge.judge(tx, use)[0])
        if not verdict.allowed:
            self._db.write(lambda tx: self._deny(tx, use, verdict))
        return verdict

    def admit(self, use: Use) -> Grant:
        """Reserve one use and mint its Grant, in one transaction; call it outside of any verb.

        Raises the error of the verdict (evidenced as `use.denied`), UseAlreadySpent for an own
        use_id that was admitted before, UseIdTaken for somebody else's.
        """
        bound(use)
        outcome = self._db.write(lambda tx: self._admit(tx, use))
        if isinstance(outcome, YunheError):
            raise outcome  # after the commit, so that its evidence stays
        return outcome

    def _admit(self, tx: Tx, use: Use) -> Grant | YunheError:
        before = store.find_use(tx, use.use_id)
        if before is not None:
            return self._again(tx, use, before)
        for _ in range(_RESERVE_TRIES_MAX):
            verdict, row, terms = self._judge.judge(tx, use, reserving=True)
            if not verdict.allowed or row is None or terms is None:
                self._deny(tx, use, verdict)
                return refusal(verdict)
            if store.reserve(tx, use.contract_id, row.version):
                return self._reserve(tx, volume.capped(use, row, terms), row, terms, verdict)
        return ContractChanged()

    def _reserve(self, tx: Tx, use: Use, row: Any, terms: Terms, verdict: Verdict) -> Grant:
        fresh = store.add_use(
            tx,
            {
                "use_id": use.use_id,
                "contract_id": use.contract_id,
                "peer_did": use.peer_did,
                "principal": use.principal,
                "action": use.action,
                "purpose": use.purpose,
                "rows_max": use.rows_max,
                "bytes_max": use.bytes_max,
                "state": "reserved",
                "complete": True,
                "reserved_at": tx.now,
                "holder": self._holder or None,
            },
        )
        if not fresh:
            # Two callers with one id met here; this one's reserve is rolled back with the verb.
            raise self._again(tx, use, store.find_use(tx, use.use_id))
        budget.reserve(tx, use, terms)
        if volume.totalled(row):
            volume.hold(tx, use)
        body = asked(use) | {"rule": verdict.rule, "version": row.version, "at": iso(tx.now)}
        receipt = self._evidence.record(tx, "use.admitted", body)
        tx.emit(UseAdmitted(use.use_id, use.contract_id, use.peer_did, receipt.entry_id, tx.now))
        return mint(
            use_id=use.use_id,
            contract_id=use.contract_id,
            peer_did=use.peer_did,
            action=use.action,
            purpose=use.purpose,
            fields=use.fields,
            rows_max=use.rows_max,
            bytes_max=use.bytes_max,
            terms=terms,
            version=row.version,
        )

    def _again(self, tx: Tx, use: Use, before: Any | None) -> YunheError:
        mine = (use.peer_did, use.contract_id)
        if before is not None and (before.peer_did, before.contract_id) == mine:
            return UseAlreadySpent(state=before.state, use_id=use.use_id)
        reason = Reason("", "", "use_id", "", use.use_id, None, UseIdTaken.code)
        context = Context(use.action, {})
        self._deny(tx, use, Verdict(DENY, UseIdTaken.code, "", context, extra=(reason,)))
        return UseIdTaken()

    def _deny(self, tx: Tx, use: Use, verdict: Verdict) -> None:
        refused = asked(use) | {"code": verdict.code}
        digest = sha256_hex(refused)
        values = {
            "digest": digest,
            "use_id": use.use_id,
            "contract_id": use.contract_id,
            "peer_did": use.peer_did,
            "code": verdict.code,
            "entry_id": "",
            "at": tx.now,
        }
        if not store.add_denial(tx, values):
            return  # a check and then an admission of the same request are one refusal, not two
        reasons = [reason.to_json() for reason in verdict.reasons[: limits.REASONS_STORED_MAX]]
        body = refused | {"rule": verdict.rule, "reasons": reasons, "at": iso(tx.now)}
        receipt = self._evidence.record(tx, "use.denied", body)
        store.evidence_denial(tx, digest, receipt.entry_id)
        tx.emit(
            UseDenied(
                use.use_id,
                use.contract_id,
                use.peer_did,
                verdict.code,
                receipt.entry_id,
                tx.now,
            )
        )

    # -- using ------------------------------------------------------------------------------

    def release(
        self, grant: Grant, answered: Answered | None = None, noised: list[Any] | None = None
    ) -> None:
        """Make the use durable as billable; only after this may the first byte leave.

        `answered`: an aggregate-only answer, audited against the earlier ones; `noised`: one under
        a privacy budget, kept for the same question. Raises
        ContractTerminated when the contract ended since the reserve, UseOutOfOrder when the use is
        not reserved, QueryOverlap, AnswersTooMany.
        """

        def verb(tx: Tx) -> None:
            row = self._row(tx, grant)
            if not store.release(tx, grant.use_id):
                quota = store.find_quota(tx, grant.contract_id)
                if row.state == "reserved" and quota is not None and quota.state != "in_force":
                    said = quota.end_reason or "–"
                    raise ContractTerminated(
                        ended_at=iso(quota.ended_at), reason=said, reason_zh=said
                    )
                raise UseOutOfOrder(state=row.state, verb="released")
            if answered is not None:
                audit(tx, grant.peer_did, answered)
            if noised is not None:
                budget.keep(tx, grant.use_id, noised)
            body = {"use_id": grant.use_id, "contract_id": grant.contract_id, "at": iso(tx.now)}
            self._evidence.record(tx, "use.released", body)
            tx.emit(UseReleased(grant.use_id, grant.contract_id, tx.now))

        self._db.write(verb)

    def post(self, grant: Grant, rows: int, byte_count: int, complete: bool = True) -> Posted:
        """Charge a released use for what was delivered. Again: the same answer, no second charge.

        `complete=False`: the delivery was cut off, so the receiver's signed receipt may lower it.
        Raises RowsOverGrant, UseOutOfOrder.
        """
        if not 0 <= rows <= grant.rows_max:
            raise RowsOverGrant(rows=rows, rows_max=grant.rows_max)
        return self._db.write(
            lambda tx: self._post(tx, self._row(tx, grant), rows, byte_count, complete)
        )

    def post_held(
        self, use_id: str, contract_id: str, rows: int, byte_count: int, complete: bool
    ) -> Posted:
        """As `post`, for a released use whose Grant may have died with an earlier process: a push
        goes on after a restart. `byte_count` 0: not known, after a crash.

        Raises RowsOverGrant, UseOutOfOrder, GrantForged for a use that never was.
        """

        def verb(tx: Tx) -> Posted:
            row = store.find_use(tx, use_id)
            if row is None or row.contract_id != contract_id:
                raise GrantForged(detail=f"no such use: {use_id}")
            if not 0 <= rows <= row.rows_max:
                raise RowsOverGrant(rows=rows, rows_max=row.rows_max)
            return self._post(tx, row, rows, byte_count, complete)

        return self._db.write(verb)

    def _post(self, tx: Tx, row: Any, rows: int, byte_count: int, complete: bool) -> Posted:
        if row.state == "posted":
            return posted(row)
        fee, totalled = self._fee(tx, row.contract_id, rows)
        body = posting(tx, row, rows, byte_count, fee) | {"complete": complete}
        receipt = self._evidence.record(tx, "use.posted", body)
        values = {
            "rows": rows,
            "bytes": byte_count,
            "fee_fen": fee,
            "complete": complete,
            "entry_id": receipt.entry_id,
        }
        if not store.post_use(tx, row.use_id, values):
            raise UseOutOfOrder(state=row.state, verb="posted")
        if totalled:
            volume.settle(tx, row, rows, byte_count)
        tx.emit(
            UsePosted(
                row.use_id,
                row.contract_id,
                row.peer_did,
                row.purpose,
                rows,
                byte_count,
                fee,
                receipt.entry_id,
                receipt.leaf,
                tx.now,
                complete,
            )
        )
        return Posted(row.use_id, rows, byte_count, fee, receipt.entry_id, tx.now)

    def void(self, grant: Grant, why: str) -> None:
        """Give a reserved use back: nothing left. Again: no effect. Raises UseOutOfOrder.

        A refusal that tells something of the data costs nothing, but only the first
        ANSWERS_GIVEN_BACK_MAX of a contract count as no use: `uses_max` bounds the questions.
        """
        self._db.write(lambda tx: self._void(tx, self._row(tx, grant), why))

    def _void(self, tx: Tx, row: Any, why: str) -> None:
        if row.state == "void":
            return
        if not store.void_use(tx, row.use_id, why):
            raise UseOutOfOrder(state=row.state, verb="voided")
        budget.give_back(tx, row.use_id, why)
        volume.give_back(tx, row)
        most = limits.ANSWERS_GIVEN_BACK_MAX
        if why not in ANSWERS or store.voided(tx, row.contract_id, ANSWERS, most + 1) <= most:
            store.give_back(tx, row.contract_id)
        body = {"use_id": row.use_id, "contract_id": row.contract_id, "why": why}
        self._evidence.record(tx, "use.voided", body | {"at": iso(tx.now)})
        tx.emit(UseVoided(row.use_id, row.contract_id, why, tx.now))

    def fence(self, use_id: str, contract_id: str, peer_did: str) -> UseRecord:
        """The use as it stands; one that was never admitted is voided, so that it never will be.

        For a peer that lost our answer: what it is told then stays true. A row is written for at
        most limits.NEVER_ADMITTED_MAX of them a contract. Raises UseIdTaken, UnknownUsesTooMany.
        """

        def verb(tx: Tx) -> UseRecord:
            most = limits.NEVER_ADMITTED_MAX
            known = store.find_use(tx, use_id) is not None
            if not known and store.voided(tx, contract_id, ("NEVER_ADMITTED",), most) >= most:
                raise UnknownUsesTooMany(limit=most)
            values = {
                "use_id": use_id,
                "contract_id": contract_id,
                "peer_did": peer_did,
                "principal": "",
                "action": "read",
                "purpose": "",
                "rows_max": 0,
                "state": "void",
                "complete": True,
                "reserved_at": tx.now,
                "ended_at": tx.now,
                "why": "NEVER_ADMITTED",
            }
            if store.add_use(tx, values):
                body = {"use_id": use_id, "contract_id": contract_id, "why": "NEVER_ADMITTED"}
                self._evidence.record(tx, "use.voided", body | {"at": iso(tx.now)})
            row = store.find_use(tx, use_id)
            if row is None or (row.contract_id, row.peer_did) != (contract_id, peer_did):
                raise UseIdTaken
            return store.as_use(row)

        return self._db.write(verb)

    def recover(
        self, older_than_s: float = 0.0, held: Collection[str] = (), own: bool = False
    ) -> Recovered:
        """After a crash: reserved uses are given back, released ones billed at the maximum.

        With replicas on one database give `older_than_s` = the longest a live use may take.
        `held`: released uses whose delivery goes on (`post_held`). `own`: only those of an earlier
        process of this holder, which is gone for certain; to be called before its first use.
        """
        before = self._db.clock.now() - timedelta(seconds=older_than_s)
        holder = self._holder if own else ""
        voided: list[str] = []
        posted: list[str] = []
        while found := self._db.read(
            lambda tx: store.unfinished(tx, before, limits.RECOVERY_USES_MAX, held, holder)
        ):
            for row in found:
                (voided if self._finish(row) == "void" else posted).append(row.use_id)
        return Recovered(tuple(voided), tuple(posted))

    def _finish(self, row: Any) -> str:
        def verb(tx: Tx) -> str:
            if row.state == "reserved":
                self._void(tx, row, "crash")
                return "void"
            # Bytes are unknown; rows are the most that can have left.
            self._post(tx, row, row.rows_max, 0, complete=False)
            return "posted"

        return self._db.write(verb)

    def correct(self, use_id: str, rows: int, byte_count: int, receipt: dict[str, Any]) -> Posted:
        """Lower an interrupted use to what the receiver signed for; the caller has verified it.

        `receipt` goes into the evidence. Raises CorrectionRefused for any other use, and for
        figures that are not lower.
        """

        def verb(tx: Tx) -> Posted:
            row = store.find_use(tx, use_id)
            if row is None or row.state != "posted":
                raise CorrectionRefused(why="the use is not posted")
            if rows < arrived(row.rows, row.bytes or 0):
                raise CorrectionRefused(why="more than that must have arrived")
            fee, totalled = self._fee(tx, row.contract_id, rows)
            body = posting(tx, row, rows, byte_count, fee)
            entry = self._evidence.record(
                tx, "use.corrected", body | {"rows_before": row.rows, "receipt": receipt}
            )
            values = {
                "rows": rows,
                "bytes": byte_count,
                "fee_fen": fee,
                "entry_id": entry.entry_id,
            }
            if rows < 0 or not store.lower_use(tx, use_id, values):
                raise CorrectionRefused(
                    why="it was delivered whole" if row.complete else "the figure is not lower"
                )
            if totalled:
                volume.lower(tx, row, rows, byte_count)
            tx.emit(
                UseCorrected(
                    use_id,
                    row.contract_id,
                    row.peer_did,
                    row.purpose,
                    row.rows,
                    rows,
                    byte_count,
                    fee,
                    entry.entry_id,
                    entry.leaf,
                    tx.now,
                )
            )
            return Posted(use_id, rows, byte_count, fee, entry.entry_id, tx.now)

        return self._db.write(verb)

    # -- looking ----------------------------------------------------------------------------

    def quota(self, contract_id: str) -> Quota | None:
        """What is left of a contract, or None where this node does not provide it."""
        row = self._db.read(lambda tx: store.find_quota(tx, contract_id))
        return None if row is None else store.as_quota(row)

    def left(self, contract: Contract) -> Left:
        """What is left to the other party now; raises QuotaUnknown."""
        return left(self._db, contract, self.bits_said)

    def privacy_left(self, peer_did: str, dataset: str, privacy: Privacy) -> budget.Budget:
        """What is left to a party of a privacy budget over a data set."""
        return budget.left(self._db, peer_did, dataset, privacy)

    def use(self, use_id: str) -> UseRecord | None:
        """One use, or None."""
        row = self._db.read(lambda tx: store.find_use(tx, use_id))
        return None if row is None else store.as_use(row)

    def uses(self, contract_id: str, states: Sequence[str] = ()) -> list[UseRecord]:
        """The uses of a contract, oldest first; every one, also inside a verb."""
        rows = self._db.read(lambda tx: store.uses_of(tx, contract_id, states))
        return [store.as_use(row) for row in rows]

    def denials(self, contract_id: str) -> list[Denial]:
        """The latest refusals under a contract, newest first."""
        rows = self._db.read(
            lambda tx: store.denials_of(tx, contract_id, limits.DENIALS_LISTED_MAX)
        )
        return [store.as_denial(row) for row in rows]

    def _row(self, tx: Tx, grant: Grant) -> Any:
        if type(grant) is not Grant:
            raise GrantForged
        row = store.find_use(tx, grant.use_id)
        if row is None or (row.contract_id, row.peer_did, row.rows_max) != (
            grant.contract_id,
            grant.peer_did,
            grant.rows_max,
        ):
            raise GrantForged(detail=f"no such use: {grant.use_id}")
        return row

    def _fee(self, tx: Tx, contract_id: str, rows: int) -> tuple[int, bool]:
        """What so many rows cost, and whether the contract bounds all its uses together."""
        row = store.find_quota(tx, contract_id)
        if row is None:
            raise GrantForged(detail=f"no quota for {contract_id}")
        terms = self._judge.standing(tx, row).terms
        price = (terms or terms_from_policy(self._judge.agreed(tx, row))).price
        return charge(price.per_use, price.per_row, rows), volume.totalled(row)

"""The host's side: take a version in by consent, run it beside the data, let out what may leave.

In: messages of authors, a person's consent and release. Out: runs, results in pieces, reports.
Evidence: `app.deployed`, `app.<step>_here`, `app.run`, `app.released`, `app.held`, `app.refused`,
`app.failed`. The bytes of a program are pulled from the peer whose contract it is, by digest.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from yunhe.apps import store
from yunhe.apps.box import printed
from yunhe.apps.desk import (
    PIECE,
    Body,
    Desk,
    job_form,
    keep,
    piece,
    pulled,
    tell_deployment,
    tell_job,
    text,
)
from yunhe.apps.errors import (
    AppBitsSpent,
    AppChanged,
    AppJobsTooMany,
    AppNotAgreed,
    AppNotDeployed,
    AppNotReleased,
    AppRevoked,
    AppRuleMisfit,
    AppStateRefused,
    AppUnknown,
    stated,
)
from yunhe.apps.manifest import Kind, Manifest, arguments, read
from yunhe.apps.model import (
    DEPLOYMENT_STEPS,
    App,
    AppState,
    Deployment,
    DeploymentState,
    Job,
    JobState,
    Side,
)
from yunhe.apps.runs import fresh
from yunhe.apps.shelf import Shelf
from yunhe.contracts import Contract, Release, ReleaseKind, covers
from yunhe.contracts import Side as Role
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Invalid

_FITS = {
    Kind.SQL: (ReleaseKind.AGGREGATE, ReleaseKind.REVIEW),
    Kind.PYTHON: tuple(ReleaseKind),
    Kind.ONNX: (ReleaseKind.PREDICTIONS, ReleaseKind.REVIEW),
}
_MANY = limits.APP_DEPLOYMENTS_OF_ONE_MAX
_AUTHOR_STEPS = {"suspend": AppState.SUSPENDED, "resume": AppState.PUBLISHED}


class Host:
    """What authors' nodes ask of this one, and what its own people decide; thread-safe."""

    def __init__(self, desk: Desk, shelf: Shelf, wake: Callable[[], None]) -> None:
        """`wake`: a run waits."""
        self._desk, self._shelf, self._wake = desk, shelf, wake

    # -- deployments ----------------------------------------------------------------------------

    def asked(self, peer_did: str, body: Body) -> Body:
        """A peer asks for a version to be deployed under its contract; again: how it stands.

        Deployed at once where the contract names this very digest, else a person consents. The
        program comes from its author, who must have listed it where the peer is another.
        Raises AppSignatureInvalid, AppChanged, AppNotAgreed, AppRuleMisfit, AppRevoked, and why
        the contract does not bind.
        """
        desk = self._desk
        key = text(body, "deployment_id", 80)
        contract = desk.contracts.in_force(text(body, "contract_id"), peer_did)
        manifest = read(body.get("manifest"))
        self._fits(contract, manifest)
        known = desk.db.read(lambda tx: store.deployed(tx, Side.HOST, manifest.digest, contract.id))
        if known is not None:
            if known.id != key:
                raise AppUnknown
            return {"state": str(known.state), "why": known.why}
        if desk.db.read(lambda tx: store.deployments_of(tx, contract.id)) >= _MANY:
            raise AppJobsTooMany(limit=_MANY)
        jws = text(body, "jws", limits.JWS_BYTES_MAX)
        desk.check_signature(manifest, jws)
        before = desk.db.read(lambda tx: store.find_app(tx, manifest.digest))
        if before is not None and before.state is AppState.REVOKED:
            raise AppRevoked
        if manifest.author not in (peer_did, desk.keys.did):
            # A third party brings it: the author is asked, and tells us from now when it ends.
            jws = self._shelf.agreed(manifest)
            desk.check_signature(manifest, jws)
        self._fetch(manifest)
        made = desk.db.write(lambda tx: self._take_in(tx, key, contract, manifest, jws))
        return {"state": str(made.state), "why": made.why}

    def _fits(self, contract: Contract, manifest: Manifest) -> None:
        """Whether the contract lets this program run, and its output be judged."""
        terms = contract.terms
        if contract.role is not Role.PROVIDER:
            raise AppUnknown
        if not any(covers(each, manifest.reference) for each in terms.applications):
            agreed = ", ".join(terms.applications) or "–"
            raise AppNotAgreed(given=manifest.reference, expected=agreed)
        rule = terms.release
        if rule is None:
            raise _misfit("it has no release rule", "合约没有放行规则")
        if rule.kind not in _FITS[manifest.kind]:
            raise _misfit(
                f"{manifest.kind} is not judged by {rule.kind}",
                f"{manifest.kind} 应用不适用 {rule.kind} 规则",
            )
        if manifest.kind is not Kind.SQL:
            self._output_fits(rule.kind, manifest)
            if terms.watermark is not None:
                raise _misfit("copies carry a mark, and a program's are not marked", "副本须带水印")
            if terms.minimum_group:
                raise _misfit("it allows aggregates only, no rows", "合约仅允许聚合，不提供行数据")
        tables = self._desk.tables(contract)
        masked = {mask.column for mask in terms.masks}
        for table, columns in manifest.inputs.items():
            for column, kind in columns.items():
                name = f"{table}.{column}"
                if name not in terms.columns or table not in tables:
                    raise _misfit(f"{name} is not agreed", f"未约定 {name}")
                has = tables[table].columns[column]
                if name not in masked and has.upper() != kind.upper():
                    raise _misfit(f"{name} is {has}, not {kind}", f"{name} 的类型为 {has}")

    @staticmethod
    def _output_fits(rule: ReleaseKind, manifest: Manifest) -> None:
        output = manifest.output
        if rule is ReleaseKind.AGGREGATE and (output.groups is None or not output.numbers):
            raise _misfit("the rule wants output.groups and output.numbers", "输出未声明分组与数值")
        if rule is ReleaseKind.METRICS and (output.groups is not None or output.columns):
            raise _misfit("its output is not of numbers alone", "输出不是仅含数值")
        rows = rule in (ReleaseKind.PREDICTIONS, ReleaseKind.REVIEW)
        if rows and (output.groups is not None or not (output.columns or output.numbers)):
            raise _misfit(
                "the rule wants output.columns or output.numbers, no groups",
                "规则要求输出声明 columns 或 numbers，不含 groups",
            )

    def _fetch(self, manifest: Manifest) -> None:
        path = self._desk.code(manifest)
        if path.is_file() and manifest.check_code(path.read_bytes()):
            return
        code = pulled(
            lambda at: self._desk.call(
                manifest.author, PIECE, {"digest": manifest.digest, "offset": at}
            ),
            manifest.code_bytes,
        )
        if not manifest.check_code(code):
            raise AppChanged
        keep(path, code)

    def _take_in(
        self, tx: Tx, key: str, contract: Contract, manifest: Manifest, jws: str
    ) -> Deployment:
        desk = self._desk
        consent = manifest.reference in contract.terms.applications
        state = DeploymentState.DEPLOYED if consent else DeploymentState.ASKED
        body = {
            "deployment_id": key,
            "application": manifest.reference,
            "contract_id": contract.id,
            "author": manifest.author,
            "manifest": dict(manifest.body),
            "jws": jws,
            "state": str(state),
            "at": iso(tx.now),
        }
        entry = desk.evidence.record(tx, "app.deployed" if consent else "app.asked_here", body)
        app = App(manifest.digest, False, manifest, jws, AppState.PUBLISHED, "", tx.now, tx.now, "")
        store.add_app(tx, app)
        made = Deployment(
            key,
            Side.HOST,
            manifest.digest,
            contract.id,
            contract.peer_did,
            state,
            "contract" if consent else "",
            "",
            tx.now,
            tx.now,
            entry.entry_id,
        )
        if not store.add_deployment(tx, made):
            raise AppUnknown  # the id is somebody else's
        return made

    def decide(self, deployment_id: str, verb: str, who: str, reason: str) -> Deployment:
        """allow, refuse, suspend, resume or revoke a deployment here; the author is told.

        Raises AppUnknown, AppStateRefused, AppRevoked.
        """
        before, after = DEPLOYMENT_STEPS[verb]

        def change(tx: Tx) -> Deployment:
            found = store.find_deployment(tx, deployment_id, Side.HOST)
            if found is None:
                raise AppUnknown
            app = store.find_app(tx, found.digest)
            if found.state not in before:
                raise AppStateRefused(state=str(found.state), verb=verb)
            if verb in ("allow", "resume") and (app is None or app.state is AppState.REVOKED):
                raise AppRevoked
            made = self._changed(tx, found, after, verb, who, reason)
            tell_deployment(tx, made)
            return made

        return self._desk.db.write(change)

    def _changed(
        self, tx: Tx, found: Deployment, to: DeploymentState, verb: str, who: str, why: str
    ) -> Deployment:
        body = {
            "deployment_id": found.id,
            "digest": found.digest,
            "contract_id": found.contract_id,
            "step": verb,
            "by": who,
            "reason": why[: limits.REASON_CHARS_MAX],
            "at": iso(tx.now),
        }
        kind = "app.deployed" if verb == "allow" else f"app.{verb}_here"
        entry = self._desk.evidence.record(tx, kind, body)
        values = {"state": to, "by": who, "why": body["reason"], "entry_id": entry.entry_id}
        if not store.change_deployment(tx, found, values):
            raise AppStateRefused(state=str(found.state), verb=verb)
        return replace(found, state=to, by=who, why=body["reason"])

    def told(self, peer_did: str, body: Body) -> Body:
        """An author revokes, suspends or resumes its version: nothing of it runs here from now.

        Idempotent; the author alone may say so. Raises AppUnknown, Invalid.
        """
        note = body.get("note")
        if not isinstance(note, dict):
            raise Invalid(why="the note is missing")
        digest, step = text(note, "digest", 64), text(note, "step", 16)
        reason = str(note.get("reason", ""))[: limits.REASON_CHARS_MAX]

        def verb(tx: Tx) -> None:
            found = store.find_app(tx, digest)
            if found is None or found.ours or found.manifest.author != peer_did:
                raise AppUnknown
            if found.state is AppState.REVOKED:
                return  # for good
            state = AppState.REVOKED if step == "revoke" else _AUTHOR_STEPS.get(step)
            if state is None:
                raise Invalid(why="there is no such step")
            said = {"digest": digest, "author": peer_did, "note": note, "at": iso(tx.now)}
            entry = self._desk.evidence.record(tx, f"app.{step}_by_author", said)
            values = {"state": state, "why": reason, "entry_id": entry.entry_id}
            store.change_app(tx, digest, (found.state,), values)
            if state is not AppState.REVOKED:
                return
            for each in store.deployments(tx, digest):
                if each.side is Side.HOST and each.state is not DeploymentState.REVOKED:
                    to = DeploymentState.REVOKED
                    made = self._changed(tx, each, to, "revoke", peer_did, reason)
                    if made.peer_did != peer_did:  # a third party's
                        tell_deployment(tx, made)

        self._desk.db.write(verb)
        return {"digest": digest, "received": True}

    # -- runs -----------------------------------------------------------------------------------

    def run(self, peer_did: str, body: Body) -> Body:
        """A peer has a deployed version run: one use; again: how it stands.

        Raises AppUnknown, AppNotDeployed, AppRevoked, AppParameterInvalid, AppJobsTooMany, and why
        the contract does not bind.
        """
        desk = self._desk
        use_id = text(body, "use_id", 80)
        found = desk.db.read(
            lambda tx: store.find_deployment(tx, text(body, "deployment_id", 80), Side.HOST)
        )
        if found is None or found.peer_did != peer_did:
            raise AppUnknown
        purpose = text(body, "purpose", 64)
        principal = str(body.get("principal", ""))[:128]
        given = body.get("parameters")
        if not isinstance(given, dict):
            raise Invalid(why="parameters is no object")
        contract = desk.contracts.in_force(found.contract_id, peer_did)

        def verb(tx: Tx) -> Job:
            known = store.find_job(tx, use_id, Side.HOST)
            if known is not None:
                if (known.peer_did, known.deployment_id) != (peer_did, found.id):
                    raise AppUnknown
                return known
            app = runnable(tx, found.id)
            parameters = arguments(app.manifest, given)
            if store.waiting(tx) >= limits.APP_JOBS_WAITING_MAX:
                raise AppJobsTooMany(limit=limits.APP_JOBS_WAITING_MAX)
            if store.waiting(tx, contract.id) >= limits.APP_JOBS_OF_ONE_MAX:
                raise AppJobsTooMany(limit=limits.APP_JOBS_OF_ONE_MAX)
            release = contract.terms.release
            spent = store.bits_spent(tx, contract.id)
            if release is not None and 0 < release.bits <= spent:
                raise AppBitsSpent(limit=release.bits, spent=spent)
            rule = str(release or "")
            made = fresh(tx, use_id, Side.HOST, found, purpose, principal, parameters, rule)
            said = {
                "use_id": use_id,
                "deployment_id": found.id,
                "application": app.manifest.reference,
                "contract_id": contract.id,
                "peer": peer_did,
                "principal": principal,
                "purpose": purpose,
                "parameters": parameters,
                "rule": rule,
                "at": iso(tx.now),
            }
            entry = desk.evidence.record(tx, "app.run", said)
            made = replace(made, entry_id=entry.entry_id)
            store.add_job(tx, made)
            tx.after_commit(self._wake)
            return made

        return job_form(desk.db.write(verb))

    def stands(self, peer_did: str, body: Body) -> Body:
        """How a run stands, for the peer whose it is; raises AppUnknown."""
        return job_form(self._of_peer(peer_did, body))

    def give(self, peer_did: str, body: Body) -> Body:
        """A piece of what was released; raises AppUnknown, AppNotReleased."""
        job = self._of_peer(peer_did, body)
        path = self._desk.job(job.id) / "output.arrow"
        if job.state is not JobState.RELEASED or not path.is_file():
            raise AppNotReleased(**stated(str(job.state)))
        return piece(path, body)

    def _of_peer(self, peer_did: str, body: Body) -> Job:
        key = text(body, "use_id", 80)
        job = self._desk.db.read(lambda tx: store.find_job(tx, key, Side.HOST))
        if job is None or job.peer_did != peer_did:
            raise AppUnknown
        return job

    def log(self, job_id: str) -> str:
        """What the program of a run printed; for the host's people alone. Raises AppUnknown."""
        job = self._desk.db.read(lambda tx: store.find_job(tx, job_id, Side.HOST))
        if job is None:
            raise AppUnknown
        return printed(self._desk.job(job_id))

    def held_output(self, job_id: str) -> Path:
        """The file of a held result, for the person who decides; raises AppNotReleased."""
        job = self._desk.db.read(lambda tx: store.find_job(tx, job_id, Side.HOST))
        if job is None:
            raise AppUnknown
        path = self._desk.job(job_id) / "output.arrow"
        if job.state not in (JobState.HELD, JobState.RELEASED) or not path.is_file():
            raise AppNotReleased(**stated(str(job.state)))
        return path

    def release(self, job_id: str, who: str, reason: str, *, let_go: bool) -> Job:
        """A person of the host lets a held result go, or not; the use is posted either way.

        Raises AppUnknown, AppStateRefused.
        """
        desk = self._desk

        def verb(tx: Tx) -> Job:
            job = store.find_job(tx, job_id, Side.HOST)
            if job is None:
                raise AppUnknown
            if job.state is not JobState.HELD:
                raise AppStateRefused(state=str(job.state), verb="release")
            to = JobState.RELEASED if let_go else JobState.REFUSED
            rows, size = (job.rows, job.bytes) if let_go else (0, 0)
            body = {
                "use_id": job.id,
                "contract_id": job.contract_id,
                "by": who,
                "reason": reason[: limits.REASON_CHARS_MAX],
                "output_digest": job.output_digest,
                "rows": rows,
                "bytes": size,
                "at": iso(tx.now),
            }
            if not let_go and Release.parse(job.rule).bits:  # what did not leave said nothing
                store.give_back_bits(tx, job.contract_id, job.bits)
            entry = desk.evidence.record(tx, "app.released" if let_go else "app.refused", body)
            desk.control.post_held(job.id, job.contract_id, rows, size, complete=True)
            values = {
                "state": to,
                "why": body["reason"],
                "rows": rows,
                "bytes": size,
                "ended_at": tx.now,
                "entry_id": entry.entry_id,
            }
            store.change_job(tx, job.id, Side.HOST, (JobState.HELD,), values)
            made = replace(job, **values)
            tell_job(tx, made)
            return made

        made = desk.db.write(verb)
        if not let_go:
            with contextlib.suppress(OSError):
                (desk.job(job_id) / "output.arrow").unlink(missing_ok=True)
        return made

    def held(self) -> set[str]:
        """The uses whose results wait for a person."""
        return self._desk.db.read(lambda tx: store.keys(tx, Side.HOST, (JobState.HELD,)))

    def sweep(self) -> None:
        """Remove the folders of runs that ended long ago; for the timer."""
        desk = self._desk
        since = desk.db.clock.now() - timedelta(seconds=limits.APP_RESULT_KEEP_S)
        # By what lies on the disk, and not by the runs: these are ever more, and never removed.
        old = [each for each in desk.jobs() if each.stat().st_mtime < since.timestamp()]
        if old:
            lasting = desk.db.read(lambda tx: store.lasting(tx, since))
            for folder in set(old).difference(map(desk.job, lasting)):
                shutil.rmtree(folder, ignore_errors=True)


def runnable(tx: Tx, deployment_id: str) -> App:
    """The version of a deployment, if it may run now; raises AppNotDeployed, AppRevoked."""
    found = store.find_deployment(tx, deployment_id, Side.HOST)
    app = store.find_app(tx, found.digest) if found is not None else None
    if found is None or app is None:
        raise AppUnknown
    if app.state is AppState.REVOKED or found.state is DeploymentState.REVOKED:
        raise AppRevoked
    if found.state is not DeploymentState.DEPLOYED or app.state is AppState.SUSPENDED:
        raise AppNotDeployed(**stated(str(found.state)))
    return app


def _misfit(why: str, why_zh: str) -> AppRuleMisfit:
    return AppRuleMisfit(why=why, why_zh=why_zh)

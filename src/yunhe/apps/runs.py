"""Runs as whoever asked for them sees them: begun, followed, fetched, signed for.

In: a deployment, a purpose, parameters; answers of hosts. Out: results as files, each with this
node's signed receipt, so that the use is settled like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from yunhe.apps import store
from yunhe.apps.desk import JOB, RESULT, RUN, Body, Desk, keep, pulled, text
from yunhe.apps.errors import (
    AppAnswerInvalid,
    AppNotDeployed,
    AppNotReleased,
    AppRevoked,
    AppUnknown,
    RefusedByHost,
    stated,
)
from yunhe.apps.manifest import arguments
from yunhe.apps.model import ENDED, AppState, Deployment, DeploymentState, Job, JobState, Side
from yunhe.contracts import Contract, ReleaseKind
from yunhe.control import Consumed
from yunhe.dataplane import count_file
from yunhe.kernel import limits
from yunhe.kernel.chores import Chores
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Unavailable, YunheError

_OPEN: Final = (JobState.QUEUED, JobState.RUNNING, JobState.HELD)
_NOTHING: Final = hashlib.sha256().hexdigest()


class Runs:
    """What whoever runs an application asks of its own node; thread-safe."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._due: dict[str, tuple[float, float]] = {}  # when a host is asked next, the wait then
        self._busy: set[str] = set()
        self._turn = threading.Lock()
        # In a thread: a host may be slow, or away.
        self._following = Chores("apps-runs", limits.APP_ASK_S, self.sweep)

    def start(self) -> None:
        """Follow the runs that are not over."""
        self._following.start()

    def stop(self) -> None:
        """Follow no more; what is not over stays in the database."""
        self._following.stop()

    def run(
        self,
        deployment_id: str,
        purpose: str,
        parameters: Mapping[str, Any],
        use_id: str,
        principal: str,
    ) -> Job:
        """Have a deployed version run at its host: one use. The same `use_id`: the same run.

        Raises AppUnknown, AppNotDeployed, AppRevoked, AppParameterInvalid, RefusedByHost, and why
        the contract does not bind.
        """
        desk = self._desk
        known = desk.db.read(lambda tx: store.find_job(tx, use_id, Side.AUTHOR))
        if known is not None:
            return self.job(use_id)
        found = desk.db.read(lambda tx: store.find_deployment(tx, deployment_id, Side.AUTHOR))
        if found is None:
            raise AppUnknown
        if found.state is not DeploymentState.DEPLOYED:
            raise AppNotDeployed(**stated(str(found.state)))
        app = desk.db.read(lambda tx: store.find_app(tx, found.digest))
        if app is None or app.state in (AppState.REVOKED, AppState.SUSPENDED):
            raise AppRevoked
        given = arguments(app.manifest, parameters)
        contract = desk.contracts.in_force(found.contract_id)

        def begin(tx: Tx) -> None:
            desk.books.begin_use(use_id, contract.id, purpose)
            store.add_job(
                tx,
                fresh(tx, use_id, Side.AUTHOR, found, purpose, principal, given, _rule(contract)),
            )

        desk.db.write(begin)
        body = {
            "deployment_id": found.id,
            "use_id": use_id,
            "purpose": purpose,
            "principal": principal,
            "parameters": given,
        }
        try:
            answer = self._desk.ask(contract.peer_did, RUN, body)
        except Unavailable:
            raise  # it may run: `sweep` asks
        except YunheError as refused:
            self._over(use_id, {"state": "failed", "code": refused.code})
            raise
        return self._take_over(use_id, answer)

    def job(self, job_id: str) -> Job:
        """One run, asked of its host where it is not over; raises AppUnknown."""
        job = self._desk.db.read(lambda tx: store.find_job(tx, job_id))
        if job is None:
            raise AppUnknown
        if job.side is Side.HOST or job.state in ENDED:
            return job
        with contextlib.suppress(Unavailable):
            return self._refreshed(job)
        return job

    def jobs(self, contract_id: str = "") -> list[Job]:
        """Runs, as author and as host, latest first."""
        return self._desk.db.read(lambda tx: store.jobs(tx, contract_id=contract_id))

    def result(self, job_id: str) -> Path:
        """The file with what a run gave (an Arrow IPC stream); raises AppNotReleased."""
        job = self.job(job_id)
        path = self._desk.result(job_id)
        if job.side is not Side.AUTHOR or job.state is not JobState.RELEASED or not path.is_file():
            raise AppNotReleased(**stated(str(job.state)))
        return path

    def _refreshed(self, job: Job) -> Job:
        """As `_refresh`, by one thread at a time; meanwhile others have what is known."""
        with self._turn:
            if job.id in self._busy:
                return job
            self._busy.add(job.id)
        try:
            return self._refresh(job)
        finally:
            self._busy.discard(job.id)

    def _refresh(self, job: Job) -> Job:
        try:
            answer = self._desk.ask(job.peer_did, JOB, {"use_id": job.id})
        except RefusedByHost as refused:
            if refused.code != AppUnknown.code:
                raise
            return self._over(job.id, {"state": "failed", "code": refused.code})
        return self._take_over(job.id, answer)

    def _take_over(self, job_id: str, said: Mapping[str, Any]) -> Job:
        """Write down what the host says of a run; fetch and sign for what it released."""
        job = self._desk.db.read(lambda tx: store.find_job(tx, job_id, Side.AUTHOR))
        if job is None:
            raise AppUnknown
        if job.state in ENDED:
            return job
        state = str(said.get("state"))
        if state == JobState.RELEASED:
            return self._fetched(job, said)
        if state in (JobState.FAILED, JobState.REFUSED):
            return self._over(job_id, said)
        if state not in list(JobState):
            raise AppAnswerInvalid(why="no such state", why_zh="状态未知")

        def verb(tx: Tx) -> None:
            store.change_job(tx, job_id, Side.AUTHOR, _OPEN, {"state": state})

        self._desk.db.write(verb)
        return replace(job, state=JobState(state))

    def _fetched(self, job: Job, said: Mapping[str, Any]) -> Job:
        contract = self._desk.contracts.contract(job.contract_id)
        total, digest = said.get("bytes"), said.get("output_digest")
        if type(total) is not int or not 0 < total <= limits.APP_OUTPUT_BYTES_MAX:
            raise AppAnswerInvalid(why="no size", why_zh="缺少大小")
        got = pulled(
            lambda at: self._desk.ask(job.peer_did, RESULT, {"use_id": job.id, "offset": at}),
            total,
        )
        if hashlib.sha256(got).hexdigest() != digest:
            raise AppAnswerInvalid(why="it has another digest", why_zh="摘要不符")
        path = self._desk.result(job.id)
        keep(path, got)
        count = count_file(path)
        if not count.complete:
            raise AppAnswerInvalid(why="it is no whole stream", why_zh="数据流不完整")
        if count.rows > _rows_most(contract):
            # Rows cost a host nothing to make and us their price: no receipt for these.
            path.unlink(missing_ok=True)
            return self._broken(job)
        figures = (count.rows, count.bytes, count.digest)
        return self._ended(job, said, JobState.RELEASED, *figures)

    def _broken(self, job: Job) -> Job:
        """The host says what the rule does not allow: nothing is signed for."""
        said = {"code": AppAnswerInvalid.code}
        return self._ended(job, said, JobState.FAILED, 0, 0, "")

    def _over(self, job_id: str, said: Mapping[str, Any]) -> Job:
        job = self._desk.db.read(lambda tx: store.find_job(tx, job_id, Side.AUTHOR))
        if job is None:
            raise AppUnknown
        if said.get("state") == JobState.REFUSED:  # it ran: a use of no rows, and signed for
            rule = self._desk.contracts.contract(job.contract_id).terms.release
            if rule is None or rule.kind is not ReleaseKind.REVIEW:
                return self._broken(job)  # there was nobody to look at it
            return self._ended(job, said, JobState.REFUSED, 0, 0, _NOTHING)
        return self._ended(job, said, JobState.FAILED, 0, 0, "")

    def _ended(
        self,
        job: Job,
        said: Mapping[str, Any],
        state: JobState,
        rows: int,
        byte_count: int,
        digest: str,
    ) -> Job:
        whole = {name: said.get(name) for name in ("bits", "wall_s")}
        numbers = {n: v for n, v in whole.items() if type(v) is int and 0 <= v < 1 << 31}
        values: dict[str, Any] = {
            **numbers,
            "state": state,
            "code": str(said.get("code", ""))[:64],
            "why": str(said.get("why", ""))[: limits.REASON_CHARS_MAX],
            "withheld": said.get("withheld") is True,
            "rows": rows,
            "bytes": byte_count,
            "output_digest": digest,
        }

        def verb(tx: Tx) -> None:
            if not store.change_job(tx, job.id, Side.AUTHOR, _OPEN, values | {"ended_at": tx.now}):
                return
            if state is JobState.FAILED:
                self._desk.books.forget_use(job.id)
            else:
                told = (job.id, job.contract_id, job.purpose)
                self._desk.receipt(Consumed(*told, rows, byte_count, digest))

        self._desk.db.write(verb)
        self._due.pop(job.id, None)
        return self._desk.db.read(lambda tx: _job(tx, job.id))

    def live(self) -> set[str]:
        """The uses of runs that are not over, which nobody else need ask about."""
        return self._desk.db.read(lambda tx: store.keys(tx, Side.AUTHOR, _OPEN))

    def reported(self, peer_did: str, said: Body) -> Body:
        """A host tells what became of a run of ours: it is asked anew, not believed, for a report
        may be older than what we know. Raises AppUnknown."""
        key = text(said, "id", limits.USE_ID_CHARS_MAX)
        job = self._desk.db.read(lambda tx: store.find_job(tx, key, Side.AUTHOR))
        if job is None or job.peer_did != peer_did:
            raise AppUnknown
        self._due.pop(key, None)
        self._following.ring()
        return {"received": True}

    def sweep(self) -> None:
        """Ask the hosts of runs that are not over, each ever more seldom while nothing changes."""
        for job in self._desk.db.read(lambda tx: store.jobs(tx, Side.AUTHOR, _OPEN)):
            if self._following.stopping:
                return
            now = time.monotonic()
            at, wait = self._due.get(job.id, (now, limits.APP_ASK_S))
            if now < at:
                continue
            self._due[job.id] = (now + wait, min(2 * wait, limits.APP_ASK_S_MAX))
            with contextlib.suppress(YunheError):
                self._refreshed(job)


def new_use() -> str:
    """An id for a run that nobody gave one."""
    return str(uuid.uuid4())


def fresh(
    tx: Tx,
    use_id: str,
    side: Side,
    of: Deployment,
    purpose: str,
    principal: str,
    parameters: Mapping[str, Any],
    rule: str,
) -> Job:
    """A run that waits."""
    return Job(
        id=use_id,
        side=side,
        deployment_id=of.id,
        digest=of.digest,
        contract_id=of.contract_id,
        peer_did=of.peer_did,
        purpose=purpose,
        principal=principal,
        parameters=dict(parameters),
        rule=rule,
        state=JobState.QUEUED,
        code="",
        why="",
        withheld=False,
        rows=0,
        bytes=0,
        output_digest="",
        bits=0,
        wall_s=0,
        cpu_ms=0,
        memory_bytes=0,
        created_at=tx.now,
        started_at=None,
        ended_at=None,
        entry_id="",
    )


def _rows_most(contract: Contract) -> int:
    """The most rows that a run under the contract can have let out."""
    terms = contract.terms
    bounds = (terms.rows_max, None if terms.release is None else terms.release.rows)
    return min(each for each in (*bounds, limits.RESULT_ROWS_MAX) if each is not None)


def _rule(contract: Contract) -> str:
    return str(contract.terms.release or "")


def _job(tx: Tx, key: str) -> Job:
    found = store.find_job(tx, key, Side.AUTHOR)
    if found is None:
        raise AppUnknown
    return found

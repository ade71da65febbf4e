"""Runs what waits at a host, a few at a time, from the admission of the use to its release.

In: runs that were asked for. Out: results on the host's disk, judged by the contract's rule; the
use posted in the transaction that releases, held for a person, or given back with a code.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow.parquet as pq

from yunhe.apps import box, gate, store
from yunhe.apps.desk import Desk, keep, tell_job
from yunhe.apps.errors import (
    AppBitsSpent,
    AppChanged,
    AppCut,
    AppInterrupted,
    AppOutputRefused,
    AppRuleMisfit,
)
from yunhe.apps.host import runnable
from yunhe.apps.manifest import Kind, Manifest
from yunhe.apps.model import Job, JobState, Side
from yunhe.catalog import ResourceForm, TableForm, Text
from yunhe.contracts import Release, ReleaseKind
from yunhe.dataplane import Fed, Query, Spooled, Wanted, bind_named, computed
from yunhe.kernel import limits
from yunhe.kernel.chores import Chores
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx
from yunhe.kernel.errors import Internal, YunheError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Done:
    """What a run came to: its output and what it took."""

    rows: int
    bytes: int
    digest: str
    withheld: bool = False
    bits: int = 0
    wall_s: int = 0
    cpu_ms: int = 0
    memory_bytes: int = 0

    def values(self) -> dict[str, Any]:
        """As columns of the run."""
        known = {name: value for name, value in vars(self).items() if name != "digest"}
        return known | {"output_digest": self.digest}


class Runner:
    """The threads of one host."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._stop = threading.Event()
        self._hands = [
            Chores(f"apps-{number}", limits.NODE_TICK_S, self._take_up)
            for number in range(limits.APP_JOBS_AT_ONCE)
        ]

    def start(self) -> None:
        """End what a crash cut, then take up what waits."""
        self._recover()
        self.wake()
        for hand in self._hands:
            hand.start()

    def stop(self) -> None:
        """End what runs; it is given back."""
        self._stop.set()
        for hand in self._hands:
            hand.stop()

    def wake(self) -> None:
        """A run waits."""
        for hand in self._hands:
            hand.ring()

    def _recover(self) -> None:
        for job in self._desk.db.read(lambda tx: store.jobs(tx, Side.HOST, (JobState.RUNNING,))):
            self._failed(job, AppInterrupted())

    def _take_up(self) -> None:
        while not self._stop.is_set() and (job := self._taken()) is not None:
            self._work(job)

    def _taken(self) -> Job | None:
        """The next run, marked as running; None where none waits."""

        def verb(tx: Tx) -> Job | None:
            key = store.next_job(tx)
            if key is None:
                return None
            values = {"state": JobState.RUNNING, "started_at": tx.now}
            if not store.change_job(tx, key, Side.HOST, (JobState.QUEUED,), values):
                return None
            return store.find_job(tx, key, Side.HOST)

        return self._desk.db.write(verb)

    def _work(self, job: Job) -> None:
        try:
            self._run(job)
        except YunheError as error:
            log.info("run %s: %s", job.id, error)
            self._failed(job, error)
        except Exception as error:
            log.exception("run %s", job.id)
            self._failed(job, Internal(str(error)))
        finally:
            self._tidy(job)

    def _tidy(self, job: Job) -> None:
        """What was lent to a program, and what it wrote before it was judged, does not stay."""
        folder = self._desk.job(job.id)
        with contextlib.suppress(OSError):
            for path in [*folder.glob("*.arrow"), folder / "result.json"]:
                if path.name != "output.arrow":
                    path.unlink(missing_ok=True)

    def _run(self, job: Job) -> None:
        desk = self._desk
        app = desk.db.read(lambda tx: runnable(tx, job.deployment_id))
        manifest = app.manifest
        contract = desk.contracts.in_force(job.contract_id, job.peer_did)
        rule = contract.terms.release
        if rule is None or str(rule) != job.rule:
            raise AppRuleMisfit(why="its release rule changed", why_zh="放行规则已变更")
        code = desk.code(manifest)
        if not code.is_file() or not manifest.check_code(code.read_bytes()):
            raise AppChanged
        folder = desk.job(job.id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        query = Query(
            contract_id=job.contract_id,
            use_id=job.id,
            sql="",
            purpose=job.purpose,
            principal=job.principal,
            rows_max=rule.rows,
            application=manifest.reference,
        )
        if manifest.kind is Kind.SQL:
            self._sql(job, rule, query, code)
        else:
            self._program(job, manifest, rule, query, folder)

    def _sql(self, job: Job, rule: Release, query: Query, code: Path) -> None:
        """The one enforcement function for SQL; its result is laid down before it is released."""
        sql = bind_named(code.read_text(encoding="utf-8"), job.parameters)
        made = computed(sql) if rule.kind is ReleaseKind.AGGREGATE else frozenset[int]()
        began = monotonic()
        told: list[int] = []

        def kept(tx: Tx, laid: Spooled) -> None:
            runnable(tx, job.deployment_id)  # revoked while it ran: nothing leaves
            took = math.ceil(monotonic() - began)
            done = _Done(laid.rows, laid.bytes, laid.digest, bits=sum(told), wall_s=took)
            self._settle(tx, job, rule, done)

        self._desk.plane.spool(
            job.peer_did,
            replace(query, sql=sql),
            self._desk.job(job.id) / "output.arrow",
            kept,
            lambda chunks: gate.trimmed(chunks, rule, made, told.append),
        )

    def _program(
        self, job: Job, manifest: Manifest, rule: Release, query: Query, folder: Path
    ) -> None:
        desk = self._desk
        groups = manifest.output.groups
        grouped = next(iter((groups or {}).values()), "").partition(".")[0]
        counted = rule.kind is ReleaseKind.AGGREGATE
        wanted = Wanted(
            {table: tuple(columns) for table, columns in manifest.inputs.items()},
            tuple((groups or {}).values()) if counted else None,
            grouped or sorted(manifest.inputs)[0],
        )
        fed = desk.plane.feed(job.peer_did, query, wanted, folder)
        try:
            self._judged(job, manifest, rule, fed, folder)
        except BaseException as error:
            desk.plane.give_back(fed.grant, error)
            raise

    def _judged(self, job: Job, manifest: Manifest, rule: Release, fed: Fed, folder: Path) -> None:
        desk = self._desk
        inputs = {table: laid.path for table, laid in fed.tables.items()}
        ran = box.run(
            manifest, desk.code(manifest), inputs, job.parameters, folder, self._watch(job)
        )
        passed = gate.judge(rule, manifest, ran.result, fed.groups, fed.grant)
        predicted = rule.kind is ReleaseKind.PREDICTIONS
        if predicted:
            passed = self._kept_here(job, rule, passed, [*inputs.values()])
        stream = passed.stream()
        keep(folder / "output.arrow", stream)
        done = _Done(
            passed.table.num_rows,
            len(stream),
            hashlib.sha256(stream).hexdigest(),
            passed.withheld,
            passed.bits,
            math.ceil(ran.wall_s),
            int(ran.cpu_s * 1000),
            ran.memory_bytes,
        )

        def verb(tx: Tx) -> None:
            runnable(tx, job.deployment_id)  # revoked while it ran: nothing leaves
            desk.control.release(fed.grant, fed.answered)
            self._settle(tx, job, rule, done)

        try:
            desk.db.write(verb)
        except BaseException:
            self._predictions(job).unlink(missing_ok=True)
            raise
        if predicted:
            self._offer(job, manifest)

    def _predictions(self, job: Job) -> Path:
        return self._desk.folder / "predictions" / f"{self._desk.job(job.id).name}.parquet"

    def _offer(self, job: Job, manifest: Manifest) -> None:
        """The predictions as a draft resource, for the host's people to look at and offer."""
        path = self._predictions(job)
        texts = (f"{manifest.title_zh}：预测结果", f"{manifest.title_en}: predictions")
        said = f"{manifest.reference}, {job.id}"
        table = TableForm("predictions", (path.name,))
        form = ResourceForm(Text(*texts), Text(said, said), (table,))
        try:
            made = self._desk.add_resource(form, "apps")
        except YunheError as error:
            log.warning("the predictions of %s lie in %s, no resource: %s", job.id, path, error)
            return
        body = {"use_id": job.id, "contract_id": job.contract_id, "resource_id": made.id}
        self._desk.db.write(lambda tx: self._desk.evidence.record(tx, "app.predictions", body))

    def _kept_here(
        self, job: Job, rule: Release, passed: gate.Passed, inputs: list[Path]
    ) -> gate.Passed:
        """Predictions stay: a Parquet file of the host's own; what leaves is how many."""
        path = self._predictions(job)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        pq.write_table(gate.beside(passed.table, inputs), path)
        if path.stat().st_size > rule.bytes:
            path.unlink()
            raise AppOutputRefused("too many bytes")
        return gate.count_of(passed.table.num_rows)

    def _watch(self, job: Job) -> Callable[[], None]:
        def look() -> None:
            if self._stop.is_set():
                raise AppInterrupted
            try:
                self._desk.plane.stands(job.contract_id, job.peer_did)
                self._desk.db.read(lambda tx: runnable(tx, job.deployment_id))
            except YunheError as ended:
                raise AppCut(str(ended)) from ended

        return look

    def _settle(self, tx: Tx, job: Job, rule: Release, done: _Done) -> None:
        """In the transaction that makes the use durable: posted and released, or held."""
        desk = self._desk
        if rule.bits and not store.spend_bits(tx, job.contract_id, done.bits, rule.bits):
            raise AppBitsSpent(limit=rule.bits, spent=store.bits_spent(tx, job.contract_id))
        held = rule.kind is ReleaseKind.REVIEW
        state = JobState.HELD if held else JobState.RELEASED
        body = {
            "use_id": job.id,
            "contract_id": job.contract_id,
            "digest": job.digest,
            "rule": job.rule,
            "rows": done.rows,
            "bytes": done.bytes,
            "output_digest": done.digest,
            "bits": done.bits,
            "at": iso(tx.now),
        }
        entry = desk.evidence.record(tx, "app.held" if held else "app.released", body)
        if not held:
            desk.control.post_held(job.id, job.contract_id, done.rows, done.bytes, complete=True)
        values = done.values() | {"state": state, "entry_id": entry.entry_id, "ended_at": tx.now}
        store.change_job(tx, job.id, Side.HOST, (JobState.RUNNING,), values)
        tell_job(tx, replace(job, **values))

    def _failed(self, job: Job, error: YunheError) -> None:
        """The use was given back, or never was; the author is told a code and no more."""

        def verb(tx: Tx) -> None:
            body = {
                "use_id": job.id,
                "contract_id": job.contract_id,
                "digest": job.digest,
                "code": error.code,
                "at": iso(tx.now),
            }
            entry = self._desk.evidence.record(tx, "app.failed", body)
            values = {
                "state": JobState.FAILED,
                "code": error.code,
                "ended_at": tx.now,
                "entry_id": entry.entry_id,
            }
            if store.change_job(tx, job.id, Side.HOST, (JobState.RUNNING,), values):
                tell_job(tx, replace(job, **values))

        with contextlib.suppress(YunheError):  # the database is away: `_recover` ends it
            self._desk.db.write(verb)

"""`DataPlane`: one governed query, from the contract to the posted use.

In: an authenticated peer, a contract, a `use_id`, SQL and a purpose. Out: a `Stream` of Arrow IPC
bytes. The order never changes: contract in force, gate, admit (reserve), run to the first bytes,
release (durable), bytes, post. What fails before the release is voided; after it, posted.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, TypeVar

from yunhe.contracts import Contract, Term, Transfer
from yunhe.control import (
    Answered,
    Control,
    Given,
    Grant,
    Left,
    Question,
    Recorder,
    Use,
    answer_kept,
    check_hours,
)
from yunhe.dataplane import noise
from yunhe.dataplane.audit import for_audit
from yunhe.dataplane.beside import as_released, environment
from yunhe.dataplane.fresh import Supply, fresh
from yunhe.dataplane.kept import KeptGate
from yunhe.dataplane.marking import marks
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.pool import Binding, Job, Pool
from yunhe.dataplane.process import Running
from yunhe.dataplane.push import Spooled, lay_down, one_purpose, whole_product
from yunhe.dataplane.pushdown_fetch import Databases, located
from yunhe.dataplane.stream import Stream, Watch
from yunhe.dataplane.views import views
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.clock import iso
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.errors import Denied, Internal, Invalid, TooLarge, Unavailable, YunheError
from yunhe.vault import Marker, give

T = TypeVar("T")


class Agreements(Protocol):
    """The part of `contracts.Contracts` asked here."""

    def in_force(self, contract_id: str, peer_did: str | None = None) -> Contract:
        """The contract, if it binds now and is that peer's; raises why not."""
        ...

    def transfers(self, contract_id: str) -> list[Transfer]:
        """The latest transfers of a contract first."""
        ...


Tables = Callable[[Contract], Mapping[str, TableBinding]]


@dataclass(frozen=True)
class Query:
    """What a peer asks: its own `use_id` (the same one never charges twice), SQL, purpose.

    `rows_max` lowers what the contract allows a use to deliver.
    """

    contract_id: str
    use_id: str
    sql: str
    purpose: str
    principal: str = ""
    rows_max: int | None = None
    application: str = ""  # the program that asks, once its digest is known to be so


@dataclass(frozen=True)
class _Begun:
    """A use that is reserved and whose query runs."""

    governed: Governed
    grant: Grant
    watch: Watch
    running: Running
    answered: Answered | None  # in aggregate-only mode
    noised: list[Any] | None  # under a privacy budget: what is given, unless it was kept before
    product_code: str
    mark: dict[str, Any] | None  # which mark the result carries, for evidence


class DataPlane:
    """The provider's door to its data. Synchronous; one instance a node; thread-safe."""

    def __init__(
        self,
        *,
        db: Database,
        evidence: Recorder,
        contracts: Agreements,
        control: Control,
        tables: Tables,
        pool: Pool,
        mask_secret: bytes,
        crash: CrashPoints,
        supply: Supply | None = None,
        databases: Databases | None = None,
        region_of: Callable[[str], str] | None = None,
        told: Callable[[str, float], None] = lambda _code, _seconds: None,
    ) -> None:
        """`tables` gives the tables of a contract's product; `mask_secret` keys the hash masks.

        `supply` gives their files as they are now; without it they are as the tables say.
        `databases` asks tables that lie in one; without it there are none. `region_of`
        a DID is where it is registered (GB/T 2260), empty where that is not known. `told` hears
        of each query what came of it, "OK" or a code, and the seconds until its first bytes.
        """
        self._told = told
        self._supply, self._databases = supply, databases
        self._region_of = region_of or (lambda _did: "")
        self._db, self._evidence = db, evidence
        self._contracts, self._control, self._tables = contracts, control, tables
        self._pool, self._mask_secret, self._crash = pool, mask_secret, crash
        self._marker = Marker(mask_secret)
        self._gate = KeptGate()
        self._owed: list[Callable[[], object]] = []
        self._owed_lock = threading.Lock()

    def explain(self, peer_did: str, contract_id: str, sql: str) -> Governed:
        """What the gate would make of `sql`; runs and charges nothing. Raises as `query`."""
        contract = self._contracts.in_force(contract_id, peer_did)
        tables = self._tables(contract)
        governed = self._gate.govern(contract.id, sql, tables, contract.terms)
        if self._databases is None:
            return governed
        return replace(governed, pushed=self._databases.told(governed, tables))

    def describe(self, peer_did: str, contract_id: str, sql: str) -> bytes:
        """The Arrow schema (one IPC message) of what `query` would give for `sql`.

        The governed text is bound in a worker and never run, so nothing is metered. Raises as
        `explain`, and QueryFailed, DataUnavailable, WorkerLost, WorkersBusy.
        """
        contract = self._contracts.in_force(contract_id, peer_did)
        tables = self._tables(contract)
        governed = self._gate.govern(contract.id, sql, tables, contract.terms)
        read = self._fresh(contract, tables, governed.tables)
        binding = self._binding(contract, read)
        groups_sql = governed.groups_sql
        if governed.recipe is not None and groups_sql is not None:
            groups_sql = noise.shape(groups_sql, governed.recipe)
        return self._described(binding, read, [(governed.sql, groups_sql)])[0]

    def shapes(self, peer_did: str, contract_id: str) -> dict[str, bytes]:
        """The tables as the contract shows them, each with its Arrow schema (one IPC message).

        What the contract hides has no place in it. Raises as `describe`.
        """
        contract = self._contracts.in_force(contract_id, peer_did)
        tables = self._tables(contract)
        shown = views(tables, contract.terms).values()
        read = self._fresh(contract, tables, [view.table for view in shown])
        binding = self._binding(contract, read)
        said = self._described(binding, read, [(view.select(), None) for view in shown])
        return dict(zip((view.table for view in shown), said, strict=True))

    def _described(
        self,
        binding: Binding,
        tables: Mapping[str, TableBinding],
        asked: Sequence[tuple[str, str | None]],
    ) -> list[bytes]:
        if self._databases is not None:
            return self._databases.described(self._pool, binding, tables, asked)
        return [self._pool.describe(binding, *each) for each in asked]

    def _fresh(
        self, contract: Contract, tables: Mapping[str, TableBinding], used: Collection[str]
    ) -> Mapping[str, TableBinding]:
        """The tables with their files as they are now; raises SourceDrifted, SnapshotNotMade."""
        return tables if self._supply is None else fresh(tables, contract.terms, used, self._supply)

    def left(self, peer_did: str, contract_id: str) -> Left:
        """What is left of a contract to a peer; raises why it does not bind."""
        return self._control.left(self._contracts.in_force(contract_id, peer_did))

    def stands(self, contract_id: str, peer_did: str | None = None) -> Contract:
        """The contract, if data may flow under it now; raises why it does not bind, and
        OutsideAgreedHours."""
        contract = self._contracts.in_force(contract_id, peer_did)
        check_hours(contract.terms, self._db.clock.now())
        return contract

    def _place(self, contract: Contract) -> Mapping[str, Given]:
        """Where the other party is, as a term; asked only where the contract minds."""
        found = self._region_of(contract.peer_did) if contract.terms.regions else ""
        return {Term.REGION: found} if found else {}

    def prepare(self, contract_id: str) -> None:
        """A transfer was opened: where it is the contract's first, have a worker ready for it.

        Returns at once and raises nothing: a hint to the pool (`Pool.prepare`).
        """
        self._pool.prepare(lambda: self._first(contract_id))

    def _first(self, contract_id: str) -> Binding | None:
        contract = self._contracts.in_force(contract_id)
        if len(self._contracts.transfers(contract_id)) != 1:
            return None
        self._gate.second.ready()
        tables = self._tables(contract)
        views(tables, contract.terms)  # its row filters are read by then
        if any(map(located, tables.values())):
            return None  # its workers are of one use each
        return self._binding(contract, self._fresh(contract, tables, ()))

    def query(self, peer_did: str, query: Query) -> Stream:
        """Run one governed query up to its first bytes, durably released.

        The caller must iterate the result to its end or `close` it. Raises the refusals of
        contracts, gate, control and pool; after any of them nothing is charged.
        """
        begun = self._begin(peer_did, query)
        with self._void_unless_done(begun):
            self._release(begun)
        return Stream(
            begun.running, begun.governed, begun.grant, self._post, self._crash, begun.watch
        )

    def spool(
        self,
        peer_did: str,
        query: Query,
        path: Path,
        kept: Callable[[Tx, Spooled], object],
        through: Callable[[Iterator[bytes]], Iterator[bytes]] | None = None,
    ) -> Spooled:
        """As `query`, but the whole result is laid down at `path` before the release.

        No SQL: the whole product; no purpose: the only one. `kept` joins the release in one
        transaction: from then on the use is the caller's to post (`Control.post_held`). Raises
        as `query` and `push.lay_down`; then nothing is charged and there is no file. `through`:
        what is laid down instead of the bytes as they come, of as many rows.
        """
        contract = self._contracts.in_force(query.contract_id, peer_did)
        terms = contract.terms
        query = replace(
            query,
            sql=query.sql or whole_product(self._tables(contract), terms),
            purpose=query.purpose or one_purpose(terms),
        )
        begun = self._begin(peer_did, query)

        def release(tx: Tx) -> None:
            self._release(begun)
            kept(tx, laid)

        try:
            with self._void_unless_done(begun):
                came = iter(begun.running)
                laid = lay_down(through(came) if through else came, path, begun.watch)
                self._db.write(release)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        begun.running.close()
        return laid

    def _begin(
        self,
        peer_did: str,
        query: Query,
        narrow: Callable[[Mapping[str, TableBinding]], Mapping[str, TableBinding]] | None = None,
    ) -> _Begun:
        """As `_begun`, and told to whoever counts."""
        began, code = monotonic(), "FAULT"
        try:
            begun = self._begun(peer_did, query, narrow)
            code = "OK"
        except YunheError as refusal:
            code = refusal.code
            raise
        else:
            return begun
        finally:
            self._told(code, monotonic() - began)

    def _begun(
        self,
        peer_did: str,
        query: Query,
        narrow: Callable[[Mapping[str, TableBinding]], Mapping[str, TableBinding]] | None,
    ) -> _Begun:
        """Contract, gate, admit, and the query runs up to its first bytes; still reserved.

        `narrow`: what of the tables this worker is to read.
        """
        contract = self._contracts.in_force(query.contract_id, peer_did)
        tables = self._tables(contract)
        terms = as_released(contract.terms, query.application)
        try:
            governed = self._gate.govern(contract.id, query.sql, tables, terms)
        except (Denied, Invalid, TooLarge) as refusal:
            self._record_refusal(peer_did, query, refusal)
            raise
        tables = self._fresh(contract, tables, governed.tables)
        tables = tables if narrow is None else narrow(tables)
        question, kept = self._question(contract, tables, governed)
        bounds = (query.rows_max, terms.rows_max, limits.RESULT_ROWS_MAX)
        use = Use(
            use_id=query.use_id,
            contract_id=contract.id,
            peer_did=peer_did,
            principal=query.principal,
            purpose=query.purpose,
            fields=governed.fields,
            rows_max=min(bound for bound in bounds if bound is not None),
            question=question,
            environment={**environment(terms, query.application), **self._place(contract)},
            cut=True,
        )
        grant = self._control.admit(use)
        watch = Watch(lambda: self.stands(contract.id, peer_did))
        try:
            running = self._run(contract, tables, governed, grant, watch, kept)
        except BaseException as error:
            self._void(grant, error)
            raise
        noised = running.noised if question is not None and kept is None else None
        audited = for_audit(contract, governed, running)
        mark = None
        if (said := marks(terms, governed)) is not None:
            ours = self._marker.mark_id(contract.product_code, peer_did)
            known = {"use_id": grant.use_id, "contract_id": contract.id, "recipient": peer_did}
            mark = {**known, "mark": ours, "watermark": str(said)}
        code = contract.product_code
        return _Begun(governed, grant, watch, running, audited, noised, code, mark)

    def _release(self, begun: _Begun) -> None:
        """The use is billable from here on; what mark goes out with it is evidence beside it."""
        told = begun.grant, begun.answered, begun.noised
        if begun.mark is None:
            self._control.release(*told)
            return
        body = begun.mark

        def verb(tx: Tx) -> None:
            self._control.release(*told)
            give(tx, body, begun.product_code)
            self._evidence.record(tx, "use.marked", {**body, "at": iso(tx.now)})

        self._db.write(verb)

    @contextlib.contextmanager
    def _void_unless_done(self, begun: _Begun) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            begun.running.close()
            self._void(begun.grant, error)
            raise

    def _void(self, grant: Grant, error: BaseException) -> None:
        why = error.code if isinstance(error, YunheError) else "FAULT"
        with contextlib.suppress(Unavailable, Internal):  # the first error is the one to tell
            self._durably(lambda: self._control.void(grant, why))

    def _post(self, grant: Grant, rows: int, byte_count: int, complete: bool) -> None:
        self._durably(lambda: self._control.post(grant, rows, byte_count, complete))

    def _durably(self, verb: Callable[[], object]) -> None:
        """Do it now. What the database cannot take (a full disk) is kept for `catch_up`, too."""
        try:
            verb()
        except (Unavailable, Internal):
            with self._owed_lock:
                self._owed.append(verb)
            raise

    def catch_up(self) -> int:
        """Post and void what the database could not take before; how many are still owed.

        A crash before that is no loss: `Control.recover` ends every use.
        """
        with self._owed_lock:
            owed, self._owed = self._owed, []
        for verb in owed:
            with contextlib.suppress(Unavailable, Internal):
                self._durably(verb)
        return len(self._owed)

    def _run(
        self,
        contract: Contract,
        tables: Mapping[str, TableBinding],
        governed: Governed,
        grant: Grant,
        watch: Watch,
        kept: list[Any] | None,
    ) -> Running:
        if not governed.fields <= grant.fields:  # the Grant's word is the engine's law
            raise Denied(detail="the governed query reads more than was granted")
        recipe = None if governed.recipe is None else governed.recipe.to_json()
        job = Job(
            governed.sql,
            governed.groups_sql,
            governed.k,
            grant.rows_max,
            recipe,
            kept,
            grant.bytes_max,
            careful=governed.careful,
            watermark=str(marks(contract.terms, governed) or ""),
        )
        return self._started(contract, tables, governed, job, watch)

    def _started(
        self,
        contract: Contract,
        tables: Mapping[str, TableBinding],
        governed: Governed,
        job: Job,
        watch: Watch,
    ) -> Running:
        """In a worker, or where a database or an engine does it, there."""
        binding = self._binding(contract, tables)
        if self._databases is not None:
            return self._databases.run(self._pool, binding, job, governed, tables, watch)
        return self._pool.run(binding, job, watch)

    def _question(
        self, contract: Contract, tables: Mapping[str, TableBinding], governed: Governed
    ) -> tuple[Question | None, list[Any] | None]:
        """Under a privacy budget: what is asked, of this version of the data, and the answer kept.

        Found and then gone, or not found and then there: control decides by what stands in
        `Question`, so that nothing is given that was not paid for.
        """
        if governed.recipe is None:
            return None, None
        files = [path for name in governed.tables for path in tables[name].source]
        version = [[path, *version_of(path)] for path in sorted(files)]
        if any(located(tables[name]) for name in governed.tables):
            version.append([secrets.token_hex(16)])  # a database has no version: never kept
        key = sha256_hex({"recipe": governed.recipe.digest, "files": version})
        question = Question(contract.product_code, key)
        kept = answer_kept(self._db, contract.peer_did, question)
        return replace(question, held=kept is not None), kept

    def _binding(self, contract: Contract, tables: Mapping[str, TableBinding]) -> Binding:
        files = tuple((name, tables[name].source) for name in sorted(tables))
        key = hmac.digest(self._mask_secret, contract.id.encode(), "sha256").hex()
        # One key a data set and party: the audit compares across contracts.
        audited = f"audit\n{contract.peer_did}\n{contract.product_code}".encode()
        audit_key = hmac.digest(self._mask_secret, audited, "sha256").hex()
        marked = contract.terms.watermark is not None
        mark_key = self._marker.product(contract.product_code) if marked else ""
        spans = tuple((name, of.rows) for name, of in sorted(tables.items()) if of.rows is not None)
        return Binding(contract.id, files, key, audit_key, mark_key, spans)

    def _record_refusal(self, peer_did: str, query: Query, refusal: YunheError) -> None:
        """What the gate refuses an authenticated peer is evidence too (DESIGN §4.6)."""

        def verb(tx: Tx) -> None:
            body = {
                "use_id": query.use_id[: limits.USE_ID_CHARS_MAX],
                "contract_id": query.contract_id,
                "peer": peer_did,
                "principal": query.principal,
                "purpose": query.purpose[: limits.USE_PURPOSE_CHARS_MAX],
                "code": refusal.code,
                "at": iso(tx.now),
            }
            self._evidence.record(tx, "use.denied", body)

        self._db.write(verb)


def version_of(path: str) -> tuple[str, str]:
    """Of a file: its size and when it was last written; a missing one is the worker's to tell."""
    try:
        found = Path(path).stat()
    except OSError:
        return ("", "")
    return (str(found.st_size), str(found.st_mtime_ns))

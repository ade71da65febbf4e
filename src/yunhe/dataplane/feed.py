"""`FeedingPlane`: the data plane with one more door, that of programs beside the data.

In: an authenticated peer and what its application declares. Out: one reserved use, its governed
tables as files, and the groups that may be told of. Nothing leaves by this: the caller releases
and posts the Grant with what the release rule lets out, or voids it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from yunhe.contracts import Contract
from yunhe.control import Answered, Grant, Use
from yunhe.dataplane.audit import for_audit
from yunhe.dataplane.beside import Laid, Wanted, as_released, bounded, environment
from yunhe.dataplane.errors import InputTooLarge, RowsOverLimit
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.parts import PartingPlane
from yunhe.dataplane.pool import Job
from yunhe.dataplane.push import lay_down
from yunhe.dataplane.service import Query
from yunhe.dataplane.stream import Watch
from yunhe.kernel import limits
from yunhe.kernel.errors import Denied, Invalid, TooLarge


@dataclass(frozen=True)
class Fed:
    """A reserved use whose data lies ready; `groups` is None where none were asked for."""

    grant: Grant
    tables: Mapping[str, Laid]
    groups: Path | None = None
    answered: Answered | None = None


class FeedingPlane(PartingPlane):
    """The door for applications; everything else as `PartingPlane`."""

    def feed(self, peer_did: str, query: Query, wanted: Wanted, folder: Path) -> Fed:
        """Reserve one use and lay the governed tables of `wanted` down in `folder`.

        `query` names the use; its SQL is not looked at. Raises the refusals of contracts, gate,
        control and pool, and InputTooLarge; after any of them nothing is charged.
        """
        contract = self._contracts.in_force(query.contract_id, peer_did)
        tables = self._tables(contract)
        terms = contract.terms
        grouped: Governed | None = None
        try:
            governed = {
                table: self._gate.govern(contract.id, wanted.rows_sql(table), tables, terms)
                for table in sorted(wanted.tables)
            }
            if wanted.groups is not None:
                strict = as_released(terms, query.application)
                grouped = self._gate.govern(contract.id, wanted.groups_sql(), tables, strict)
        except (Denied, Invalid, TooLarge) as refusal:
            self._record_refusal(peer_did, query, refusal)
            raise
        tables = self._fresh(contract, tables, sorted(governed))
        bounds = (query.rows_max, terms.rows_max, limits.RESULT_ROWS_MAX)
        use = Use(
            use_id=query.use_id,
            contract_id=contract.id,
            peer_did=peer_did,
            principal=query.principal,
            purpose=query.purpose,
            fields=frozenset().union(*(each.fields for each in governed.values())),
            rows_max=min(bound for bound in bounds if bound is not None),
            environment={**environment(terms, query.application), **self._place(contract)},
            cut=True,
        )
        grant = self._control.admit(use)
        watch = Watch(lambda: self.stands(contract.id, peer_did))
        try:
            laid = {
                table: self._lay(contract, tables, each, folder / f"{table}.arrow", watch)
                for table, each in governed.items()
            }
            if grouped is None:
                return Fed(grant, laid)
            fed = Fed(grant, laid)
            read = tuple(sorted(use.fields))
            return self._with_groups(contract, tables, grouped, fed, folder, watch, read)
        except BaseException as error:
            self._void(grant, error)
            raise

    def give_back(self, grant: Grant, error: BaseException) -> None:
        """Nothing leaves of what was fed: the use is voided, with the reason's code."""
        self._void(grant, error)

    def _lay(
        self,
        contract: Contract,
        tables: Mapping[str, TableBinding],
        governed: Governed,
        path: Path,
        watch: Watch,
    ) -> Laid:
        most = limits.APP_INPUT_ROWS_MAX
        job = Job(governed.sql, rows_max=most, careful=governed.careful)
        try:
            running = self._started(contract, tables, governed, job, watch)
        except RowsOverLimit as over:
            raise InputTooLarge(limit=limits.APP_INPUT_ROWS_MAX) from over
        try:
            done = lay_down(bounded(iter(running)), path, watch)
        except RowsOverLimit as over:
            raise InputTooLarge(limit=limits.APP_INPUT_ROWS_MAX) from over
        finally:
            running.close()
        return Laid(path, done.rows, done.bytes)

    def _with_groups(
        self,
        contract: Contract,
        tables: Mapping[str, TableBinding],
        grouped: Governed,
        fed: Fed,
        folder: Path,
        watch: Watch,
        summed: tuple[str, ...],
    ) -> Fed:
        job = Job(grouped.sql, grouped.groups_sql, grouped.k, limits.APP_GROUPS_MAX)
        running = self._started(contract, tables, grouped, job, watch)
        path = folder / "groups.arrow"
        try:
            lay_down(_small(iter(running)), path, watch)
            told = for_audit(contract, grouped, running)
            if told is not None:
                # What a program adds up nobody knows: of all that it reads it may be a sum.
                told = replace(told, summed=summed)
            return replace(fed, groups=path, answered=told)
        finally:
            running.close()


def _small(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Groups are read in memory; they are few."""
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > limits.APP_GROUPS_BYTES_MAX:
            raise InputTooLarge(limit=limits.APP_GROUPS_BYTES_MAX)
        yield chunk

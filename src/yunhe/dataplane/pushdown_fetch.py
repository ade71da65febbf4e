"""The databases of one node: what lies there now, the plans, and their answers for one use.

In: governed queries over tables whose `source` is a locator of a database. Out: a `Plan`, and its
answers as Parquet files in a folder of that use, gone after it. The files are the only thing a
worker sees of a database: no credential and no connection goes there.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

import pyarrow as pa
import pyarrow.parquet as pq

from yunhe.dataplane import spark
from yunhe.dataplane.errors import DataUnavailable, EngineCannot, QueryFailed, QueryTimeout
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.pool import Binding, Job, Pool
from yunhe.dataplane.process import Running
from yunhe.dataplane.pushdown import Fetch, NotPushed, Placed, Plan, Types, plan
from yunhe.dataplane.pushdown_prints import key_of
from yunhe.kernel import limits
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.errors import YunheError
from yunhe.sources import (
    Bounds,
    Database,
    Failed,
    PullTooLarge,
    SourceDrifted,
    Stop,
    arrow_type,
    parse,
    spark_table,
)

Files = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Shipped:
    """The plan of one use and the files a worker reads instead of the databases."""

    plan: Plan
    tables: Files
    folder: Path

    def close(self) -> None:
        """The files are gone; idempotent."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Shipped:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Databases:
    """What the data plane knows of databases; thread-safe, one a node."""

    def __init__(self, opened: Callable[[str], Database], folder: Path) -> None:
        """`opened` gives the table at a locator; answers lie in `folder`, emptied now."""
        self._opened, self._folder = opened, folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, tuple[float, Database, Placed]] = OrderedDict()
        self._plans: OrderedDict[object, Plan] = OrderedDict()
        self._rows: OrderedDict[tuple[str, str], int] = OrderedDict()  # by a fetch, the last time

    def planned(self, governed: Governed, tables: Mapping[str, TableBinding]) -> Plan | None:
        """The plan; None where no table of the product lies in a database.

        Raises SourceDrifted, DataUnavailable.
        """
        placed = {
            name: self._placed(name, source, table)
            for name, table in tables.items()
            if (source := located(table))
        }
        if not placed:
            return None
        used = {name: placed[name] for name in placed if name in governed.tables}
        types = {name: dict(table.columns) for name, table in tables.items()}
        # Where each lies is part of the key: two products may call equal tables by one name.
        known = [
            (name, each.source, each.place, each.relation, tuple(each.columns.items()))
            for name, each in used.items()
        ]
        pinned = [(name, tuple(columns.items())) for name, columns in types.items()]
        key = (governed.sql, governed.groups_sql, tuple(known), tuple(pinned))
        with self._lock:
            found = self._plans.get(key)
        if found is None:
            try:
                found = self._planned(governed, used, types)
            except NotPushed as error:
                named, why = ", ".join(sorted(used)), str(error)
                raise SourceDrifted(table=named, why=why, why_zh=why) from error
            with self._lock:
                self._plans[key] = found
                while len(self._plans) > limits.PLANS_KEPT_MAX:
                    self._plans.popitem(last=False)
        return found

    def _planned(self, governed: Governed, used: Mapping[str, Placed], types: Types) -> Plan:
        """What lies at engines first; of what is left, what lies in databases."""
        sql, groups_sql = governed.sql, governed.groups_sql
        there = {name: each for name, each in used.items() if each.kind == spark.KIND}
        if not there:
            return plan(sql, groups_sql, used, types)
        tables = {name: self._looked(each.source)[0] for name, each in there.items()}
        engines = {there[name].source: spark_table(table) for name, table in tables.items()}
        strict = any(engine.refuses for engine in engines.values())
        try:
            first = spark.plan(
                sql,
                groups_sql,
                there,
                types,
                lambda source, asked: engines[source].understands(asked),
                strict,
            )
        except spark.NotSent as error:
            raise EngineCannot(table=", ".join(sorted(there)), why=str(error)) from error
        except Failed as error:
            raise DataUnavailable(str(error)) from error
        others = {name: each for name, each in used.items() if name not in there}
        if not others:
            return first
        then = plan(first.sql, first.groups_sql, others, types)
        return replace(then, fetches=(*first.fetches, *then.fetches))

    def run(
        self,
        pool: Pool,
        binding: Binding,
        job: Job,
        governed: Governed,
        tables: Mapping[str, TableBinding],
        watch: Callable[[], None],
    ) -> Running:
        """As `Pool.run`, what lies in databases asked there first. Raises as that, `planned` and
        `ship`."""
        planned = self.planned(governed, tables)
        if planned is None:
            return pool.run(binding, job, watch)
        shipped = self.ship(planned, tables, watch, binding.audit_key, binding.mask_key)
        here = replace(binding, tables=shipped.tables)
        left = replace(job, sql=planned.sql, groups_sql=planned.groups_sql)
        return pool.run(here, left, watch, shipped.close)

    def told(self, governed: Governed, tables: Mapping[str, TableBinding]) -> tuple[str, ...]:
        """For `explain`: what each database does of a query; raises as `planned`."""
        planned = self.planned(governed, tables)
        if planned is None:
            return ()
        with self._lock:
            rows = {fetch: self._rows.get((fetch.mark, fetch.name)) for fetch in planned.fetches}
        return tuple(
            f"{parse(fetch.source).kind}: {', '.join(fetch.tables)}: {fetch.told}"
            + ("" if rows[fetch] is None else f"; {rows[fetch]} rows shipped the last time")
            for fetch in planned.fetches
        )

    def described(
        self,
        pool: Pool,
        binding: Binding,
        tables: Mapping[str, TableBinding],
        ask: Sequence[tuple[str, str | None]],
    ) -> list[bytes]:
        """As `Pool.describe` for each (sql, groups_sql), no database asked: types were told."""
        if not any(map(located, tables.values())):
            return [pool.describe(binding, *each) for each in ask]
        here = replace(binding, tables=self.empty(tables))
        return [pool.describe(here, *each) for each in ask]

    def ship(
        self,
        planned: Plan,
        tables: Mapping[str, TableBinding],
        watch: Callable[[], None],
        audit_key: str,
        mask_key: str = "",
    ) -> Shipped:
        """Run the plan's queries; the caller closes what comes back.

        The keys are as the worker's: of what is compared by its prints, and of masks. `watch` is
        called while waiting, what it raises ends the queries. Raises DataUnavailable,
        QueryFailed, QueryTimeout, PullTooLarge.
        """
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        files = [(name, table.source) for name, table in tables.items() if not located(table)]
        until = monotonic() + limits.QUERY_S_MAX
        try:
            for fetch in planned.fetches:
                out = folder / f"{fetch.name}.parquet"
                work = partial(self._fetch, fetch, (mask_key, key_of(audit_key)), out, until)
                self._shipped(fetch, _watched(work, watch))
                files.append((fetch.name, (str(out),)))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Shipped(planned, tuple(files), folder)

    def _shipped(self, fetch: Fetch, rows: int) -> None:
        with self._lock:
            self._rows[fetch.mark, fetch.name] = rows
            while len(self._rows) > limits.PLANS_KEPT_MAX:
                self._rows.popitem(last=False)

    def _fetch(
        self, fetch: Fetch, keys: tuple[str, str], out: Path, until: float, stop: Stop
    ) -> int:
        bounds = Bounds(max(0.1, until - monotonic()))
        sql = spark.with_mask(fetch.sql.replace(fetch.mark, keys[1]), keys[0])
        return self._looked(fetch.source)[0].fetch(sql, fetch.columns, out, bounds, stop)

    def empty(self, tables: Mapping[str, TableBinding]) -> Files:
        """The product's files, with an empty one for each table in a database."""
        made = []
        for name, table in sorted(tables.items()):
            if not located(table):
                made.append((name, table.source))
                continue
            columns = tuple(table.columns.items())
            out = self._folder / f"{sha256_hex(columns)}.parquet"
            if not out.exists():
                schema = pa.schema([(column, arrow_type(kind)) for column, kind in columns])
                part = Path(tempfile.mkdtemp(dir=self._folder)) / out.name
                pq.write_table(schema.empty_table(), part)
                part.replace(out)
                part.parent.rmdir()
            made.append((name, (str(out),)))
        return tuple(made)

    def _placed(self, name: str, source: str, table: TableBinding) -> Placed:
        try:
            placed = self._looked(source)[1]
        except Failed as error:
            if error.why == "drifted":
                why, why_zh = "its values are of several kinds", "同一列的值类型不一"
                raise SourceDrifted(str(error), table=name, why=why, why_zh=why_zh) from error
            raise _refusal(error) from error
        fits = {
            name: placed.columns[name]
            for name, kind in table.columns.items()
            if name in placed.columns and placed.columns[name].type == kind
        }
        return Placed(source, placed.kind, placed.place, placed.relation, fits)

    def _looked(self, source: str) -> tuple[Database, Placed]:
        """The table as it was at most a moment ago; raises Failed, DataUnavailable."""
        with self._lock:
            known = self._tables.get(source)
        if known is not None and monotonic() < known[0]:
            return known[1], known[2]
        try:
            database = known[1] if known is not None else self._opened(source)
            columns = {column.name: column for column in database.shape()}
        except YunheError as error:
            raise DataUnavailable(error.code) from error
        placed = Placed(source, database.locator.kind, database.place, database.relation, columns)
        with self._lock:
            self._tables[source] = (monotonic() + limits.SOURCE_CHECK_S, database, placed)
            while len(self._tables) > limits.SOURCES_LOOKED_MAX:
                self._tables.popitem(last=False)
        return database, placed


def located(table: TableBinding) -> str:
    """The locator of a table that is asked where it lies; "" for one of files."""
    for origin in table.origins or table.source:
        if not origin.startswith("/") and parse(origin).in_place:
            return origin
    return ""


def _watched(work: Callable[[Stop], int], watch: Callable[[], None]) -> int:
    """Do `work` in a thread of its own while the caller's contract is looked after."""
    stop, done = Stop(), threading.Event()
    ended: list[int | BaseException] = []

    def run() -> None:
        try:
            ended.append(work(stop))
        except BaseException as error:  # noqa: BLE001  raised again below, by the one who waits
            ended.append(error)
        done.set()

    thread = threading.Thread(target=run, name="database", daemon=True)
    thread.start()
    try:
        while not done.wait(limits.STREAM_CHECK_S):
            watch()
    except BaseException:
        stop.now()
        thread.join()
        raise
    (found,) = ended
    if isinstance(found, Failed):
        raise _refusal(found) from found
    if isinstance(found, BaseException):
        raise found
    return found


def _refusal(error: Failed) -> YunheError:
    """To the consumer: one of the codes that every engine has."""
    detail = str(error)
    if error.why == "time":
        return QueryTimeout(detail)
    if error.why == "rows":
        return PullTooLarge(detail, rows=limits.PULL_ROWS_MAX)
    return QueryFailed(detail) if error.why in ("failed", "drifted") else DataUnavailable(detail)

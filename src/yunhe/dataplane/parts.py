"""One use whose result is read in several parts at once: each from files of its own.

In: a query of rows in which no order is asked for, over one table of several files. Out: `Parted`,
whose parts are streams for as many readers. The use is admitted and charged once: what all parts
deliver together is within the Grant's bounds, and it is posted when the last part is over.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp

from yunhe.contracts import Contract
from yunhe.control import Grant
from yunhe.dataplane.errors import BytesOverLimit, PartsChanged, PartUnknown, RowsOverLimit
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.pushdown_fetch import located
from yunhe.dataplane.service import DataPlane, Query
from yunhe.dataplane.stream import Stream, Watch
from yunhe.kernel import limits

# What makes a result more than the results over each file, one after another.
_WHOLE = (
    exp.AggFunc,
    exp.Window,
    exp.Group,
    exp.Having,
    exp.Qualify,
    exp.Order,
    exp.Limit,
    exp.Offset,
    exp.Distinct,
    exp.Join,
    exp.SetOperation,
    exp.With,
)

Tables = Mapping[str, TableBinding]


class PartingPlane(DataPlane):
    """The data plane with a door for several readers of one result."""

    def parted(self, peer_did: str, query: Query) -> Parted | None:
        """The query in parts, nothing of it begun; None where it is to be read as one.

        Raises as `explain`.
        """
        contract = self._contracts.in_force(query.contract_id, peer_did)
        tables = self._tables(contract)
        governed = self._gate.govern(contract.id, query.sql, tables, contract.terms)
        if governed.groups_sql is not None or len(governed.tables) != 1:
            return None
        found = self._fresh(contract, tables, governed.tables)
        (name,) = governed.tables
        if located(found[name]):
            return None
        files = found[name].source
        count = min(len(files), self._pool.size, limits.PARTS_MAX)
        if count < 2 or not _row_by_row(governed):
            return None
        return Parted(self, peer_did, query, name, files, count)

    def begin_part(self, parted: Parted) -> tuple[Known, Stream]:
        """Reserve and release the use of `parted`, with the stream of its first part."""
        fresh: list[Tables] = []

        def narrow(tables: Tables) -> Tables:
            if tables[parted.table].source != parted.files:
                raise PartsChanged
            fresh.append(tables)
            return parted.narrowed(tables, parted.first)

        begun = self._begin(parted.peer_did, parted.query, narrow)
        begun.running.share = parted.take
        with self._void_unless_done(begun):
            self._release(begun)
        contract = self._contracts.in_force(parted.query.contract_id, parted.peer_did)
        stream = Stream(
            begun.running, begun.governed, begun.grant, parted.over, self._crash, begun.watch
        )
        return Known(contract, fresh[0], begun.governed, begun.grant), stream

    def next_part(self, parted: Parted, at: int, known: Known) -> Stream:
        """The stream of a further part, under the same Grant."""
        contract = self.stands(known.contract.id, parted.peer_did)
        watch = Watch(lambda: self.stands(contract.id, parted.peer_did))
        tables = parted.narrowed(known.tables, at)
        running = self._run(contract, tables, known.governed, known.grant, watch, None)
        running.share = parted.take
        return Stream(running, known.governed, known.grant, parted.over, self._crash, watch)

    def post_parts(self, grant: Grant, rows: int, byte_count: int, complete: bool) -> None:
        """Post what all parts delivered."""
        self._post(grant, rows, byte_count, complete)


@dataclass(frozen=True)
class Known:
    """What the first part found out for the others."""

    contract: Contract
    tables: Tables
    governed: Governed
    grant: Grant


class Parted:
    """One use in `count` parts; each is opened once or dropped. Thread-safe.

    Parts that nobody asks for are dropped after PARTS_S: what the others delivered is then posted.
    """

    def __init__(
        self,
        plane: PartingPlane,
        peer_did: str,
        query: Query,
        table: str,
        files: Sequence[str],
        count: int,
    ) -> None:
        self.peer_did, self.query, self.table = peer_did, query, table
        self.files, self.count, self.first = tuple(files), count, 0
        self._plane = plane
        self._lock = threading.Lock()  # around the first part to be opened
        self._sums = threading.Lock()
        self._waiting = set(range(count))
        self._running = 0
        self._known: Known | None = None
        self._taken = [0, 0]  # rows and bytes that went out, or are about to
        self._over = [0, 0]
        self._complete, self._posted = True, False
        self._timer: threading.Timer | None = None

    def narrowed(self, tables: Tables, at: int) -> Tables:
        """The tables with the files of one part."""
        mine = self.files[at :: self.count]
        return {**tables, self.table: replace(tables[self.table], source=mine)}

    def open(self, at: int) -> Stream:
        """The stream of one part; the first to be opened reserves and releases the use.

        Raises as `DataPlane.query`, PartUnknown for one that was opened or dropped, PartsChanged.
        """
        with self._sums:
            if at not in self._waiting:
                raise PartUnknown
            self._waiting.discard(at)
            self._running += 1
        if self._known is None:
            with self._lock:
                if self._known is None:
                    return self._open_first(at)
        try:
            return self._plane.next_part(self, at, self._known)
        except BaseException:
            self._ended(complete=False)
            raise

    def _open_first(self, at: int) -> Stream:
        self.first = at
        try:
            self._known, stream = self._plane.begin_part(self)
        except BaseException:
            with self._sums:
                self._waiting.clear()  # voided: there is no use to read on
            self._ended(complete=False)
            raise
        self._timer = threading.Timer(limits.PARTS_S, self.expire)
        self._timer.daemon = True
        self._timer.start()
        return stream

    def take(self, rows: int, size: int) -> None:
        """A frame is about to go out; raises RowsOverLimit, BytesOverLimit over all parts."""
        known = self._known
        with self._sums:
            taken = self._taken[0] + rows, self._taken[1] + size
            if known is not None:
                if taken[0] > known.grant.rows_max:
                    raise RowsOverLimit(rows_max=known.grant.rows_max)
                if known.grant.bytes_max is not None and taken[1] > known.grant.bytes_max:
                    raise BytesOverLimit(bytes_max=known.grant.bytes_max)
            self._taken = [*taken]

    def over(self, _grant: Grant, rows: int, byte_count: int, complete: bool) -> None:
        """A part's stream has ended; the last one posts the use."""
        with self._sums:
            self._over = [self._over[0] + rows, self._over[1] + byte_count]
        self._ended(complete=complete)

    def drop(self, at: int) -> None:
        """Nobody will read this part. Idempotent."""
        with self._sums:
            if at not in self._waiting:
                return
            self._waiting.discard(at)
            self._complete = False
        self._settle()

    def expire(self) -> None:
        """Drop all parts that nobody has opened."""
        with self._sums:
            left = [*self._waiting]
        for at in left:
            self.drop(at)

    def _ended(self, *, complete: bool) -> None:
        with self._sums:
            self._running -= 1
            self._complete = self._complete and complete
        self._settle()

    def _settle(self) -> None:
        with self._sums:
            done = not self._waiting and not self._running
            if not done or self._posted or self._known is None:
                return
            self._posted = True
        if self._timer is not None:
            self._timer.cancel()
        rows, byte_count = self._over
        self._plane.post_parts(self._known.grant, rows, byte_count, self._complete)


def _row_by_row(governed: Governed) -> bool:
    """Whether the rows of the whole are those of each file, in any order."""
    tree = sqlglot.parse_one(governed.sql, dialect="duckdb")
    scans = list(tree.find_all(exp.Table))
    return (
        len(scans) == 1
        and isinstance(tree, exp.Select)
        and not any(isinstance(node, _WHOLE) for node in tree.walk())
    )

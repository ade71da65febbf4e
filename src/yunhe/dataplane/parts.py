"""One use whose result is read in several parts at once, each from files or row groups of its own.

In: a query of rows in which no order is asked for, over one table of several files or of large
ones. Out: `Parted`, whose parts are streams for as many readers. The use is admitted and charged
once: what all parts deliver together is within the Grant's bounds, and it is posted when the last
part is over.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import sqlglot
from sqlglot import exp

from yunhe.contracts import Contract
from yunhe.control import Grant
from yunhe.dataplane.errors import BytesOverLimit, PartsChanged, PartUnknown, RowsOverLimit
from yunhe.dataplane.model import Governed, TableBinding
from yunhe.dataplane.pushdown_fetch import located
from yunhe.dataplane.service import DataPlane, Query, version_of
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


@dataclass(frozen=True)
class Share:
    """What one part reads: whole files, or of one file the rows from the first to below the end."""

    files: tuple[str, ...]
    rows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Cut:
    """A table as it was cut: its files, which versions of them, and each part's share."""

    table: str
    files: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    shares: tuple[Share, ...]

    def stands(self, tables: Tables) -> Tables:
        """`tables`, where this one is as it was; raises PartsChanged."""
        files = tables[self.table].source
        if files != self.files or tuple(map(version_of, files)) != self.versions:
            raise PartsChanged
        return tables

    def narrowed(self, tables: Tables, at: int) -> Tables:
        """The tables with what one part reads."""
        share = self.shares[at]
        mine = replace(tables[self.table], source=share.files, rows=share.rows)
        return {**tables, self.table: mine}


@dataclass(frozen=True)
class Groups:
    """The rows of each row group of a file, which may be cut into at most `most` parts."""

    rows: tuple[int, ...] = ()
    most: int = 1


def shares(files: Sequence[str], groups: Mapping[str, Groups], most: int) -> list[Share]:
    """At most `most` shares of all rows of `files`, each row in one of them.

    Files are cut only where there are fewer of them than readers, the one whose parts are
    largest first.
    """
    if len(files) >= most:
        return [Share(tuple(files[at::most])) for at in range(most)]
    parts = dict.fromkeys(files, 1)
    while sum(parts.values()) < most:
        left = [file for file, of in groups.items() if parts[file] < min(of.most, len(of.rows))]
        if not left:
            break
        parts[max(left, key=lambda file: sum(groups[file].rows) / parts[file])] += 1
    return [
        share
        for file in files
        for share in (
            [Share((file,))] if parts[file] == 1 else _spans(file, groups[file].rows, parts[file])
        )
    ]


def _spans(file: str, rows: Sequence[int], parts: int) -> list[Share]:
    """One file in spans of whole row groups, of about as many rows each."""
    ends = list(accumulate(rows))
    borders, taken = [0], 0
    for part in range(1, parts):
        taken = max(taken + 1, bisect_left(ends, ends[-1] * part / parts) + 1)
        taken = min(taken, len(rows) - parts + part)
        borders.append(ends[taken - 1])
    return [Share((file,), span) for span in pairwise([*borders, ends[-1]])]


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
        most = min(self._pool.size, limits.PARTS_MAX)
        if most < 2 or not _row_by_row(governed):
            return None
        files = found[name].source
        versions = tuple(map(version_of, files))
        groups = self._groups(contract, found, files) if len(files) < most else {}
        cut = Cut(name, files, versions, tuple(shares(files, groups, most)))
        return None if len(cut.shares) < 2 else Parted(self, peer_did, query, cut)

    def _groups(
        self, contract: Contract, tables: Tables, files: Sequence[str]
    ) -> dict[str, Groups]:
        """The row groups of each file that is large enough to be cut; a worker reads its foot."""
        most = {file: _size(file) // limits.PART_BYTES_MIN for file in files}
        binding = self._binding(contract, tables)
        return {
            file: Groups(self._pool.row_groups(binding, file), parts)
            for file, parts in most.items()
            if parts > 1
        }

    def begin_part(self, parted: Parted) -> tuple[Known, Stream]:
        """Reserve and release the use of `parted`, with the stream of its first part."""
        fresh: list[Tables] = []

        def narrow(tables: Tables) -> Tables:
            fresh.append(parted.cut.stands(tables))
            return parted.cut.narrowed(tables, parted.first)

        begun = self._begin(parted.peer_did, parted.query, narrow)
        begun.running.share = parted.take
        with self._void_unless_done(begun):
            # Before the release: after it nothing may fail that leaves the use to no stream.
            contract = self._contracts.in_force(parted.query.contract_id, parted.peer_did)
            self._release(begun)
        stream = Stream(
            begun.running, begun.governed, begun.grant, parted.over, self._crash, begun.watch
        )
        return Known(contract, fresh[0], begun.governed, begun.grant), stream

    def next_part(self, parted: Parted, at: int, known: Known) -> Stream:
        """The stream of a further part, under the same Grant."""
        contract = self.stands(known.contract.id, parted.peer_did)
        watch = Watch(lambda: self.stands(contract.id, parted.peer_did))
        tables = parted.cut.narrowed(parted.cut.stands(known.tables), at)
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

    def __init__(self, plane: PartingPlane, peer_did: str, query: Query, cut: Cut) -> None:
        self.peer_did, self.query, self.cut = peer_did, query, cut
        self.count, self.first = len(cut.shares), 0
        self._plane = plane
        self._lock = threading.Lock()  # around the first part to be opened
        self._sums = threading.Lock()
        self._waiting = set(range(self.count))
        self._running = 0
        self._known: Known | None = None
        self._taken = [0, 0]  # rows and bytes that went out, or are about to
        self._over = [0, 0]
        self._complete, self._posted = True, False
        self._timer: threading.Timer | None = None

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


def _size(file: str) -> int:
    size, _ = version_of(file)
    return int(size or 0)


def _row_by_row(governed: Governed) -> bool:
    """Whether the rows of the whole are those of each file, in any order."""
    tree = sqlglot.parse_one(governed.sql, dialect="duckdb")
    scans = list(tree.find_all(exp.Table))
    return (
        len(scans) == 1
        and isinstance(tree, exp.Select)
        and not any(isinstance(node, _WHOLE) for node in tree.walk())
    )

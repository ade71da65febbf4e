"""Are a batch's rows there? Its row count against the buffers that would have to hold them.

In: the head of an Arrow IPC schema and of each record batch (flatbuffers, Arrow columnar format
1.5). Out: StreamMalformed where a column of so many rows cannot lie in the body that is announced:
the row count of a head is what a receipt is signed over, and a head is easily written.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from yunhe.dataplane.errors import StreamMalformed
from yunhe.kernel import limits

_DEPTH_MAX = 64
_OFFSETS = {4: 4, 5: 4, 12: 4, 17: 4, 19: 8, 20: 8, 21: 8}  # kind -> bytes of an offset
_DATA_AFTER = (4, 5, 19, 20)  # of these: with a third buffer
_FIXED_BITS = {6: 1, 10: 64, 18: 64}  # bool, timestamp, duration
_VIEWS = (23, 24)
_NULL, _INT, _STRUCT, _UNION, _FIXED_LIST, _RUNS = 1, 2, 13, 14, 16, 22


@dataclass(frozen=True)
class Column:
    """One field: what its rows take: `bits` a row, or `offset` bytes for each and one more, in the
    buffer `held`."""

    buffers: int
    bits: int = 0
    offset: int = 0
    held: int = 1
    times: int | None = None  # its children have so many rows for each of its own
    ends: bool = False  # nothing after it can be told apart
    children: tuple[Column, ...] = ()


class _Table:
    """A flatbuffer table in a message's head."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def place(self, index: int) -> int:
        """Where a field stands; 0 where it is absent."""
        (back,) = struct.unpack_from("<i", self.data, self.at)
        vtable = self.at - back
        if vtable < 0:
            raise StreamMalformed("a table points outside")
        (size,) = struct.unpack_from("<H", self.data, vtable)
        slot = 4 + 2 * index
        (offset,) = struct.unpack_from("<H", self.data, vtable + slot) if slot + 2 <= size else (0,)
        return self.at + int(offset) if offset else 0

    def number(self, index: int, form: str, default: int) -> int:
        """A scalar."""
        at = self.place(index)
        return int(struct.unpack_from(form, self.data, at)[0]) if at else default

    def table(self, index: int) -> _Table | None:
        """A table within."""
        at = self.place(index)
        return _Table(self.data, at + _u32(self.data, at)) if at else None

    def vector(self, index: int) -> tuple[int, int]:
        """Where a vector's members begin, and how many they are."""
        at = self.place(index)
        if not at:
            return 0, 0
        start = at + _u32(self.data, at)
        return start + 4, _u32(self.data, start)

    def tables(self, index: int) -> list[_Table]:
        """A vector of tables."""
        start, count = self.vector(index)
        places = (start + 4 * each for each in range(min(count, len(self.data))))
        return [_Table(self.data, at + _u32(self.data, at)) for at in places]

    def numbers(self, index: int, width: int) -> list[tuple[int, ...]]:
        """A vector of structs of `width` 64-bit numbers."""
        start, count = self.vector(index)
        if start + 8 * width * count > len(self.data):
            raise StreamMalformed("a vector points outside")
        whole = self.data[start : start + 8 * width * count]
        return list(struct.iter_unpack(f"<{width}q", whole))


def columns(head: bytes) -> tuple[Column, ...]:
    """The columns of a schema message; raises StreamMalformed."""
    try:
        schema = _Table(head, _u32(head, 0)).table(2)
        return () if schema is None else tuple(_column(field, 0) for field in schema.tables(1))
    except (struct.error, IndexError) as error:
        raise StreamMalformed(str(error)) from error


def check(head: bytes, known: tuple[Column, ...], rows: int, body: int) -> None:
    """Refuse a record batch whose columns cannot have `rows` rows; raises StreamMalformed."""
    try:
        batch = _Table(head, _u32(head, 0)).table(2)
        if batch is None:
            raise StreamMalformed("a batch without a head")
        if batch.place(3):
            raise StreamMalformed("a compressed batch")
        nodes, buffers = batch.numbers(1, 2), batch.numbers(2, 2)
    except (struct.error, IndexError) as error:
        raise StreamMalformed(str(error)) from error
    for offset, length in buffers:
        if offset < 0 or length < 0 or offset + length > body:
            raise StreamMalformed("a buffer lies outside of its batch")
    if not known and rows:
        raise StreamMalformed("rows without a column")
    if rows > max(limits.BATCH_ROWS, 8 * body):
        # Columns of nothing (nulls, runs, values of no width) lie in no bytes: of these alone no
        # batch has more rows than an engine of ours makes.
        raise StreamMalformed(f"{rows} rows in {body} bytes")
    _Walk(nodes, buffers).columns(known, rows)


class _Walk:
    """Through the nodes and buffers of a batch, in the order of the schema."""

    def __init__(self, nodes: list[tuple[int, ...]], buffers: list[tuple[int, ...]]) -> None:
        self._nodes, self._buffers = iter(nodes), iter(buffers)

    def columns(self, known: tuple[Column, ...], rows: int | None) -> bool:
        """`rows` None: as many as each says. False: what follows cannot be told apart."""
        for column in known:
            node = next(self._nodes, None)
            if node is None or node[0] < 0 or (rows is not None and node[0] < rows):
                raise StreamMalformed("a column of another length than its batch")
            mine = node[0]
            lengths = [
                each[1] for _ in range(column.buffers) if (each := next(self._buffers, None))
            ]
            if len(lengths) < column.buffers:
                raise StreamMalformed("a column without its buffers")
            least = (mine * column.bits + 7) // 8
            if column.offset:
                least = (mine + 1) * column.offset if mine else 0
            if least and lengths[column.held] < least:
                raise StreamMalformed(f"{mine} rows in {sum(lengths)} bytes")
            theirs = None if column.times is None else mine * column.times
            if column.ends or not self.columns(column.children, theirs):
                return False
        return True


def _column(field: _Table, depth: int) -> Column:
    if depth > _DEPTH_MAX:
        raise StreamMalformed("a schema too deep")
    if (dictionary := field.table(4)) is not None:
        index = dictionary.table(1)
        return Column(2, 32 if index is None else index.number(0, "<i", 0))
    kind = field.number(2, "<B", 0)
    if kind == _NULL:
        return Column(0)
    if kind in _VIEWS:
        return Column(2, 128, ends=True)  # and as many more as the batch says
    if (bits := _bits(kind, field.table(3))) is not None:
        return Column(2, bits)
    if kind == _UNION:
        return Column(1, 8, held=0, ends=True)  # the kind of each value; the rest varies
    if kind == _RUNS:  # a sealed shard: its rows are told apart when it is opened (vault)
        return Column(0, ends=True)
    if kind not in _OFFSETS and kind not in (_STRUCT, _FIXED_LIST):
        raise StreamMalformed(f"a column of the type {kind}")  # no engine of ours gives one
    children = tuple(_column(child, depth + 1) for child in field.tables(5))
    if kind in _OFFSETS:
        return Column(2 + (kind in _DATA_AFTER), offset=_OFFSETS[kind], children=children)
    of = field.table(3)
    size = of.number(0, "<i", 0) if kind == _FIXED_LIST and of is not None else 1
    return Column(1, times=max(0, size), children=children)


def _bits(kind: int, of: _Table | None) -> int | None:
    """How many bits a value of a type of fixed width takes; None for other types."""
    if kind in _FIXED_BITS:
        return _FIXED_BITS[kind]
    if of is None:
        return None
    if kind == _INT:
        return of.number(0, "<i", 0)
    return {
        3: lambda: (16, 32, 64)[min(of.number(0, "<h", 0), 2)],  # floating point: its precision
        7: lambda: of.number(2, "<i", 128),  # decimal: its width
        8: lambda: 64 if of.number(0, "<h", 1) else 32,  # date: in days, or milliseconds
        9: lambda: of.number(1, "<i", 32),  # time: its width
        11: lambda: (32, 64, 128)[min(of.number(0, "<h", 0), 2)],  # interval: its unit
        15: lambda: 8 * of.number(0, "<i", 0),  # binary of fixed width
    }.get(kind, lambda: None)()


def _u32(data: bytes, at: int) -> int:
    (value,) = struct.unpack_from("<I", data, at)
    return int(value)

"""Count an Arrow IPC stream while it passes through, without holding or decoding it.

In: chunks of bytes, cut anywhere. Out: the same chunks, unchanged and at once; `rows`, `bytes`
and `digest` of what has passed. The consumer's relay signs its receipt over these figures, so
only the message heads are read (Arrow columnar format 1.5, encapsulated messages), bounded; rows
that the buffers of a batch could not hold are refused, and so are compressed batches.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from yunhe.dataplane.errors import StreamMalformed
from yunhe.dataplane.ipc_rows import Column, check, columns
from yunhe.kernel import limits

_CONTINUATION = b"\xff\xff\xff\xff"
_SCHEMA, _RECORD_BATCH = 1, 3
_HEADER_TYPES = (1, 2, 3)  # Schema, DictionaryBatch, RecordBatch: what a stream may hold


class IpcCount:
    """The running figures of one stream. `rows` counts a batch when its last byte has passed."""

    def __init__(self) -> None:
        self.rows = 0
        self.bytes = 0
        self.complete = False  # the end-of-stream mark was seen
        self._hash = hashlib.sha256()
        self._head = bytearray()  # bytes of an unfinished prefix or metadata
        self._wanted = 8
        self._in_metadata = False
        self._body_left = 0
        self._rows_pending = 0
        self._schema_seen = False
        self._columns: tuple[Column, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, hex, of every byte passed."""
        return self._hash.hexdigest()

    @property
    def rows_begun(self) -> int:
        """Rows with those of a batch of which only a part has passed: the sender's count."""
        return self.rows + self._rows_pending

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes into account; raises StreamMalformed, naming what is wrong."""
        self._hash.update(chunk)
        self.bytes += len(chunk)
        at = 0
        while at < len(chunk):
            if self.complete:
                raise StreamMalformed("bytes after the end of the stream")
            if self._body_left:
                step = min(self._body_left, len(chunk) - at)
                self._body_left -= step
                at += step
                if not self._body_left:
                    self._message_done()
                continue
            part = chunk[at : at + self._wanted - len(self._head)]
            self._head += part
            at += len(part)
            if len(self._head) == self._wanted:
                self._head_done()

    def _head_done(self) -> None:
        head, self._head = bytes(self._head), bytearray()
        if not self._in_metadata:
            if head[:4] != _CONTINUATION:
                raise StreamMalformed("no continuation mark")
            (size,) = struct.unpack("<i", head[4:])
            if size == 0:
                self.complete = True
            elif not 8 <= size <= limits.IPC_METADATA_BYTES_MAX:
                raise StreamMalformed(f"metadata of {size} bytes")
            else:
                self._in_metadata, self._wanted = True, size
            return
        self._in_metadata, self._wanted = False, 8
        kind, rows, body = _message(head)
        if (kind == _SCHEMA) == self._schema_seen or kind not in _HEADER_TYPES:
            raise StreamMalformed(f"message of type {kind} out of place")
        if kind == _SCHEMA:
            self._columns = columns(head)
        elif kind == _RECORD_BATCH:
            check(head, self._columns, rows, body)
        self._schema_seen = True
        self._rows_pending = rows if kind == _RECORD_BATCH else 0
        self._body_left = body
        if not body:
            self._message_done()

    def _message_done(self) -> None:
        self.rows += self._rows_pending
        self._rows_pending = 0


def count_ipc(chunks: Iterable[bytes], count: IpcCount) -> Iterator[bytes]:
    """Pass `chunks` through while `count` keeps the figures; raises StreamMalformed.

    A chunk is handed on after it was counted, so that the receipt never says less than was given.
    """
    for chunk in chunks:
        count.feed(chunk)
        yield chunk


def _message(data: bytes) -> tuple[int, int, int]:
    """Header type, record batch length and body length of a flatbuffer `Message`."""
    try:
        table = _u32(data, 0)
        kind = data[field] if (field := _field(data, table, 1)) else 0
        body_at = _field(data, table, 3)
        (body,) = struct.unpack_from("<q", data, body_at) if body_at else (0,)
        rows = 0
        if kind == _RECORD_BATCH:
            header_at = _field(data, table, 2)
            batch = header_at + _u32(data, header_at)
            rows_at = _field(data, batch, 0)
            (rows,) = struct.unpack_from("<q", data, rows_at) if rows_at else (0,)
    except (struct.error, IndexError) as error:
        raise StreamMalformed(str(error)) from error
    if body < 0 or rows < 0:
        raise StreamMalformed("negative length")
    return kind, rows, body


def message_head(data: bytes) -> tuple[int, int, bool]:
    """Header type, body length and whether a body is compressed, of a flatbuffer `Message`.

    Raises StreamMalformed.
    """
    kind, _, body = _message(data)
    try:
        table = _u32(data, 0)
        at = _field(data, table, 2)
        batch = at + _u32(data, at) if at else 0
        if batch and kind == 2:  # a dictionary holds its batch
            at = _field(data, batch, 1)
            batch = at + _u32(data, at) if at else 0
        compressed = bool(batch and kind in (2, _RECORD_BATCH) and _field(data, batch, 3))
    except (struct.error, IndexError) as error:
        raise StreamMalformed(str(error)) from error
    return kind, body, compressed


def _field(data: bytes, table: int, index: int) -> int:
    """Where field `index` of the flatbuffer table at `table` stands; 0 where it is absent."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    if vtable < 0:
        raise StreamMalformed("a table points outside")
    (size,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * index
    if slot + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", data, vtable + slot)
    return table + int(offset) if offset else 0


def _u32(data: bytes, at: int) -> int:
    (value,) = struct.unpack_from("<I", data, at)
    return int(value)

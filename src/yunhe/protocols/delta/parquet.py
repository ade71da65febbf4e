"""A governed Arrow IPC stream laid down as one Parquet file, bounded and checked on the way.

In: the chunks that the relay counts and signs for. Out: a file, its rows and its schema. The
stream is a stranger's: message sizes are bounded, compression is refused (a few bytes could
unpack to all memory), and every batch is validated before anything looks into it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from yunhe.dataplane import StreamMalformed, message_head
from yunhe.kernel import limits
from yunhe.protocols.delta.errors import ShareFull
from yunhe.protocols.delta.schema import stored

_MARK = b"\xff\xff\xff\xff"


class Chunks(Protocol):
    """A governed result on its way: `protocols.arrow.Passing`."""

    def __next__(self) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Laid:
    """What lies on disk; `schema` is the Arrow schema of the file."""

    rows: int
    bytes: int
    schema: Any


class _Messages:
    """The file that pyarrow reads: each message is looked at before it is handed over."""

    closed = False

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._come = bytearray()  # what came and belongs to no message yet
        self._ready = memoryview(b"")  # what is left of the present message

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end of a message."""
        if not len(self._ready):
            self._ready = memoryview(self._message())
        size = len(self._ready) if size < 0 else size
        part, self._ready = bytes(self._ready[:size]), self._ready[size:]
        return part if len(part) == size else part + self.read(size - len(part))

    def rest(self) -> None:
        """Let the stream come to its own end, which signs for the use."""
        left = bool(self._come)
        for _ in iter(lambda: next(self._chunks, None), None):
            left = True
        if left:
            raise StreamMalformed("bytes after the end of the stream")

    def _message(self) -> bytes:
        head = self._take(8)
        (size,) = struct.unpack("<i", head[4:])
        if head[:4] != _MARK or not 0 <= size <= limits.IPC_METADATA_BYTES_MAX:
            raise StreamMalformed("no message where one should be")
        if not size:
            return head
        described = self._take(size)
        kind, body, compressed = message_head(described)
        if compressed or body > limits.DELTA_MESSAGE_BYTES_MAX:
            raise StreamMalformed(f"a message of type {kind}, {body} bytes, or compressed")
        return head + described + self._take(body)

    def _take(self, size: int) -> bytes:
        while len(self._come) < size:
            try:
                self._come += next(self._chunks)
            except StopIteration as error:
                raise StreamMalformed("it ended too early") from error
        taken = bytes(self._come[:size])
        del self._come[:size]
        return taken


def lay_parquet(chunks: Chunks, path: Path) -> Laid:
    """Write the stream to `path`; there is no file unless it is whole.

    Raises StreamMalformed, ShareTypeUnknown, ShareFull, and what `chunks` raises.
    """
    try:
        with _fresh(path) as file:
            return _written(_Messages(chunks), file, path.parent)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise ShareFull(str(error), why="the disk", why_zh="磁盘") from error
        if isinstance(error, pa.ArrowException | OSError | ValueError | TypeError):
            raise StreamMalformed(str(error)) from error
        raise
    finally:
        chunks.close()


@contextlib.contextmanager
def _fresh(path: Path) -> Iterator[BinaryIO]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        yield file


def _written(messages: _Messages, file: BinaryIO, folder: Path) -> Laid:
    reader = pa.ipc.open_stream(pa.PythonFile(messages, mode="r"))
    schema = stored(reader.schema)
    rows = 0
    # Coercion to microseconds loses nothing that Delta could say.
    with pq.ParquetWriter(file, schema, compression="snappy") as writer:
        held: list[Any] = []
        for batch in reader:
            batch.validate(full=True)
            held.append(batch)
            rows += batch.num_rows
            if sum(each.nbytes for each in held) >= limits.DELTA_GROUP_BYTES:
                _write(writer, held, schema)
                held = []
                _bounded(file.tell(), folder)
        if held or not rows:
            _write(writer, held, schema, reader.schema)
    messages.rest()
    file.flush()
    return Laid(rows, file.tell(), schema)


def _write(writer: Any, held: list[Any], schema: Any, given: Any = None) -> None:
    table = pa.Table.from_batches(held, schema=given or held[0].schema)
    columns = [
        column.cast(field.type, safe=False)
        for column, field in zip(table.columns, schema, strict=True)
    ]
    writer.write_table(pa.table(columns, schema=schema))


def _bounded(size: int, folder: Path) -> None:
    if size > limits.DELTA_FILE_BYTES_MAX:
        raise ShareFull(why="the file is too large", why_zh="文件过大")
    if shutil.disk_usage(folder).free < limits.SPARE_BYTES:
        raise ShareFull(why="the disk", why_zh="磁盘")

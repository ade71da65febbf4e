"""Record batches out of a governed Arrow IPC stream, checked before anything looks into them.

In: chunks of bytes, of our worker or of a provider we do not trust with our memory. Out: batches
that fit one message to a stock client. Sizes are bounded, compression is refused (no worker of
ours compresses, and a few bytes could unpack to all memory), offsets of strangers are checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Protocol

import pyarrow as pa

from yunhe.dataplane import StreamMalformed, message_head
from yunhe.kernel import limits

_MARK = b"\xff\xff\xff\xff"


class Chunks(Protocol):
    """A governed result: `dataplane.Stream`, or `protocols.arrow.Passing`."""

    @property
    def use_id(self) -> str: ...
    def __next__(self) -> bytes: ...
    def close(self) -> None: ...


class _Messages:
    """The file that pyarrow reads: whole messages, each looked at before it is handed over."""

    closed = False

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._held = memoryview(b"")  # what has come and was not taken
        self._ready: list[memoryview] = []  # of the present message, in order

    def read(self, size: int = -1) -> Any:
        """Exactly `size` bytes of the present message, as pyarrow asks for them."""
        if not self._ready:
            self._message()
        part = self._ready[0]
        if len(part) == size:
            return self._ready.pop(0)
        if len(part) > size >= 0:
            self._ready[0] = part[size:]
            return part[:size]
        joined = b"".join(self._ready)  # it asks across our pieces: rare and small
        self._ready = [memoryview(joined[size:])] if 0 <= size < len(joined) else []
        return joined[:size] if size >= 0 else joined

    def rest(self) -> None:
        """Let the stream come to its own end, which settles the use; raises StreamMalformed."""
        if len(self._held):
            raise StreamMalformed("bytes after the end of the stream")
        for _ in iter(lambda: next(self._chunks, None), None):
            raise StreamMalformed("bytes after the end of the stream")

    def _message(self) -> None:
        head = self._take(8)
        (size,) = struct.unpack("<i", head[4:])
        if bytes(head[:4]) != _MARK or not 0 <= size <= limits.IPC_METADATA_BYTES_MAX:
            raise StreamMalformed("no message where one should be")
        self._ready = [head]
        if not size:
            return
        metadata = self._take(size)
        kind, body, compressed = message_head(bytes(metadata))
        if compressed:
            raise StreamMalformed("a compressed batch")
        if body > limits.FLIGHT_MESSAGE_BYTES_MAX:
            raise StreamMalformed(f"a message of type {kind} and {body} bytes")
        self._ready.append(metadata)
        if body:
            self._ready.append(self._take(body))

    def _take(self, size: int) -> memoryview:
        """The next `size` bytes; without a copy where they lie in one chunk."""
        if len(self._held) >= size:
            taken, self._held = self._held[:size], self._held[size:]
            return taken
        made = memoryview(bytearray(size))
        at = 0
        while True:
            step = min(len(self._held), size - at)
            made[at : at + step] = self._held[:step]
            self._held, at = self._held[step:], at + step
            if at == size:
                return made
            try:
                self._held = memoryview(next(self._chunks))
            except StopIteration as error:
                raise StreamMalformed("it ended too early") from error


class Batches:
    """Iterate for the batches; `schema` has been read. `close` settles at any time."""

    def __init__(self, chunks: Chunks, *, trusted: bool) -> None:
        """`trusted`: the stream is of our own worker. Raises StreamMalformed."""
        self._messages, self._trusted = _Messages(chunks), trusted
        self._left: Iterator[Any] = iter(())
        try:
            self._reader = pa.ipc.open_stream(pa.PythonFile(self._messages, mode="r"))
        except (pa.ArrowException, ValueError, OSError, TypeError) as error:
            raise StreamMalformed(str(error)) from error
        self.schema: Any = self._reader.schema

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Any:
        batch = next(self._left, None)
        while batch is None:
            try:
                whole = self._reader.read_next_batch()
                if not self._trusted:
                    whole.validate(full=True)
            except StopIteration:
                self._messages.rest()
                raise
            except (pa.ArrowException, ValueError, OSError, TypeError) as error:
                raise StreamMalformed(str(error)) from error
            self._left = _pieces(whole)
            batch = next(self._left, None)
        return batch


def _pieces(batch: Any) -> Iterator[Any]:
    """The batch in pieces that a client takes: a few rows of wide texts may exceed a message."""
    if batch.nbytes <= limits.FLIGHT_BATCH_BYTES_MAX or batch.num_rows <= 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _pieces(batch.slice(0, half))
    yield from _pieces(batch.slice(half))

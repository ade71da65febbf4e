"""A provider's stream is not trusted with our memory: what is bent is refused, whatever it is."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.dataplane import StreamMalformed
from yunhe.kernel import limits
from yunhe.protocols.flight.batches import Batches

TABLE = pa.table(
    {
        "id": pa.array(range(1000), pa.int64()),
        "name": pa.array([f"name {i}" for i in range(1000)]),
        "sex": pa.array(["f", "m"] * 500).dictionary_encode(),
    }
)


class Given:
    """A stream of given bytes, in chunks of any size."""

    use_id = "u"

    def __init__(self, data: bytes, size: int = 1000) -> None:
        self._chunks = iter([data[at : at + size] for at in range(0, len(data), size)])
        self.closed = False

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        self.closed = True


def ipc(table: pa.Table = TABLE, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(table, max_chunksize=300)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read(data: bytes, size: int = 1000) -> pa.Table:
    batches = Batches(Given(data, size), trusted=False)
    return pa.Table.from_batches(list(batches), batches.schema)


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_good_stream_comes_through(size: int) -> None:
    assert read(ipc(), size).equals(TABLE)


def test_large_batches_come_in_pieces() -> None:
    wide = pa.table({"text": ["x" * 1_000_000] * 40, "n": range(40)})
    sizes = [batch.nbytes for batch in _batches(ipc(wide))]
    assert sum(sizes) >= 40_000_000
    assert max(sizes) <= limits.FLIGHT_BATCH_BYTES_MAX
    assert read(ipc(wide)).equals(wide)


def _batches(data: bytes) -> Iterator[pa.RecordBatch]:
    yield from Batches(Given(data), trusted=False)


def test_compressed_batches_are_refused() -> None:
    bomb = pa.table({"zeros": pa.array([0] * 1_000_000, pa.int64())})
    with pytest.raises(StreamMalformed):
        read(ipc(bomb, compression="zstd"))
    with pytest.raises(StreamMalformed):
        read(ipc(TABLE, compression="lz4"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xff\xff\xff",
        b"\xff\xff\xff\xff" + struct.pack("<i", 1 << 30),
        b"\xff\xff\xff\xff" + struct.pack("<i", -8),
        b"\xff\xff\xff\xff" + struct.pack("<i", 16) + b"\xff" * 16,
        b"PAR1" * 100,
        ipc()[:-9],
        ipc() + b"more",
    ],
    ids=range(8),
)
def test_what_is_no_stream(data: bytes) -> None:
    with pytest.raises(StreamMalformed):
        read(data)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8))
def test_any_bytes_changed_anywhere(changes: list[tuple[int, int]]) -> None:
    """Read, or refused as ours: nothing else is raised, and nothing outside is looked at."""
    data = bytearray(ipc())
    for at, value in changes:
        data[at % len(data)] = value
    with contextlib.suppress(StreamMalformed):
        read(bytes(data))

"""Counting a stream in passing gives the figures pyarrow gives after decoding it."""

from __future__ import annotations

import hashlib
import io
import random
import struct
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.dataplane import IpcCount, StreamMalformed, count_ipc


def stream(*tables: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    writer_options = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(sink, tables[0].schema, options=writer_options) as writer:
        for table in tables:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def count(body: bytes, cuts: random.Random) -> IpcCount:
    counted = IpcCount()
    chunks, at = [], 0
    while at < len(body):
        step = cuts.choice([1, 3, 7, 64, 4096, 1 << 20])
        chunks.append(body[at : at + step])
        at += step
    assert b"".join(count_ipc(chunks, counted)) == body
    return counted


TABLE = pa.table({"a": list(range(1000)), "b": [f"text {n}" for n in range(1000)]})
CODED = pa.table({"c": pa.array(["x", "y"] * 50).dictionary_encode()})
EMPTY = TABLE.slice(0, 0)


@pytest.mark.parametrize(
    "body",
    [
        stream(TABLE),
        stream(TABLE, TABLE.slice(0, 7), EMPTY),
        stream(EMPTY),
        stream(CODED),
        stream(pa.table({"n": pa.nulls(5)})),
        stream(pa.table({"s": [{"x": [1, 2]}, None]})),
    ],
)
def test_rows_bytes_and_digest(body: bytes) -> None:
    expected = pa.ipc.open_stream(body).read_all().num_rows
    for seed in range(5):
        counted = count(body, random.Random(seed))  # noqa: S311
        assert counted.rows == expected
        assert counted.bytes == len(body)
        assert counted.digest == hashlib.sha256(body).hexdigest()
        assert counted.complete


MANY: dict[str, pa.Array] = {
    "int": pa.array(range(1001), pa.int16()),
    "float": pa.array([1.5] * 1001),
    "bool": pa.array([True] * 1001),
    "date": pa.array([date(2020, 1, 1)] * 1001),
    "time": pa.array([datetime(2020, 1, 1, tzinfo=UTC)] * 1001),
    "decimal": pa.array([Decimal("1.25")] * 1001),
    "text": pa.array(["x"] * 1001),
    "bytes": pa.array([b"x"] * 1001, pa.large_binary()),
    "view": pa.array(["a text of more than twelve"] * 1001, pa.string_view()),
    "list": pa.array([[1, 2]] * 1001),
    "fixed": pa.array([[1, 2]] * 1001, pa.list_(pa.int32(), 2)),
    "struct": pa.array([{"a": 1, "b": "x"}] * 1001),
    "map": pa.array([[("k", 1)]] * 1001, pa.map_(pa.string(), pa.int64())),
    "coded": pa.array(["a"] * 1001).dictionary_encode(),
    "none": pa.array([None] * 1001, pa.int64()),
}


@pytest.mark.parametrize("name", MANY)
def test_a_head_that_claims_more_rows_than_there_are_is_refused(name: str) -> None:
    honest = pa.table({name: MANY[name], "n": range(1001)})
    for table in (honest, honest.slice(3, 7), honest.select([name])):
        assert count(stream(table), random.Random(1)).rows == table.num_rows  # noqa: S311
    body = bytearray(stream(honest))
    for at in range(0, len(body) - 8, 4):  # the batch's length, and that of every column
        if struct.unpack_from("<q", body, at) == (1001,):
            struct.pack_into("<q", body, at, 1_000_000)
    with pytest.raises(StreamMalformed):
        IpcCount().feed(bytes(body))


LIGHT: dict[str, pa.Array] = {  # a million rows in a few bytes
    "nulls": pa.nulls(1_000_000),
    "no width": pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(0), 1_000_000, [None, pa.py_buffer(b"")]
    ),
    "no fields": pa.StructArray.from_buffers(pa.struct([]), 1_000_000, [None]),
    "empty lists": pa.FixedSizeListArray.from_buffers(
        pa.list_(pa.int8(), 0), 1_000_000, [None], children=[pa.array([], pa.int8())]
    ),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array([1_000_000], pa.int32()), pa.array([1])),
}


@pytest.mark.parametrize("name", LIGHT)
def test_rows_that_lie_in_no_bytes_are_no_bill(name: str) -> None:
    """A provider has them for nothing, and a receipt would be signed over them by itself."""
    schema = pa.schema([(name, LIGHT[name].type)])
    out = io.BytesIO()
    with pa.ipc.new_stream(out, schema) as writer:
        writer.write_batch(pa.record_batch([LIGHT[name]], schema))
    assert len(out.getvalue()) < 1_000
    with pytest.raises(StreamMalformed):
        IpcCount().feed(out.getvalue())


def test_a_compressed_batch_is_refused() -> None:
    with pytest.raises(StreamMalformed, match="compressed"):
        IpcCount().feed(stream(TABLE, compression="lz4"))


def test_a_batch_counts_when_its_last_byte_has_passed() -> None:
    body = stream(TABLE)
    counted = IpcCount()
    counted.feed(body[:-9])  # all but the batch's last byte and the end mark
    assert (counted.rows, counted.complete) == (0, False)
    counted.feed(body[-9:])
    assert (counted.rows, counted.complete) == (1000, True)


def test_streams_of_the_engine_count_alike(pool, hospital) -> None:
    from yunhe.dataplane import Job

    running = pool.run(
        hospital.binding(), Job("SELECT range AS a, range || 'x' AS b FROM range(500000)")
    )
    counted = IpcCount()
    for _ in count_ipc(running, counted):
        pass
    assert counted.rows == running.rows == 500_000
    assert counted.bytes == running.bytes
    assert counted.complete


@pytest.mark.parametrize(
    "body",
    [
        b"PAR1" + b"\0" * 100,
        b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0" * 100,
        b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xff" * 100,
        stream(TABLE) + b"x",
        stream(TABLE) + stream(TABLE),
        stream(TABLE)[stream(TABLE).index(b"\xff\xff\xff\xff", 8) :],  # batches without a schema
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(StreamMalformed):
        count(body, random.Random(1))  # noqa: S311


@given(st.binary(max_size=300), st.integers(0, 400))
def test_hostile_bytes_never_surprise(noise: bytes, at: int) -> None:
    body = bytearray(stream(TABLE.slice(0, 3)))
    body[at : at + len(noise)] = noise
    counted = IpcCount()
    try:
        counted.feed(bytes(body))
    except StreamMalformed:
        return
    assert counted.bytes == len(body)

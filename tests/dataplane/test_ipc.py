"""Counting a stream in passing gives the figures pyarrow gives after decoding it."""

from __future__ import annotations

import hashlib
import random

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
        stream(TABLE, compression="lz4"),
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

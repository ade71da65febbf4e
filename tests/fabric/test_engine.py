"""The local engine: bounded memory, no file, no word of its own text."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest

from yunhe.fabric.engine import Engine, EngineFailed
from yunhe.kernel import sandbox


def stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def answered(engine: Engine, metadata: dict[str, str] | None = None) -> pa.Table:
    engine.loaded()
    engine.answer(metadata or {})
    got = b""
    while (frame := engine.frame()) is not None:
        got += frame
    return pa.ipc.open_stream(got).read_all()


def fed(engine: Engine, part: str, data: bytes) -> threading.Thread:
    def feed() -> None:
        try:
            engine.feed(part, data)
        except EngineFailed:
            pass
        finally:
            engine.end(part)

    thread = threading.Thread(target=feed)
    thread.start()
    return thread


def test_parts_come_in_side_by_side_and_leave_as_one() -> None:
    engine = Engine(["p0", "p1"], 256)
    try:
        threads = [
            fed(engine, name, stream(pa.table({"x": list(range(at, at + 3))})))
            for name, at in (("p0", 0), ("p1", 10))
        ]
        engine.order("SELECT sum(x) AS s FROM data.s0", {"s0": ["p0", "p1"]})
        table = answered(engine, {"a": "b"})
        assert int(table.column("s")[0].as_py()) == 36
        assert (table.schema.metadata or {})[b"a"] == b"b"
    finally:
        engine.kill()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY data.s0 TO 'out.csv'",
        "SELECT * FROM '/etc/passwd'",
        "SELECT no_such FROM data.s0",
    ],
)
def test_what_it_must_not_do_fails_with_a_fixed_word(sql: str) -> None:
    engine = Engine(["p0"], 256)
    thread = fed(engine, "p0", stream(pa.table({"x": [1]})))
    try:
        engine.order(sql, {"s0": ["p0"]})
        with pytest.raises(EngineFailed) as failed:
            answered(engine)
        assert failed.value.code == "FAILED"
    finally:
        engine.kill()
        thread.join()


def test_bytes_that_are_no_stream_and_too_many_of_them_end_it() -> None:
    for data, code in ((b"\x00" * 4096, "FAILED"), (big(), "MEMORY")):
        engine = Engine(["p0", "p1"], 64)
        thread = fed(engine, "p0", data)
        try:
            engine.order("FROM data.s0", {"s0": ["p0", "p1"]})
            with pytest.raises(EngineFailed) as failed:
                answered(engine)
            assert failed.value.code == code
        finally:
            engine.kill()
            thread.join()


def big() -> bytes:
    return stream(pa.table({"x": [str(i) * 40 for i in range(600_000)]}))


@pytest.mark.skipif(not sandbox.available().whole, reason="this kernel has no walls")
def test_it_stands_behind_the_walls() -> None:
    engine = Engine(["p0"], 256)
    try:
        thread = fed(engine, "p0", stream(pa.table({"x": [1]})))
        engine.order("SELECT sum(x) AS s FROM data.s0", {"s0": ["p0"]})
        engine.loaded()
        tasks = [*Path(f"/proc/{engine._child.pid}/task").iterdir()]
        assert tasks
        for task in tasks:
            lines = (task / "status").read_text().splitlines()
            status = dict(line.split(":\t", 1) for line in lines)
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        thread.join()
    finally:
        engine.kill()

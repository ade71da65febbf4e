"""A worker process: one hardened DuckDB, one contract a life, killable at any moment.

In (stdin): frames of JSON, first `bind`, then any number of `run`. Out (the descriptor given):
frames of Arrow IPC bytes between a header and a trailer with a fixed code. It is started by path
and imports nothing of the house: it starts fast and holds no secret. No engine text leaves it.

It goes behind the walls of `kernel/sandbox.py` before its first order, and is left with exactly
the files of its contract when it is bound: what is asked of it later meets both.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import resource
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa

FRAME = struct.Struct("<cIQ")  # kind, payload length, rows in the payload
HEADER, DATA, TRAILER, READY, SCHEMA = b"H", b"D", b"T", b"R", b"S"
_PARTS_MAX = 1024  # IOV_MAX of Linux
_AHEAD_MB = 16  # what the engine's other threads may make while the pipe is written to
_FILES_MAX = 4096  # open at once
# How many processors there are: the engine throws where these are there and cannot be read.
_RELATIONS_KEPT_MAX = 32  # parsed queries, the latest used
_ROW = "file_row_number"  # the engine's own column of that name: where in its file a row stands


class Failure(Exception):
    """A query ends with one of the fixed codes."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Worker:
    """The connection, its limits and the way back to the parent."""

    def __init__(self, limits: dict[str, Any], out_fd: int, walls: Walls) -> None:
        self._limits = limits
        self._out_fd = out_fd
        self._walls = walls
        self._relations: dict[str, duckdb.DuckDBPyRelation] = {}
        self._loaded: dict[str, list[bytes]] = {}
        self.con = duckdb.connect(":memory:")
        for setting in (
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "allow_community_extensions = false",
            "python_enable_replacements = false",
            "temp_directory = ''",
            "allow_persistent_secrets = false",
            "preserve_insertion_order = true",
            f"streaming_buffer_size = '{_AHEAD_MB}MB'",
            "TimeZone = 'UTC'",
            f"memory_limit = '{int(limits['memory_mb'])}MB'",
            "threads = 1",  # until it is bound: walls are put around a thread
        ):
            self.con.execute(f"SET {setting}")
        with contextlib.suppress(duckdb.CatalogException):  # 1.5 has none
            self.con.execute("SET async_threads = 0")
        try:
            self.con.execute("SET error_on_division_by_zero = false")
        except duckdb.CatalogException:
            self.con.execute("SET ieee_floating_point_ops = false")  # 1.5: NULL already

    def warm(self) -> None:
        """Ask of no table what a first query asks, so that it loads nothing itself."""
        asked = "SELECT i % 3 AS g, count(*) AS n, avg(i) AS mean FROM range(9) t(i)"
        for _payload, _rows in self._frames(f"{asked} GROUP BY g ORDER BY g", None):
            pass
        self._relations.clear()

    def load(self, table: str, chunk: bytes) -> None:
        """Keep more of the Arrow stream of a table, until `bind`."""
        self._loaded.setdefault(table, []).append(chunk)

    def _lay_loaded(self) -> None:
        """What was loaded as tables of schema `data`, in this process's memory alone."""
        for name, chunks in self._loaded.items():
            whole, alone = pa.py_buffer(b"".join(chunks)), pa.ipc.IpcReadOptions(use_threads=False)
            with pa.ipc.open_stream(whole, options=alone) as reader:
                self.con.register("loaded", reader.read_all())
            quoted = '"' + name.replace('"', '""') + '"'
            self.con.execute(f"CREATE TABLE data.{quoted} AS SELECT * FROM loaded")  # noqa: S608
            self.con.unregister("loaded")
        self._loaded.clear()

    def bind(
        self, tables: dict[str, list[str]], spans: dict[str, list[int]], keys: dict[str, str]
    ) -> None:
        """Give the connection exactly these files as views of schema `data`; then `close`.

        A table with a span is the rows [first, end) of its one file: the engine skips the row
        groups outside.
        """
        con = self.con
        files = sorted({file for paths in tables.values() for file in paths})
        self._walls.leave(files)
        con.execute(f"SET allowed_paths = CAST([{', '.join(map(text, files))}] AS VARCHAR[])")
        con.execute("SET parquet_metadata_cache = true")  # first: a view's footer is read once
        con.execute("CREATE SCHEMA data")
        for name, paths in tables.items():
            listed = ", ".join(map(text, paths))
            quoted = '"' + name.replace('"', '""') + '"'
            shown = f"SELECT * FROM read_parquet([{listed}])"  # noqa: S608
            if span := spans.get(name):
                first, end = map(int, span)
                shown = (
                    f"SELECT * EXCLUDE ({_ROW}) "  # noqa: S608
                    f"FROM read_parquet([{listed}], {_ROW} = true) "
                    f"WHERE {_ROW} >= {first} AND {_ROW} < {end}"
                )
            con.execute(f"CREATE VIEW data.{quoted} AS {shown}")
        self._lay_loaded()
        if keys["careful"]:
            con.execute("SET disabled_optimizers = 'statistics_propagation'")
        for name in ("mask_key", "audit_key", "mark_key"):
            con.execute(f"SET VARIABLE {name} = {text(keys[name])}")

    def close(self) -> None:
        """Start the engine's threads, behind the last wall as this one, and lock it."""
        self.con.execute(f"SET threads = {int(self._limits['threads'])}")
        with contextlib.suppress(duckdb.CatalogException):
            self.con.execute("RESET async_threads")
        self.con.execute("SET enable_external_access = false")
        self.con.execute("SET lock_configuration = true")

    def run(self, job: dict[str, Any]) -> None:
        """Run one governed query; always ends with a trailer frame."""
        sent = 0
        try:
            _limit_cpu(self._limits["cpu_s"])
            withheld, prints, noised = False, [], []
            told = {"yunhe.watermark": job["watermark"]} if job["watermark"] else None
            if job["recipe"]:
                noised = self._noised(job)
                withheld = job["recipe"]["keys"] > 0
                told = {"yunhe.noise": json.dumps(job["recipe"]["told"])}
            elif job["groups_sql"]:
                withheld = self._groups(job["groups_sql"], job["k"])
                prints = self._prints(job["prints_max"])
            size = 0
            for payload, rows in self._frames(job["sql"], job["rows_max"], told):
                size += sum(map(len, payload))
                if job["bytes_max"] is not None and size > job["bytes_max"]:
                    raise Failure("BYTES_OVER_LIMIT")
                if not sent:
                    self._say(HEADER, groups_withheld=withheld, prints=prints, noised=noised)
                sent += 1
                self._send(DATA, payload, rows)
            code = ""
        except Failure as failure:
            code = failure.code
        except (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError):
            code = "QUERY_MEMORY"
        except duckdb.IOException:
            code = "DATA_UNAVAILABLE"
        except (duckdb.Error, pa.ArrowException, RuntimeError, ValueError):
            code = "QUERY_FAILED"
        finally:
            if job["groups_sql"]:
                self.con.execute("DROP TABLE IF EXISTS temp.groups")
        self._say(TRAILER, code=code)

    def describe(self, job: dict[str, Any]) -> None:
        """Say the Arrow schema of a governed query's result. It is bound, never run: no row of a
        table is read, so that asking for it is no use of the data.
        """
        try:
            if job["groups_sql"]:
                self.con.execute(
                    f"CREATE OR REPLACE TEMP TABLE groups AS {job['groups_sql']} WITH NO DATA"
                )
            found = self.con.sql(job["sql"])
            if found is None:
                raise Failure("QUERY_FAILED")
            typed = (f"CAST(NULL AS {kind}) AS c{at}" for at, kind in enumerate(found.types))
            empty = self.con.sql(f"SELECT {', '.join(typed)} WHERE false").to_arrow_reader(1)
            named = zip(empty.schema, found.columns, strict=True)
            schema = pa.schema([field.with_name(name) for field, name in named])
            self._send(SCHEMA, [memoryview(schema.serialize())])
            return
        except duckdb.IOException:
            code = "DATA_UNAVAILABLE"
        except (Failure, duckdb.Error, pa.ArrowException, RuntimeError, ValueError):
            code = "QUERY_FAILED"
        finally:
            if job["groups_sql"]:
                self.con.execute("DROP TABLE IF EXISTS temp.groups")
        self._say(TRAILER, code=code)

    def row_groups(self, file: str) -> None:
        """Say how many rows each row group of a file has, in order; none where it cannot be cut."""
        rows, code = [], ""
        try:
            named = self.con.sql(f"FROM read_parquet([{text(file)}])").columns
            if _ROW not in map(str.casefold, named):
                found = self.con.execute(
                    "SELECT row_group_num_rows FROM parquet_metadata(?) "
                    "WHERE column_id = 0 ORDER BY row_group_id",
                    [file],
                )
                rows = [number for (number,) in found.fetchall()]
        except duckdb.Error:
            code = "DATA_UNAVAILABLE"
        self._say(TRAILER, code=code, rows=rows)

    def _groups(self, sql: str, k: int) -> bool:
        """Fill `groups`, physically remove those below k; whether any was removed."""
        con = self.con
        con.execute(f"CREATE OR REPLACE TEMP TABLE groups AS {sql}")
        kept, found = con.execute(
            "SELECT count(*) FILTER (WHERE __entities >= ?), count(*) FROM temp.groups", [k]
        ).fetchall()[0]
        if not kept:
            raise Failure("GROUP_TOO_SMALL")
        if kept < found:
            con.execute("DELETE FROM temp.groups WHERE __entities < ?", [k])
        return bool(kept < found)

    def _prints(self, most: int) -> list[Any]:
        """Per group left: how many entities, and [bucket, their hash, their rows' hash] of each."""
        found = self.con.execute(
            "SELECT __print.n, __print.places FROM temp.groups LIMIT ?", [most + 1]
        ).fetchall()
        if len(found) > most:
            raise Failure("GROUPS_TOO_MANY")
        return [[n, places] for n, places in found]

    def _noised(self, job: dict[str, Any]) -> list[Any]:
        """Fill `groups` from exact whole numbers and noise, or from the answer kept; what of it
        is to be kept: keys as text, noisy numbers. Nothing exact stays.
        """
        con, recipe, most = self.con, job["recipe"], job["prints_max"]
        exact, keys = job["groups_sql"], recipe["keys"]
        width = keys + len(recipe["scales"])
        names = [f"k{at}" for at in range(keys)]
        try:
            if job["groups"] is None:
                con.execute(f"CREATE OR REPLACE TEMP TABLE exact AS {exact}")
                texts = [f"CAST({name} AS VARCHAR)" for name in names]
                numbers = [f"v{at}" for at in range(len(recipe["scales"]))]
                found = con.execute(
                    f"SELECT {', '.join(texts + numbers)} FROM temp.exact ORDER BY ALL"  # noqa: S608
                ).fetchall()
                groups = _add_noise(found, keys, recipe)
                con.execute("DELETE FROM temp.exact")
            else:
                groups = job["groups"]
                con.execute(f"CREATE OR REPLACE TEMP TABLE exact AS {exact} WITH NO DATA")
            if not groups:
                raise Failure("GROUP_TOO_SMALL")
            if len(groups) > most:
                raise Failure("GROUPS_TOO_MANY")
            marks = ", ".join("?" * width)
            con.executemany(f"INSERT INTO temp.exact VALUES ({marks})", groups)  # noqa: S608
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE groups AS SELECT {recipe['columns']} FROM temp.exact"  # noqa: S608
            )
        finally:
            con.execute("DROP TABLE IF EXISTS temp.exact")
        return groups

    def _frames(
        self, sql: str, rows_max: int | None, told: dict[str, str] | None = None
    ) -> Iterator[tuple[list[memoryview], int]]:
        """The result as parts of one Arrow IPC stream, each of whole messages, with its rows.

        `told` goes into the schema's metadata.
        """
        reader = self._relation(sql).to_arrow_reader(int(self._limits["batch_rows"]))
        least = int(self._limits["frame_bytes"])
        sink = _Sink()
        schema = reader.schema
        if told is not None:
            schema = schema.with_metadata(told)
        writer = pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema)
        total = held = 0
        cut = False
        for batch in reader:
            if rows_max is not None and total + batch.num_rows > rows_max:
                batch, cut = batch.slice(0, rows_max - total), True
            total += batch.num_rows
            held += batch.num_rows
            writer.write_batch(batch)
            if cut:
                break
            if sink.size >= least:
                yield sink.take(), held
                held = 0
        if cut and held == total:
            raise Failure("ROWS_OVER_LIMIT")  # nothing has left yet: a plain refusal
        if not cut:
            writer.close()
        if sink.size:
            yield sink.take(), held
        if cut:
            raise Failure("ROWS_OVER_LIMIT")

    def _relation(self, sql: str) -> duckdb.DuckDBPyRelation:
        """The query as parsed; the same text again is not parsed again, but is bound anew."""
        found = self._relations.pop(sql, None)
        if found is None:
            found = self.con.sql(sql)
        if found is None:
            raise Failure("QUERY_FAILED")
        self._relations[sql] = found  # at the end: the first is the longest unused
        if len(self._relations) > _RELATIONS_KEPT_MAX:
            del self._relations[next(iter(self._relations))]
        return found

    def _send(self, kind: bytes, payload: list[memoryview], rows: int = 0) -> None:
        """One frame, gathered by the kernel from where its parts lie."""
        size = sum(map(len, payload))
        parts = [memoryview(FRAME.pack(kind, size, rows)), *payload]
        at = 0
        while at < len(parts):
            done = os.writev(self._out_fd, parts[at : at + _PARTS_MAX])
            while at < len(parts) and done >= len(parts[at]):
                done -= len(parts[at])
                at += 1
            if done:
                parts[at] = parts[at][done:]

    def _say(self, kind: bytes, **said: Any) -> None:
        self._send(kind, [memoryview(json.dumps(said).encode())])


class _Sink:
    """The file an IPC writer writes to: it keeps the engine's own buffers and copies none."""

    closed = False

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[memoryview] = []

    def write(self, part: bytes | pa.Buffer) -> int:
        view = memoryview(part).cast("B")
        self._parts.append(view)
        self.size += len(view)
        return len(view)

    def take(self) -> list[memoryview]:
        """What has been written since the last time."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        self.closed = True


def _add_noise(found: list[Any], keys: int, recipe: dict[str, Any]) -> list[Any]:
    """Discrete noise on every number; groups of fewer than `least` entities are left out.

    All groups draw, so that the time it takes is none of the noise's.
    """
    try:
        import opendp.prelude as dp
    except ImportError as error:
        raise Failure("NOISE_MISSING") from error
    dp.enable_features("contrib")
    columns = []
    domain = dp.vector_domain(dp.atom_domain(T="i64"))
    for at, scale in enumerate(recipe["scales"]):
        if recipe["noise"] == "gaussian":
            draw = dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale=scale)
        else:
            draw = dp.m.make_laplace(domain, dp.l1_distance(T="i64"), scale=scale)
        columns.append(draw([row[keys + at] for row in found]) if found else [])
    noisy = zip(*columns, strict=True)
    return [
        [*row[:keys], *map(str, values)]
        for row, values in zip(found, noisy, strict=True)
        if values[0] >= recipe["least"]
    ]


def text(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def _limit_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


class Walls:
    """The sandbox around this process; `kernel/sandbox.py`, loaded by its path."""

    def __init__(self, setup: dict[str, Any], address_mb: int, out_fd: int) -> None:
        self._sandbox = _loaded(setup["script"])
        self._runtime = [Path(each) for each in setup["runtime"]]
        self._required = bool(setup["required"])
        # It writes to pipes, never to a file; its time is limited by the query.
        limits = self._sandbox.Limits(memory_bytes=address_mb << 20, files_max=_FILES_MAX)
        self.report = self._sandbox.confine(
            self._sandbox.Mounts((Path("/"),)), limits, keep=(out_fd,), parent=setup["parent"]
        )
        self.stand = bool(self.report.whole) or not self._required

    def leave(self, files: list[str]) -> None:
        """From now on only these files, and code, can be read."""
        seen = (*map(Path, files), *self._sandbox.ENGINE_ASKS, *self._runtime)
        left = self._sandbox.Mounts(seen)
        if not self._sandbox.tighten(left) and self._required:
            os._exit(1)


def _loaded(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sandbox", script)
    if spec is None or spec.loader is None:
        raise ImportError(script)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read() -> dict[str, Any]:
    """The next order; when the parent is gone, end at once, whatever runs."""
    stdin = sys.stdin.buffer
    head = stdin.read(4)
    if len(head) < 4:
        os._exit(0)
    order: dict[str, Any] = json.loads(stdin.read(int.from_bytes(head, "little")))
    return order


def _listen(orders: queue.SimpleQueue[dict[str, Any]]) -> None:
    while True:
        orders.put(_read())


def _bound(worker: Worker) -> None:
    """The first orders, read by the one thread there is: what lies in no file, then the rest."""
    while (order := _read())["do"] == "load":
        worker.load(order["table"], sys.stdin.buffer.read(order["size"]))
    worker.bind(order["tables"], order["spans"], order)


def main() -> None:
    """Serve orders until the parent closes stdin."""
    setup, out_fd = json.loads(sys.argv[1]), int(sys.argv[2])
    limits = setup["limits"]
    walls = Walls(setup["walls"], int(limits["address_mb"]), out_fd)
    worker = Worker(limits, out_fd, walls)
    if not walls.stand:
        worker._say(TRAILER, missing=walls.report.missing())
        return
    worker.warm()
    worker._say(READY)
    try:
        _bound(worker)
        worker._say(READY)  # the first query is on its way while the rest is done
        worker.close()
    except (duckdb.Error, pa.ArrowException, MemoryError):
        worker._say(TRAILER, code="QUERY_FAILED")
        return
    orders: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        order = orders.get()
        if order["do"] == "run":
            worker.run(order)
        elif order["do"] == "row_groups":
            worker.row_groups(order["file"])
        else:
            worker.describe(order)


if __name__ == "__main__":
    main()

"""The local engine of one query over the fabric: parts come in by pipes, the answer goes out.

A process of its own behind the walls of `kernel/sandbox.py`, started by path, importing nothing
of the house: DuckDB in memory alone (no file, no network, no extension, memory bounded), so that
governed rows never touch this node's disk. In (stdin): a line of JSON, the order, and once the
parts have come another, the answer's metadata; each part as an Arrow IPC stream on its own
descriptor. Out: the keys asked for, what the parts tell of noise, frames of Arrow IPC bytes and a
trailer with a fixed code. No engine text leaves it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pyarrow as pa

FRAME = struct.Struct("<cI")
DATA, TRAILER, LOADED, KEYS = b"D", b"T", b"L", b"K"
_NOISE = b"yunhe.noise"
_NOISE_BYTES_MAX = 8192
_FRAME_BYTES = 1 << 20

_MEMORY = (duckdb.OutOfMemoryException, MemoryError, pa.ArrowMemoryError)


def _code(error: Exception) -> str:
    """One of two fixed words: nothing of the engine's own text leaves it."""
    return "MEMORY" if isinstance(error, _MEMORY) else "FAILED"


class Local:
    """One connection, one order, one answer."""

    def __init__(self, order: dict[str, Any], out_fd: int) -> None:
        self._order, self._out = order, out_fd
        self._saying = threading.Lock()
        self._noise: dict[str, str] = {}
        self.con = duckdb.connect(":memory:")
        for setting in (
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            "allow_community_extensions = false",
            "python_enable_replacements = false",
            "temp_directory = ''",
            "allow_persistent_secrets = false",
            "preserve_insertion_order = true",
            "TimeZone = 'UTC'",
            f"memory_limit = '{int(order['memory_mb'])}MB'",
            f"threads = {int(order['threads'])}",
        ):
            self.con.execute(f"SET {setting}")
        try:
            self.con.execute("SET error_on_division_by_zero = false")
        except duckdb.CatalogException:
            self.con.execute("SET ieee_floating_point_ops = false")
        self.con.execute("CREATE SCHEMA data")
        self.con.execute("CREATE SCHEMA part")

    def run(self) -> None:
        """Load every part at once, then run the last step; always ends with a trailer."""
        code = ""
        try:
            self._load()
            self._views()
            self.con.execute("SET enable_external_access = false")
            self.con.execute("SET lock_configuration = true")
            self._say(LOADED, noise=self._noise)
            self._answer(json.loads(sys.stdin.buffer.readline()))
        except (*_MEMORY, duckdb.Error, pa.ArrowException, RuntimeError, ValueError, OSError) as e:
            code = _code(e)
        self._say(TRAILER, code=code)

    def _load(self) -> None:
        def one(name: str, fd: int, cursor: duckdb.DuckDBPyConnection) -> None:
            try:
                with os.fdopen(fd, "rb", buffering=1 << 20) as file:
                    reader = pa.ipc.open_stream(file)
                    told = (reader.schema.metadata or {}).get(_NOISE, b"")
                    if 0 < len(told) <= _NOISE_BYTES_MAX:
                        self._noise[name] = told.decode("utf-8", "replace")
                    cursor.register(f"arriving_{name}", reader)
                    cursor.execute(f"CREATE TABLE part.{name} AS FROM arriving_{name}")
                    cursor.unregister(f"arriving_{name}")
                    while file.read(1 << 16):
                        pass  # the end mark: the sender must not meet a closed pipe
            except Exception as error:  # noqa: BLE001  one failed: the others wait for nothing
                self._say(TRAILER, code=_code(error))
                os._exit(1)

        threads = {
            name: threading.Thread(target=one, args=(name, fd, self.con.cursor()))
            for name, fd in self._order["parts"].items()
        }
        for thread in threads.values():
            thread.start()
        for slot, column in self._order["keys"]:
            for name in self._order["slots"][slot]:
                threads[name].join()
            self._say(KEYS, keys=self._keys(slot, column))
        for thread in threads.values():
            thread.join()

    def _keys(self, slot: str, column: str) -> list[str] | None:
        """The distinct values of a slot's column as texts; None where there are too many."""
        arms = " UNION ALL ".join(f"FROM part.{part}" for part in self._order["slots"][slot])
        named = '"' + column.replace('"', '""') + '"'
        most = int(self._order["keys_max"])
        found = self.con.execute(
            f"SELECT DISTINCT CAST({named} AS VARCHAR) AS key FROM ({arms}) "  # noqa: S608
            f"WHERE {named} IS NOT NULL ORDER BY key LIMIT {most + 1}"
        ).fetchall()
        return None if len(found) > most else [key for (key,) in found]

    def _views(self) -> None:
        for name, slot in self._order["slots"].items():
            arms = " UNION ALL ".join(f"FROM part.{part}" for part in slot)
            self.con.execute(f"CREATE VIEW data.{name} AS {arms}")

    def _answer(self, told: dict[str, str]) -> None:
        found = self.con.sql(self._order["sql"])
        if found is None:
            raise ValueError("not a query")
        reader = found.to_arrow_reader(int(self._order["batch_rows"]))
        metadata = {name.encode(): text.encode() for name, text in told.items()}
        sink = _Sink(self)
        schema = reader.schema.with_metadata(metadata)
        with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), schema) as writer:
            for batch in reader:
                writer.write_batch(batch.replace_schema_metadata(metadata))
        sink.send()

    def send(self, kind: bytes, payload: bytes) -> None:
        """One frame, whole."""
        view = memoryview(FRAME.pack(kind, len(payload)) + payload)
        with self._saying:
            while view:
                view = view[os.write(self._out, view) :]

    def _say(self, kind: bytes, **said: Any) -> None:
        self.send(kind, json.dumps(said).encode())


class _Sink:
    """The file an IPC writer writes to; frames go out as they fill."""

    closed = False

    def __init__(self, local: Local) -> None:
        self._local, self._held = local, bytearray()

    def write(self, part: bytes | pa.Buffer) -> int:
        view = memoryview(part).cast("B")
        self._held += view
        if len(self._held) >= _FRAME_BYTES:
            self.send()
        return len(view)

    def send(self) -> None:
        """What is held, as one frame."""
        if self._held:
            self._local.send(DATA, bytes(self._held))
            self._held = bytearray()

    def flush(self) -> None:
        """Frames go when they are full."""

    def close(self) -> None:
        self.closed = True


def main() -> None:
    """One order, from the first line of stdin."""
    out_fd, address_mb, cpu_s = (int(each) for each in sys.argv[1:4])
    order = json.loads(sys.stdin.buffer.readline())
    sandbox = _loaded(sys.argv[4])
    seen = (*map(Path, json.loads(sys.argv[5])), *sandbox.ENGINE_ASKS)
    sandbox.confine(
        sandbox.Mounts(seen),
        sandbox.Limits(memory_bytes=address_mb << 20, cpu_s=cpu_s),
        keep=(out_fd, *order["parts"].values()),
    )
    Local(order, out_fd).run()


def _loaded(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("sandbox", script)
    if spec is None or spec.loader is None:
        raise ImportError(script)
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()

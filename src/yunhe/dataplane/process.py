"""One worker process seen from the parent, and one query running in it.

In: orders. Out: frames. Every wait has a deadline, and the answer to a missed one is SIGKILL.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from yunhe.dataplane.errors import (
    BY_CODE,
    BytesOverLimit,
    DataUnavailable,
    GroupTooSmall,
    QueryFailed,
    QueryMemory,
    QueryTimeout,
    RowsOverLimit,
    WorkerLost,
)
from yunhe.kernel import limits, sandbox
from yunhe.kernel.errors import YunheError
from yunhe.kernel.outlet import Outlet, Tick
from yunhe.kernel.settings import NodeConfig
from yunhe.kernel.walls import BEST, REQUIRE, SandboxMissing

if TYPE_CHECKING:
    from yunhe.dataplane.pool import Job

FRAME = struct.Struct("<cIQ")
_SCRIPT = Path(__file__).with_name("worker.py")
_CHUNK_BYTES = 1 << 20
_START_S_MAX = 30.0


@dataclass(frozen=True)
class WorkerLimits:
    """What one worker may take; seconds are for one query."""

    memory_mb: int = limits.WORKER_MEMORY_MB_MAX
    address_mb: int = limits.WORKER_ADDRESS_MB_MAX
    threads: int = os.cpu_count() or 1
    cpu_s: int = limits.QUERY_CPU_S_MAX
    query_s: float = limits.QUERY_S_MAX
    stream_s: float = limits.STREAM_S_MAX
    batch_rows: int = limits.BATCH_ROWS
    frame_bytes: int = limits.FRAME_BYTES_MIN
    sandbox: str = BEST  # `require`: a machine without walls starts no worker

    @classmethod
    def of(cls, config: NodeConfig) -> WorkerLimits:
        """As the node's settings say."""
        memory, query = config.worker_memory_mb, config.query_seconds_max
        return cls(memory_mb=memory, query_s=query, sandbox=config.sandbox)


class Process:
    """A started worker, behind walls before its first order (`kernel/sandbox.py`).

    It inherits no environment, no descriptor but its own three pipes, and dies with the thread
    that made it.
    """

    def __init__(self, worker: WorkerLimits) -> None:
        self.limits = worker
        self.bound = False
        ours, theirs = os.pipe()
        with contextlib.suppress(OSError):  # a machine with a lower bound: slower, not wrong
            fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _CHUNK_BYTES)
        try:
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    str(_SCRIPT),
                    json.dumps({"limits": asdict(worker), "walls": _walls(worker)}),
                    str(theirs),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs,),
                env=sandbox.environment(),
                cwd="/",
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        self._fd = ours
        self._ready = False

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._child.poll() is None

    @property
    def pid(self) -> int:
        """The process id, for the operator and the tests."""
        return self._child.pid

    def kill(self) -> None:
        """SIGKILL and reap; idempotent."""
        if self._fd < 0:
            return
        self._child.kill()
        self._child.wait()
        if self._child.stdin is not None:
            try:
                self._child.stdin.close()
            except BrokenPipeError:
                self._child.stdin = None
        os.close(self._fd)
        self._fd = -1

    def stop(self) -> None:
        """SIGKILL only: descriptors stay, so that a reader in another thread is safe."""
        self._child.kill()

    def wait_ready(self) -> None:
        """Until it has started; raises WorkerLost, SandboxMissing."""
        if not self._ready:
            kind, size, _ = self.frame(monotonic() + _START_S_MAX, None)
            said = json.loads(self.payload(size, monotonic() + _START_S_MAX))
            if kind != b"R":
                raise SandboxMissing(missing=", ".join(said["missing"]))
            self._ready = True

    def bind(
        self,
        tables: Mapping[str, tuple[str, ...]],
        mask_key: str,
        audit_key: str = "",
        mark_key: str = "",
        spans: Mapping[str, tuple[int, int]] | None = None,
        *,
        careful: bool = False,
    ) -> None:
        """Give it the files of one contract, for its life; of a table with a span, those rows."""
        self.wait_ready()
        listed = {name: list(paths) for name, paths in tables.items()}
        keys = {"mask_key": mask_key, "audit_key": audit_key, "mark_key": mark_key}
        how = {"spans": dict(spans or {}), "careful": careful}
        self.order({"do": "bind", "tables": listed, **how, **keys})
        until = monotonic() + _START_S_MAX
        kind, size, _ = self.frame(until, None)
        self.payload(size, until)
        if kind != b"R":
            raise DataUnavailable("binding the files failed")
        self.bound = True

    def load(self, table: str, chunk: bytes) -> None:
        """Give it more of the Arrow stream of a table that lies in no file; before `bind`."""
        self.wait_ready()
        self.order({"do": "load", "table": table, "size": len(chunk)}, chunk)

    def describe(self, sql: str, groups_sql: str | None) -> bytes:
        """The Arrow schema of a governed query's result, as one IPC message; nothing is run.

        Raises QueryFailed, DataUnavailable, QueryTimeout, WorkerLost.
        """
        self.order({"do": "describe", "sql": sql, "groups_sql": groups_sql})
        until = monotonic() + self.limits.query_s
        kind, size, _ = self.frame(until, None)
        if kind == b"S" and size <= limits.IPC_METADATA_BYTES_MAX:
            return self.payload(size, until)
        code = json.loads(self.payload(size, until))["code"] if kind == b"T" else ""
        raise BY_CODE.get(code, QueryFailed)()

    def row_groups(self, file: str) -> tuple[int, ...]:
        """The rows of each row group of a file it is bound to; () where it cannot be cut by them.

        Raises DataUnavailable, QueryTimeout, WorkerLost.
        """
        self.order({"do": "row_groups", "file": file})
        until = monotonic() + self.limits.query_s
        _, size, _ = self.frame(until, None)
        said = json.loads(self.payload(size, until))
        if said["code"]:
            raise DataUnavailable(said["code"])
        return tuple(said["rows"])

    def order(self, message: dict[str, Any], more: bytes = b"") -> None:
        """Send one order, and the bytes that go with it."""
        body = json.dumps(message).encode()
        stdin = self._child.stdin
        if stdin is None:
            raise WorkerLost("no stdin")
        try:
            stdin.write(len(body).to_bytes(4, "little") + body + more)
            stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise WorkerLost(str(error)) from error

    def frame(self, until: float, on_tick: Tick | None) -> tuple[bytes, int, int]:
        """The head of the next frame: kind, payload bytes, rows."""
        head = b""
        while len(head) < FRAME.size:
            self._wait(until, on_tick)
            part = os.read(self._fd, FRAME.size - len(head))
            if not part:
                raise self._ended()
            head += part
        kind, size, rows = FRAME.unpack(head)
        return kind, size, rows

    def chunk(self, most: int, until: float, on_tick: Tick | None) -> bytes:
        """Up to `most` bytes of a payload."""
        self._wait(until, on_tick)
        part = os.read(self._fd, min(most, _CHUNK_BYTES))
        if not part:
            raise self._ended()
        return part

    def splice(self, outlet: Outlet, most: int, until: float, tick: Tick) -> int:
        """Move up to `most` bytes of a payload to a connection; how many."""
        self._wait(until, tick)
        done = outlet.splice(self._fd, most, tick)
        if not done:
            raise self._ended()
        return done

    def payload(self, size: int, until: float) -> bytes:
        """A whole small payload."""
        parts = b""
        while len(parts) < size:
            parts += self.chunk(size - len(parts), until, None)
        return parts

    def _wait(self, until: float, on_tick: Tick | None) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while True:
            left = until - monotonic()
            if left <= 0:
                raise QueryTimeout("wall clock")
            if poll.poll(min(left, limits.STREAM_CHECK_S) * 1000):
                return
            if on_tick is not None:
                on_tick()

    def _ended(self) -> YunheError:
        try:
            code = self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        if code == -signal.SIGXCPU:
            return QueryTimeout("processor time")
        return WorkerLost(f"exit status {code}")


def _walls(worker: WorkerLimits) -> dict[str, Any]:
    return {
        "script": sandbox.__file__,
        "runtime": [str(each) for each in sandbox.runtime()],
        "required": worker.sandbox == REQUIRE,
        "parent": os.getpid(),
    }


class Running:
    """One query in one worker, from its first bytes to its trailer.

    Iterate for the bytes of the Arrow IPC stream; `rows` and `bytes` count what has been handed
    out (rows of a frame count when its first byte goes). `close` early kills the worker.
    """

    def __init__(
        self,
        process: Process,
        job: Job,
        give_back: Callable[[bool], None],
        on_tick: Tick | None,
    ) -> None:
        self.rows = 0
        self.bytes = 0
        self.groups_withheld = False
        self.noised: list[Any] = []  # under a privacy budget: the groups with their noise
        self.share: Callable[[int, int], None] | None = None  # asked before each frame goes out
        self.prints: list[Any] = []  # of the groups shown: see Worker._prints
        self._process, self._job, self._on_tick = process, job, on_tick
        self._give_back: Callable[[bool], None] | None = give_back
        self._until = monotonic() + process.limits.query_s
        self._own = threading.Lock()  # around owning the worker: it may be the next query's
        self._stopped = False

    def start(self) -> None:
        """Send the job and wait for its first bytes; raises its refusal and gives back."""
        try:
            self._process.order(
                {
                    "do": "run",
                    "sql": self._job.sql,
                    "groups_sql": self._job.groups_sql,
                    "k": self._job.k,
                    "rows_max": self._job.rows_max,
                    "bytes_max": self._job.bytes_max,
                    "watermark": self._job.watermark,
                    "prints_max": limits.PRINTS_MAX,
                    "recipe": self._job.recipe,
                    "groups": self._job.groups,
                }
            )
            kind, size, _ = self._process.frame(self._until, self._on_tick)
            said = json.loads(self._process.payload(size, self._until))
            if kind == b"T":
                self._finish(said["code"] or "QUERY_FAILED")
            self.groups_withheld = said["groups_withheld"]
            self.prints = said["prints"]
            self.noised = said["noised"]
        except BaseException:
            self.close()
            raise
        self._until = monotonic() + self._process.limits.stream_s

    def __iter__(self) -> Iterator[bytes]:
        try:
            while size := self._next_frame():
                while size:
                    part = self._process.chunk(size, self._until, self._on_tick)
                    size -= len(part)
                    self.bytes += len(part)
                    yield part
        finally:
            self.close()

    def pour(self, outlet: Outlet, tick: Tick) -> bool | None:
        """Move the next frame to `outlet` as one HTTP chunk; None at the end of the stream.

        `tick` is called while the reader takes nothing. Raises as iterating, and OSError where
        the reader is gone; then `close`.
        """
        size = self._next_frame()
        if not size:
            return None
        outlet.begin(size, tick)
        while size:
            done = self._process.splice(outlet, size, self._until, tick)
            size -= done
            self.bytes += done
        outlet.end(tick)
        return True

    def _next_frame(self) -> int:
        """Bytes of the next frame, its rows counted; 0 at the end of the stream."""
        kind, size, rows = self._process.frame(self._until, self._on_tick)
        if kind == b"T":
            said = json.loads(self._process.payload(size, self._until))
            self._finish(said["code"])
            return 0
        self._check_bounds(rows, size)
        self.rows += rows
        return size

    def _check_bounds(self, rows: int, size: int) -> None:
        """The Grant's bounds hold whatever the worker sends: nothing of this frame goes out."""
        if self.share is not None:
            try:
                self.share(rows, size)
            except BaseException:
                self.close()
                raise
        most = self._job
        if most.rows_max is not None and self.rows + rows > most.rows_max:
            self.close()
            raise RowsOverLimit(rows_max=most.rows_max)
        if most.bytes_max is not None and self.bytes + size > most.bytes_max:
            self.close()
            raise BytesOverLimit(bytes_max=most.bytes_max)

    def _finish(self, code: str) -> None:
        """The trailer has come, so the worker is free for the next query of its contract."""
        # After these two the connection may hold what is left of a result: a new one is cleaner.
        over = (RowsOverLimit.code, BytesOverLimit.code)
        self._release(usable=code not in (QueryMemory.code, *over))
        if code == GroupTooSmall.code:
            raise GroupTooSmall(minimum_group=self._job.k)
        if code == RowsOverLimit.code:
            raise RowsOverLimit(rows_max=self._job.rows_max)
        if code == BytesOverLimit.code:
            raise BytesOverLimit(bytes_max=self._job.bytes_max)
        if code:
            raise BY_CODE.get(code, QueryFailed)()

    def close(self) -> None:
        """End the query now if it has not ended; its worker dies. Idempotent."""
        self._release(usable=False)

    def stop(self) -> None:
        """Kill the worker from any thread; whoever reads in another sees the end at once."""
        with self._own:
            if self._give_back is not None:
                self._stopped = True
                self._process.stop()

    def _release(self, *, usable: bool) -> None:
        with self._own:
            give_back, self._give_back = self._give_back, None
        if give_back is not None:
            # A worker that was stopped may look alive a moment longer, with its end in the pipe.
            give_back(usable and not self._stopped)

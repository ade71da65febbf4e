"""The local engine seen from the node: one process a query, a pipe a part, killed at the end.

In: an order and the bytes of each part. Out: the answer's Arrow IPC bytes. Every wait has a
deadline; the answer to a missed one is SIGKILL.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

from yunhe.kernel import limits, sandbox

_FRAME: Final = struct.Struct("<cI")
_SCRIPT: Final = Path(__file__).with_name("local.py")


class EngineFailed(Exception):
    """The local engine ended without an answer; `code` is MEMORY, FAILED or TIME."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Engine:
    """A started local engine; `feed` each part from its own thread, then read `frames`."""

    def __init__(self, parts: Sequence[str], memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._inlets: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._out, theirs = os.pipe()
        try:
            for name in parts:
                self._ends[name], self._inlets[name] = os.pipe()
            self._child = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    str(_SCRIPT),
                    str(theirs),
                    str(limits.WORKER_ADDRESS_MB_MAX),
                    str(limits.QUERY_CPU_S_MAX),
                    sandbox.__file__,
                    json.dumps([str(each) for each in sandbox.runtime()]),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs, *self._ends.values()),
                env=sandbox.environment(),
                cwd="/",
            )
        except BaseException:
            for fd in (self._out, *self._inlets.values()):
                os.close(fd)
            raise
        finally:
            for fd in (theirs, *self._ends.values()):
                os.close(fd)

    def order(
        self,
        sql: str,
        slots: Mapping[str, Sequence[str]],
        keys: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Say what is to be computed once every part has come.

        `keys`: slots and columns whose values are asked for by `keys`, in this order.
        """
        said = {
            "sql": sql,
            "parts": self._ends,
            "slots": {name: list(parts) for name, parts in slots.items()},
            "keys": list(keys),
            "keys_max": limits.FABRIC_KEYS_MAX,
            "memory_mb": self._memory_mb,
            "threads": os.cpu_count() or 1,
            "batch_rows": limits.BATCH_ROWS,
        }
        self._tell(said)

    def answer(self, metadata: Mapping[str, str]) -> None:
        """All parts have come: have the answer, with this metadata; then read `frame`s."""
        self._tell(dict(metadata))

    def _tell(self, said: object) -> None:
        stdin = self._child.stdin
        assert stdin is not None  # noqa: S101 - a pipe was asked for
        with contextlib.suppress(BrokenPipeError):  # its end shows at the first read
            stdin.write(json.dumps(said).encode() + b"\n")
            stdin.flush()

    def feed(self, part: str, chunk: bytes | memoryview) -> None:
        """Bytes of a part; raises EngineFailed where the engine has gone."""
        view = memoryview(chunk)
        try:
            while view:
                view = view[os.write(self._inlets[part], view) :]
        except (BrokenPipeError, KeyError) as error:
            raise EngineFailed("FAILED") from error

    def end(self, part: str) -> None:
        """No more bytes of this part. Idempotent."""
        inlet = self._inlets.pop(part, None)
        if inlet is not None:
            os.close(inlet)

    def keys(self) -> list[str] | None:
        """The values asked for next, as texts; None: too many. Raises EngineFailed."""
        found = self._said(b"K")["keys"]
        return None if found is None else [str(each) for each in found]

    def loaded(self) -> dict[str, str]:
        """Wait until every part has come in; what each tells of noise. Raises EngineFailed."""
        return {str(part): str(told) for part, told in self._said(b"L")["noise"].items()}

    def _said(self, wanted: bytes) -> dict[str, Any]:
        kind, payload = self._frame(limits.STREAM_S_MAX)
        try:
            said: dict[str, Any] = json.loads(payload)
        except ValueError as error:
            raise EngineFailed("FAILED") from error
        if kind != wanted:
            raise EngineFailed(said.get("code") or "FAILED")
        return said

    def frame(self) -> bytes | None:
        """The next bytes of the answer; None at its end. Raises EngineFailed."""
        kind, payload = self._frame(limits.FABRIC_LOCAL_S_MAX)
        if kind == b"D":
            return payload
        if code := json.loads(payload).get("code"):
            raise EngineFailed(code)
        return None

    def kill(self) -> None:
        """SIGKILL and reap; idempotent. Threads that feed must have ended or will meet the end."""
        self._child.kill()
        self._child.wait()
        for part in list(self._inlets):
            self.end(part)
        if self._child.stdin is not None and not self._child.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        if self._out >= 0:
            os.close(self._out)
            self._out = -1

    def stop(self) -> None:
        """SIGKILL only: descriptors stay, so that a thread that reads or feeds is safe."""
        self._child.kill()

    def _frame(self, seconds: float) -> tuple[bytes, bytes]:
        until = monotonic() + seconds
        head = self._read(_FRAME.size, until)
        kind, size = _FRAME.unpack(head)
        return kind, self._read(size, until)

    def _read(self, size: int, until: float) -> bytes:
        got = bytearray()
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        while len(got) < size:
            left = until - monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise EngineFailed("TIME")
            part = os.read(self._out, size - len(got))
            if not part:
                raise EngineFailed("FAILED")
            got += part
        return bytes(got)

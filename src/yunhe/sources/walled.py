"""Starts the processes that read strangers' files, and takes in their reports.

In: a job, and the process it is for (`look.py`, `ingest.py`). Out: its report, or why there is
none. What comes back was said by a process that may have been taken over: its size is bounded, and
whoever uses it looks at its form.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic
from typing import Any

from yunhe.kernel import limits, sandbox
from yunhe.kernel.walls import SandboxMissing
from yunhe.sources.errors import SourceOverBound, SourceUnreadable

_CHUNK_BYTES = 1 << 16


def told(process: Sequence[str], job: dict[str, Any], given: str, seconds: float) -> dict[str, Any]:
    """Run a reader on `job`, at most so many `seconds`; its report.

    `process`: the arguments for the interpreter. `given` names the source in errors. Raises
    SourceUnreadable, SourceOverBound, SandboxMissing.
    """
    try:
        report = json.loads(_said(process, job, seconds))
        missing, fault = report.get("missing"), report.get("fault")
        told = (fault["en"], fault["zh"], fault["bound"]) if fault else None
    except (TimeoutError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise unread(error, given) from error
    if missing:
        raise SandboxMissing(missing=", ".join(map(str, missing)))
    if told is None:
        return dict(report)
    en, zh, bound = told
    kind = SourceOverBound if bound else SourceUnreadable
    raise kind(path=given, why=en, why_zh=zh)


def unread(error: Exception, given: str) -> SourceUnreadable:
    """A reader died, took too long, or said what is no report."""
    en, zh = "its reading ended before the end of the data", "读取未能完成"
    return SourceUnreadable(str(error), path=given, why=en, why_zh=zh)


def _said(process: Sequence[str], job: dict[str, Any], seconds: float) -> bytes:
    with subprocess.Popen(
        [sys.executable, "-I", *process],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=sandbox.environment(),
        cwd=job["work"],
        start_new_session=True,
    ) as child:
        try:
            assert child.stdin is not None  # noqa: S101 - both are pipes
            assert child.stdout is not None  # noqa: S101
            with child.stdin as asked:  # it reads all of it before it says anything
                asked.write(json.dumps(job).encode())
            return _bounded(child.stdout.fileno(), monotonic() + seconds)
        finally:
            child.kill()


def _bounded(handle: int, deadline: float) -> bytes:
    found = bytearray()
    while True:
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - monotonic()))
        if not ready:
            raise TimeoutError("it took too long")
        chunk = os.read(handle, _CHUNK_BYTES)
        if not chunk:
            return bytes(found)
        found += chunk
        if len(found) > 2 * limits.INGEST_REPORT_BYTES_MAX:
            raise ValueError("its report has no end")

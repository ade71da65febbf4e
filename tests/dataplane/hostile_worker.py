"""A worker whose engine has been taken over: it runs Python where the real one runs SQL.

Started in place of `worker.py`, all of which it is but for that: the walls are the real ones.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

_PATH = os.path.join(
    os.path.dirname(__file__), "..", "..", "src", "yunhe", "dataplane", "worker.py"
)
_SPEC = importlib.util.spec_from_file_location("worker", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
worker = importlib.util.module_from_spec(_SPEC)
sys.modules["worker"] = worker
_SPEC.loader.exec_module(worker)


def run(self: Any, job: dict[str, Any]) -> None:
    """The job's text is Python; what it leaves in `said` is the refusal that is told."""
    named: dict[str, Any] = {"worker": self, "parent": os.getppid(), "said": "NOTHING"}
    try:
        exec(job["sql"], named)  # noqa: S102 - what an attacker does
    except (OSError, MemoryError) as refused:
        named["said"] = getattr(refused, "strerror", None) or type(refused).__name__
    self._say(worker.HEADER, groups_withheld=False, prints=[], noised=[])
    self._send(worker.DATA, [memoryview(str(named["said"]).encode())], 1)
    self._say(worker.TRAILER, code="")


worker.Worker.run = run

if __name__ == "__main__":
    worker.main()

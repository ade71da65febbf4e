"""A look whose reader has been taken over: it runs the file it was to look at, as Python.

Started in place of `yunhe/sources/look.py`, all of which it is but for that: the walls are the real
ones. What each line was refused with is the report's only column names, each with its number.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from yunhe.kernel import limits
from yunhe.sources import look


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Each line of the first file, run; `columns` are the refusals, or NOTHING."""
    said = []
    for at, line in enumerate(Path(job["pieces"][0]["file"]).read_text().splitlines()):
        try:
            exec(line, {"job": job, "parent": os.getppid()})  # noqa: S102 - what an attacker does
            said.append([f"{at} NOTHING", "BIGINT"])
        except (OSError, MemoryError) as refused:
            told = getattr(refused, "strerror", None) or type(refused).__name__
            said.append([f"{at} {told}", "BIGINT"])
    return {"alike": True, "columns": said, "rows": 0, "measures": [[0.0, 0]] * len(said)}


if __name__ == "__main__":
    look.serve(run, limits.LOOK_S_MAX)

"""Does the corpus bite? Each defect breaks one thing in a child process, never in the tree.

In: DEFECTS (defects.py): a name, how to break it, which classes to run. Out: for each the cases
that turned red. A defect that stays green is a failure: a new case is due.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from attack import abuses, defects, defects_apps, defects_bounds, defects_ranks
from attack.world import target

DEFECTS: Final = {
    **defects.DEFECTS,
    **defects_apps.DEFECTS,
    **defects_bounds.DEFECTS,
    **defects_ranks.DEFECTS,
}
_PARALLEL: Final = 2
_SECONDS_MAX: Final = 300


def reds(name: str) -> dict[str, str]:
    """Break one thing in this process and run its classes; the red cases with what is wrong."""
    from attack import runner

    defect = DEFECTS[name]
    defect.apply()
    report = runner.Report()
    with tempfile.TemporaryDirectory(prefix="yunhe-sabotage-") as home, target(Path(home)) as aim:
        if defect.groups:
            runner.run_corpus(aim, [defect.face], defect.groups, report)
        for abuse in abuses.ABUSES:
            if abuse.group in defect.abuses:
                report.note(abuse.name, abuse.group, abuse.due, abuse.wrong(aim))
    return report.red


def break_one(name: str) -> int:
    """As a child process: print the red cases; 0 where there is one."""
    found = reds(name)
    for case, why in found.items():
        print(f"RED {case}: {why[:200]}")
    return 0 if found else 1


def prove(names: list[str] | None = None) -> int:
    """Every defect in a child of its own; 1 where one stays green."""
    started, green = time.monotonic(), []
    chosen = names or sorted(DEFECTS)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for name, (red, said) in zip(chosen, pool.map(_child, chosen), strict=True):
            print(f"{'red' if red else 'GREEN':<6} {name:<44} {said}", flush=True)
            if not red:
                green.append(name)
    seconds = time.monotonic() - started
    print(f"{len(chosen)} defects, {len(chosen) - len(green)} turn a case red, {seconds:.0f} s")
    return 1 if green else 0


def _child(name: str) -> tuple[bool, str]:
    """Whether a case turned red, and which; a child that fails by itself proves nothing."""
    command = [sys.executable, str(Path(__file__).parent), "--defect", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        return False, "did not end"
    reds = [line.removeprefix("RED ") for line in done.stdout.splitlines() if line[:4] == "RED "]
    if not reds:
        return False, (done.stderr.strip().splitlines() or ["no case noticed"])[-1][:160]
    return True, f"{len(reds)}: {reds[0][:90]}"

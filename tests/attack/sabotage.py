"""Does the corpus bite? Each defect breaks one thing in a child process, never in the tree.

In: DEFECTS (defects.py): a name, how to break it, which classes to run. Out: for each the cases
that turned red. A defect that stays green is a failure: a new case is due. So is a seed that no
longer fits the code it breaks: a call that fails turns cases red, too, and proves nothing.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

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


def unfit() -> dict[str, str]:
    """The defects that no longer fit today's code, by name, and why; each tried in a fork."""
    found = {}
    for name, defect in sorted(DEFECTS.items()):
        reads, writes = os.pipe()
        if (pid := os.fork()) == 0:
            with os.fdopen(writes, "w", encoding="utf-8") as told:
                told.write(_misfit(defect.apply))
            os._exit(0)
        os.close(writes)
        with os.fdopen(reads, encoding="utf-8") as heard:
            if why := heard.read():
                found[name] = why
        os.waitpid(pid, 0)
    return found


def fits() -> int:
    """Print the defects that do not fit; 1 where there is one."""
    found = unfit()
    for name, why in found.items():
        print(f"UNFIT {name}: {why}")
    if not found:
        print(f"{len(DEFECTS)} seeds fit")
    return 1 if found else 0


def _misfit(apply: Callable[[], None]) -> str:
    """Break this process: why that cannot be, or changes nothing, or takes other arguments."""
    before = {(id(owner), name): value for owner, name, value in _attributes()}
    try:
        apply()
    except Exception as error:  # noqa: BLE001  whatever it is, the seed is told with it
        return f"{type(error).__name__}: {error}"
    changed = 0
    for owner, name, new in _attributes():
        old = before.get((id(owner), name), new)
        if old is new:
            continue
        changed += 1
        if inspect.isroutine(old) and callable(new) and not takes_as(old, new):
            return f"{owner.__name__}.{name} is called with {inspect.signature(old)} today"
    return "" if changed else "it changes nothing"


def _attributes() -> Iterator[tuple[Any, str, Any]]:
    """Every name of the product's modules and classes: its owner, itself, what it holds."""
    modules = [each for name, each in sys.modules.items() if name.partition(".")[0] == "yunhe"]
    held = [value for each in modules for value in vars(each).values()]
    ours = [v for v in held if inspect.isclass(v) and v.__module__.partition(".")[0] == "yunhe"]
    for owner in (*modules, *{id(each): each for each in ours}.values()):
        for name, value in [*vars(owner).items()]:
            yield owner, name, value


def takes_as(old: Callable[..., Any], new: Callable[..., Any]) -> bool:
    """Whether each call that `old` takes can be put to `new`: all arguments, and the due alone."""
    given = inspect.signature(old).parameters.values()
    named = [p for p in given if p.kind is p.KEYWORD_ONLY]
    placed = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for wanted in (lambda p: True, lambda p: p.default is p.empty):
        try:
            inspect.signature(new).bind(
                *[p for p in placed if wanted(p)], **{p.name: p for p in named if wanted(p)}
            )
        except TypeError:
            return False
    return True


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

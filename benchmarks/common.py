"""What every benchmark shares: one result line, and medians of paired runs.

A figure is always a ratio against a named baseline measured in the same run; absolute times
mean little on a shared machine and are printed only beside it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of `make bench`."""

    name: str
    ours: str
    baseline: str
    ratio: float | None
    target: str
    holds: bool | None

    def line(self) -> str:
        """The line as printed."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} x"
        verdict = {True: "ok", False: "MISSED", None: "reported"}[self.holds]
        left = f"{self.name:<46} {self.ours:<14} {self.baseline:<46}"
        return f"{left} {ratio:>8}  {self.target:<12} {verdict}"


def show(results: Iterable[Result]) -> int:
    """Print the table as its lines come; the exit code, 1 where a target is missed."""
    started = time.monotonic()
    head = f"{'what':<46} {'ours':<14} {'baseline, same run':<46} {'ratio':>8}  {'target':<12}"
    print(f"Synthetic data from a seed; medians of paired runs.\n\n{head}")
    missed = []
    for result in results:
        print(result.line(), flush=True)
        if result.holds is False:
            missed.append(result.name)
    print(f"\n{time.monotonic() - started:.0f} s; {len(missed)} missed")
    for name in missed:
        print(f"  missed: {name}")
    return 1 if missed else 0


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def paired(
    ours: Callable[[], object], floor: Callable[[], object], runs: int
) -> tuple[float, float, float]:
    """Medians of ours and of the floor in seconds, and the median of their paired ratios."""
    ours(), floor()
    pairs = [(seconds(ours), seconds(floor)) for _ in range(runs)]
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )

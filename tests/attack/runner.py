"""Runs everything against one real node and prints what came of it.

In: which faces, which classes. Out: a `Report`: cases, leaks, wrong answers, refusals by class.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attack import abuses, canaries, corpus, fuzz, inference, sabotage
from attack.faces import FACES, RUNS, Face, PlaneFace
from attack.world import Target, target


@dataclass
class Report:
    """What a run found; `red` maps a case's name to what is wrong."""

    ran: int = 0
    red: dict[str, str] = field(default_factory=dict)
    by_class: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def leaks(self) -> list[str]:
        """The names of the cases that leaked."""
        return [name for name, why in self.red.items() if why.startswith("LEAK")]

    def note(self, name: str, group: str, due: str, wrong: str) -> None:
        """One case is done."""
        self.ran += 1
        if wrong:
            self.red[name] = wrong
        code = due.partition("=")[0].partition("|")[0]
        counted = self.by_class.setdefault(group, Counter())
        counted["wrong" if wrong else "harmless" if code == RUNS else code] += 1

    def print(self) -> None:
        """The table by class, then what is wrong."""
        for group, counted in sorted(self.by_class.items()):
            told = ", ".join(f"{code} {number}" for code, number in counted.most_common())
            print(f"  {group:<20} {sum(counted.values()):>5}  {told}")
        print(f"corpus {self.ran}, leaks = {len(self.leaks)}, wrong answers = {len(self.red)}")
        for name, why in self.red.items():
            print(f"  RED {name}: {why[:300]}")


def run_corpus(aim: Target, faces: Sequence[str], groups: Iterable[str], report: Report) -> None:
    """Every case of the classes over every face; then what the nodes wrote into their logs."""
    for name in faces:
        face: Face = FACES[name](aim)
        try:
            for case in corpus.cases(*groups):
                wrong = case.wrong(aim, face)
                report.note(f"{name}/{case.name}", case.group, case.due, wrong)
        finally:
            face.close()
    asked = "\n".join(case.sql for case in corpus.cases())
    marks = canaries.leaks("\n".join(aim.logged), asked)
    report.note("logs", "logs", "NO_MARKS", f"LEAK of {marks} into the log" if marks else "")


def _fuzz(aim: Target, queries: int, report: Report) -> None:
    """Queries made from a grammar, against the policy applied by hand."""
    seed = int(time.time())
    found = fuzz.fuzz(aim, PlaneFace(aim), seed, queries)
    print(
        f"fuzzed {found.ran} queries (seed {seed}): {found.compared} compared with an oracle, "
        f"{found.refused} refused, {len(found.wrong)} wrong"
    )
    for at, why in enumerate(found.wrong):
        report.red[f"fuzz:{seed}:{at}"] = why


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make attack")
    parser.add_argument("--face", action="append", choices=list(FACES))
    parser.add_argument("--group", action="append", help="a class of the corpus, or `abuses`")
    parser.add_argument("--sabotage", action="store_true", help="prove that the corpus bites")
    parser.add_argument("--defect", choices=sorted(sabotage.DEFECTS), help="break one thing")
    parser.add_argument("--seeds", action="store_true", help="see that each defect fits the code")
    parser.add_argument("--queries", type=int, default=300, help="how many of a kind to make up")
    given = parser.parse_args()
    if given.sabotage:
        return sabotage.prove()
    if given.seeds:
        return sabotage.fits()
    if given.defect:
        return sabotage.break_one(given.defect)
    started, report = time.monotonic(), Report()
    groups = given.group or []
    with tempfile.TemporaryDirectory(prefix="yunhe-attack-") as home, target(Path(home)) as aim:
        run_corpus(aim, given.face or ["http"], [g for g in groups if g != "abuses"], report)
        if not groups or "abuses" in groups:
            for abuse in abuses.ABUSES:
                report.note(abuse.name, abuse.group, abuse.due, abuse.wrong(aim))
            _fuzz(aim, given.queries, report)
            for mode in inference.MODES:
                for attack in inference.ATTACKS:
                    print(attack(aim, mode).line())
    report.print()
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if report.red else 0

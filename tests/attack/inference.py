"""Attacks by inference, with what they achieve counted: how often a single value comes out exactly.

Each aims at people whom (year of birth, sex, weight) single out and tries to learn their age from
answers that are each allowed. Modes: `k` (groups of ten, the audit taken away), `audit` (as a
contract of groups has it) and `privacy` (noise under a budget).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from attack.faces import RUNS, Face, PlaneFace
from attack.world import GROUPS, Target
from yunhe.dataplane import service
from yunhe.sdk import Contract

TARGETS: Final = 20
REPEATS: Final = 50
PRIVACY: Final = "epsilon=1000;delta=0.000001;query=0.5;groups=1;rows=1;patients.Age=0..100"
MODES: Final = ("k", "audit", "privacy")


@dataclass(frozen=True)
class Measured:
    """One attack in one mode: how many values came out exactly, of how many tried."""

    attack: str
    mode: str
    exact: int
    tried: int

    def line(self) -> str:
        """As printed."""
        return f"  {self.attack:<14} {self.mode:<8} recovers {self.exact} of {self.tried} exactly"


@contextlib.contextmanager
def _contract(aim: Target, mode: str) -> Iterator[Contract]:
    """A contract of its own, on a product of its own; `k`: nothing is told to the audit."""
    answered: Callable[..., Any] = service.for_audit
    if mode == "k":
        service.for_audit = lambda *_: None
    try:
        yield aim.agree(replace(GROUPS, privacy=PRIVACY if mode == "privacy" else None))
    finally:
        service.for_audit = answered


def _targets(aim: Target, face: Face) -> list[tuple[str, int]]:
    """People whom what everybody may know singles out: the predicate, and their age."""
    rows = face.ask(aim.contracts["rows"], "SELECT birth, sex, weight, age FROM patients").rows
    known = Counter((row["birth"], row["sex"], row["weight"]) for row in rows)
    alone = [row for row in rows if known[row["birth"], row["sex"], row["weight"]] == 1]
    return [
        (f"(birth = {r['birth']} AND sex = '{r['sex']}' AND weight = {r['weight']})", int(r["age"]))
        for r in alone[:TARGETS]
    ]


def _sum(face: Face, contract: Contract, where: str) -> float | None:
    got = face.ask(contract, f"SELECT sum(age) AS s FROM patients WHERE {where}")
    if got.code != RUNS or not got.rows or got.rows[0]["s"] is None:
        return None
    return float(got.rows[0]["s"])


def differencing(aim: Target, mode: str) -> Measured:
    """The sum of all, less the sum of all but one."""
    face, exact = PlaneFace(aim), 0
    targets = _targets(aim, face)
    with _contract(aim, mode) as contract:
        everybody = _sum(face, contract, "TRUE")
        for predicate, age in targets:
            others = _sum(face, contract, f"NOT {predicate}")
            exact += None not in (everybody, others) and round(everybody - others) == age  # type: ignore[operator]
    return Measured("differencing", mode, exact, len(targets))


def tracker(aim: Target, mode: str) -> Measured:
    """q(A or T) + q(A or not T) - q(all): neither question nor its rest is small."""
    face, exact = PlaneFace(aim), 0
    targets = _targets(aim, face)
    with _contract(aim, mode) as contract:
        everybody = _sum(face, contract, "TRUE")
        half = _sum(face, contract, "sex = 'f'")
        for predicate, age in targets:
            with_it = _sum(face, contract, f"sex = 'f' OR {predicate}")
            without = _sum(face, contract, f"sex = 'f' OR NOT {predicate}")
            found = [everybody, half, with_it, without]
            if None not in found:
                # whoever is in A counts there already: one of these two is the target's age
                guesses = (with_it - half, everybody - without)  # type: ignore[operator]
                exact += age in (round(each) for each in guesses)
    return Measured("tracker", mode, exact, len(targets))


def averaging(aim: Target, mode: str) -> Measured:
    """The same question again and again, to average its noise away; and in other words."""
    face = PlaneFace(aim)
    true = sum(
        int(row["age"]) for row in face.ask(aim.contracts["rows"], "SELECT age FROM patients").rows
    )
    with _contract(aim, mode) as contract:
        asked = [_sum(face, contract, "TRUE") for _ in range(REPEATS)]
    answers = [each for each in asked if each is not None]
    mean = sum(answers) / len(answers) if answers else -1
    return Measured("averaging", mode, int(round(mean) == true), 1)


def _told(attack: Callable[[Target, str], Measured], mode: str) -> Callable[[Target], str]:
    def act(aim: Target) -> str:
        measured = attack(aim, mode)
        return f"{measured.exact} of {measured.tried}"

    return act


ATTACKS: Final = (differencing, tracker, averaging)
# Noise may hit a value by chance, about once in 400 tries.
_CHANCE: Final = f"0 of {TARGETS}|1 of {TARGETS}"
HELD: Final = {
    ("differencing under the audit", f"0 of {TARGETS}"): _told(differencing, "audit"),
    ("a tracker under the audit", f"0 of {TARGETS}"): _told(tracker, "audit"),
    ("differencing under a budget", _CHANCE): _told(differencing, "privacy"),
    ("a tracker under a budget", _CHANCE): _told(tracker, "privacy"),
    ("averaging under a budget", "0 of 1"): _told(averaging, "privacy"),
}

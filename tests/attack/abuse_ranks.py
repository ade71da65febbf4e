"""Abuses of aggregates that a list of the terms allows: to a person's value by places in an order.

What an attacker is told is compared with what is so, read under a contract that shows rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from attack.canaries import MINIMUM_GROUP
from attack.faces import RUNS, PlaneFace
from attack.world import GROUPS, Target

_RANKED: Final = "patients.Age=count,max,median,min,quantile,stddev/"
_BORN: Final = 1910  # birth less age: who knows one of a person knows the other


def _ages(aim: Target) -> list[int]:
    found = PlaneFace(aim).ask(aim.contracts["rows"], "SELECT age FROM patients").rows
    return sorted(int(row["age"]) for row in found)


def _asker(aim: Target, step: str) -> Callable[[str], list[int] | str]:
    """Asks under a contract of its own; the first row, or the refusal's code."""
    contract, face = aim.agree(replace(GROUPS, aggregates=_RANKED + step)), PlaneFace(aim)

    def ask(sql: str) -> list[int] | str:
        got = face.ask(contract, sql)
        if got.code != RUNS:
            return got.code
        return [-1 if each is None else int(each) for each in got.rows[0].values()]

    return ask


def _moving_filter(aim: Target) -> str:
    """The largest below a border that orders people by age: each told has its ten people."""
    ask, ages = _asker(aim, "5"), _ages(aim)
    told = 0
    for limit in (36, 48, 49, 53, 71, 79, 81):
        got = ask(f"SELECT max(age) FROM patients WHERE birth < {_BORN + limit}")
        if isinstance(got, str):
            continue
        told += 1
        beyond = sum(got[0] <= age < limit for age in ages)
        if beyond < MINIMUM_GROUP or got[0] % 5:
            return f"{got[0]} below {limit}, of {beyond}"
    return "TEN BEYOND EACH" if told else "NOTHING TOLD"


def _all_quantiles(aim: Target) -> str:
    """A hundred places of one group, and its ends: no more bars than of ten people each."""
    ask, ages = _asker(aim, "1"), _ages(aim)
    told: set[int] = set()
    for at in range(0, 100, 25):
        shares = ", ".join(f"quantile(age, {part / 100})" for part in range(at, at + 25))
        got = ask(f"SELECT {shares}, min(age), max(age) FROM patients")
        if isinstance(got, str):
            return got
        told |= set(got)
    ends = ages[MINIMUM_GROUP - 1], ages[-MINIMUM_GROUP]
    if not (ends[0] <= min(told) and max(told) <= ends[1]):
        return f"{min(told)} to {max(told)}, not {ends}"
    return "BARS OF TEN" if len(told) <= len(ages) // MINIMUM_GROUP else f"{len(told)} bars"


def _edge(aim: Target) -> str:
    """Nine people above, one whom we like, and all others far below: the tenth would be hers."""
    ask, ages = _asker(aim, "1"), _ages(aim)
    where = f"age < 40 OR age > {ages[-MINIMUM_GROUP]} OR birth = {_BORN + 60}"
    got = ask(f"SELECT max(age) FROM patients WHERE {where}")
    return got if isinstance(got, str) else RUNS


def _median_less_one(aim: Target) -> str:
    """The median of all, and of all but a few whom what everybody knows singles out."""
    ask = _asker(aim, "1")
    ask("SELECT median(age) FROM patients")
    got = ask(f"SELECT median(age) FROM patients WHERE NOT birth = {_BORN + 21}")
    return got if isinstance(got, str) else RUNS


def _row_more(aim: Target) -> str:
    """A sum, and beside another table the same with one row more of somebody in it already."""
    face, contract = PlaneFace(aim), aim.agree(GROUPS)
    early, one = (
        "l.day < DATE '2020-02-20'",
        f"l.day = DATE '2020-04-10' AND p.birth = {_BORN + 21}",
    )
    first = face.ask(contract, f"SELECT sum(l.value) AS s FROM labs l WHERE {early}").code
    if first != RUNS:
        return first
    beside = "labs l LEFT JOIN patients p ON p.id = l.id"
    more = f"SELECT sum(l.value) AS s FROM {beside} WHERE {early} OR ({one})"
    return face.ask(contract, more).code


def _small_groups(aim: Target) -> str:
    """Larger and larger groups: the first that is told has enough people."""
    ask, ages = _asker(aim, "1"), _ages(aim)
    for most in (23, 25, 27, 29, 31):
        people = sum(age <= most for age in ages)
        for asked, enough in (("max", 4 * MINIMUM_GROUP - 1), ("median", 2 * MINIMUM_GROUP - 1)):
            got = ask(f"SELECT {asked}(age) FROM patients WHERE birth <= {_BORN + most}")
            if not isinstance(got, str) and people < enough:
                return f"{asked} of {people}"
    return "ENOUGH"


RANKS: Final = {
    ("the largest below a moving filter", "TEN BEYOND EACH"): _moving_filter,
    ("all quantiles of one group", "BARS OF TEN"): _all_quantiles,
    ("one person put at the edge", "AGGREGATE_COLUMN_FILTERED"): _edge,
    ("a median, and less a few", "QUERY_OVERLAP"): _median_less_one,
    ("one row more, beside another table", "QUERY_OVERLAP"): _row_more,
    ("extremes of small groups", "ENOUGH"): _small_groups,
}

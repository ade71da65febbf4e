"""Policy evaluations a second, 20 rules x 5 constraints, reasons kept; and whole admissions.

Floor, in the same run: the same 100 comparisons written by hand as a Python function that returns
the list of what failed. Printed: evaluations/s for an allowed and a denied request, with and
without the reasons read out, and the ratio of the worst against the floor. Then the whole `admit`
(evaluate, reserve, evidence, durable commit) on SQLite, from one caller and from 64 at once.
"""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.common import Result
from yunhe.contracts import (
    Agreement,
    Constraint,
    Contract,
    ContractInForce,
    Policy,
    Price,
    Rule,
    Side,
    Terms,
    policy_from_terms,
)
from yunhe.control import Context, Control, Use, compile_policy
from yunhe.evidence import EvidenceLog
from yunhe.kernel.clock import iso
from yunhe.kernel.db import create_all, open_database
from yunhe.kernel.keys import KeyStore

RULES = 20
START = datetime(2026, 1, 1, tzinfo=UTC)
GOAL_PER_S = 50_000


def policy() -> Policy:
    """Twenty alternatives, no two constraints alike; the last one fits `request`."""
    rules = []
    for i in range(RULES):
        columns = tuple(f"t.c{j}" for j in range(i + 1))
        rules.append(
            Rule(
                "permission",
                "read",
                (
                    Constraint("purpose", "isAnyOf", (f"p{i}", f"q{i}")),
                    Constraint("dataField", "isPartOf", columns),
                    Constraint("time", "lteq", iso(START + timedelta(days=i))),
                    Constraint("count", "lteq", str(10 * (i + 1))),
                    Constraint("dateRecord", "lteq", str(100 * (i + 1))),
                ),
            )
        )
    return Policy(tuple(rules))


def request(purpose: str) -> Context:
    """Four columns, late, many uses: only the last rule can hold."""
    return Context(
        "read",
        {
            "purpose": purpose,
            "dataField": frozenset({"t.c0", "t.c1", "t.c2", "t.c19"}),
            "time": START + timedelta(days=19),
            "count": 200,
            "dateRecord": 2000,
        },
    )


def by_hand() -> Callable[[Context], tuple[bool, list[tuple[int, str]]]]:
    """The floor: what one would write for these hundred comparisons without a policy engine."""
    table = [
        (
            {f"p{i}", f"q{i}"},
            frozenset(f"t.c{j}" for j in range(i + 1)),
            START + timedelta(days=i),
            10 * (i + 1),
            100 * (i + 1),
        )
        for i in range(RULES)
    ]

    def check(context: Context) -> tuple[bool, list[tuple[int, str]]]:
        values = context.values
        failed: list[tuple[int, str]] = []
        for i, (purposes, columns, until, uses, rows) in enumerate(table):
            before = len(failed)
            if values["purpose"] not in purposes:
                failed.append((i, "purpose"))
            if not values["dataField"] <= columns:  # type: ignore[operator]
                failed.append((i, "dataField"))
            if not values["time"] <= until:  # type: ignore[operator]
                failed.append((i, "time"))
            if not values["count"] <= uses:  # type: ignore[operator]
                failed.append((i, "count"))
            if not values["dateRecord"] <= rows:  # type: ignore[operator]
                failed.append((i, "dateRecord"))
            if len(failed) == before:
                return True, failed
        return False, failed

    return check


def per_second(work: Callable[[], object], seconds: float = 0.5) -> float:
    """Best of three, garbage collector off."""
    best = 0.0
    gc.disable()
    for _ in range(3):
        count, started = 0, time.perf_counter()
        while (spent := time.perf_counter() - started) < seconds:
            for _ in range(200):
                work()
            count += 200
        best = max(best, count / spent)
    gc.enable()
    return best


def measure() -> dict[str, float]:
    """All figures; `ratio` is evaluate against the hand-written floor, the slower request."""
    compiled, floor = compile_policy(policy()), by_hand()
    allowed, denied = request("p19"), request("none")
    assert compiled.evaluate(allowed).rule == "rules[19]"
    assert floor(allowed)[0]
    assert len(compiled.evaluate(denied).reasons) == len(floor(denied)[1])
    found = {
        "floor_allow_per_s": per_second(lambda: floor(allowed)),
        "floor_deny_per_s": per_second(lambda: floor(denied)),
        "allow_per_s": per_second(lambda: compiled.evaluate(allowed)),
        "deny_per_s": per_second(lambda: compiled.evaluate(denied)),
        "deny_reasons_read_per_s": per_second(lambda: compiled.evaluate(denied).reasons),
    }
    found["ratio"] = min(
        found["allow_per_s"] / found["floor_allow_per_s"],
        found["deny_per_s"] / found["floor_deny_per_s"],
    )
    return found


def measure_admit(callers: int, seconds: float = 2.0) -> float:
    """Admissions a second, each durable and evidenced when it returns."""
    terms = Terms(("research",), ("t.c0",), rows_max=100, price=Price(100, 1))
    rules = policy_from_terms(terms)
    agreement = Agreement("c", b"{}", "P", "did:web:h", "did:web:r", rules, START)
    contract = Contract(
        "c", Side.PROVIDER, "did:web:r", "", "P", rules, "in_force", 1, agreement, "n", START
    )
    with tempfile.TemporaryDirectory() as folder:
        db = open_database(f"sqlite:///{folder}/node.db")
        create_all(db)
        log = EvidenceLog(db, KeyStore(Path(folder) / "keys").key("log"), "bench.example/log")
        log.install()
        control = Control(db, log)
        db.write(lambda tx: tx.emit(ContractInForce(contract, tx.now)))
        done = [0] * callers
        until = time.perf_counter() + seconds

        def work(me: int) -> None:
            fields = frozenset({"t.c0"})
            while time.perf_counter() < until:
                use_id = f"{me}-{done[me]}"
                control.admit(Use(use_id, "c", "did:web:r", "a", "research", fields, 100))
                done[me] += 1

        threads = [threading.Thread(target=work, args=(me,)) for me in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        db.close()
    return sum(done) / seconds


def run() -> list[Result]:
    """The evaluation's line, and whole admissions."""
    found = measure()
    worst = min(found["allow_per_s"], found["deny_per_s"])
    slower = "allow" if found["allow_per_s"] < found["deny_per_s"] else "deny"
    floor = found[f"floor_{slower}_per_s"]
    lines = [
        Result(
            "policy evaluation, 20 rules x 5, reasons kept",
            f"{worst:,.0f}/s",
            f"by hand in Python: {floor:,.0f}/s",
            worst / floor,
            ">= 50,000/s",
            worst >= GOAL_PER_S,
        )
    ]
    single = measure_admit(1)
    many = measure_admit(64)
    lines.append(
        Result("whole admit, 1 caller", f"{single:,.0f}/s", "durable each", None, "", None)
    )
    lines.append(
        Result(
            "whole admit, 64 callers",
            f"{many:,.0f}/s",
            f"1 caller: {single:,.0f}/s",
            many / single,
            "",
            None,
        )
    )
    return lines


if __name__ == "__main__":
    for result in run():
        print(result.line())

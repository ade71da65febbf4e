"""Abuses of the contract itself: its purpose, its count, its end, its price of questions."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from attack.faces import PlaneFace
from attack.world import GROUPS, ROWS, Target
from flow.world import PURPOSE, until
from yunhe.dataplane import Query
from yunhe.kernel.errors import YunheError

SQL: Final = "SELECT age FROM patients LIMIT 3"
_numbers: Final = itertools.count()


def _with_purpose(purpose: str) -> Callable[[Target], str]:
    return lambda aim: PlaneFace(aim).ask(aim.contracts["rows"], SQL, purpose).code


def _counted(aim: Target) -> str:
    """A contract of two uses, asked three times."""
    contract = aim.agree(replace(ROWS, uses_max=2))
    face = PlaneFace(aim)
    codes = [face.ask(contract, SQL).code for _ in range(3)]
    return codes[2] if codes[:2] == ["RUNS", "RUNS"] else str(codes)


def _at_once(aim: Target) -> str:
    """A contract of three uses, asked by twelve callers at once."""
    contract, face = aim.agree(replace(ROWS, uses_max=3)), PlaneFace(aim)
    codes: list[str] = []
    threads = [
        threading.Thread(target=lambda: codes.append(face.ask(contract, SQL).code))
        for _ in range(12)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    return f"{Counter(codes)['RUNS']} of 3"


def _asked_for_nothing(aim: Target) -> str:
    """Refusals that tell of the data are given back only so often."""
    contract, face = aim.agree(replace(GROUPS, uses_max=3)), PlaneFace(aim)
    small = "SELECT count(*) FROM patients WHERE age > 1000"
    codes = [face.ask(contract, small).code for _ in range(40)]
    return codes[-1]


def _terminated(aim: Target) -> str:
    contract, face = aim.agree(ROWS), PlaneFace(aim)
    before = face.ask(contract, SQL).code
    aim.world["a"].space.terminate(contract.id, "enough")
    return face.ask(contract, SQL).code if before == "RUNS" else before


def _terminated_meanwhile(aim: Target) -> str:
    """A stream that is under way when the contract ends."""
    contract = aim.agree(replace(ROWS, rows_max=None))
    query = Query(
        contract.id, f"cut-{next(_numbers)}", "SELECT a.id FROM labs a, labs b, labs c", PURPOSE
    )
    plane, peer = aim.world["a"].node.plane, aim.world["r"].did
    with plane.query(peer, query) as stream:
        next(stream)
        aim.world["a"].space.terminate(contract.id, "enough")
        ends = time.monotonic() + 5
        try:
            for _ in stream:
                if time.monotonic() > ends:
                    return "FLOWS ON"
        except YunheError as cut:
            return cut.code
    return "CAME TO ITS END"


def _expired(aim: Target) -> str:
    ends = datetime.now(UTC) + timedelta(seconds=4)
    contract, face = aim.agree(replace(ROWS, expires_at=ends)), PlaneFace(aim)
    before = face.ask(contract, SQL).code
    until("the end", lambda: datetime.now(UTC) > ends)
    return face.ask(contract, SQL).code if before == "RUNS" else before


def _by_another(aim: Target) -> str:
    """Somebody else's contract is as good as none."""
    query = Query(aim.contracts["rows"].id, f"other-{next(_numbers)}", SQL, PURPOSE)
    try:
        aim.world["a"].node.plane.query(aim.world["fn"].did, query).close()
    except YunheError as refused:
        return refused.code
    return "RUNS"


def _too_many_rows(aim: Target) -> str:
    return PlaneFace(aim).ask(aim.agree(replace(ROWS, rows_max=10)), "SELECT id FROM labs").code


def _too_often(aim: Target) -> str:
    contract, face = aim.agree(replace(ROWS, frequency="1/PT1H")), PlaneFace(aim)
    first = face.ask(contract, SQL).code
    return face.ask(contract, SQL).code if first == "RUNS" else first


def _metered(aim: Target) -> str:
    """What was delivered is charged, to the row, and stands in evidence that verifies."""
    contract, face = aim.agree(replace(ROWS, per_use_fen=100, per_row_fen=7)), PlaneFace(aim)
    face.ask(contract, SQL)
    node = aim.world["a"].node
    (use,) = node.control.uses(contract.id)
    node.evidence.verify_all()
    if not use.entry_id:
        return "NO EVIDENCE"
    return f"{use.state} {use.rows} rows {use.fee_fen} fen"


def _refusal_is_evidence(aim: Target) -> str:
    contract = aim.contracts["rows"]
    PlaneFace(aim).ask(contract, "SELECT diag FROM patients WHERE age = 31337")
    found = aim.world["a"].node.evidence.find(limit=5)
    return next((entry.kind for entry in found if entry.kind == "use.denied"), "NOTHING")


def _hash_guessed(aim: Target) -> str:
    """Whether the pseudonym of a name can be computed by whoever guesses the name."""
    got = PlaneFace(aim).ask(aim.contracts["rows"], "SELECT name FROM patients")
    shown = {str(row["name"]) for row in got.rows}
    guesses = {hashlib.sha256(f"CANARY-NAME-{i}".encode()).hexdigest()[:32] for i in range(301)}
    return "GUESSED" if shown & guesses or not shown else "NOT GUESSED"


def _pseudonyms_of_two_contracts(aim: Target) -> str:
    """Two contracts of one product see different pseudonyms: what they hold cannot be joined."""
    other, face = aim.agree(ROWS), PlaneFace(aim)
    sql = "SELECT name FROM patients"
    seen = [
        {str(row["name"]) for row in face.ask(c, sql).rows} for c in (aim.contracts["rows"], other)
    ]
    return "JOINED" if seen[0] & seen[1] or not seen[0] else "APART"


def _answer_of_another_contract(aim: Target) -> str:
    """The same text under two contracts: neither gets the other's answer."""
    face, sql = PlaneFace(aim), f"SELECT age FROM patients LIMIT {next(_numbers) + 3}"
    first = face.ask(aim.contracts["rows"], sql).code
    return face.ask(aim.contracts["groups"], sql).code if first == "RUNS" else first


TERMS: Final = {
    ("an answer kept for another contract", "AGGREGATE_RAW_COLUMN"): _answer_of_another_contract,
    ("a name guessed and hashed", "NOT GUESSED"): _hash_guessed,
    ("pseudonyms of two contracts", "APART"): _pseudonyms_of_two_contracts,
    ("another purpose", "PURPOSE_NOT_AGREED"): _with_purpose("marketing"),
    ("no purpose", "PURPOSE_NOT_AGREED|BAD_QUERY"): _with_purpose(""),
    ("the purpose in capitals", "PURPOSE_NOT_AGREED"): _with_purpose(PURPOSE.upper()),
    ("the purpose and a blank", "PURPOSE_NOT_AGREED"): _with_purpose(PURPOSE + " "),
    ("the purpose in look-alikes", "PURPOSE_NOT_AGREED"): _with_purpose(
        PURPOSE.replace("c", "\u0441")
    ),
    ("a use too many", "COUNT_EXHAUSTED|USES_EXHAUSTED|USES_SPENT"): _counted,
    ("twelve callers, three uses", "3 of 3"): _at_once,
    (
        "questions that cost nothing",
        "COUNT_EXHAUSTED|USES_EXHAUSTED|USES_SPENT",
    ): _asked_for_nothing,
    ("after the termination", "CONTRACT_TERMINATED"): _terminated,
    ("a stream that outlives the contract", "CONTRACT_TERMINATED"): _terminated_meanwhile,
    ("after the expiry", "CONTRACT_EXPIRED"): _expired,
    ("somebody else's contract", "CONTRACT_UNKNOWN|NOT_FOUND"): _by_another,
    ("more rows than agreed", "ROWS_OVER_LIMIT"): _too_many_rows,
    ("more often than agreed", "FREQUENCY_EXCEEDED|TOO_OFTEN"): _too_often,
    ("what was delivered", "posted 3 rows 121 fen"): _metered,
    ("a refusal", "use.denied"): _refusal_is_evidence,
}

"""The corpus as text: `fixtures/<class>.txt`, one case a line: mode, the answer due, the query.

    rows COLUMN_NOT_AGREED: SELECT diag FROM patients

Mode: rows | groups | listed (the contract). Answer: the refusal's code, or RUNS for a query that is
harmless because it reads what the policy left. `RUNS=270` also fixes its one value; after `|`
stands what a protocol's own reader may say before the gate is asked. In a query `{U+202E}` stands
for a character, `{3*ab}` for ababab.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from attack import canaries
from attack.faces import RUNS, Answer, Face
from attack.world import Target

FIXTURES: Final = Path(__file__).with_name("fixtures")
_CHARACTER: Final = re.compile(r"\{U\+([0-9A-F]{4,6})\}")
_REPEATED: Final = re.compile(r"\{(\d+)\*([^{}]*)\}")


@dataclass(frozen=True)
class Case:
    """One hostile query; `name` is its class and line, stable while the file is only added to."""

    group: str
    line: int
    mode: str
    due: str
    sql: str

    @property
    def name(self) -> str:
        """Where it stands: class:line."""
        return f"{self.group}:{self.line}"

    def wrong(self, target: Target, face: Face) -> str:
        """What is wrong with the answer over `face`; empty: it is as it should be."""
        got = face.ask(target.contracts[self.mode], self.sql)
        return judge(self, got)


def judge(case: Case, got: Answer) -> str:
    """Leaks first: they matter whatever code came."""
    if marks := canaries.leaks(got.shown, case.sql):
        return f"LEAK of {marks} ({got.code}): {got.shown[:200]}"
    if numbers := canaries.large_numbers(got.rows, case.sql):
        return f"LEAK by numbers {numbers[:3]}"
    code, _, value = case.due.partition("=")
    if got.code not in code.split("|"):
        return f"{got.code} instead of {code}"
    if code == RUNS and value:
        cells = [str(cell) for row in got.rows for cell in row.values()]
        if cells != [value]:
            return f"{cells[:5]} instead of {value}"
    return ""


def cases(*groups: str) -> list[Case]:
    """All cases of the named classes, else of all."""
    found = []
    for file in sorted(FIXTURES.glob("*.txt")):
        if groups and file.stem not in groups:
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if line and not line.startswith("#"):
                head, _, sql = line.partition(": ")
                mode, due = head.split()
                found.append(Case(file.stem, number, mode, due, expand(sql)))
    return found


def expand(text: str) -> str:
    """`text` with its shorthands written out."""
    text = _CHARACTER.sub(lambda found: chr(int(found[1], 16)), text)
    return _REPEATED.sub(lambda found: found[2] * int(found[1]), text)

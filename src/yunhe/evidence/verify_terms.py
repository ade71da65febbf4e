"""What the parties agreed, read out of the agreement for the verifier: who, price, bounds.

The policy's JSON is read directly: evidence stands below contracts and imports nothing of it. A
term that bears on money and is not understood is a finding, never a free use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from yunhe.evidence.report import Findings
from yunhe.evidence.report_why import both
from yunhe.evidence.shape import POLICY
from yunhe.evidence.verify_odrl import rules_of
from yunhe.kernel.money import parse_yuan


@dataclass(frozen=True)
class Agreed:
    """The terms the verifier needs; prices in fen."""

    id: str
    provider: str
    consumer: str
    per_use: int
    per_row: int
    purposes: tuple[str, ...]
    uses_max: int | None


def read_agreed(agreement: dict[str, Any], findings: Findings) -> Agreed:
    """Parties, prices and bounds of an agreement of the right shape."""
    prices = {"use": 0, "row": 0}
    purposes: tuple[str, ...] = ()
    uses_max: int | None = None
    for place, rule in _rules(agreement, findings):
        at = f"/contract/agreement{place}"
        # A count beside a quota window is so many a window, not in all (T14 4.1).
        said = {(constraint["term"], constraint["operator"]) for constraint in rule["constraints"]}
        windowed = ("timeWindow", "eq") in said and ("frequency", "lteq") not in said
        typed = POLICY in agreement  # else the places of ODRL are known by their rule alone
        for number, constraint in enumerate(rule["constraints"]):
            key, value = (constraint["term"], constraint["operator"]), constraint["value"]
            if key == ("purpose", "isAnyOf"):
                purposes += (value,) if isinstance(value, str) else tuple(map(str, value))
            elif key == ("count", "lteq") and not windowed:
                below = f"{at}/constraints/{number}/value" if typed else at
                uses_max = _least(uses_max, _count(value, below, findings))
        for number, duty in enumerate(rule["duties"]):
            if duty["action"] == "compensate":
                below = f"{at}/duties/{number}" if typed else at
                _read_price(duty, prices, below, findings)
    return Agreed(
        agreement["@id"],
        agreement["assigner"],
        agreement["assignee"],
        prices["use"],
        prices["row"],
        purposes,
        uses_max,
    )


_COUNT: Final = re.compile(r"[0-9]{1,15}", re.ASCII)  # as a node reads it


def _count(value: Any, at: str, findings: Findings) -> int | None:
    if isinstance(value, str) and _COUNT.fullmatch(value):
        return int(value)
    why = ("a number of uses is a whole number", "使用次数应为整数")
    findings.add(at, "AGREEMENT_UNREADABLE", why=why)
    return None


def _least(one: int | None, other: int | None) -> int | None:
    said = [count for count in (one, other) if count is not None]
    return min(said) if said else None


def _rules(agreement: dict[str, Any], findings: Findings) -> list[tuple[str, dict[str, Any]]]:
    """The rules with their pointers: of our typed policy, else of the ODRL that was transmitted."""
    if POLICY not in agreement:
        return rules_of(agreement, "/contract/agreement", findings)
    listed = agreement[POLICY]["rules"]
    return [(f"/{POLICY}/rules/{number}", rule) for number, rule in enumerate(listed)]


def _read_price(duty: dict[str, Any], prices: dict[str, int], at: str, findings: Findings) -> None:
    said = {(c["term"], c["operator"]): c["value"] for c in duty["constraints"]}
    per, amount = said.get(("payPer", "eq")), said.get(("payAmount", "eq"))
    try:
        if len(said) != 2 or len(duty["constraints"]) != 2 or per not in prices or prices[per]:
            raise ValueError("a price is one amount per use or per row")
        prices[per] = parse_yuan(str(amount))
    except (ValueError, TypeError) as error:
        findings.add(at, "AGREEMENT_UNREADABLE", why=both(error))

"""Policy + request -> verdict, as text pairs: anyone can add a case under fixtures/.

A case is a block between lines of `---`:
    permission|prohibition|obligation ACTION: TERM OPERATOR VALUE; TERM OPERATOR VALUE ...
    duty [pre|parallel|post] ACTION: TERM OPERATOR VALUE; ...      (belongs to the rule above)
    ask ACTION: TERM = VALUE; ...        values: 12, {a, b}, 2026-01-01T00:00:00Z, text
    => allow rules[0]        or        => deny CODE rules[0]   (rule `-`: none matched)
    named TERM                (optional: some reason names this term, action or duty)
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from yunhe.contracts import Constraint, Duty, Policy, Rule
from yunhe.control import Context, compile_policy, often, refusal
from yunhe.kernel.clock import parse_iso

FIXTURES = Path(__file__).parent / "fixtures"


def _blocks() -> list[tuple[str, list[str]]]:
    found = []
    for path in sorted(FIXTURES.glob("*.txt")):
        for place, block in enumerate(path.read_text(encoding="utf-8").split("\n---\n")):
            lines = [line for line in block.splitlines() if line.strip()]
            title = next((line[1:].strip() for line in lines if line.startswith("#")), "")
            body = [line for line in lines if not line.startswith("#")]
            if body:
                found.append((f"{path.stem}:{place}:{title}", body))
    return found


def _value(text: str) -> str | tuple[str, ...]:
    text = text.strip()
    if text.startswith("{"):
        return tuple(part.strip() for part in text[1:-1].split(",") if part.strip())
    return text


def _constraints(text: str) -> tuple[Constraint, ...]:
    parts = [part.strip().split(None, 2) for part in re.split(r";\s+", text) if part.strip()]
    return tuple(Constraint(term, operator, _value(value)) for term, operator, value in parts)


def _given(term: str, text: str) -> str | int | datetime | frozenset[str]:
    value = _value(text)
    if isinstance(value, tuple):
        return frozenset(value)
    if term in ("time", "hours"):
        return parse_iso(value)
    counted = term in _NUMBERS or often.counts(term)
    return int(value) if re.fullmatch(r"\d+", value) and counted else value


_NUMBERS = {
    "count",
    "dateRecord",
    "dataSize",
    "recordTotal",
    "sizeTotal",
    "payAmount",
    "minimumGroup",
    "timeWindow",
}


def _read(lines: list[str]) -> tuple[Policy, Context, str, str, str, str | None]:
    rules: list[Rule] = []
    context, decision, code, rule, named = Context("", {}), "", "", "", None
    for line in lines:
        head, _, rest = line.partition(":")
        words = head.split()
        if line.startswith("=>"):
            parts = line[2:].split()
            decision = parts[0]
            code, rule = parts[1:3] if decision == "deny" else ("ALLOWED", parts[1])
        elif words[0] == "named":
            named = line.split()[1]
        elif words[0] == "ask":
            pairs = [part.partition("=") for part in re.split(r";\s+", rest) if part.strip()]
            values = {t.strip(): _given(t.strip(), v) for t, _, v in pairs}
            context = Context(words[1], values)
        elif words[0] == "duty":
            last = rules.pop()
            duty = Duty(words[2], _constraints(rest), words[1])
            rules.append(Rule(last.kind, last.action, last.constraints, (*last.duties, duty)))
        else:
            rules.append(Rule(words[0], words[1], _constraints(rest)))
    return Policy(tuple(rules)), context, decision, code, rule.strip("-"), named


@pytest.mark.parametrize("case", [pytest.param(body, id=name) for name, body in _blocks()])
def test_verdict_is_as_written(case: list[str]) -> None:
    policy, context, decision, code, rule, named = _read(case)
    verdict = compile_policy(policy).evaluate(context)
    assert (verdict.decision, verdict.code, verdict.rule) == (decision, code, rule)
    if named is not None:
        assert named in {
            word
            for reason in verdict.reasons
            for word in (reason.term, reason.given, reason.expected)
        }
    if decision == "deny":
        error = refusal(verdict)
        assert error.code == code
        for text in (error.sentence("en"), error.sentence("zh")):
            assert text
            assert "?" not in text, text
        assert error.remedy("en")
        assert error.remedy("zh")

"""The policy evaluator: rules compiled once, one verdict a request, with its reasons (T15 3.2).

In: a `contracts.Policy`. Out: `Compiled`, whose `evaluate(Context)` gives a `Verdict`.
Prohibition beats permission, no matching rule denies, and a word nobody here understands denies
and is named. No text of a policy is ever executed: it is compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yunhe.contracts import INHERIT, Action, Constraint, Duty, Operator, Policy, Rule, Term
from yunhe.control import often
from yunhe.control.model import (
    ALLOW,
    DENY,
    Bit,
    CompiledRule,
    Context,
    Reason,
    Verdict,
)
from yunhe.control.probes import (
    Entry,
    Probe,
    SetProbe,
    expression_probe,
    hours_probe,
    ordered_probe,
    unknown_bits,
)
from yunhe.control.values import interval
from yunhe.control.vocabulary import ACTIONS, KIN, NEEDS_ACCESS, TERMS, TO_OTHERS, code_of
from yunhe.kernel import limits
from yunhe.kernel.errors import TooLarge
from yunhe.kernel.money import parse_yuan

_KINDS = ("permission", "prohibition", "obligation")
_DUTY_WORDS: dict[tuple[str, str], set[str]] = {
    (Action.DESENSITIZE, "pre"): {Term.DATA_FIELD, Term.MASK_METHOD},
    (Action.COMPENSATE, "post"): {Term.PAY_AMOUNT, Term.PAY_PER},
}


@dataclass(frozen=True, slots=True)
class _Table:
    """Everything about one action: what to look up, and the rules over the bits found."""

    always: int
    probes: tuple[tuple[str, Probe, int], ...]  # (given term, probe, bits when unknown)
    prohibitions: tuple[CompiledRule, ...]
    permissions: tuple[CompiledRule, ...]


class Compiled:
    """A policy ready to be asked. Immutable; safe to share between threads."""

    def __init__(
        self,
        tables: dict[str, _Table],
        blocked: tuple[Reason, ...],
        problems: tuple[Reason, ...],
    ) -> None:
        self._tables = tables
        self._blocked = blocked
        self.problems = problems
        # The counts that a context has to bring: (given term, its window in seconds; None: the
        # seconds since the last use).
        self.counted = tuple(
            (name, often.window_s(name))
            for name in sorted({name for t in tables.values() for name, _, _ in t.probes})
            if often.counts(name)
        )

    def evaluate(self, context: Context) -> Verdict:
        """The verdict on one request; never raises, whatever the context holds."""
        if self._blocked:
            return Verdict(DENY, self._blocked[0].code, "", context, extra=self._blocked)
        table = self._tables.get(context.action)
        if table is None:
            return self._default(context)
        given = context.values
        true = table.always
        for term, probe, unknown in table.probes:
            value = given.get(term)
            true |= unknown if value is None else probe(value)
        outcomes: list[tuple[CompiledRule, int]] = []
        for rule in table.prohibitions:
            failed = rule.mask & ~true
            outcomes.append((rule, failed))
            if not failed:
                return Verdict(DENY, "PROHIBITED", rule.rule_id, context, tuple(outcomes))
        for rule in table.permissions:
            failed = rule.mask & ~true
            outcomes.append((rule, failed))
            if not failed:
                return Verdict(
                    ALLOW, "ALLOWED", rule.rule_id, context, tuple(outcomes), rule.duties
                )
        if not table.permissions:
            return self._default(context, tuple(outcomes))
        rule, failed = min(
            (pair for pair in outcomes if pair[0].kind == "permission"),
            key=lambda pair: pair[1].bit_count(),
        )
        code = next(bit.code for bit in rule.bits if failed & bit.mask)
        return Verdict(DENY, code, rule.rule_id, context, tuple(outcomes))

    def _default(
        self, context: Context, outcomes: tuple[tuple[CompiledRule, int], ...] = ()
    ) -> Verdict:
        code = "DEFAULT" if context.action in ACTIONS else "ACTION_NOT_UNDERSTOOD"
        expected = tuple(sorted(self._tables))
        reason = Reason("", "", "action", "isAnyOf", expected, context.action, code)
        return Verdict(DENY, code, "", context, outcomes, extra=(reason,))


def compile_policy(policy: Policy) -> Compiled:
    """Compile `policy`; `Compiled.problems` names every word that will deny.

    Raises TooLarge beyond limits.COMPILED_RULES_MAX, RULE_CONSTRAINTS_MAX, CONSTRAINT_VALUES_MAX.
    """
    _bound(policy)
    blocked: list[Reason] = []
    problems: list[Reason] = []
    for name in policy.unread_expansion:
        said = policy.expansion[:80]
        blocked.append(Reason("", "", name, "", said, None, "TERM_NOT_UNDERSTOOD"))
    by_action: dict[str, list[tuple[str, Rule]]] = {}
    for place, rule in enumerate(policy.rules):
        rule_id = f"rules[{place}]"
        if rule.kind not in _KINDS:
            blocked.append(_misread(rule_id, rule, "kind", rule.kind, "RULE_NOT_UNDERSTOOD"))
        elif rule.action not in ACTIONS:
            reason = _misread(rule_id, rule, "action", rule.action, "ACTION_NOT_UNDERSTOOD")
            # A permission of an unknown action permits nothing that can be asked; a prohibition or
            # an obligation might concern this very request, so it denies every one.
            (problems if rule.kind == "permission" else blocked).append(reason)
        elif rule.kind != "obligation":
            for action in _covers(rule):
                by_action.setdefault(action, []).append((rule_id, rule))
    tables = {
        action: _table(rules, problems, inherited=policy.inherit is True and action in TO_OTHERS)
        for action, rules in by_action.items()
    }
    return Compiled(tables, tuple(blocked), tuple(dict.fromkeys(blocked + problems)))


def _covers(rule: Rule) -> Sequence[str]:
    if rule.kind == "prohibition" and rule.action == Action.ACCESS:
        return sorted(NEEDS_ACCESS)
    if rule.kind == "prohibition":
        return (rule.action, *KIN.get(rule.action, ()))
    if rule.kind == "permission" and rule.action in NEEDS_ACCESS - {Action.ACCESS}:
        return (rule.action, Action.ACCESS)
    return (rule.action,)


def _bound(policy: Policy) -> None:
    if len(policy.rules) > limits.COMPILED_RULES_MAX:
        raise TooLarge(what="the number of rules in a policy", limit=limits.COMPILED_RULES_MAX)
    for rule in policy.rules:
        if len(rule.constraints) + len(rule.duties) > limits.RULE_CONSTRAINTS_MAX:
            raise TooLarge(
                what="the number of constraints and duties in a rule",
                limit=limits.RULE_CONSTRAINTS_MAX,
            )
        for constraint in rule.constraints:
            if len(constraint.value) > limits.CONSTRAINT_VALUES_MAX:
                raise TooLarge(what="a constraint value", limit=limits.CONSTRAINT_VALUES_MAX)


def _misread(rule_id: str, rule: Rule, term: str, word: str, code: str) -> Reason:
    return Reason(rule_id, rule.kind, term, "", word, None, code)


def _table(rules: Sequence[tuple[str, Rule]], problems: list[Reason], inherited: bool) -> _Table:
    compiled: dict[str, list[CompiledRule]] = {"permission": [], "prohibition": []}
    entries: dict[tuple[str, str], list[Entry]] = {}
    always, next_bit = 0, 0
    for rule_id, rule in rules:
        bits: list[Bit] = []
        prohibits = rule.kind == "prohibition"
        for constraint in rule.constraints + _unperformed(rule, inherited):
            mask = 1 << next_bit
            next_bit += 1
            read = _read(constraint, rule)
            if read is None:  # said by another constraint of this rule
                always |= mask
                continue
            head = (rule_id, rule.kind, constraint.term, constraint.operator, constraint.value)
            if isinstance(read, str):
                problems.append(Reason(*head, None, read))
                always |= mask if prohibits else 0
                bits.append(Bit(mask, head, read, constraint.term))
                continue
            given_term, operator, values = read
            entries.setdefault((given_term, constraint.term), []).append(
                Entry(mask, prohibits, operator, values)
            )
            often_said = often.counts(given_term)
            code = code_of(Term.FREQUENCY if often_said else constraint.term, operator)
            bits.append(Bit(mask, head, code, given_term))
        compiled[rule.kind].append(
            CompiledRule(rule_id, rule.kind, sum(b.mask for b in bits), tuple(bits), rule.duties)
        )
    probes = tuple(
        (given_term, _probe(given_term, group), unknown_bits(group))
        for (given_term, _), group in entries.items()
    )
    return _Table(always, probes, tuple(compiled["prohibition"]), tuple(compiled["permission"]))


def _read(constraint: Constraint, rule: Rule) -> tuple[str, str, tuple[object, ...]] | str | None:
    """(the context value it looks at, operator, its values), or the code of what is not understood.

    None: it holds as soon as the others do.
    """
    if constraint.term == _DUTY:
        return "DUTY_NOT_UNDERSTOOD"
    if often.concerns(constraint, rule):
        said = often.read(constraint, rule)
        if isinstance(said, bool):
            return None
        return said if isinstance(said, str) else (said[0], said[1], (said[2],))
    read = _values(constraint)
    return read if isinstance(read, str) else (read[0], constraint.operator, read[1])


def _values(constraint: Constraint) -> tuple[str, tuple[object, ...]] | str:
    kind = TERMS.get(constraint.term)
    if kind is None:
        return "TERM_NOT_UNDERSTOOD"
    if constraint.operator not in kind.operators:
        return "OPERATOR_NOT_UNDERSTOOD"
    value = constraint.value
    try:
        if kind.family == "expression":
            return constraint.term, (value,)
        if kind.family == "hours":
            return constraint.term, (kind.read(str(value)),)
        if kind.family == "set":
            texts = (value,) if isinstance(value, str) else value
            if not texts:
                raise ValueError("an empty set")
            return constraint.term, tuple(kind.read(text) for text in texts)
        if not isinstance(value, str):
            raise ValueError("one value expected")
        if constraint.operator in (Operator.IS_A, Operator.IS_PART_OF):
            return Term.TIME, interval(value)
        return constraint.term, (kind.read(value),)
    except (ValueError, TypeError, OverflowError):
        return "VALUE_NOT_UNDERSTOOD"


def _probe(given_term: str, group: Sequence[Entry]) -> Probe:
    if often.counts(given_term):
        return ordered_probe(group, int)
    kind = TERMS[given_term]
    if kind.family == "ordered":
        return ordered_probe(group, kind.of)
    if kind.family == "expression":
        return expression_probe(group)
    if kind.family == "hours":
        return hours_probe(group)
    return SetProbe(group, kind.read, kind.inside, kind.overlaps)


_DUTY = "duty"


def _unperformed(rule: Rule, inherited: bool) -> tuple[Constraint, ...]:
    """What a permission asks that no one here performs, as constraints that never hold."""
    if rule.kind != "permission":
        return ()
    duties = tuple(
        Constraint(_DUTY, duty.phase, duty.action) for duty in rule.duties if not _performed(duty)
    )
    return (*duties, Constraint(INHERIT, Operator.EQ, "true")) if inherited else duties


def _performed(duty: Duty) -> bool:
    """The engine masks before delivery; exchange charges afterwards. Nothing else is done yet."""
    words = _DUTY_WORDS.get((duty.action, duty.phase))
    said = {c.term for c in duty.constraints}
    if words is None or said != words or len(duty.constraints) != len(words):
        return False
    if any(c.operator != Operator.EQ for c in duty.constraints):
        return False
    try:
        for constraint in duty.constraints:
            if constraint.term == Term.PAY_AMOUNT:
                parse_yuan(str(constraint.value))
            elif constraint.term == Term.PAY_PER and constraint.value not in ("use", "row"):
                return False
    except ValueError:
        return False
    return True

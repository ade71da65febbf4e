"""The compiled policy says what a plain reading of the rules says, and never raises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.contracts import Constraint, Operator, Policy, Rule, Term
from yunhe.control import Context, compile_policy, refusal
from yunhe.control.vocabulary import TERMS
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.errors import TooLarge

START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = st.sampled_from(["a", "b", "c"])
SETS = st.lists(WORDS, min_size=1, max_size=3, unique=True).map(tuple)


def number(term: Term) -> st.SearchStrategy[Constraint]:
    return st.builds(
        lambda operator, value: Constraint(term, operator, str(value)),
        st.sampled_from(["eq", "lt", "lteq"]),
        st.integers(0, 4),
    )


def moment() -> st.SearchStrategy[Constraint]:
    return st.builds(
        lambda operator, day: Constraint("time", operator, iso(START + timedelta(days=day))),
        st.sampled_from(["eq", "lt", "lteq", "gt", "gteq"]),
        st.integers(0, 4),
    )


def words(term: Term) -> st.SearchStrategy[Constraint]:
    names = sorted(str(o) for o in TERMS[term].operators)
    return st.builds(lambda o, v: Constraint(term, o, v), st.sampled_from(names), SETS)


CONSTRAINTS = st.one_of(
    number(Term.COUNT),
    number(Term.DATE_RECORD),
    moment(),
    words(Term.PURPOSE),
    words(Term.DATA_FIELD),
)
RULES = st.builds(
    Rule,
    st.sampled_from(["permission", "permission", "prohibition"]),
    st.sampled_from(["read", "compute", "download"]),
    st.lists(CONSTRAINTS, max_size=3).map(tuple),
)
REQUESTS = st.builds(
    Context,
    st.sampled_from(["read", "compute", "download"]),
    st.fixed_dictionaries(
        {},
        optional={
            "count": st.integers(0, 5),
            "dateRecord": st.integers(0, 5),
            "time": st.integers(0, 5).map(lambda day: START + timedelta(days=day)),
            "purpose": WORDS,
            "dataField": st.frozensets(WORDS, max_size=3),
        },
    ),
)


def holds(constraint: Constraint, prohibits: bool, values) -> bool:
    """One constraint, read plainly (digital-contract.md §5 with its traps)."""
    given = values.get(constraint.term)
    if given is None:
        return prohibits
    operator = constraint.operator
    if constraint.term in ("count", "dateRecord", "time"):
        agreed = constraint.value if constraint.term == "time" else int(constraint.value)
        left = iso(given) if constraint.term == "time" else given
        return {
            "eq": left == agreed,
            "lt": left < agreed,
            "lteq": left <= agreed,
            "gt": left > agreed,
            "gteq": left >= agreed,
        }[operator]
    asked = {given} if isinstance(given, str) else set(given)
    agreed = set(constraint.value)
    every_or_any = any if prohibits else all
    if operator == "hasPart":
        return agreed <= asked
    if operator == "isAllOf":
        return agreed <= asked if prohibits else agreed == asked
    if operator == "eq" and not prohibits:
        return agreed == asked
    if operator in ("isNoneOf", "neq"):
        return every_or_any(word not in agreed for word in asked)
    return every_or_any(word in agreed for word in asked)


def plainly(policy: Policy, context: Context) -> tuple[str, str]:
    rules = [(f"rules[{i}]", rule) for i, rule in enumerate(policy.rules)]
    mine = [(name, rule) for name, rule in rules if rule.action == context.action]
    for kind, decision in (("prohibition", "deny"), ("permission", "allow")):
        for name, rule in mine:
            if rule.kind == kind and all(
                holds(c, kind == "prohibition", context.values) for c in rule.constraints
            ):
                return decision, name
    return "deny", ""


@settings(max_examples=400, deadline=None)
@given(st.lists(RULES, max_size=5).map(lambda rules: Policy(tuple(rules))), REQUESTS)
def test_compiled_equals_a_plain_reading(policy, context) -> None:
    verdict = compile_policy(policy).evaluate(context)
    decision, rule = plainly(policy, context)
    assert verdict.decision == decision
    if rule:
        assert verdict.rule == rule
    else:
        assert verdict.code not in ("ALLOWED", "PROHIBITED")
        assert refusal(verdict).code == verdict.code


JUNK = st.one_of(st.text(max_size=8), st.lists(st.text(max_size=4), max_size=3).map(tuple))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            Rule,
            st.one_of(st.just("permission"), st.text(max_size=5)),
            st.one_of(st.just("read"), st.text(max_size=5)),
            st.lists(
                st.builds(
                    Constraint,
                    st.one_of(st.sampled_from(list(Term)), st.text(max_size=5)),
                    st.one_of(st.sampled_from(list(Operator)), st.text(max_size=5)),
                    JUNK,
                ),
                max_size=3,
            ).map(tuple),
        ),
        max_size=3,
    ),
    st.dictionaries(
        st.sampled_from([str(term) for term in Term]),
        st.one_of(
            st.text(max_size=4), st.integers(), st.frozensets(st.text(max_size=3)), st.none()
        ),
    ),
)
def test_nothing_in_a_policy_or_a_request_makes_it_fall_over(rules, values) -> None:
    verdict = compile_policy(Policy(tuple(rules))).evaluate(Context("read", values))
    assert verdict.decision in ("allow", "deny")
    if not verdict.allowed:
        assert refusal(verdict).sentence("zh")


def test_every_term_and_operator_of_the_standard_has_its_place() -> None:
    absent = {str(term) for term in Term} - {str(term) for term in TERMS}
    assert absent == {"maskMethod", "payPer", "frequency", "timeInterval"}  # two: tests of `often`
    used = {operator for kind in TERMS.values() for operator in kind.operators}
    assert used == set(Operator)


def test_every_rule_considered_keeps_its_reasons() -> None:
    rules = tuple(
        Rule("permission", "read", (Constraint("purpose", "eq", f"p{i}"),)) for i in range(3)
    )
    compiled = compile_policy(Policy(rules))
    verdict = compiled.evaluate(Context("read", {"purpose": "p2"}))
    assert verdict.considered == ("rules[0]", "rules[1]", "rules[2]")
    assert [(r.rule, r.expected, r.given) for r in verdict.reasons] == [
        ("rules[0]", "p0", "p2"),
        ("rules[1]", "p1", "p2"),
    ]


def test_what_will_deny_is_known_before_anyone_signs() -> None:
    rule = Rule("permission", "read", (Constraint("frequency", "lteq", "1"),))
    odd = Rule("permission", "frobnicate")
    problems = compile_policy(Policy((rule, odd))).problems
    assert {(p.term, p.code) for p in problems} == {
        ("frequency", "VALUE_NOT_UNDERSTOOD"),
        ("action", "ACTION_NOT_UNDERSTOOD"),
    }


@pytest.mark.parametrize(
    "policy",
    [
        Policy((Rule("permission", "read"),) * (limits.COMPILED_RULES_MAX + 1)),
        Policy((Rule("permission", "read", (Constraint("purpose", "eq", "x"),) * 65),)),
        Policy((Rule("permission", "read", (Constraint("purpose", "eq", "x" * 4097),)),)),
    ],
)
def test_a_policy_beyond_the_limits_is_refused(policy) -> None:
    with pytest.raises(TooLarge):
        compile_policy(policy)

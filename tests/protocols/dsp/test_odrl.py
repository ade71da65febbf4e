"""Policy -> ODRL -> Policy is the identity; what we do not know denies and is never dropped."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.contracts import (
    Action,
    Aggregates,
    AgreementUnreadable,
    Clamp,
    Constraint,
    Draft,
    Duty,
    Frequency,
    Mask,
    Operator,
    Policy,
    Price,
    Privacy,
    Rule,
    Term,
    TermNotUnderstood,
    Terms,
    policy_from_terms,
    terms_from_policy,
)
from yunhe.control import Context, compile_policy
from yunhe.evidence.report import Findings
from yunhe.evidence.verify_terms import read_agreed
from yunhe.kernel import limits
from yunhe.kernel.canonical import dumps, loads_strict
from yunhe.protocols.dsp import BadPolicy, OdrlAgreement, odrl

TERMS = Terms(
    purposes=("research",),
    columns=("p.age", "p.sex"),
    expires_at=datetime(2026, 3, 1, tzinfo=UTC),
    uses_max=10,
    rows_max=100,
    row_filters=(("p", "age >= 18"),),
    masks=(Mask("p.age", "round:10"),),
    minimum_group=5,
    price=Price(100, 2),
)

DRAFT = Draft(
    "urn:uuid:a",
    "CODE",
    "did:web:p",
    "did:web:c",
    policy_from_terms(TERMS),
    datetime(2026, 1, 1, tzinfo=UTC),
)

free = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
AWKWARD = """odrl:count odrl:foo urn:yunhe:odrl:phase urn:yunhe:odrl:x:a use dateTime phase a:b
http://www.w3.org/ns/odrl/2/read https://x.example/a#b term-lteq odrl:logical odrl:copy
odrl:elapsedTime timeWindow region deliveryMethod odrl:timeInterval modify odrl:modify
odrl:refined odrl:member:odrl:refinement odrl:member:a odrl:member:action odrl:member:uid
odrl:member:@id odrl:member:odrl:unit odrl:member:duty odrl:member:constraint"""
awkward = st.sampled_from(AWKWARD.split())
CODES = """3301 11 01 urn:yunhe:odrl:gbt2260:3301 urn:yunhe:odrl:delivery:03 P365D
[{"@value":"a"}] [{"@value":"a"},{"@value":"b"}] 5/P1D P1D
{"or":[{"leftOperand":"odrl:count"}]} {"leftOperand":"a","operator":"eq","rightOperand":"1","u":2}
{"leftOperand":"urn:yunhe:odrl:phase","operator":"eq","rightOperand":"1","u":2} {"a": 1} 12"""
coded = free | st.sampled_from(CODES.split())
values = coded | st.just("12.30 CNY") | st.just("") | st.lists(coded, max_size=3).map(tuple)
constraints = st.builds(
    Constraint,
    st.sampled_from([t.value for t in Term]) | awkward | free,
    st.sampled_from([o.value for o in Operator]) | awkward | free,
    values,
)
actions = st.sampled_from([a.value for a in Action]) | awkward | free
duties = st.builds(
    Duty,
    actions,
    st.lists(constraints, max_size=2).map(tuple),
    st.sampled_from(["pre", "parallel", "post"]),
)
rules = st.builds(
    Rule,
    st.sampled_from(["permission", "prohibition", "obligation"]),
    actions,
    st.lists(constraints, max_size=3).map(tuple),
    st.lists(duties, max_size=2).map(tuple),
)
expansions = (
    st.just("")
    | coded
    | st.dictionaries(free, st.integers(-9, 9) | free, max_size=3).map(lambda d: dumps(d).decode())
)
policies = st.builds(
    Policy, st.lists(rules, max_size=5).map(tuple), st.none() | st.booleans(), expansions
)


def wire(value: Any) -> Any:
    """What the other side reads: through bytes, strictly."""
    return loads_strict(json.dumps(value, ensure_ascii=False).encode())


@settings(max_examples=300, deadline=None)
@given(policies)
def test_a_policy_survives_odrl_whole(policy: Policy) -> None:
    assert odrl.read(wire(odrl.write(policy))) == policy


@settings(max_examples=100, deadline=None)
@given(policies)
def test_what_is_written_fits_the_dsp_schema(policy: Policy) -> None:
    body = odrl.write(policy)
    for kind in ("permission", "prohibition", "obligation"):
        assert body.get(kind) != []
        for rule in body.get(kind, []):
            assert isinstance(rule["action"], str)
            for constraint in rule.get("constraint", []):
                assert isinstance(constraint["rightOperand"], str | list | dict)


@pytest.mark.parametrize(
    "terms",
    [
        TERMS,
        replace(TERMS, price=Price(), uses_max=None),
        replace(TERMS, frequency=Frequency(3, "P1D"), pause="PT1M"),
        replace(TERMS, privacy=Privacy("1", "0.000001", "0.1", 2, 3, (Clamp("p.age", "0", "99"),))),
        replace(TERMS, purposes=("research", "teaching"), price=Price(0, 7)),
        replace(TERMS, aggregates=Aggregates.parse("p.age=count,max/5;p.sex=count")),
        replace(TERMS, keys_to=("did:web:b.example", "did:web:127.0.0.1%3A8000")),
    ],
)
def test_the_verifier_reads_the_same_money_out_of_the_odrl_alone(terms: Terms) -> None:
    whole = loads_strict(OdrlAgreement().write(replace(DRAFT, policy=policy_from_terms(terms))))
    findings = Findings(9)
    typed = read_agreed(whole, findings)
    del whole["urn:yunhe:policy"]
    assert read_agreed(whole, findings) == typed
    assert (typed.per_use, typed.per_row) == (terms.price.per_use, terms.price.per_row)
    assert (typed.purposes, typed.uses_max) == (terms.purposes, terms.uses_max)
    assert findings.all() == ()


UNKNOWN = st.sampled_from(("urn:x:y", "https://x.example/a#b", "odrl:inform2", "odrl:transfer"))
KNOWN_TERMS = st.sampled_from(("odrl:count", "odrl:timeInterval", "urn:yunhe:odrl:frequency"))
their_members = st.dictionaries(
    st.sampled_from(("odrl:refinement", "assigneeOf", "urn:x:member")),
    free | st.integers(-9, 9) | st.booleans() | st.lists(free, max_size=2) | st.none(),
    max_size=2,
)
their_constraints = st.fixed_dictionaries(
    {
        "leftOperand": KNOWN_TERMS | UNKNOWN,
        "operator": st.sampled_from(("eq", "lteq")) | UNKNOWN,
        "rightOperand": free | st.lists(free, min_size=1, max_size=2),
    },
    optional={"odrl:unit": UNKNOWN, "odrl:status": free},
) | st.fixed_dictionaries({"or": st.lists(st.fixed_dictionaries({"leftOperand": UNKNOWN}))})


@st.composite
def their_rules(draw: st.DrawFn, duty_key: str) -> dict[str, Any]:
    actions = st.sampled_from(("odrl:read", "odrl:modify", "odrl:derive", "odrl:aggregate", "use"))
    rule: dict[str, Any] = {"action": draw(actions | UNKNOWN), **draw(their_members)}
    if constraints := draw(st.lists(their_constraints, max_size=3)):
        rule["constraint"] = constraints
    if draw(st.booleans()):
        phase = {"leftOperand": "urn:yunhe:odrl:phase", "operator": "eq", "rightOperand": "post"}
        duty = {"action": draw(actions | UNKNOWN), **draw(their_members)}
        rule[duty_key] = [duty | {"constraint": [*draw(st.lists(their_constraints)), phase]}]
    return rule


theirs = st.fixed_dictionaries(
    {"permission": st.lists(their_rules("duty"), min_size=1, max_size=2)},
    optional={
        "prohibition": st.lists(their_rules("odrl:remedy"), min_size=1, max_size=2),
        "obligation": st.lists(their_rules("odrl:consequence"), min_size=1, max_size=2),
        "urn:yunhe:odrl:inherit": st.booleans(),
        "urn:yunhe:odrl:expansion": st.fixed_dictionaries(
            {
                "@type": st.just("@json"),
                "@value": st.dictionaries(free, st.integers(-9, 9) | free, max_size=2),
            }
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(theirs)
def test_what_others_say_comes_back_as_they_said_it(body: dict[str, Any]) -> None:
    body = wire({**body, "odrl:conflict": {"@id": "odrl:prohibit"}})
    assert wire(odrl.write(odrl.read(body))) == body


@settings(max_examples=200, deadline=None)
@given(their_rules("duty"))
def test_a_rule_with_an_unknown_word_permits_nothing(rule: dict[str, Any]) -> None:
    known = {"action": "odrl:read", "duty": [], "constraint": []}
    strange = any(
        "or" in each
        or each["leftOperand"]
        not in ("odrl:count", "odrl:timeInterval", "urn:yunhe:odrl:frequency")
        or "odrl:unit" in each
        or "odrl:status" in each
        for each in rule.get("constraint", [])
    )
    if not strange and set(rule) <= set(known) and "duty" not in rule:
        return
    policy = odrl.read({"permission": [{**rule, "action": "odrl:read"}]})
    ask = {"count": 1, "seconds since the last use": 2**40}
    assert not compile_policy(policy).evaluate(Context("read", ask)).allowed


@pytest.mark.parametrize(
    ("expansion", "named"),
    [
        ('{"rrule":"FREQ=DAILY"}', "expansion.rrule"),
        ("free text", "expansion"),
        ("[1]", "expansion"),
        ('{"version":"2"}', None),
        ("", None),
    ],
)
def test_an_expansion_that_nobody_enforces_denies_by_name(
    expansion: str, named: str | None
) -> None:
    policy = replace(policy_from_terms(TERMS), expansion=expansion)
    assert odrl.read(wire(odrl.write(policy))) == policy
    if named is None:
        assert terms_from_policy(policy) == TERMS
        return
    with pytest.raises(TermNotUnderstood) as refused:
        terms_from_policy(policy)
    assert refused.value.facts["term"] == named
    verdict = compile_policy(policy).evaluate(Context("read", {}))
    assert (verdict.code, verdict.reasons[0].term) == ("TERM_NOT_UNDERSTOOD", named)


def test_the_words_on_the_wire() -> None:
    body = odrl.write(policy_from_terms(TERMS))
    [rule] = body["permission"]
    assert rule["action"] == "odrl:read"
    said = {c["leftOperand"]: (c["operator"], c["rightOperand"]) for c in rule["constraint"]}
    assert said["odrl:purpose"] == ("isAnyOf", ["research"])
    assert said["odrl:dateTime"] == ("lteq", "2026-03-01T00:00:00.000000Z")
    assert said["odrl:count"] == ("lteq", "10")
    assert said["urn:yunhe:odrl:minimumGroup"] == ("gteq", "5")
    assert said["urn:yunhe:odrl:recordCount"] == ("lteq", "100")
    pay = rule["duty"][1]["constraint"][0]
    assert pay["rightOperand"] == "1.00"
    assert pay["odrl:unit"] == {"@id": "urn:yunhe:odrl:currency:CNY"}
    assert body["odrl:conflict"] == {"@id": "odrl:prohibit"}


T14 = Policy(
    (
        Rule(
            "permission",
            "plicyTransmit",
            (
                Constraint("region", "isPartOf", "3301"),
                Constraint("deliveryMethod", "isAnyOf", ("01", "03")),
                Constraint("timeWindow", "lteq", "P365D"),
                Constraint("timeWindow", "eq", "P1D"),
                Constraint("frequency", "lteq", "100"),
                Constraint("executionEnv", "eq", "05"),
            ),
        ),
        Rule("prohibition", "distribute", (), (Duty("delete", (), "post"),)),
        Rule("obligation", "delete", (), (Duty("compensate", (), "post"),)),
    )
)


@pytest.mark.parametrize("operator", ["lt", "lteq", "eq"])
def test_a_word_written_as_a_word_of_odrl_is_no_time_window(operator: str) -> None:
    policy = Policy(
        (Rule("permission", "read", (Constraint("odrl:elapsedTime", operator, "P1D"),)),)
    )
    assert odrl.read(wire(odrl.write(policy))) == policy


def test_the_words_of_t14_on_the_wire() -> None:
    body = wire(odrl.write(T14))
    [rule] = body["permission"]
    assert rule["action"] == "urn:yunhe:odrl:policyTransmit"
    said = [(c["leftOperand"], c["operator"], c["rightOperand"]) for c in rule["constraint"]]
    ns = "urn:yunhe:odrl:"
    assert said == [
        ("odrl:spatial", "isPartOf", f"{ns}gbt2260:3301"),
        ("odrl:deliveryChannel", "isAnyOf", [f"{ns}delivery:01", f"{ns}delivery:03"]),
        ("odrl:elapsedTime", "lteq", "P365D"),
        (f"{ns}timeWindow", "eq", "P1D"),
        (f"{ns}frequency", "lteq", "100"),
        (f"{ns}executionEnv", "eq", "05"),
    ]
    assert body["prohibition"][0]["odrl:remedy"][0]["action"] == "odrl:delete"
    assert body["obligation"][0]["odrl:consequence"][0]["action"] == "odrl:compensate"
    assert odrl.read(body) == T14


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("odrl:copy", "reproduce"),
        ("odrl:export", "transform"),
        ("http://www.w3.org/ns/odrl/2/archive", "storage"),
        ("inform", "logRecordSend"),
        ("odrl:transfer", "odrl:transfer"),
        ("odrl:modify", "modify"),
        ("derive", "derive"),
        ("http://www.w3.org/ns/odrl/2/aggregate", "aggregate"),
        ("use", "use"),
    ],
)
def test_near_words_of_others_are_read(theirs: str, ours: str) -> None:
    assert odrl.read({"permission": [{"action": theirs}]}).rules[0].action == ours


@pytest.mark.parametrize(
    "extra",
    [
        {"odrl:refinement": [{"leftOperand": "x"}]},
        {"assigneeOf": "x"},
        {"constraint": [{"or": [{"leftOperand": "odrl:count"}]}]},
        {"constraint": [{"leftOperand": "odrl:count", "operator": "lteq", "rightOperand": "9",
                         "odrl:unit": "kg"}]},
        {"constraint": [{"leftOperand": "NEW", "operator": "eq", "rightOperand": "1"}]},
    ],
)  # fmt: skip
def test_what_goes_beyond_the_model_denies(extra: dict[str, Any]) -> None:
    policy = odrl.read({"permission": [{"action": "odrl:read", **extra}]})
    with pytest.raises(TermNotUnderstood):
        terms_from_policy(policy)
    assert odrl.read(wire(odrl.write(policy))) == policy


@pytest.mark.parametrize(
    "body",
    [
        {"permission": "use"},
        {"permission": [1]},
        {"permission": [{}]},
        {"permission": [{"action": 7}]},
        {"permission": [{"action": "use", "constraint": "x"}]},
        {"permission": [{"action": "use", "constraint": [{"leftOperand": "a"}]}]},
        {"permission": [{"action": "use", "constraint": [
            {"leftOperand": "a", "operator": "eq", "rightOperand": None}]}]},
        {"permission": [{"action": "use", "constraint": [
            {"leftOperand": "a", "operator": "eq", "rightOperand": True}]}]},
        {"permission": [{"action": "use", "constraint": [
            {"leftOperand": "a", "operator": "eq", "rightOperand": [[]]}]}]},
        {"permission": [{"action": "use"}] * (limits.POLICY_RULES_MAX + 1)},
        {"permission": [{"action": "use", "constraint": [
            {"leftOperand": "a", "operator": "eq", "rightOperand": "1"}] * 300}]},
        {"inheritFrom": "urn:x", "permission": [{"action": "use"}]},
        {"odrl:conflict": {"@id": "odrl:perm"}},
        {"permission": [{"action": "use", "urn:yunhe:odrl:order": 3}]},
        {"urn:yunhe:odrl:inherit": "perhaps"},
        {"urn:yunhe:odrl:inherit": 1},
        {"urn:yunhe:odrl:expansion": [1]},
        {"urn:yunhe:odrl:expansion": "x" * (limits.CONSTRAINT_VALUES_MAX + 1)},
        {"permission": [{"action": "use", "x" * 501: 1}]},
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(BadPolicy):
        odrl.read(body)


def test_other_implementations_spellings_are_read() -> None:
    policy = odrl.read(
        {
            "@type": "Offer",
            "permission": {
                "action": {"@id": "http://www.w3.org/ns/odrl/2/read"},
                "constraint": {
                    "leftOperand": {"@id": "odrl:count"},
                    "operator": {"@id": "term-lteq"},
                    "rightOperand": {"@value": 5},
                },
            },
            "prohibition": [],
        }
    )
    assert policy == Policy((Rule("permission", "read", (Constraint("count", "lteq", "5"),)),))


def test_an_agreement_is_read_as_it_was_written() -> None:
    document = OdrlAgreement().write(DRAFT)
    assert OdrlAgreement().read(document) == DRAFT
    assert dumps(loads_strict(document)) == document


@pytest.mark.parametrize(
    "change",
    [
        {"urn:yunhe:policy": {"rules": []}},
        {"urn:yunhe:policy": 3},
        {"permission": [{"action": "use"}]},
        {"target": None},
        {"assigner": 7},
        {"timestamp": "yesterday"},
        {"@type": "Offer"},
        {"surprise": 1},
        {"permission": {"a": [[[]]]}},
    ],
)
def test_an_agreement_that_says_two_things_is_refused(change: dict[str, Any]) -> None:
    document = dumps({**loads_strict(OdrlAgreement().write(DRAFT)), **change})
    with pytest.raises(AgreementUnreadable):
        OdrlAgreement().read(document)


def test_an_agreement_without_our_member_is_read_too() -> None:
    body = loads_strict(OdrlAgreement().write(DRAFT))
    del body["urn:yunhe:policy"]
    del body["timestamp"]
    assert OdrlAgreement().read(dumps(body)).policy == DRAFT.policy

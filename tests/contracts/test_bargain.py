"""What lies within a bound, and the nearest that does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.contracts import (
    AutomaticDecider,
    Constraint,
    Duty,
    Frequency,
    Mask,
    Negotiation,
    Offer,
    Policy,
    Price,
    Rule,
    Side,
    State,
    Strategy,
    TermNotUnderstood,
    Terms,
    Verb,
    Why,
    beyond,
    differing,
    nearest,
    policy_from_terms,
    same_policy,
    short_of,
    terms_from_policy,
)
from yunhe.kernel import limits

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LISTED = Terms(
    purposes=("research", "teaching"),
    columns=("p.age", "p.sex", "p.name"),
    expires_at=NOW + timedelta(days=90),
    uses_max=10,
    rows_max=1000,
    row_filters=(("p", "age >= 18"),),
    masks=(Mask("p.name", "hash"),),
    minimum_group=5,
    price=Price(per_use=100, per_row=2),
)
FURTHEST = replace(LISTED, uses_max=20, price=Price(80, 1))


def test_the_listed_terms_are_acceptable() -> None:
    assert beyond(LISTED, LISTED, NOW) == ()


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"price": Price(80, 1)}, ()),
        ({"price": Price(79, 1)}, ("price",)),
        ({"price": Price(500, 9)}, ()),
        ({"uses_max": 20}, ()),
        ({"uses_max": 21}, ("uses_max",)),
        ({"uses_max": None}, ("uses_max",)),
        ({"columns": ("p.sex",)}, ()),
        ({"columns": ("p.sex", "p.id")}, ("columns",)),
        ({"purposes": ("marketing",)}, ("purposes",)),
        ({"minimum_group": 4}, ("minimum_group",)),
        ({"minimum_group": 50}, ()),
        ({"masks": ()}, ("masks",)),
        ({"masks": (), "columns": ("p.age",)}, ()),
        ({"row_filters": ()}, ("row_filters",)),
        ({"expires_at": NOW + timedelta(days=91)}, ("expires_at",)),
        ({"expires_at": NOW + timedelta(days=1)}, ()),
        ({"expires_at": NOW - timedelta(days=1)}, ("expires_at",)),
        ({"rows_max": 1001}, ("rows_max",)),
    ],
)
def test_beyond_names_the_field(change: dict[str, Any], fields: tuple[str, ...]) -> None:
    assert beyond(replace(LISTED, **change), FURTHEST, NOW) == fields


def test_short_of_names_what_is_worse_for_the_consumer() -> None:
    worst = replace(LISTED, price=Price(100, 2))
    assert short_of(LISTED, worst) == ()
    assert short_of(replace(LISTED, price=Price(90, 1), uses_max=None), worst) == ()
    dear = replace(LISTED, price=Price(101, 2), columns=("p.age",), uses_max=9, minimum_group=6)
    assert short_of(dear, worst) == ("columns", "uses_max", "minimum_group", "price")
    masked = replace(LISTED, masks=(*LISTED.masks, Mask("p.age", "year")))
    assert short_of(masked, worst) == ("masks",)


names = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, unique=True).map(tuple)
moments = st.none() | st.integers(-5, 400).map(lambda d: NOW + timedelta(days=d))
counts = st.none() | st.integers(0, 50)
terms = st.builds(
    Terms,
    purposes=names,
    columns=names,
    expires_at=moments,
    uses_max=counts,
    rows_max=counts,
    row_filters=st.sampled_from([(), (("a", "x = 1"),)]),
    masks=st.lists(
        st.builds(Mask, st.sampled_from(["a", "b"]), st.sampled_from(["null", "hash"])),
        unique_by=lambda mask: mask.column,
    ).map(tuple),
    minimum_group=st.integers(0, 20),
    price=st.builds(Price, st.integers(0, 500), st.integers(0, 500)),
)


@settings(max_examples=150, deadline=None)
@given(terms, terms)
def test_the_nearest_terms_are_acceptable_and_stay_where_they_are(asked: Terms, far: Terms) -> None:
    once = nearest(asked, far, NOW)
    assert differing(once, nearest(once, far, NOW)) == ()
    assert once.price.per_use >= far.price.per_use
    assert set(once.columns) <= set(far.columns)


@settings(max_examples=150, deadline=None)
@given(terms)
def test_terms_and_policy_are_the_same_statement(stated: Terms) -> None:
    policy = policy_from_terms(stated)
    assert terms_from_policy(policy) == stated
    assert Policy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint("moonPhase", "eq", "full"),
        Constraint("count", "lt", "3"),
        Constraint("count", "lteq", "1_0"),
        Constraint("count", "lteq", "-1"),
        Constraint("count", "lteq", "٣"),
        Constraint("count", "lteq", ("3", "4")),
        Constraint("time", "lteq", "yesterday"),
        Constraint("valueExpression", "eq", "ab"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(constraint: Constraint) -> None:
    policy = policy_from_terms(Terms(("r",), ("t.c",)))
    [rule] = policy.rules
    worse = Policy((replace(rule, constraints=(*rule.constraints, constraint)),))
    with pytest.raises(TermNotUnderstood) as refused:
        terms_from_policy(worse)
    assert refused.value.facts["term"] == constraint.term


def test_a_term_stated_twice_is_refused() -> None:
    policy = policy_from_terms(Terms(("r",), ("t.c",), uses_max=0))
    [rule] = policy.rules
    twice = replace(rule, constraints=(*rule.constraints, Constraint("count", "lteq", "9")))
    with pytest.raises(TermNotUnderstood, match="stated twice"):
        terms_from_policy(Policy((twice,)))


def test_nothing_is_priced_or_masked_twice() -> None:
    policy = policy_from_terms(LISTED)
    [rule] = policy.rules
    mask, use, row = rule.duties
    free = replace(use, constraints=(Constraint("payAmount", "eq", "free"), use.constraints[1]))
    both = replace(use, constraints=(*use.constraints, Constraint("payAmount", "eq", "0.01 CNY")))
    late, early = replace(mask, phase="post"), replace(use, phase="pre")
    for duties in ((late,), (early,), (use, use), (row, row), (mask, mask), (free,), (both,)):
        with pytest.raises(TermNotUnderstood):
            terms_from_policy(Policy((replace(rule, duties=duties),)))


def test_unknown_duties_are_refused() -> None:
    policy = policy_from_terms(Terms(("r",), ("t.c",)))
    [rule] = policy.rules
    with pytest.raises(TermNotUnderstood):
        terms_from_policy(Policy((replace(rule, duties=(Duty("dance"),)),)))


def test_same_policy_does_not_count_order() -> None:
    one = policy_from_terms(LISTED)
    [rule] = one.rules
    turned = Policy((replace(rule, constraints=rule.constraints[::-1], duties=rule.duties[::-1]),))
    assert same_policy(one, turned)
    assert not same_policy(one, Policy(()))
    assert not same_policy(one, Policy((*one.rules, Rule("prohibition", "sell"))))


def negotiation(role: Side, state: State, *offers: Terms, strategy: Any = None) -> Negotiation:
    made = tuple(
        Offer(str(i), (Side.CONSUMER, Side.PROVIDER)[i % 2], policy_from_terms(t), NOW)
        for i, t in enumerate(offers)
    )
    return Negotiation(
        "n", role, "did:x", "p", "https://x", "code", state, made, NOW, NOW, strategy=strategy
    )


PRODUCT = SimpleNamespace(code="code", terms=LISTED, negotiable=FURTHEST)
decide = AutomaticDecider()


def test_the_provider_agrees_within_bounds_and_counters_beyond() -> None:
    low = replace(LISTED, price=Price(10, 0))
    agreed = decide.answer(negotiation(Side.PROVIDER, State.REQUESTED, FURTHEST), PRODUCT, NOW)
    assert agreed.verb is Verb.AGREE
    counter = decide.answer(negotiation(Side.PROVIDER, State.REQUESTED, low), PRODUCT, NOW)
    assert counter.verb is Verb.OFFER
    assert counter.policy is not None
    assert terms_from_policy(counter.policy).price == Price(80, 1)


def test_the_provider_ends_after_some_rounds() -> None:
    low = replace(LISTED, price=Price(10, 0))
    many = [low] * (2 * limits.COUNTER_OFFERS_MAX + 1)
    said = decide.answer(negotiation(Side.PROVIDER, State.REQUESTED, *many), PRODUCT, NOW)
    assert said.verb is Verb.TERMINATE
    assert said.why is not None
    assert said.why.code == "NO_AGREEMENT"
    _both_languages(said.why)


def _both_languages(why: Why) -> None:
    en, zh = why.reasons
    assert (why.text("en"), why.text("zh")) == (en, zh)


def test_every_automatic_end_is_said_in_both_languages_and_read_in_one() -> None:
    n = negotiation(Side.PROVIDER, State.REQUESTED, LISTED)
    over = replace(LISTED, expires_at=NOW)
    for product in (None, SimpleNamespace(code="code", terms=over, negotiable=None)):
        why = decide.answer(n, product, NOW).why
        assert why is not None
        _both_languages(why)


def test_reasons_in_one_language_are_read_in_any() -> None:
    assert Why("BY_CHOICE", ("too dear", "too late")).text("zh") == "too dear; too late"
    assert Why("BY_CHOICE", ("价格过高",)).text("en") == "价格过高"
    assert Why("BY_CHOICE").text("en") == ""


def test_the_provider_names_the_term_it_cannot_enforce() -> None:
    n = negotiation(Side.PROVIDER, State.REQUESTED, LISTED)
    odd = Policy((Rule("permission", "use"),))
    n = replace(n, offers=(Offer("o", Side.CONSUMER, odd, NOW),))
    said = decide.answer(n, PRODUCT, NOW)
    assert said.verb is Verb.TERMINATE
    assert said.why is not None
    assert said.why.code == "TERM_NOT_UNDERSTOOD"
    assert "use" in said.why.reasons[0]


def test_the_provider_agrees_to_nothing_whose_end_has_passed() -> None:
    later = NOW + timedelta(days=365)
    said = decide.answer(negotiation(Side.PROVIDER, State.REQUESTED, LISTED), PRODUCT, later)
    assert said.why is not None
    assert said.why.code == "OFFER_EXPIRED"


def test_manual_holds() -> None:
    n = negotiation(Side.PROVIDER, State.REQUESTED, LISTED)
    assert AutomaticDecider(manual=True).answer(n, PRODUCT, NOW).verb is None


def test_the_consumer_accepts_counters_once_then_holds() -> None:
    cheap = Strategy(accept=replace(LISTED, price=Price(90, 2)), counter=FURTHEST)
    n = negotiation(Side.CONSUMER, State.OFFERED, LISTED, LISTED, strategy=cheap)
    assert decide.answer(n, None, NOW).verb is Verb.REQUEST
    n = negotiation(Side.CONSUMER, State.OFFERED, LISTED, LISTED, LISTED, LISTED, strategy=cheap)
    assert decide.answer(n, None, NOW).verb is None
    n = negotiation(Side.CONSUMER, State.OFFERED, LISTED, FURTHEST, strategy=cheap)
    assert decide.answer(n, None, NOW).verb is Verb.ACCEPT
    n = negotiation(Side.CONSUMER, State.OFFERED, LISTED, FURTHEST)
    assert decide.answer(n, None, NOW).verb is None


@pytest.mark.parametrize(
    ("asked", "furthest", "agreed"),
    [
        ("5/P1D", "10/P1D", "5/P1D"),
        ("20/P1D", "10/P1D", "10/P1D"),
        ("5/P7D", "10/P1D", "5/P7D"),
        ("5/PT36H", "10/P1D", "10/P1D"),  # its windows do not fill days
        (None, "10/P1D", "10/P1D"),
        ("5/PT1M", None, "5/PT1M"),
    ],
)
def test_how_often_is_bounded_too(
    asked: str | None, furthest: str | None, agreed: str | None
) -> None:
    a, b, c = (None if t is None else Frequency.parse(t) for t in (asked, furthest, agreed))
    bound = replace(LISTED, frequency=b, pause="PT1M", inherit=True)
    got = nearest(replace(LISTED, frequency=a, pause="PT30S"), bound, NOW)
    assert (got.frequency, got.pause, got.inherit) == (c, "PT1M", True)
    assert nearest(got, bound, NOW) == got
    assert terms_from_policy(policy_from_terms(got)) == got
    assert ("frequency" in short_of(got, bound)) == (c != b)


@pytest.mark.parametrize(
    ("constraints", "frequency"),
    [
        ([("frequency", "100"), ("timeWindow", "PT1M")], "100/PT1M"),
        ([("count", "9"), ("timeWindow", "P1D")], "9/P1D"),
        ([("timeWindow", "P7D")], "1/P7D"),
        ([("frequency", "100")], None),
        ([("frequency", "100/P1M")], None),
        ([("frequency", "1/PT0S")], None),
        ([("dateRecord", "9"), ("timeWindow", "P1D")], None),
        ([("frequency", "1/P1D"), ("frequency", "2/P1D")], None),
        ([("timeWindow", "P1D"), ("timeWindow", "P1D")], None),
        ([("timeWindow", "PT")], None),
    ],
)
def test_the_standards_ways_to_say_how_often(
    constraints: list[tuple[str, str]], frequency: str | None
) -> None:
    [rule] = policy_from_terms(replace(LISTED, uses_max=None, rows_max=None)).rules
    more = tuple(
        Constraint(term, "eq" if term == "timeWindow" else "lteq", value)
        for term, value in constraints
    )
    policy = Policy((replace(rule, constraints=rule.constraints + more),))
    if frequency is None:
        with pytest.raises(TermNotUnderstood):
            terms_from_policy(policy)
        return
    got = terms_from_policy(policy)
    assert (str(got.frequency), got.uses_max) == (frequency, None)

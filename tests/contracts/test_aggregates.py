"""The term `aggregates`: one spelling, beside a minimum group only, never widened by a bargain."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from yunhe.contracts import (
    Aggregates,
    Privacy,
    TermNotUnderstood,
    Terms,
    differing,
    nearest,
    policy_from_terms,
    short_of,
    terms_from_policy,
)
from yunhe.protocols.dsp.odrl import read, write

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TEXT = "pay.salary=avg,count,max,median/100;pay.age=count;pay.day=min/7;pay.x=quantile/0"
TERMS = Terms(
    ("p",), ("pay.salary",), minimum_group=10, aggregates=Aggregates.parse(TEXT)
)  # fmt: skip


def test_text_and_policy_and_odrl_say_the_same() -> None:
    assert str(TERMS.aggregates) == TEXT
    policy = policy_from_terms(TERMS)
    assert terms_from_policy(policy) == TERMS
    assert terms_from_policy(read(write(policy))) == TERMS
    assert "urn:yunhe:odrl:aggregates" in str(write(policy))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "salary=count",
        "pay.salary=",
        "pay.salary=count,",
        "pay.salary=count,count",
        "pay.salary=mode",
        "pay.salary=Count",
        "pay.salary=max",  # an order needs its step
        "pay.salary=count/10",  # and nothing else has one
        "pay.salary=max/00",
        "pay.salary=max/0.0",
        "pay.salary=max/-1",
        "pay.salary=max/1e9",
        "pay.salary=max/٣",
        "pay.salary=max/10;pay.salary=count",
        "pay.salary=max/10;",
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Aggregates.parse(text)


def test_of_a_column_not_named_the_usual_ones() -> None:
    listed = Aggregates.parse("pay.age=max/5")
    assert listed.of("pay.age").names == ("max",)
    assert listed.of("pay.salary").names == ("count", "sum", "avg")


@pytest.mark.parametrize(
    ("terms", "value"),
    [
        (replace(TERMS, minimum_group=0), "without minimumGroup"),
        (
            replace(TERMS, privacy=Privacy.parse("epsilon=1;delta=0.001;query=1;groups=1;rows=1")),
            "max with privacyBudget",
        ),
    ],
)
def test_what_cannot_be_held_is_not_understood(terms: Terms, value: str) -> None:
    with pytest.raises(TermNotUnderstood) as refusal:
        terms_from_policy(policy_from_terms(terms))
    assert refusal.value.facts == {"term": "aggregates", "value": value}


def test_a_budget_may_stand_beside_a_shorter_list() -> None:
    privacy = Privacy.parse("epsilon=1;delta=0.001;query=1;groups=1;rows=1")
    terms = replace(TERMS, privacy=privacy, aggregates=Aggregates.parse("pay.age=count"))
    assert terms_from_policy(policy_from_terms(terms)) == terms


def test_a_bargain_gives_what_the_provider_set() -> None:
    wide = replace(TERMS, aggregates=Aggregates.parse("pay.salary=max/1"))
    assert nearest(wide, TERMS, NOW).aggregates == TERMS.aggregates
    assert differing(wide, TERMS) == ("aggregates",)


@pytest.mark.parametrize(
    ("offered", "worst", "short"),
    [
        (None, None, False),
        ("pay.salary=avg,count,sum", None, False),
        ("pay.salary=count", None, True),
        (None, "pay.salary=max/100", True),
        ("pay.salary=max/100", "pay.salary=max/100", False),
        ("pay.salary=max/10", "pay.salary=max/100", False),
        ("pay.salary=max/1000", "pay.salary=max/100", True),
        ("pay.salary=max,min/0", "pay.salary=max/100", False),
    ],
)
def test_a_consumer_sees_what_an_offer_lacks(offered, worst, short) -> None:
    one, other = (
        replace(TERMS, aggregates=None if text is None else Aggregates.parse(text))
        for text in (offered, worst)
    )
    assert ("aggregates" in short_of(one, other)) is short

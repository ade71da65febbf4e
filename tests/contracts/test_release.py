"""Release rules and program references: one spelling, every bound stated, narrower only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from yunhe.contracts import (
    Policy,
    Release,
    ReleaseKind,
    TermNotUnderstood,
    Terms,
    beyond,
    covers,
    nearest,
    policy_from_terms,
    short_of,
    terms_from_policy,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
RULE = "aggregate;k=10;rows=100;digits=4;bytes=65536"
REF = "risk@1#sha256:" + "a" * 64
TERMS = Terms(("research",), ("p.age",), applications=("risk",), release=Release.parse(RULE))


@pytest.mark.parametrize(
    "text",
    [
        RULE,
        "model-metrics;rows=20;digits=4;bytes=4096",
        "predictions-to-host;rows=9;bytes=300",
        "review;rows=1;bytes=256",
        f"{RULE};bits=5000",  # of all runs together: the one bound that may be left out
    ],
)
def test_a_rule_comes_back_as_it_was_written(text: str) -> None:
    assert str(Release.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "all",
        "review",
        "review;rows=1",
        "review;bytes=256;rows=1",
        "review;rows=1;bytes=256;k=2",
        "review;rows=01;bytes=256",
        "review;rows=1;bytes=999999999",
        "review;rows=１;bytes=256",
        "aggregate;k=1;rows=100;digits=4;bytes=65536",
        "aggregate;k=10;rows=100;digits=17;bytes=65536",
        "aggregate;k=10;rows=100;bytes=65536",
        f"{RULE};bits=0",
        f"{RULE};bits=5;bits=5",
        "model-metrics;bits=5;rows=20;digits=4;bytes=4096",
        f"{RULE};",
        f" {RULE}",
    ],
)
def test_a_rule_that_leaves_something_open_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        Release.parse(text)


def test_terms_survive_their_policy_and_a_rule_needs_its_applications() -> None:
    policy = policy_from_terms(TERMS)
    assert terms_from_policy(Policy.from_json(policy.to_json())) == TERMS
    alone = policy_from_terms(replace(TERMS, applications=()))
    with pytest.raises(TermNotUnderstood) as refused:
        terms_from_policy(alone)
    assert refused.value.facts["term"] == "releaseRule"


def test_a_reference_covers_what_it_names_and_no_more() -> None:
    assert covers("risk", REF)
    assert covers("risk@1", REF)
    assert covers(REF, REF)
    for other in ("risk@2", "ris", "risk@1#sha256:" + "b" * 64, "risk#sha256:" + "a" * 64):
        assert not covers(other, REF), other
    assert not covers(REF, "risk@1")


def test_asking_for_one_program_is_asking_for_less() -> None:
    one = replace(TERMS, applications=(REF,))
    assert beyond(one, TERMS, NOW) == ()
    assert beyond(replace(TERMS, applications=("other",)), TERMS, NOW) == ("applications",)
    assert beyond(replace(TERMS, applications=(), release=None), TERMS, NOW) == (
        "applications",
        "release",
    )
    wider = replace(TERMS, release=replace(Release.parse(RULE), k=2))
    assert beyond(wider, TERMS, NOW) == ("release",)
    assert nearest(wider, TERMS, NOW).release == TERMS.release
    assert short_of(one, TERMS) == ("applications",)
    assert short_of(TERMS, one) == ()
    assert short_of(TERMS, replace(one, release=None)) == ("release",)
    assert ReleaseKind.REVIEW == "review"

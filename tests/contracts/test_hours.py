"""Hours of use: what lies within, when it does again, what is no such text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.contracts import (
    Constraint,
    Hours,
    Policy,
    Rule,
    TermNotUnderstood,
    Terms,
    beyond,
    nearest,
    policy_from_terms,
    short_of,
    terms_from_policy,
)
from yunhe.protocols.dsp import odrl

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OFFICE = Hours("Mon-Fri 09:00-12:00 13:30-18:00, Sat 09:00-12:00")
TERMS = Terms(
    ("research",),
    ("p.age",),
    rows_max=10,
    rows_total=100,
    bytes_max=1_000,
    bytes_total=10_000,
    hours=OFFICE,
    regions=("33", "1101"),
)


@pytest.mark.parametrize(
    ("text", "now", "again"),
    [
        ("Mon-Fri 09:00-18:00", "2026-11-22T03:00:00", "2026-11-23T01:00:00"),
        ("Mon-Fri 09:00-12:00 13:30-18:00", "2026-11-23T04:00:00", "2026-11-23T05:30:00"),
        ("Mon 09:00-10:00 UTC", "2026-11-23T10:00:00", "2026-11-30T09:00:00"),
        ("Daily 22:00-06:00 UTC", "2026-11-23T03:00:00", "2026-11-23T03:00:00"),
        ("Sun 02:00-03:00 Europe/Berlin", "2026-03-28T00:00:00", "2026-04-05T00:00:00"),
        ("Daily 00:00-24:00 UTC", "2026-03-28T00:00:00", "2026-03-28T00:00:00"),
    ],
)
def test_when_it_may_be_used_again(text: str, now: str, again: str) -> None:
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    found = Hours(text).again(instant)
    assert found == datetime.fromisoformat(again).replace(tzinfo=UTC)
    assert Hours(text).holds(found)


@settings(max_examples=50)
@given(st.integers(0, 6 * 30 * 24 * 60))
def test_the_next_instant_is_the_first(minute: int) -> None:
    now = NOW + timedelta(minutes=minute)
    found = OFFICE.again(now)
    assert OFFICE.holds(found)
    step = max((found - now) // 50, timedelta(minutes=1))
    for at in range(1, 50):
        if now + at * step < found:
            assert not OFFICE.holds(now + at * step)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mon",
        "Mon 9:00-10:00",
        "Mon 09:00-09:00",
        "Mon 09:00-25:00",
        "Mon 09:00-10:00  UTC",
        "Mon 09:00-10:00 Foo/Bar",
        "Mon 09:00-10:00 ../etc",
        "Mon,Tue 09:00-10:00",
        "Mon 09:00-10:00,Tue 09:00-10:00",
        "mon 09:00-10:00",
        "Mon 09:00-10:00 +25:00",
        "Mon ٠٩:00-10:00",
        "Mon 09:00-10:00" + " 09:00-10:00" * 60,
    ],
)
def test_what_is_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Hours(text)
    rule = Rule("permission", "read", (Constraint("hours", "eq", text),))
    with pytest.raises(TermNotUnderstood):
        terms_from_policy(Policy((rule,)))


def test_the_terms_survive_their_policy_and_the_wire() -> None:
    policy = policy_from_terms(TERMS)
    assert terms_from_policy(policy) == TERMS
    assert odrl.read(odrl.write(policy)) == policy


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"hours": Hours("Mon-Fri 10:00-11:00 Asia/Shanghai")}, ()),
        ({"hours": Hours("Sun 10:00-11:00")}, ("hours",)),
        ({"hours": None}, ("hours",)),
        ({"hours": Hours("Mon-Fri 09:00-12:00 UTC")}, ("hours",)),
        ({"regions": ("3301",)}, ()),
        ({"regions": ("44",)}, ("regions",)),
        ({"regions": ()}, ("regions",)),
        ({"bytes_max": 1_001}, ("bytes_max",)),
        ({"bytes_total": 9_999, "rows_total": 1}, ()),
        ({"rows_total": None}, ("rows_total",)),
    ],
)
def test_less_is_acceptable_and_more_is_not(
    change: dict[str, object], fields: tuple[str, ...]
) -> None:
    asked = replace(TERMS, **change)  # type: ignore[arg-type]
    assert beyond(asked, TERMS, NOW) == fields
    assert beyond(nearest(asked, TERMS, NOW), TERMS, NOW) == ()
    if not fields:
        assert short_of(TERMS, asked) == ()
        assert set(short_of(asked, TERMS)) == set(change)


@pytest.mark.parametrize("value", [(), ("3",), ("330106", "x"), ("33010",)])
def test_regions_are_codes(value: tuple[str, ...]) -> None:
    rule = Rule("permission", "read", (Constraint("region", "isAnyOf", value),))
    with pytest.raises(TermNotUnderstood):
        terms_from_policy(Policy((rule,)))

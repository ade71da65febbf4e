"""Texts and numbers that break readers: in any place of a bundle they give findings, no traceback.

Right in type and shape, so every check behind the shape sees them.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from evidence.bundle_world import World, whole
from yunhe import evidence

COUNT = "/contract/agreement/urn:yunhe:policy/rules/0/constraints/1/value"
PRICE = "/contract/agreement/urn:yunhe:policy/rules/0/duties/0"
NASTY: tuple[Any, ...] = (
    "9" * 5000,  # more digits than Python makes a number of
    "\u0663",  # a digit of another script
    "\x00",
    "\ud800",
    "0001-01-01T00:00:00+23:59",  # before the first instant
    "9999-12-31T23:59:59-23:59",
    "1.99 CNY\n",
    "e30.e30.e30",
    "\u00e9.\u00e9.\u00e9",
    "c2sp.org/tlog-proof@v1\nindex 0\n\nx\n0\n\n\n\u2014 x AAAA\n",
    2**53,
    10**400,
    1e300,
    {"@value": "9" * 5000},
    [{"@value": 1}],
)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def good(world: World) -> dict[str, Any]:
    return whole(world)


def put(bundle: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """A copy of the bundle with another value in one place."""
    changed = copy.deepcopy(bundle)
    *path, last = [part.replace("~1", "/") for part in pointer.split("/")[1:]]
    here: Any = changed
    for part in path:
        here = here[int(part)] if isinstance(here, list) else here[part]
    here[int(last) if isinstance(here, list) else last] = value
    return changed


@pytest.mark.parametrize("value", NASTY, ids=range(len(NASTY)))
def test_a_nasty_value_in_any_place_is_named(
    good: dict[str, Any], world: World, value: Any
) -> None:
    for pointer in evidence.fields.leaves(good, 10**6, 64):
        found = evidence.verify_bundle(put(good, pointer, value), world.trust()).findings
        assert pointer in {each.pointer for each in found}


def test_a_member_whose_name_is_no_text_is_refused(good: dict[str, Any], world: World) -> None:
    found = evidence.verify_bundle({**good, "\ud800": 1}, world.trust()).findings
    assert [(each.pointer, each.code) for each in found] == [("", "FIELD_UNREADABLE")]


@pytest.mark.parametrize("count", ["\u0663", "9" * 16, "1_0", " 1", "-1", ["10"]])
def test_a_number_of_uses_that_no_node_reads_is_named(
    good: dict[str, Any], world: World, count: Any
) -> None:
    """It bounds what may be billed: read otherwise than at the nodes it would bound less."""
    report = evidence.verify_bundle(put(good, COUNT, count), world.trust())
    assert (COUNT, "AGREEMENT_UNREADABLE") in {(f.pointer, f.code) for f in report.findings}


def duty(*said: tuple[str, str]) -> dict[str, Any]:
    """A price as the agreement's typed policy holds it."""
    constraints = [{"term": term, "operator": "eq", "value": value} for term, value in said]
    return {"action": "compensate", "phase": "post", "constraints": constraints}


@pytest.mark.parametrize(
    "said",
    [
        [("payAmount", "1.00 CNY"), ("payPer", "use"), ("frequency", "10")],
        [("payAmount", "1.00 CNY"), ("payPer", "use"), ("payPer", "use")],
        [("payAmount", "1.00 CNY"), ("payPer", "month")],
        [("payAmount", "1.00 CNY"), ("payPer", "row")],  # a second price per row
        [("payAmount", "1.00 CNY")],
        [("payPer", "use")],
    ],
)
def test_a_price_that_says_more_or_less_than_one_is_named(
    good: dict[str, Any], world: World, said: list[tuple[str, str]]
) -> None:
    """Read by halves it would be another price than the nodes charge, or none."""
    found = evidence.verify_bundle(put(good, PRICE, duty(*said)), world.trust()).findings
    assert "AGREEMENT_UNREADABLE" in {each.code for each in found}

"""Attacks on the Grant: it cannot be made, changed, copied or widened by anyone but control."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from pathlib import Path

import pytest

import yunhe
from yunhe.control import Grant, GrantForged


@pytest.fixture
def grant(world, use) -> Grant:
    world.open()
    return world.control.admit(use())


def test_it_cannot_be_constructed(grant) -> None:
    values = {name: getattr(grant, name) for name in Grant.__slots__}
    with pytest.raises(GrantForged):
        Grant(**values)
    with pytest.raises(GrantForged):
        Grant(object(), **values)


def test_it_cannot_be_replaced_changed_or_copied(grant) -> None:
    with pytest.raises(TypeError):
        dataclasses.replace(grant, rows_max=10**9)
    with pytest.raises(GrantForged):
        grant.rows_max = 10**9
    with pytest.raises(GrantForged):
        del grant.rows_max
    for attack in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(GrantForged):
            attack(grant)


def test_it_cannot_be_subclassed() -> None:
    with pytest.raises(GrantForged):
        type("Wide", (Grant,), {})


def test_one_made_by_force_opens_nothing(world, grant) -> None:
    forged = object.__new__(Grant)
    for name in Grant.__slots__:
        object.__setattr__(forged, name, getattr(grant, name))
    for name, value in (("use_id", "invented"), ("rows_max", 10**9), ("contract_id", "c9")):
        kept = getattr(grant, name)
        object.__setattr__(forged, name, value)
        with pytest.raises(GrantForged):
            world.control.release(forged)
        object.__setattr__(forged, name, kept)


def test_it_is_minted_in_one_place() -> None:
    calls = []
    for path in Path(yunhe.__file__).parent.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if re.search(r"\bmint\(", line) and "control" in path.parts and "def " not in line:
                calls.append(path.name)
    assert calls == ["service.py"]
    assert not hasattr(yunhe.control, "mint")

"""The ledger of a privacy budget, on both engines: it never goes above what was agreed."""

from __future__ import annotations

import threading
from array import array
from dataclasses import replace

import pytest

from control.conftest import PEER, TERMS
from yunhe.contracts import Privacy
from yunhe.control import Answered, QueryOverlap, Question, answer_kept
from yunhe.control.overlap import Print
from yunhe.kernel.errors import YunheError

BUDGET = Privacy.parse("epsilon=0.5;delta=0.00001;query=0.1;groups=1;rows=1")
PRIVATE = replace(TERMS, privacy=BUDGET, uses_max=None)


def asked(key: str, *, held: bool = False) -> Question:
    return Question("P1", key, held)


def spent(world) -> str:
    return world.control.privacy_left(PEER, "P1", BUDGET).epsilon_spent


def test_many_at_once_spend_no_more_than_there_is(any_world, use) -> None:
    any_world.open(PRIVATE)
    any_world.open(PRIVATE, "c2")
    codes: list[str] = []

    def ask(at: int) -> None:
        contract = "c1" if at % 2 else "c2"
        try:
            any_world.control.admit(
                use(use_id=f"x{at}", contract_id=contract, question=asked(f"q{at}"))
            )
            codes.append("")
        except YunheError as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask, args=(at,)) for at in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == sorted([""] * 5 + ["PRIVACY_BUDGET_SPENT"] * 11)
    assert spent(any_world) == "0.5"


def test_a_kept_answer_is_free_and_only_while_it_is_kept(any_world, use) -> None:
    any_world.open(PRIVATE)
    grant = any_world.control.admit(use(question=asked("q")))
    assert answer_kept(any_world.db, PEER, asked("q")) is None
    any_world.control.release(grant, None, [["a", "12"]])
    assert answer_kept(any_world.db, PEER, asked("q")) == [["a", "12"]]
    for _ in range(20):
        any_world.control.admit(use(question=asked("q", held=True)))
    assert spent(any_world) == "0.1"
    any_world.control.admit(use(question=asked("other", held=True)))  # said to be held: it is not
    assert spent(any_world) == "0.2"


def test_only_what_never_looked_is_given_back(any_world, use) -> None:
    any_world.open(PRIVATE)
    for at, why in enumerate(("WORKERS_BUSY", "GROUP_TOO_SMALL", "QUERY_TIMEOUT", "crash")):
        any_world.control.void(any_world.control.admit(use(question=asked(f"q{at}"))), why)
    assert spent(any_world) == "0.3"


def test_without_its_question_a_use_is_refused(any_world, use) -> None:
    any_world.open(PRIVATE)
    with pytest.raises(YunheError) as refusal:
        any_world.control.admit(use())
    assert refusal.value.code == "PRIVACY_NOT_APPLIED"


def test_two_neighbours_at_once_are_one_answer(any_world, use) -> None:
    """The audit has an order, whichever of two answers comes first."""
    any_world.open(replace(TERMS, uses_max=None))
    rows = array("Q", range(1, 65))
    less = array("Q", [0, *range(2, 65)])
    answers = [Answered("P1", 3, "f", (), (Print(n, r, r),)) for n, r in ((64, rows), (63, less))]
    grants = [any_world.control.admit(use()) for _ in answers]
    codes: list[str] = []

    def give(at: int) -> None:
        try:
            any_world.control.release(grants[at], answers[at])
            codes.append("")
        except QueryOverlap as error:
            codes.append(error.code)

    threads = [threading.Thread(target=give, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == ["", "QUERY_OVERLAP"]

"""The corpus against real nodes, over every way to a governed query: no leak, the due refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attack import abuses, canaries, corpus, fuzz, inference, runner, sabotage
from attack.faces import FACES, PlaneFace
from attack.world import Target, target


@pytest.fixture(scope="module")
def aim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("attack")) as made:
        yield made


def test_the_corpus_is_large_enough_and_names_no_case_twice() -> None:
    cases = corpus.cases()
    assert len(cases) >= 900
    asked = [(case.mode, case.sql) for case in cases]
    assert len(asked) == len(set(asked))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("face", list(FACES))
def test_nothing_leaks_and_each_refusal_names_its_rule(aim: Target, face: str) -> None:
    report = runner.Report()
    runner.run_corpus(aim, [face], [], report)
    assert not report.red
    assert report.ran > len(corpus.cases())


@pytest.mark.parametrize("seed", [1, 2])
def test_made_up_queries_answer_as_if_the_policy_were_applied_by_hand(
    aim: Target, seed: int
) -> None:
    found = fuzz.fuzz(aim, PlaneFace(aim), seed, 120)
    assert not found.wrong
    assert found.compared >= 60
    assert found.refused >= 20


@pytest.mark.parametrize("abuse", abuses.ABUSES, ids=lambda each: each.name)
def test_abuse(aim: Target, abuse: abuses.Abuse) -> None:
    assert not abuse.wrong(aim)


def test_groups_alone_are_no_protection_against_differencing(aim: Target) -> None:
    """The attack is a real one: without the audit it finds everybody."""
    measured = inference.differencing(aim, "k")
    assert measured.exact == measured.tried == inference.TARGETS


@pytest.mark.timeout(300)
def test_each_seeded_defect_fits_the_code_it_breaks() -> None:
    """`make attack SABOTAGE=1` runs them, and is too long for every day."""
    command = [sys.executable, str(Path(__file__).parent), "--seeds"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"{len(sabotage.DEFECTS)} seeds fit\n", done.stdout + done.stderr
    assert done.returncode == 0


def test_a_seed_of_other_arguments_would_be_seen() -> None:
    def today(sql: str, terms: object, *, at: int = 0) -> None: ...

    assert sabotage.takes_as(today, lambda *_, **__: None)
    assert sabotage.takes_as(today, lambda sql, terms, at=1: None)
    assert not sabotage.takes_as(today, lambda sql, at=1: None)
    assert not sabotage.takes_as(today, lambda sql, terms, more, at=1: None)


def test_a_leak_would_be_seen() -> None:
    assert canaries.leaks("x CANARY-NAME-7", "SELECT name") == ["CANARY"]
    assert not canaries.leaks("x CANARY-NAME-7", "WHERE name = 'CANARY-NAME-7'")
    assert canaries.large_numbers([{"a": 77_770_777 / 3}])
    assert not canaries.large_numbers([{"a": float("inf"), "b": None, "c": "x"}])

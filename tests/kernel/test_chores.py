"""What is done every so often goes on being done, whatever one round of it came to."""

from __future__ import annotations

import itertools
import threading

import pytest

from yunhe.kernel.chores import Chores
from yunhe.kernel.errors import Unavailable


def test_a_chore_that_fails_keeps_no_other_from_its_turn_and_has_its_own_again() -> None:
    ways = itertools.cycle([Unavailable(), OSError("no such folder"), ValueError()])
    failed: list[Exception] = []
    done = threading.Semaphore(0)

    def failing() -> None:
        failed.append(error := next(ways))
        raise error

    chores = Chores("test", 0.01, failing, done.release)
    chores.start()
    try:
        assert all(done.acquire(timeout=10) for _ in range(3))
    finally:
        chores.stop()
    assert [type(each) for each in failed[:3]] == [Unavailable, OSError, ValueError]


def test_no_chore_is_done_once_they_are_stopped_and_they_may_be_started_again() -> None:
    done = threading.Semaphore(0)
    chores = Chores("test", 0.01, done.release)
    chores.stop()  # never started
    chores.start()
    assert done.acquire(timeout=10)
    chores.stop()
    chores.stop()
    assert "test" not in [thread.name for thread in threading.enumerate()]
    while done.acquire(blocking=False):
        pass
    assert not done.acquire(timeout=0.1)
    chores.start()
    assert done.acquire(timeout=10)
    chores.stop()


def test_who_rings_waits_for_no_round_and_before_the_start_for_no_longer_than_that() -> None:
    done = threading.Semaphore(0)
    chores = Chores("test", 3600, done.release)
    chores.ring()
    chores.start()
    try:
        assert done.acquire(timeout=10)
        for _ in range(3):
            chores.ring()
            assert done.acquire(timeout=10)
        assert not done.acquire(timeout=0.1)  # one ring, one round
    finally:
        chores.stop()
    chores.start()
    try:
        assert not done.acquire(timeout=0.1)  # the bell by which it was stopped is not heard again
    finally:
        chores.stop()


def test_a_ring_during_a_round_begins_another() -> None:
    began, go = threading.Semaphore(0), threading.Semaphore(0)

    def waiting() -> None:
        began.release()
        go.acquire()

    chores = Chores("test", 3600, waiting)
    chores.ring()
    chores.start()
    try:
        assert began.acquire(timeout=10)
        for _ in range(5):
            chores.ring()  # it may have looked already at what these ring for
        go.release()
        assert began.acquire(timeout=10)
        go.release()
        assert not began.acquire(timeout=0.1)  # five rings during one round: one more
    finally:
        go.release()
        chores.stop()


def test_a_ring_that_gathers_waits_for_others() -> None:
    done = threading.Semaphore(0)
    chores = Chores("test", 3600, done.release, gather_s=3600)
    chores.start()
    chores.ring()
    try:
        assert not done.acquire(timeout=0.1)
    finally:
        chores.stop()  # and stops at once


def test_whoever_rings_without_end_keeps_nobody_from_stopping() -> None:
    rounds = 0
    rung = threading.Event()

    def ringing() -> None:
        nonlocal rounds
        rounds += 1
        chores.ring()
        if rounds > 100:
            rung.set()

    chores = Chores("test", 3600, ringing, ringing)
    chores.ring()
    chores.start()
    assert rung.wait(10)
    stopping = threading.Thread(target=chores.stop, daemon=True)
    stopping.start()
    stopping.join(10)
    assert not stopping.is_alive()


def test_of_a_round_that_is_stopped_no_further_chore_is_done_and_the_long_one_knows() -> None:
    began, seen, after = threading.Event(), threading.Event(), threading.Event()

    def long() -> None:
        began.set()
        while not chores.stopping:
            seen.wait(0.001)
        seen.set()

    chores = Chores("test", 3600, long, after.set)
    chores.ring()
    chores.start()
    assert began.wait(10)
    chores.stop()
    assert seen.is_set()
    assert not after.is_set()


def test_an_unforeseen_failure_of_a_rung_round_is_told_and_the_next_ring_is_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = threading.Semaphore(0)
    ways = iter([ZeroDivisionError("unforeseen")])

    def failing() -> None:
        if (error := next(ways, None)) is not None:
            done.release()
            raise error
        done.release()

    chores = Chores("test", 3600, failing)
    chores.start()
    try:
        for _ in range(2):
            chores.ring()
            assert done.acquire(timeout=10)
    finally:
        chores.stop()
    assert [each.exc_text for each in caplog.records if "unforeseen" in (each.exc_text or "")]

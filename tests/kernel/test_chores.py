"""What is done every so often goes on being done, whatever one round of it came to."""

from __future__ import annotations

import itertools
import threading

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

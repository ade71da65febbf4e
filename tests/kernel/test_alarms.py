"""Calls at their time: in order, by one thread, and none after the stop."""

from __future__ import annotations

import threading
import time

from yunhe.kernel.alarms import Alarms


def test_each_comes_at_its_time_and_none_takes_a_thread() -> None:
    alarms, made, done = Alarms("t"), [], threading.Event()
    alarms.start()
    before = threading.active_count()
    for number in range(2000):
        alarms.set(60, lambda: made.append("late"))
        alarms.set(0.1 + number % 3 * 0.7, lambda n=number: made.append(n))
    alarms.set(2.5, done.set)
    assert threading.active_count() == before
    assert done.wait(10)
    assert len(made) == 2000
    assert [n % 3 for n in made] == sorted(n % 3 for n in made)
    assert made == sorted(made, key=lambda n: (n % 3, n))
    alarms.stop()


def test_one_that_fails_keeps_no_other_waiting() -> None:
    alarms, done = Alarms("t"), threading.Event()

    def fail() -> None:
        raise LookupError

    alarms.set(0, fail)
    alarms.set(0.01, done.set)
    alarms.start()  # what was set before is not lost
    assert done.wait(10)
    alarms.stop()


def test_none_is_made_after_the_stop() -> None:
    alarms, made = Alarms("t"), []
    alarms.start()
    alarms.set(0.2, lambda: made.append(1))
    alarms.stop()
    time.sleep(0.3)
    assert made == []

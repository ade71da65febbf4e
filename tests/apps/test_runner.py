"""The hands that take up runs at their host, whatever one try of theirs came to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from yunhe.apps.desk import Desk
from yunhe.apps.runner import Runner
from yunhe.kernel import limits


def test_a_hand_that_fails_unforeseen_takes_up_the_next_run() -> None:
    failed, looked = threading.Semaphore(0), threading.Semaphore(0)
    tries = iter(range(limits.APP_JOBS_AT_ONCE))

    def write(_verb: Callable[[Any], Any]) -> None:
        if next(tries, None) is not None:
            failed.release()
            raise ZeroDivisionError
        looked.release()

    db = SimpleNamespace(read=lambda _verb: [], write=write)
    runner = Runner(cast("Desk", SimpleNamespace(db=db)))
    runner.start()
    try:
        # At the start each looks for what waited: here each fails.
        assert all(failed.acquire(timeout=10) for _ in range(limits.APP_JOBS_AT_ONCE))
        runner.wake()
        assert looked.acquire(timeout=10)
    finally:
        runner.stop()

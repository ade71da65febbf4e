"""Several processes behind one socket: each is replaced, also where that fails at first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from kernel.idle import idle
from yunhe.kernel.several import Several


def until(found: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not found():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_who_dies_is_replaced_also_where_no_process_is_to_be_had_at_first(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    several = Several(idle, None, [], 2)
    several.start()
    try:
        first, second = several.pids()
        failures, real = iter([OSError("no process to be had")]), several._context.Process

        def failing(*args: Any, **named: Any) -> Any:
            if (error := next(failures, None)) is not None:
                raise error
            return real(*args, **named)

        monkeypatch.setattr(several._context, "Process", failing)
        os.kill(first, signal.SIGKILL)
        until(lambda: len({*several.pids()} - {first}) == 2)
        assert next(failures, None) is None
        assert second in several.pids()
        assert any("no process to be had" in (each.exc_text or "") for each in caplog.records)
    finally:
        several.stop()
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

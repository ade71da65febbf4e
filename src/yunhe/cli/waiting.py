"""Waiting for another party with something to look at: polls, and says what it waits for.

In: a question to the node and when it is answered. Out: the last answer, or WaitedTooLong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from yunhe.cli import words
from yunhe.cli.desk import Desk
from yunhe.kernel.errors import Unavailable

POLL_S = 0.5


class WaitedTooLong(Unavailable):
    code = "WAITED_TOO_LONG"
    en = "Still {state} after {seconds} s."
    zh = "{seconds} 秒后仍为“{state}”状态。"
    mend_en = "It goes on; at the functional node a person may have to decide. Later: {again}"
    mend_zh = "处理仍在继续，功能节点可能需要人工审核；稍后请执行：{again}"


class Stateful(Protocol):
    """What has a state to wait for."""

    @property
    def state(self) -> str:
        """Its state."""
        ...


S = TypeVar("S", bound=Stateful)


def until(
    desk: Desk,
    ask: Callable[[], S],
    done: Callable[[S], bool],
    wait_s: float,
    again: str,
) -> S:
    """Ask until `done`, at most `wait_s` seconds; raises WaitedTooLong.

    `again` is the command that takes up the waiting.
    """
    started = time.monotonic()
    with desk.goes_on(again), desk.err.status("…") as status:
        while not done(now := ask()):
            state_zh = words.shown("zh", "state", now.state)
            left = wait_s - (time.monotonic() - started)
            if left <= 0:
                raise WaitedTooLong(
                    state=now.state, state_zh=state_zh, seconds=round(wait_s), again=again
                )
            status.update(desk.say(f"{now.state}, waiting", f"{state_zh}，等待中"))
            time.sleep(min(POLL_S, left))
    return now

"""Crash points: the places where a process may die and nothing may be lost.

Armed by `YUNHE_CRASH=name[:nth]`, the process kills itself there with SIGKILL, as a power cut
would. Unarmed, a point is one comparison. `make crash` and the suite go through all of them.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from typing import Final

POINTS: Final = (
    "before_commit",
    "after_commit",
    "before_send",
    "after_send",
    "before_mark_sent",
    "after_mark_sent",
    "before_first_byte",
    "after_first_byte",
    "before_tile",
    "after_tile",
    "before_checkpoint",
    "after_checkpoint",
)


class CrashPoints:
    """The points of one node; `armed` is `name`, `name:nth` or `random:per_mille[:seed]`."""

    def __init__(self, armed: str = "") -> None:
        name, _, rest = armed.partition(":")
        if name and name not in (*POINTS, "random"):
            raise ValueError(f"no crash point {name!r}; there are {', '.join(POINTS)}")
        self._name = name
        number, _, seed = rest.partition(":")
        self._number = int(number) if number else 1  # of times yet to come, or per mille
        self._dice = random.Random(int(seed) if seed else None)  # noqa: S311  dice, not a secret
        self._lock = threading.Lock()

    def at(self, point: str) -> None:
        """Die here if this is the armed point and its turn has come."""
        if not self._name:
            return
        with self._lock:
            if self._name == "random":
                die = self._dice.randrange(1000) < self._number
            else:
                self._number -= self._name == point
                die = self._name == point and self._number <= 0
        if die:
            os.kill(os.getpid(), signal.SIGKILL)

"""Chores: what a node does every so often beside its work, in a thread of its own.

In: verbs that take nothing. Out: they are done again and again until `stop`; one that fails is told
to the operator and tried again at the next round, and keeps no other from its turn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from yunhe.kernel.errors import YunheError

log = logging.getLogger(__name__)


class Chores:
    """`start` them once the node is up, `stop` them before what they use is closed."""

    def __init__(self, name: str, every_s: float, *chores: Callable[[], object]) -> None:
        """`name`: of the thread; `every_s`: seconds before the first round and between two."""
        self._name, self._every_s, self._chores = name, every_s, chores
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Do them from now on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._rounds, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do them no more; returns when the one under way is done. Idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _rounds(self) -> None:
        while not self._stop.wait(self._every_s):
            for chore in self._chores:
                self._do(chore)

    def _do(self, chore: Callable[[], object]) -> None:
        try:
            chore()
        except YunheError as error:
            log.warning("%s: a chore failed and will be tried again: %s", self._name, error)
        except Exception:  # a thread that ended here would leave every chore undone, unseen
            log.exception("%s: a chore failed and will be tried again", self._name)

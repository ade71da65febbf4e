"""Chores: what a node does every so often beside its work, in a thread of its own.

In: verbs that take nothing. Out: they are done again and again until `stop`, and at once when
somebody rings; one that fails is told to the operator and tried again at the next round, and keeps
no other from its turn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from yunhe.kernel.errors import YunheError

log = logging.getLogger(__name__)


class Chores:
    """`start` them once the node is up, `stop` them before what they use is closed."""

    def __init__(
        self, name: str, every_s: float, *chores: Callable[[], object], gather_s: float = 0.0
    ) -> None:
        """`name`: of the thread; `every_s`: seconds before the first round and between two, if
        nobody rings; `gather_s`: how long a ring waits for others, that one round is for all."""
        self._name, self._every_s, self._chores = name, every_s, chores
        self._gather_s = gather_s
        self._stop, self._bell = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopping(self) -> bool:
        """Whether a chore that takes long is to break off."""
        return self._stop.is_set()

    def start(self) -> None:
        """Do them from now on; at once if somebody rang before."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._rounds, name=self._name, daemon=True)
        self._thread.start()

    def alive(self) -> bool:
        """Whether there is who does them."""
        return self._thread is not None and self._thread.is_alive()

    def ring(self) -> None:
        """Begin a round now, or as soon as the one under way is over. From any thread."""
        self._bell.set()

    def stop(self) -> None:
        """Do them no more; returns when the one under way is done. Idempotent."""
        self._stop.set()
        self._bell.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._bell.clear()

    def _rounds(self) -> None:
        while self._due():
            for chore in self._chores:
                if self._stop.is_set():
                    return
                self._do(chore)

    def _due(self) -> bool:
        """Wait for the next round; False once stopped."""
        if self._bell.wait(self._every_s) and self._gather_s:
            self._stop.wait(self._gather_s)
        # Before the round: who rings during it may have been overlooked by it.
        self._bell.clear()
        return not self._stop.is_set()

    def _do(self, chore: Callable[[], object]) -> None:
        try:
            chore()
        except YunheError as error:
            log.warning("%s: a chore failed and will be tried again: %s", self._name, error)
        except Exception:  # a thread that ended here would leave every chore undone, unseen
            log.exception("%s: a chore failed and will be tried again", self._name)

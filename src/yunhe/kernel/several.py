"""Several processes behind one listening socket, each replaced when it dies.

In: bound sockets, how many, and what each runs. Out: processes that accept from the same queue: a
connection waits for whoever is free, and none is lost with a process that had not accepted it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from time import monotonic
from typing import Final, TypeVar

from yunhe.kernel.chores import Chores

log = logging.getLogger(__name__)

T = TypeVar("T")
_LOOK_S: Final = 0.2
_AGAIN_S: Final = 1.0  # between two starts: one that dies at once is not started in a loop
_STOP_S_MAX: Final = 20.0


class Several:
    """Runs `target(given, number, sockets)` in `count` processes until `stop`.

    They are told to stop by SIGTERM, and die by themselves when this process is gone.
    """

    def __init__(
        self,
        target: Callable[[T, int, list[socket.socket]], None],
        given: T,
        sockets: list[socket.socket],
        count: int,
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._run: Callable[[int], tuple[object, ...]] = lambda number: (
            target,
            given,
            number,
            sockets,
        )
        self._count = count
        self._alive: dict[int, SpawnProcess] = {}
        self._lock = threading.Lock()
        self._begun: dict[int, float] = {}
        self._watch = Chores("several", _LOOK_S, self._replace)

    def start(self) -> None:
        """Start them all; returns at once."""
        for number in range(self._count):
            self._begin(number)
        self._watch.start()

    def pids(self) -> list[int]:
        """The process ids of those that run, by number."""
        with self._lock:
            return [each.pid for _, each in sorted(self._alive.items()) if each.pid is not None]

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to who does not end in time."""
        self._watch.stop()
        with self._lock:
            alive = [*self._alive.values()]
        for process in alive:
            process.terminate()
        until = monotonic() + _STOP_S_MAX
        for process in alive:
            process.join(max(0.0, until - monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            process.close()

    def _begin(self, number: int) -> None:
        name = f"door-{number}"
        self._begun[number] = monotonic()
        process = self._context.Process(target=_run, args=self._run(number), name=name)
        process.start()
        with self._lock:
            self._alive[number] = process

    def _replace(self) -> None:
        """Start anew who has ended, or could not be started the last time."""
        with self._lock:
            ended = {number: each for number, each in self._alive.items() if not each.is_alive()}
            for number in ended:
                del self._alive[number]
        for number, died in ended.items():
            died.join()
            log.error("process %d of the data plane ended (%s)", number, died.exitcode)
            died.close()
        for number in range(self._count):
            due = monotonic() - self._begun[number] >= _AGAIN_S
            if number not in self._alive and due and not self._watch.stopping:
                self._begin(number)


def _run(
    target: Callable[[T, int, list[socket.socket]], None],
    given: T,
    number: int,
    sockets: list[socket.socket],
) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - it is started by `Several`
    threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    target(given, number, sockets)
    logging.shutdown()
    os._exit(0)  # all is stopped: nothing is left that the interpreter's own end would do better


def _follow(parent: int) -> None:
    wait([parent])
    os._exit(1)  # its node is gone, and with it who would replace or stop this one

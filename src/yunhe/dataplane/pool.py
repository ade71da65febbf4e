"""The pool of worker processes: warm, one contract a life, killed rather than waited for.

In: a `Binding` (contract, files, mask key) and a `Job` (governed SQL). Out: `Running`, whose
chunks are the bytes of one Arrow IPC stream, forwarded without looking into them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, TypeVar

from yunhe.dataplane.engine import check_engine
from yunhe.dataplane.errors import DataUnavailable, QueryFailed, WorkersBusy
from yunhe.dataplane.process import Process, Running, WorkerLimits
from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError
from yunhe.kernel.walls import REQUIRE, stand

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Binding:
    """What one worker may see in its life."""

    contract_id: str
    tables: tuple[tuple[str, tuple[str, ...]], ...]  # table -> files
    mask_key: str = field(repr=False, default="")
    audit_key: str = field(repr=False, default="")
    mark_key: str = field(repr=False, default="")  # of the product's watermark, where it has one
    spans: tuple[tuple[str, tuple[int, int]], ...] = ()  # table -> the rows seen of its one file
    careful: bool = False  # whether the engine leaves nothing out by what it knows of values
    # Which files the names mean: a worker sees those that stood there when it was bound. Filled
    # in by the pool.
    stood: tuple[tuple[int, int], ...] = ()

    @property
    def keys(self) -> tuple[str, str, str]:
        """What masks, audits and marks are keyed with."""
        return self.mask_key, self.audit_key, self.mark_key


@dataclass(frozen=True)
class Job:
    """One governed query; `rows_max` None: no bound on the rows."""

    sql: str
    groups_sql: str | None = None
    k: int = 0
    rows_max: int | None = None
    recipe: dict[str, Any] | None = None  # noise.Recipe: `groups_sql` gives exact numbers
    groups: list[Any] | None = None  # the kept answer, in place of a new one
    bytes_max: int | None = None  # of the Arrow stream; None: no bound
    careful: bool = False  # see Governed
    watermark: str = ""  # told to the recipient: its values are marked, by so much at most


@dataclass(frozen=True)
class Census:
    """The workers of a pool at one moment; `ended`: how many since its start, by why."""

    most: int  # with a contract
    busy: int
    idle: int  # with a contract
    spare: int
    ended: Mapping[str, int]
    usable: bool  # a query would find a worker, or one could be started


class Pool:
    """At most `size` workers with a contract, `spare` more unbound and ready; dead ones replaced.

    The spare ones come on top: a new contract's first query never waits for a process to start.

    Use as a context manager or call `start` and `stop`. Thread-safe.
    """

    def __init__(
        self,
        size: int = limits.WORKERS_MAX,
        spare: int = 1,
        worker: WorkerLimits | None = None,
        *,
        development: bool = False,
    ) -> None:
        """`development`: an engine that was never tested against leaks is let pass."""
        self.size = size
        self._size, self._spare, self._development = size, spare, development
        self._limits = worker or WorkerLimits()
        self._changed = threading.Condition()
        self._idle: list[tuple[Binding | None, Process]] = []  # oldest first
        self._alive = 0  # idle, busy and starting
        self._taken = 0  # of these: those with a contract, idle or busy
        self._ended: list[Process] = []
        # Why workers ended: `killed` with their query, `died` while idle, `replaced` by one of
        # another contract, `spent` where they were of one use.
        self._fates: Counter[str] = Counter()
        self._unstartable = False  # the machine had none to give when one was last asked for
        self._near: deque[Callable[[], Binding | None]] = deque(
            maxlen=size
        )  # what `prepare` was told
        self._preparing: Binding | None = None
        self._refill_at = 0.0
        self._open = False
        self._keeper: threading.Thread | None = None
        # Workers die with the thread that starts them: it is this one's only, and lives as long.
        self._starter: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Start the spare workers and the thread that replaces what dies.

        Raises EngineUntested, SandboxMissing.
        """
        check_engine(development=self._development)
        if self._limits.sandbox == REQUIRE:
            stand(REQUIRE)
        self._open = True
        if self._starter is None:
            self._starter = ThreadPoolExecutor(1, "worker-starter")
        for _ in range(self._spare):
            self._alive += 1
            self._idle.append((None, self._process()))
        self._keeper = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """Kill every idle worker; busy ones end with their query. Idempotent."""
        with self._changed:
            self._open = False
            idle, self._idle = self._idle, []
            self._alive -= len(idle)
            self._taken -= sum(1 for bound, _ in idle if bound is not None)
            self._changed.notify_all()
        for _, process in idle:
            process.kill()
        if self._keeper is not None:
            self._keeper.join()
            self._keeper = None
        self._reap()
        self._end_starter()

    def __enter__(self) -> Pool:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(
        self,
        binding: Binding,
        job: Job,
        on_tick: Callable[[], None] | None = None,
        ended: Callable[[], None] | None = None,
        load: Callable[[Process], None] | None = None,
    ) -> Running:
        """Run `job` on a worker of `binding` up to its first bytes.

        `on_tick` is called at least every half second while waiting; what it raises ends the
        query. The caller must exhaust or `close` the result, which gives the worker back. `ended`
        is called then, or before what is raised here, and the worker is of this one use: what it
        is bound to is gone. `load` gives a fresh worker tables that lie in no file.
        Raises the fixed refusals: GROUP_TOO_SMALL, QUERY_*, ROWS_OVER_LIMIT, WORKER_LOST,
        WORKERS_BUSY.
        """
        binding = _stands(replace(binding, careful=True) if job.careful else binding)
        try:
            process = self._take(binding)
        except BaseException:
            if ended is not None:
                ended()
            raise

        def give_back(usable: bool) -> None:
            self._give(binding, process, usable, once=ended is not None)
            if ended is not None:
                ended()

        try:
            if not process.bound:
                if load is not None:
                    load(process)
                _bind(process, binding)
            running = Running(process, job, give_back, on_tick)
        except BaseException:
            give_back(usable=False)
            raise
        running.start()
        return running

    def prepare(self, find: Callable[[], Binding | None]) -> None:
        """The first query of what `find` says is near: have a spare worker bound to it by then.

        A hint, returned from at once: no worker is started for it, and what goes wrong the query
        itself will meet. `find` is asked in the keeper's thread.
        """
        with self._changed:
            self._near.append(find)
            self._changed.notify_all()

    def describe(self, binding: Binding, sql: str, groups_sql: str | None = None) -> bytes:
        """The Arrow schema (one IPC message) that a governed query would have; it is not run.

        Raises the fixed refusals QUERY_FAILED, DATA_UNAVAILABLE, WORKER_LOST, WORKERS_BUSY.
        """
        return self._told(binding, lambda process: process.describe(sql, groups_sql))

    def row_groups(self, binding: Binding, file: str) -> tuple[int, ...]:
        """The rows of each row group of a file of `binding`; () where it cannot be cut by them.

        Raises as `describe`.
        """
        return self._told(binding, lambda process: process.row_groups(file))

    def census(self) -> Census:
        """The workers now."""
        with self._changed:
            spare = sum(1 for bound, _ in self._idle if bound is None)
            idle = len(self._idle) - spare
            busy = self._taken - idle
            kept = self._keeper is not None and self._keeper.is_alive()
            there = busy > 0 or any(process.alive() for _, process in self._idle)
            usable = self._open and kept and (there or not self._unstartable)
            return Census(self._size, busy, idle, spare, dict(self._fates), usable)

    def _told(self, binding: Binding, ask: Callable[[Process], T]) -> T:
        """What a worker of `binding` says at once, running nothing."""
        binding = _stands(binding)
        process = self._take(binding)
        usable = False
        try:
            if not process.bound:
                _bind(process, binding)
            said = ask(process)
            usable = True
            return said
        except (QueryFailed, DataUnavailable):
            usable = True  # it said so itself, and is free again
            raise
        finally:
            self._give(binding, process, usable)

    def _take(self, binding: Binding) -> Process:
        until = monotonic() + limits.WORKER_WAIT_S_MAX
        while True:
            with self._changed:
                if not self._open:
                    raise WorkersBusy("the pool is not started")
                process = self._choose(binding)
                soon = binding == self._preparing  # sooner than any other could be started
                if process is None and not soon and self._taken < self._size:
                    self._alive += 1
                    self._taken += 1
                    break
                if process is None and not (
                    self._open and self._changed.wait(until - monotonic()) and self._open
                ):
                    raise WorkersBusy()
                self._changed.notify_all()  # the keeper may have to refill
            if process is not None:
                if process.alive():
                    return process
                self._lost(process, taken=True, fate="died")
        try:
            return self._process()
        except BaseException:
            self._lost(None, taken=True)
            raise

    def _process(self) -> Process:
        starter = self._starter
        if starter is None:
            raise WorkersBusy("the pool is stopped")
        try:
            made = starter.submit(Process, self._limits).result()
        except OSError:  # no descriptor or process to be had now
            self._unstartable = True
            raise
        self._unstartable = False
        return made

    def _end_starter(self) -> None:
        """Once the pool is stopped and its last worker gone: they would die with it."""
        with self._changed:
            if self._open or self._alive:
                return
            starter, self._starter = self._starter, None
        if starter is not None:
            starter.shutdown(wait=False)

    def _choose(self, binding: Binding) -> Process | None:
        """An idle worker of this contract, else an unbound one if there is, or can be, room."""
        for at, (bound, process) in enumerate(self._idle):
            if bound == binding:
                del self._idle[at]
                return process
        if binding == self._preparing:
            return None
        if self._taken >= self._size and not self._end_oldest():
            return None
        return self._choose_spare()

    def _choose_spare(self) -> Process | None:
        for at, (bound, process) in enumerate(self._idle):
            if bound is None:
                del self._idle[at]
                self._taken += 1
                # To start a process takes what the query it was taken for needs: not at once.
                self._refill_at = monotonic() + limits.WORKER_REFILL_S
                return process
        return None

    def _end_oldest(self) -> bool:
        """Kill the worker that has been idle with its contract for longest, if there is one."""
        for at, (bound, process) in enumerate(self._idle):
            if bound is not None:
                del self._idle[at]
                process.stop()
                self._ended.append(process)  # reaped by the keeper: nobody waits here for it
                self._alive -= 1
                self._taken -= 1
                self._fates["replaced"] += 1
                return True
        return False

    def _give(
        self, binding: Binding | None, process: Process, usable: bool, once: bool = False
    ) -> None:
        with self._changed:
            if usable and not once and self._open and process.alive():
                self._idle.append((binding, process))
                self._changed.notify_all()
                return
        fate = "spent" if usable and once else "killed"
        self._lost(process, taken=binding is not None, fate=fate)

    def _lost(self, process: Process | None, *, taken: bool, fate: str = "") -> None:
        if process is not None:
            process.kill()
        with self._changed:
            if fate and self._open:
                self._fates[fate] += 1
            self._alive -= 1
            self._taken -= taken
            self._changed.notify_all()
        self._end_starter()

    def _keep(self) -> None:
        """Bind what is near, keep `spare` unbound workers while there is room, reap the ended."""
        while True:
            with self._changed:
                while self._open and not self._ended and not self._near:
                    wait_s = self._refill_at - monotonic() if self._wants_spare() else None
                    if wait_s is not None and wait_s <= 0:
                        break
                    self._changed.wait(wait_s)
                if not self._open:
                    return
                find = self._near.popleft() if self._near else None
                if wanted := self._wants_spare() and self._refill_at <= monotonic():
                    self._alive += 1
            if find is not None:
                try:
                    self._bind_spare(find)
                except Exception:  # a hint is lost, not the thread that replaces workers
                    log.exception("a worker could not be prepared")
            if wanted:
                self._start_spare()
            self._reap()

    def _start_spare(self) -> None:
        try:
            process = self._process()
        except Exception:  # without this thread none is ever replaced
            log.exception("no spare worker could be started")
            self._refill_at = monotonic() + limits.WORKER_WAIT_S_MAX
            self._lost(None, taken=False)
            return
        self._give(None, process, usable=True)

    def _bind_spare(self, find: Callable[[], Binding | None]) -> None:
        try:
            binding = find()
        except YunheError as refusal:
            log.info("no worker is prepared: %s", refusal)
            return
        if binding is None:
            return
        binding = _stands(binding)
        with self._changed:
            known = any(bound == binding for bound, _ in self._idle)
            if known or not any(bound is None for bound, _ in self._idle):
                return
            process = self._choose(binding)
            if process is None:
                return
            self._preparing = binding
        bound = False
        try:
            _bind(process, binding)
            bound = True
        except YunheError as refusal:
            log.info("a worker could not be prepared: %s", refusal)
        finally:
            self._give(binding, process, bound)
            with self._changed:
                self._preparing = None
                self._changed.notify_all()

    def _reap(self) -> None:
        with self._changed:
            ended, self._ended = self._ended, []
        for process in ended:
            process.kill()

    def _wants_spare(self) -> bool:
        unbound = sum(1 for bound, _ in self._idle if bound is None)
        return unbound < self._spare and self._alive < self._size + self._spare


def _stands(binding: Binding) -> Binding:
    """With the files that its names mean now: one that was replaced needs a new worker."""
    stood = []
    for _, paths in binding.tables:
        for path in paths:
            try:
                found = os.stat(path)
            except OSError:  # the worker's to tell
                stood.append((0, 0))
            else:
                stood.append((found.st_dev, found.st_ino))
    return replace(binding, stood=tuple(stood))


def _bind(process: Process, binding: Binding) -> None:
    spans = dict(binding.spans)
    process.bind(dict(binding.tables), *binding.keys, spans, careful=binding.careful)

"""A worker bound before the first query: a hint that saves its wait and changes nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pytest

from yunhe.contracts.desk import Bell
from yunhe.dataplane import Binding, Job, Pool
from yunhe.dataplane.errors import DataUnavailable
from yunhe.dataplane.process import Process
from yunhe.kernel import limits
from yunhe.kernel.errors import NotFound


def drain(pool: Pool, binding: Binding) -> pa.Table:
    running = pool.run(binding, Job("SELECT count(*) AS n FROM data.patients"))
    return pa.ipc.open_stream(b"".join(running)).read_all()


def until(check: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not check():
        assert time.monotonic() < ends
        time.sleep(0.01)


def idle(pool: Pool, binding: Binding | None) -> list[Process]:
    """Those of `binding`, whichever files stood there."""
    told = [(bound and replace(bound, stood=()), process) for bound, process in pool._idle]
    return [process for bound, process in told if bound == binding]


def test_a_prepared_worker_is_the_one_that_answers(hospital) -> None:
    binding = hospital.binding()
    with Pool(2, 1) as pool:
        pool.prepare(lambda: binding)
        until(lambda: bool(idle(pool, binding)))
        [ready] = idle(pool, binding)
        assert ready.bound
        assert drain(pool, binding).num_rows == 1
        assert [each.pid for each in idle(pool, binding)] == [ready.pid]
        pool.prepare(lambda: binding)  # again: it is there already
        until(lambda: bool(idle(pool, None)))
        assert pool._taken == 1


def test_a_query_that_comes_while_it_is_bound_waits_for_it(hospital, monkeypatch) -> None:
    binding, begun, go_on = hospital.binding(), threading.Event(), threading.Event()
    bind = Process.bind

    def slow(self: Process, *args: object, **named: object) -> None:
        begun.set()
        assert go_on.wait(20)
        bind(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Process, "bind", slow)
    with Pool(2, 1) as pool:
        pool.prepare(lambda: binding)
        assert begun.wait(20)
        found: list[pa.Table] = []
        asker = threading.Thread(target=lambda: found.append(drain(pool, binding)))
        asker.start()
        time.sleep(0.1)
        assert pool._taken == 1, "no second worker is started for it"
        go_on.set()
        asker.join(20)
        assert [table.num_rows for table in found] == [1]
        assert pool._taken == 1


@pytest.mark.parametrize("why", ["unknown", "unforeseen", "no files", "nothing"])
def test_what_cannot_be_prepared_is_only_a_hint_lost(hospital, why: str) -> None:
    broken = Binding("gone", (("patients", ("/nowhere/none.parquet",)),))

    def find() -> Binding | None:
        if why == "unknown":
            raise NotFound(what="contract")
        if why == "unforeseen":
            raise ZeroDivisionError
        return broken if why == "no files" else None

    with Pool(2, 1) as pool:
        pool.prepare(find)
        until(lambda: not pool._near)
        assert drain(pool, hospital.binding()).num_rows == 1
        if why == "no files":
            with pytest.raises(DataUnavailable):
                drain(pool, broken)
        until(lambda: pool._taken == 1 and len(idle(pool, None)) == 1)


def test_it_starts_no_process_and_a_full_pool_gives_up_its_oldest(hospital) -> None:
    first, second = hospital.binding(name="c1"), hospital.binding(name="c2")
    with Pool(1, 0) as pool:
        pool.prepare(lambda: first)
        until(lambda: not pool._near)
        time.sleep(0.1)
        assert pool._alive == 0
    with Pool(1, 1) as pool:
        drain(pool, first)
        until(lambda: bool(idle(pool, None)))
        pool.prepare(lambda: second)
        until(lambda: bool(idle(pool, second)))
        assert idle(pool, first) == []
        assert pool._taken == 1


def test_the_replacement_waits_until_the_first_query_had_its_turn(hospital) -> None:
    with Pool(2, 1) as pool:
        until(lambda: bool(idle(pool, None)))
        taken = time.monotonic()
        drain(pool, hospital.binding())
        until(lambda: pool._alive == 2)
        assert time.monotonic() - taken >= limits.WORKER_REFILL_S


@pytest.mark.parametrize("why", [OSError("no more processes"), RuntimeError("unforeseen")])
def test_a_spare_that_cannot_be_started_is_tried_again(hospital, monkeypatch, why) -> None:
    tries = threading.Semaphore(0)

    def full(*_: object) -> None:
        tries.release()
        raise why

    monkeypatch.setattr(limits, "WORKER_WAIT_S_MAX", 0.05)
    with Pool(2, 1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr("yunhe.dataplane.pool.Process", full)
            drain(pool, hospital.binding())
            assert all(tries.acquire(timeout=20) for _ in range(2))
        until(lambda: len(idle(pool, None)) == 1)
        assert pool._alive == 2


def test_a_ring_between_look_and_wait_is_not_lost() -> None:
    bell = Bell()
    rung = bell.rung()
    bell.ring()
    started = time.monotonic()
    bell.wait(rung, 5)
    assert time.monotonic() - started < 1
    bell.wait(bell.rung(), 0.01)  # nothing since: the whole wait

"""Workers die alone, are replaced, and hold even where the gate were bypassed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from yunhe.dataplane import (
    Binding,
    DataUnavailable,
    Job,
    Pool,
    QueryFailed,
    QueryMemory,
    QueryTimeout,
    RowsOverLimit,
    WorkerLimits,
    WorkerLost,
    WorkersBusy,
)
from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError

TINY = WorkerLimits(memory_mb=128, address_mb=4096, threads=2, cpu_s=60, query_s=0.6, stream_s=0.6)


def drain(pool: Pool, binding: Binding, sql: str, **more: object) -> pa.Table:
    running = pool.run(binding, Job(sql, **more))  # type: ignore[arg-type]
    return pa.ipc.open_stream(b"".join(running)).read_all()


@pytest.mark.parametrize(
    ("sql", "refusal"),
    [
        ("SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = 7",
         QueryTimeout),
        ("SELECT repeat('x', 2000000000) || repeat('y', 2000000000)", YunheError),
        ("SELECT levenshtein(repeat('ab', 100000), repeat('ba', 100000))", QueryTimeout),
        ("SELECT list(a.range) FROM range(100000000) a", YunheError),
        ("SELECT string_agg(repeat('x', 100000)) FROM range(100000)", QueryMemory),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
         YunheError),
    ],
)  # fmt: skip
def test_a_bomb_dies_alone(hospital, sql: str, refusal: type[YunheError]) -> None:
    with Pool(2, 1, TINY) as pool:
        binding = hospital.binding()
        started = time.monotonic()
        with pytest.raises(refusal) as death:
            drain(pool, binding, sql)
        assert death.value.code in {"QUERY_TIMEOUT", "QUERY_MEMORY", "WORKER_LOST", "QUERY_FAILED"}
        assert time.monotonic() - started < 10
        # recovered, and other contracts never noticed; the generous limit is for a busy machine
        for _ in range(20):
            try:
                assert drain(pool, binding, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
                break
            except QueryTimeout:
                continue


def test_files_that_are_gone_are_said_to_be_gone(hospital) -> None:
    """Not a fault of the query: the asker cannot mend it, the provider's operator can."""
    gone = tuple((name, ("/nowhere/gone.parquet",)) for name, _ in hospital.binding().tables)
    with Pool(1, 0, TINY) as pool:
        with pytest.raises(DataUnavailable) as refused:
            drain(pool, Binding("gone", gone, "pepper"), "SELECT count(*) AS n FROM patients")
        assert refused.value.status == 503
        assert "/nowhere" not in str(refused.value.problem())


def test_processor_time_is_bounded(hospital) -> None:
    spare = WorkerLimits(memory_mb=128, address_mb=4096, threads=2, cpu_s=0, query_s=30)
    with Pool(1, 0, spare) as pool, pytest.raises(QueryTimeout):
        drain(
            pool,
            hospital.binding(),
            "SELECT levenshtein(repeat('ab', 100000), repeat('ba', 100000))",
        )


def test_a_worker_killed_in_a_query_is_an_error_and_a_new_worker(hospital) -> None:
    with Pool(2, 1, WorkerLimits(memory_mb=256, address_mb=4096)) as pool:
        binding = hospital.binding()
        running = pool.run(
            binding, Job("SELECT a.range AS a, repeat('x', 50) AS x FROM range(50000000) a")
        )
        chunks = iter(running)
        next(chunks)
        os.kill(running._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            for _ in chunks:
                pass
        assert drain(pool, binding, "SELECT 1 AS one").num_rows == 1


def test_an_idle_worker_that_died_is_not_used(hospital) -> None:
    with Pool(1, 0) as pool:
        binding = hospital.binding()
        running = pool.run(binding, Job("SELECT 1 AS one"))
        pid = running._process.pid
        b"".join(running)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert drain(pool, binding, "SELECT 1 AS one").num_rows == 1


def test_a_worker_that_was_stopped_is_nobodys_next(hospital, monkeypatch) -> None:
    """Its whole answer lay in the pipe already, and the signal is still on its way to it."""
    with Pool(1, 0) as pool:
        running = pool.run(hospital.binding(), Job("SELECT 1 AS one"))
        dying = running._process.pid
        monkeypatch.setattr(running._process, "stop", lambda: None)
        running.stop()
        b"".join(running)
        after = pool.run(hospital.binding(), Job("SELECT 1 AS one"))
        assert after._process.pid != dying
        b"".join(after)


def test_a_worker_serves_one_contract_for_life(hospital) -> None:
    with Pool(2, 0) as pool:
        pids = []
        for name in ("c1", "c1", "c2", "c1", "c3"):
            running = pool.run(hospital.binding(name=name), Job("SELECT 1 AS one"))
            pids.append(running._process.pid)
            b"".join(running)
    assert pids[0] == pids[1] == pids[3]
    assert len({pids[0], pids[2], pids[4]}) == 3


def test_all_busy_is_said(hospital, monkeypatch) -> None:
    monkeypatch.setattr(limits, "WORKER_WAIT_S_MAX", 0.05)
    with Pool(1, 0) as pool:
        binding = hospital.binding()
        first = pool.run(binding, Job("SELECT * FROM range(10000000)"))
        with pytest.raises(WorkersBusy):
            pool.run(binding, Job("SELECT 1"))
        first.close()
        assert drain(pool, binding, "SELECT 1 AS one").num_rows == 1


def test_a_stopped_pool_runs_nothing_and_leaves_nobody(hospital) -> None:
    pool = Pool(2, 1)
    with pytest.raises(WorkersBusy):
        pool.run(hospital.binding(), Job("SELECT 1"))
    pool.start()
    running = pool.run(hospital.binding(), Job("SELECT 1 AS one"))
    pid = running._process.pid
    pool.stop()
    b"".join(running)  # a busy worker ends with its query
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(WorkersBusy):
        pool.run(hospital.binding(), Job("SELECT 1"))


def test_forty_callers_share_three_workers(pool, hospital) -> None:
    answers: list[int] = []

    def ask(n: int) -> None:
        table = drain(pool, hospital.binding(), f"SELECT {n} AS n")
        answers.append(table["n"][0].as_py())

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(40))


HOSTILE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM read_blob('{other}')",
    "SELECT * FROM '{other}'",
    "SELECT * FROM read_parquet('{other}')",
    "SELECT * FROM glob('/etc/*')",
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY data.patients TO '{folder}/out.parquet'",
    "ATTACH '{folder}/x.db' AS x",
    "EXPORT DATABASE '{folder}/dump'",
    "SELECT * FROM 'http://127.0.0.1:9/x.parquet'",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{folder}/evil.duckdb_extension'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET memory_limit = '100GB'",
    "SET threads = 64",
    "SET allowed_paths = ['/etc/passwd']",
    "SET temp_directory = '{folder}'",
    "PRAGMA enable_profiling = 'json'",
    "SELECT getenv('PATH')",
    "CREATE SECRET s (TYPE s3)",
    "SELECT * FROM sys",
    "SELECT * FROM os",
    "IMPORT DATABASE '{folder}'",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_the_engine_holds_without_the_gate(hospital, tmp_path: Path, sql: str) -> None:
    """The hostile text is given to a bound worker as if the gate had passed it."""
    other = tmp_path / "other.parquet"
    duckdb.execute(f"COPY (SELECT 'CANARY' AS x) TO '{other}' (FORMAT parquet)")
    text = sql.format(other=other, folder=tmp_path)
    with pytest.raises(QueryFailed) as refusal:
        hospital.run(Job(text))
    assert "CANARY" not in str(refusal.value.problem())
    assert refusal.value.problem()["facts"] == {}  # no text of the engine
    assert os.listdir(tmp_path) == ["other.parquet"]


def test_the_worker_has_no_environment(hospital, monkeypatch) -> None:
    monkeypatch.setenv("YUNHE_SECRET", "CANARY")
    with Pool(1, 0) as pool:
        running = pool.run(hospital.binding(), Job("SELECT 1 AS one"))
        environment = Path(f"/proc/{running._process.pid}/environ").read_bytes()
        files = os.listdir(f"/proc/{running._process.pid}/fd")
        running.close()
    assert b"CANARY" not in environment
    assert len(files) <= 12  # its three pipes and what the engine holds, none of ours


def test_workers_end_with_their_parent(hospital) -> None:
    with Pool(1, 0) as pool:
        running = pool.run(hospital.binding(), Job("SELECT * FROM range(100000000000)"))
        child = running._process._child
        assert child.stdin is not None
        child.stdin.close()  # what the death of the parent does
        child.stdin = None
        assert child.wait(timeout=5) == 0
        running.close()


def test_rows_over_the_limit(pool, hospital) -> None:
    binding = hospital.binding()
    with pytest.raises(RowsOverLimit) as refusal:  # nothing has left: a plain refusal
        pool.run(binding, Job("SELECT * FROM range(1001)", rows_max=1000))
    assert refusal.value.facts == {"rows_max": 1000}
    running = pool.run(binding, Job("SELECT * FROM range(10000000)", rows_max=5_000_000))
    received: list[bytes] = []
    with pytest.raises(RowsOverLimit):
        received.extend(running)
    assert running.rows == 5_000_000
    assert running.bytes == sum(map(len, received))
    assert drain(pool, binding, "SELECT * FROM range(1000)", rows_max=1000).num_rows == 1000
    assert drain(pool, binding, "SELECT 1 WHERE false", rows_max=0).num_rows == 0


def test_a_tick_can_end_a_waiting_query(pool, hospital) -> None:
    class EndedError(Exception):
        pass

    def tick() -> None:
        raise EndedError

    sql = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = 7"
    started = time.monotonic()
    with pytest.raises(EndedError):
        pool.run(hospital.binding(), Job(sql), tick)
    assert time.monotonic() - started < 3


def test_a_spare_worker_comes_on_top_of_the_bound_ones(hospital) -> None:
    with Pool(1, 1) as pool:
        for name in ("c1", "c2"):  # each new contract finds an unbound worker, not a cold start
            assert drain(pool, hospital.binding(name=name), "SELECT 1 AS one").num_rows == 1
            assert pool._taken == 1
        until = time.monotonic() + 10
        while not any(bound is None for bound, _ in pool._idle) and time.monotonic() < until:
            time.sleep(0.02)
        assert sum(bound is None for bound, _ in pool._idle) == 1
        assert pool._alive == 2

"""Workers behind walls: one that was taken over reaches its own contract's files and nothing else.

The attacker here runs Python in the worker (`hostile_worker.py`): gate and engine are lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from yunhe.dataplane import Binding, Job, Pool, QueryTimeout, WorkerLimits, WorkerLost
from yunhe.dataplane import process as processes
from yunhe.kernel import sandbox
from yunhe.kernel.walls import SandboxMissing

pytestmark = pytest.mark.skipif(
    not sandbox.available().whole, reason="this kernel has no Landlock or no seccomp"
)

SMALL = WorkerLimits(
    memory_mb=256, address_mb=4096, threads=2, query_s=5, stream_s=5, sandbox="require"
)


class TakenOver(Pool):
    """A pool whose workers are `hostile_worker.py`."""

    def _process(self) -> processes.Process:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "_SCRIPT", Path(__file__).with_name("hostile_worker.py"))
            return super()._process()


@pytest.fixture(scope="module")
def taken() -> Iterator[Pool]:
    with TakenOver(2, 0, SMALL) as pool:
        yield pool


def said(pool: Pool, binding: Binding, python: str) -> str:
    return b"".join(pool.run(binding, Job(python))).decode()


REFUSED = [
    ("open('/etc/passwd')", "Permission denied"),
    ("open('{other}')", "Permission denied"),
    ("import os; said = os.listdir('{folder}')", "Permission denied"),
    ("open('/proc/%d/environ' % parent)", "Permission denied"),
    ("open('/proc/self/mem', 'r+b')", "Permission denied"),
    ("open('{folder}/escaped', 'w')", "Permission denied"),
    ("open('/tmp/yunhe-escaped', 'w')", "Permission denied"),
    ("open('{own}', 'r+b')", "Permission denied"),
    ("import os; os.truncate('{own}', 0)", "Operation not permitted"),
    ("import os; os.unlink('{own}')", "Permission denied"),
    ("import socket; socket.socket()", "Operation not permitted"),
    ("import socket; socket.socket(socket.AF_UNIX)", "Operation not permitted"),
    ("import os; os.fork()", "Operation not permitted"),
    ("import os; os.execv('/bin/sh', ['sh'])", "Operation not permitted"),
    ("import os; os.posix_spawn('/bin/sh', ['sh'], {{}})", "Operation not permitted"),
    ("import os; os.kill(parent, 9)", "Operation not permitted"),
    ("import resource; resource.prlimit(parent, resource.RLIMIT_CPU, (1, 1))", "Operation not"),
    ("import os; os.setpriority(os.PRIO_PROCESS, parent, 19)", "Operation not permitted"),
    (("import ctypes, os; c = ctypes.CDLL(None, use_errno=True)\n"
     "said = os.strerror(ctypes.get_errno() if c.ptrace(16, parent, 0, 0) < 0 else 0)"),
     "Operation not permitted"),
    ("bytearray(8 << 30)", "MemoryError"),
    (("import duckdb\ntry: duckdb.execute(\"FROM read_csv('/etc/passwd')\")\n"
     "except duckdb.IOException as e: said = str(e)"), "Permission denied"),
    (("import duckdb\ntry: duckdb.execute(\"COPY (SELECT 1) TO '{folder}/x.parquet'\")\n"
     "except duckdb.IOException as e: said = str(e)"), "Permission denied"),
    (("import duckdb\ntry: duckdb.execute(\"ATTACH '{folder}/x.db' AS x\")\n"
     "except duckdb.IOException as e: said = str(e)"), "Permission denied"),
    (("import duckdb\ntry: duckdb.execute('INSTALL httpfs')\n"
     "except duckdb.Error as e: said = type(e).__name__"), "IOException"),
]  # fmt: skip


@pytest.mark.parametrize(("python", "refusal"), REFUSED)
def test_a_worker_that_was_taken_over_reaches_nothing(
    taken: Pool, hospital, tmp_path: Path, python: str, refusal: str
) -> None:
    other = tmp_path / "other.parquet"
    duckdb.execute(f"COPY (SELECT 'CANARY' AS x) TO '{other}' (FORMAT parquet)")
    binding = hospital.binding()
    own = binding.tables[0][1][0]
    text = python.format(other=other, folder=tmp_path, own=own)
    assert refusal in said(taken, binding, text)
    assert os.listdir(tmp_path) == ["other.parquet"]


def test_its_own_files_and_the_packages_are_there(taken: Pool, hospital) -> None:
    binding = hospital.binding()
    own = binding.tables[0][1][0]
    assert said(taken, binding, f"said = open('{own}', 'rb').read(4)") == "b'PAR1'"
    assert said(taken, binding, "import opendp; said = 'there'") == "there"
    many = (
        "import threading\nmade = [threading.Thread(target=open, args=('/etc/passwd',))]\n"
        "failed = []\nthreading.excepthook = lambda a: failed.append(a.exc_type.__name__)\n"
        "[(t.start(), t.join()) for t in made]\nsaid = failed"
    )
    assert said(taken, binding, many) == "['PermissionError']"  # every thread is behind them


def test_every_thread_of_the_worker_is_behind_the_walls(taken: Pool, hospital) -> None:
    """Landlock is a thread's: those of the engine must have been started behind it, too."""
    asked = (
        "import os, duckdb\ncon = worker.con\n"
        "con.sql('SELECT count(*) FROM range(1000000)').fetchall()\n"
        "said = [open(f'/proc/self/task/{t}/status').read() for t in os.listdir('/proc/self/task')]"
    )
    assert "Permission denied" in said(taken, hospital.binding(), asked)  # not even that
    running = taken.run(hospital.binding(), Job("said = 1"))
    pid = running._process.pid
    b"".join(running)
    tasks = list(Path(f"/proc/{pid}/task").iterdir())
    assert len(tasks) > 2
    for task in tasks:
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert int(status["CapEff"], 16) & ~4 == 0


def test_a_file_that_was_replaced_is_seen_by_a_new_worker(pool: Pool, tmp_path: Path) -> None:
    file = tmp_path / "t.parquet"
    binding = Binding("renewed", (("t", (str(file),)),))
    for n in (1, 2):
        part = tmp_path / "part"
        duckdb.execute(f"COPY (SELECT {n} AS n) TO '{part}' (FORMAT parquet)")
        part.replace(file)
        running = pool.run(binding, Job("SELECT n FROM data.t"))
        table = pa.ipc.open_stream(b"".join(running)).read_all()
        assert table.to_pylist() == [{"n": n}]


def test_where_walls_are_asked_for_and_missing_no_worker_runs(hospital, monkeypatch) -> None:
    """The worker itself looks: it believes no one that the walls stand."""
    real = processes._walls

    def without(worker: WorkerLimits) -> dict[str, object]:
        return {**real(worker), "script": str(Path(__file__).with_name("no_walls.py"))}

    monkeypatch.setattr(processes, "_walls", without)
    with Pool(1, 0, SMALL) as pool, pytest.raises(SandboxMissing) as refused:
        pool.run(hospital.binding(), Job("SELECT 1"))
    assert refused.value.facts["missing"] == "landlock, seccomp, network namespace"
    best = WorkerLimits(memory_mb=256, address_mb=4096, threads=2)
    with Pool(1, 0, best) as pool:
        b"".join(pool.run(hospital.binding(), Job("SELECT 1 AS one")))


BOMBS = [
    "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = 7",
    "SELECT list_aggregate(list(a.range), 'string_agg', ',') FROM range(300000000) a",
    "SELECT a.range, b.range FROM range(100000000) a, range(100) b ORDER BY b.range, a.range DESC",
]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_dies_alone_while_another_contract_goes_on(hospital, bomb: str) -> None:
    bounds = WorkerLimits(
        memory_mb=128, address_mb=4096, threads=2, query_s=1.5, stream_s=30, sandbox="require"
    )
    with Pool(2, 0, bounds) as pool:
        steady = pool.run(hospital.binding(name="steady"), Job("SELECT * FROM range(2000000)"))
        codes: list[str] = []

        def explode() -> None:
            try:
                b"".join(pool.run(hospital.binding(name="bomb"), Job(bomb)))
            except (QueryTimeout, WorkerLost) as died:
                codes.append(died.code)
            except Exception as died:  # noqa: BLE001 - told below
                codes.append(getattr(died, "code", repr(died)))

        thread = threading.Thread(target=explode)
        thread.start()
        received = bytearray()
        for chunk in steady:
            received += chunk
            if thread.is_alive():
                time.sleep(0.02)
        thread.join()
        assert codes[0] in {"QUERY_TIMEOUT", "QUERY_MEMORY", "WORKER_LOST"}
        assert pa.ipc.open_stream(bytes(received)).read_all().num_rows == 2_000_000

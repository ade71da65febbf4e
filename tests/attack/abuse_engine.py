"""Abuses of the second wall: what a worker does with SQL that no gate has seen, and with bombs.

The gate stops all of these; here it is taken for broken. The worker must still reach no file but
those bound to it, no network, no setting, and die alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from attack import canaries
from attack.world import Target
from yunhe.dataplane import Binding, Job, Pool, WorkerLimits
from yunhe.kernel.errors import YunheError

SMALL: Final = WorkerLimits(memory_mb=256, address_mb=4_096, threads=2, cpu_s=1, query_s=2.5)
BESIDE: Final = "beside.parquet"  # lies in the same folder and is bound to nobody


class _Worker:
    """A pool of one worker over the canary tables, apart from the node's."""

    def __init__(self, folder: Path, limits: WorkerLimits = SMALL) -> None:
        canaries.write(folder)
        duckdb.execute(
            f"COPY (SELECT 'CANARY-BESIDE' AS a) TO '{folder / BESIDE}' (FORMAT parquet)"
        )
        self.folder = folder
        self.pool = Pool(1, 0, limits)

    def __enter__(self) -> _Worker:
        self.pool.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.stop()

    def binding(self, name: str = "c1", tables: tuple[str, ...] = ("labs", "codes")) -> Binding:
        files = tuple((t, (str(self.folder / f"{t}.parquet"),)) for t in tables)
        return Binding(name, files, "pepper")

    def run(self, sql: str, binding: Binding | None = None) -> str:
        """The code, RUNS, or LEAK."""
        try:
            running = self.pool.run(binding or self.binding(), Job(sql, None, 0, 100))
            table = pa.ipc.open_stream(b"".join(running)).read_all()
        except YunheError as refused:
            shown = str(refused.problem())
            return f"LEAK by {refused.code}" if canaries.leaks(shown) else refused.code
        marks = canaries.leaks(str(table.to_pydict()))
        return f"LEAK of {marks}" if marks else "RUNS"


def _ungated(sql: str, limits: WorkerLimits = SMALL) -> Callable[[Target], str]:
    """SQL as it is, in a worker; `{folder}` is where its data lies."""

    def act(_: Target) -> str:
        with tempfile.TemporaryDirectory() as name, _Worker(Path(name), limits) as worker:
            return worker.run(sql.replace("{folder}", name))

    return act


def _then_it_serves(sql: str) -> Callable[[Target], str]:
    """A bomb ends with a refusal, and the pool serves the next query."""

    def act(_: Target) -> str:
        with tempfile.TemporaryDirectory() as name, _Worker(Path(name)) as worker:
            first = worker.run(sql)
            after = worker.run("SELECT count(*) AS n FROM data.labs")
            return first if after == "RUNS" else f"{first}, then {after}"

    return act


def _written(sql: str) -> Callable[[Target], str]:
    """SQL that would write a file: it must not come to be."""

    def act(_: Target) -> str:
        with tempfile.TemporaryDirectory() as name, _Worker(Path(name)) as worker:
            code = worker.run(sql.replace("{folder}", name))
            return "WROTE" if (Path(name) / "out").exists() else code

    return act


def _kept_setting(change: str, name: str) -> Callable[[Target], str]:
    """A setting changed behind the gate: afterwards it is as before."""

    def act(_: Target) -> str:
        with tempfile.TemporaryDirectory() as folder, _Worker(Path(folder)) as worker:
            asked = f"SELECT current_setting('{name}')::TEXT AS v"
            before = _value(worker, asked)
            worker.run(change)
            return "KEPT" if _value(worker, asked) == before else "CHANGED"

    return act


def _value(worker: _Worker, sql: str) -> str:
    running = worker.pool.run(worker.binding(), Job(sql))
    return str(pa.ipc.open_stream(b"".join(running)).read_all().to_pylist())


def _other_contract(_: Target) -> str:
    """What one contract left in a worker is gone for the next, and its files are closed."""
    with tempfile.TemporaryDirectory() as name, _Worker(Path(name)) as worker:
        worker.run("CREATE TABLE left_behind AS SELECT 1 AS a")
        worker.run("SET VARIABLE left_behind = 1")
        other = worker.binding("c2", ("codes",))
        first = worker.run("SELECT a FROM left_behind", other)
        file = worker.run(f"SELECT * FROM '{name}/labs.parquet'", other)
        return (
            "GONE" if {first, file} <= {"QUERY_FAILED", "DATA_UNAVAILABLE"} else f"{first} {file}"
        )


def _environment(aim: Target) -> str:
    """A worker has no environment of ours, no descriptor but its pipes, no secret in its order."""
    with tempfile.TemporaryDirectory() as name, _Worker(Path(name)) as worker:
        running = worker.pool.run(worker.binding(), Job("SELECT * FROM data.labs a, data.labs b"))
        try:
            process = Path(f"/proc/{running._process.pid}")
            environment = (process / "environ").read_bytes()
            open_files = [str(each.readlink()) for each in (process / "fd").iterdir()]
        finally:
            running.close()
    strange = [path for path in open_files if not path.startswith(("pipe:", "/dev/null", name))]
    ours = [path for path in strange if not path.startswith(("anon_inode:", "/usr", "socket:"))]
    if b"YUNHE" in environment or b"HOME" in environment:
        return "LEAK of the environment"
    return f"HOLDS {ours}" if any("node.db" in path for path in ours) else "NOTHING OF OURS"


_CLOSED: Final = "QUERY_FAILED|DATA_UNAVAILABLE"
_BOMB: Final = "QUERY_TIMEOUT|QUERY_MEMORY|WORKER_LOST|QUERY_FAILED"
_READS: Final = (
    ("a text file", "SELECT * FROM read_text('/etc/passwd')"),
    ("a CSV", "SELECT * FROM read_csv('/etc/passwd', header = false)"),
    ("a blob", "SELECT * FROM read_blob('/etc/hostname')"),
    ("a file by name", "SELECT * FROM '{folder}/beside.parquet'"),
    ("a file beside", "SELECT * FROM read_parquet('{folder}/beside.parquet')"),
    ("a file of the product that is not bound", "SELECT * FROM '{folder}/roster.parquet'"),
    ("a folder", "SELECT * FROM glob('{folder}/*')"),
    ("all files", "SELECT * FROM read_parquet('{folder}/*.parquet')"),
    ("a way up", "SELECT * FROM read_parquet('{folder}/../{folder}/beside.parquet')"),
    ("a bound file and a way on", "SELECT * FROM '{folder}/labs.parquet/../beside.parquet'"),
    ("its own environment", "SELECT * FROM read_text('/proc/self/environ')"),
    ("its own memory", "SELECT * FROM read_blob('/proc/self/mem')"),
    ("a database file", "ATTACH '{folder}/x.db' AS x"),
    ("a file's metadata", "SELECT * FROM parquet_metadata('{folder}/beside.parquet')"),
    ("an address", "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')"),
    ("cloud metadata", "SELECT * FROM read_text('http://169.254.169.254/latest/')"),
    ("a bucket", "SELECT * FROM read_parquet('s3://bucket/x.parquet')"),
    ("an extension to install", "INSTALL httpfs"),
    ("an extension to load", "LOAD httpfs"),
    ("an extension of a path", "LOAD './evil.duckdb_extension'"),
    ("a text of the data in an error", "SELECT CAST(note AS INT) FROM data.labs"),
    ("an error with a text", "SELECT error('CANARY ' || note) FROM data.labs"),
)
ENGINE: Final = {
    **{(title, _CLOSED): _ungated(sql) for title, sql in _READS},
    ("a file written", _CLOSED): _written("COPY (SELECT 1) TO '{folder}/out'"),
    ("a database written", _CLOSED): _written("ATTACH '{folder}/out'"),
    ("an export", _CLOSED): _written("EXPORT DATABASE '{folder}/out'"),
    ("external access opened", "KEPT"): _kept_setting(
        "SET enable_external_access = true", "enable_external_access"
    ),
    ("the paths widened", "KEPT"): _kept_setting(
        "SET allowed_paths = ['/etc/passwd']", "allowed_paths"
    ),
    ("the folders widened", "KEPT"): _kept_setting(
        "SET allowed_directories = ['/']", "allowed_directories"
    ),
    ("memory widened", "KEPT"): _kept_setting("SET memory_limit = '100GB'", "memory_limit"),
    ("the lock opened", "KEPT"): _kept_setting("RESET lock_configuration", "lock_configuration"),
    ("extensions by themselves", "KEPT"): _kept_setting(
        "SET autoinstall_known_extensions = true", "autoinstall_known_extensions"
    ),
    ("unsigned extensions", "KEPT"): _kept_setting(
        "SET allow_unsigned_extensions = true", "allow_unsigned_extensions"
    ),
    ("spilling to disk", "KEPT"): _kept_setting("SET temp_directory = '/tmp'", "temp_directory"),
    ("what another contract left", "GONE"): _other_contract,
    ("what a worker holds", "NOTHING OF OURS"): _environment,
}
_BOMBS: Final = (
    ("text without end", "SELECT length(repeat('x', 2000000000) || repeat('y', 2000000000)) AS n"),
    (
        "a distance of long texts",
        "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000)) AS n",
    ),
    ("a cross join", "SELECT count(*) FROM data.labs a, data.labs b, data.labs c, data.labs d"),
    (
        "a sorted cross join",
        "SELECT a.id FROM data.labs a, data.labs b, data.labs c ORDER BY c.value",
    ),
    (
        "a recursion",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    ),
    ("a list without end", "SELECT unnest(range(10000000000)) AS n ORDER BY 1"),
    ("one long list", "SELECT list(i) FROM range(1000000000) t(i)"),
    ("one long text", "SELECT string_agg(note, note) FROM data.labs, range(1000000)"),
    ("a padded text", "SELECT length(lpad('x', 2000000000, 'y')) AS n"),
    ("printed digits", "SELECT length(printf('%2000000000d', 1)) AS n"),
    ("a pattern that backtracks", "SELECT regexp_matches(repeat('a', 10000000), '(a|a)*(a|a)*b')"),
    (
        "a series of dates",
        "SELECT count(*) FROM generate_series(DATE '0001-01-01', now(), INTERVAL 1 MICROSECOND)",
    ),
)
BOMBS: Final = {
    (title, f"{_BOMB}|RUNS" if "pattern" in title or "text without" in title else _BOMB): (
        _then_it_serves(sql)
    )
    for title, sql in _BOMBS
}

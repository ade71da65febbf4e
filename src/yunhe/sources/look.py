"""The look: a process of its own that says what lies in Parquet files, and what readers share.

In (stdin): one job as JSON. Out (stdout): one report as JSON: the columns and their types, counts,
or a few rows. Like the ingest it has no credential and an empty environment, and goes behind the
walls before it opens the first file. It is started as a file, not as a module of its package: what
it does not import costs no start.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from yunhe.kernel import limits, sandbox

Json = dict[str, Any]
_OWN_FILES: Final = 256  # what the engine and the interpreter hold open beside the pieces
_UNSOUND: Final = ("a file is no sound Parquet", "有文件不是完好的 Parquet")


@dataclass
class Fault(Exception):
    """Ends a reading: what is wrong with a table's bytes, in both languages.

    It names files as their provider does, columns and rows, and never a value of the data.
    `bound`: a limit was met, rather than something malformed.
    """

    en: str
    zh: str
    bound: bool = False


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """An SQL text."""
    return "'" + value.replace("'", "''") + "'"


# -- what every process that reads strangers' files does -----------------------------------------


def harden(con: duckdb.DuckDBPyConnection, files: Sequence[str], work: Path) -> None:
    """Leave the engine these files, one folder, and nothing else."""
    for setting in (
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
        "temp_directory = ''",
        "TimeZone = 'UTC'",
        "threads = 2",
        f"memory_limit = '{limits.PROFILE_MEMORY_MB_MAX}MB'",
        f"allowed_paths = [{', '.join(map(literal, files))}]",
        f"allowed_directories = [{literal(str(work))}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        con.execute(f"SET {setting}")


def serve(
    run: Callable[[Json], Json],
    cpu_s: int,
    before: Callable[[Json], object] = lambda _job: None,
    malformed: tuple[type[Exception], ...] = (),
) -> None:
    """Read the job, go behind the walls, say the report of `run`.

    `before` runs in front of them, while the house can still be read; `malformed` are what more a
    malformed file makes a reader raise.
    """
    unsound: tuple[type[Exception], ...] = (
        duckdb.Error,
        OSError,
        ValueError,
        RecursionError,
        *malformed,
    )
    job = json.load(sys.stdin)
    before(job)
    stand = _walled(job, cpu_s)
    if job["required"] and not stand.whole:
        json.dump({"missing": stand.missing()}, sys.stdout)
        return
    try:
        said = json.dumps(run(job))
        if len(said) > limits.INGEST_REPORT_BYTES_MAX:
            raise Fault("there is more to tell than may be told", "报告内容超过限制", True)
    except Fault as fault:
        said = _fault(fault)
    except (MemoryError, duckdb.OutOfMemoryException):
        en, zh = "it needs more memory than an ingest may take", "所需内存超过限制"
        said = _fault(Fault(en, zh, True))
    except unsound as error:
        kind = type(error).__name__
        said = _fault(Fault(f"it is malformed ({kind})", f"格式错误（{kind}）"))
    sys.stdout.write(said)


def _fault(fault: Fault) -> str:
    return json.dumps({"fault": {"en": fault.en, "zh": fault.zh, "bound": fault.bound}})


def _walled(job: Json, cpu_s: int) -> sandbox.Report:
    """Leave this process the files of its job to read, its folder to write, and code."""
    files = [Path(piece["file"]) for piece in job["pieces"]]
    return sandbox.confine(
        sandbox.Mounts((*files, *sandbox.ENGINE_ASKS, *sandbox.runtime()), (Path(job["work"]),)),
        sandbox.Limits(
            memory_bytes=limits.INGEST_MEMORY_MB_MAX << 20,
            cpu_s=cpu_s,
            files_max=limits.SOURCE_FILES_MAX + _OWN_FILES,
            file_size_bytes=limits.SOURCE_UNPACKED_BYTES_MAX,
        ),
        parent=job["parent"],
    )


# -- the look ------------------------------------------------------------------------------------


def look(job: Json) -> Json:
    """What is asked of the files by `verb`; raises Fault.

    shape: `alike`, whether all files have the same columns; `columns` [[name, type]].
    profile: so, with `rows` and `measures` [[share of NULLs, about how many distinct]] a column.
    sample: `rows`, at most `count`, of the columns `names`, as JSON can carry them.
    """
    files = [piece["file"] for piece in job["pieces"]]
    try:
        with duckdb.connect(":memory:") as con:
            harden(con, files, Path(job["work"]))
            if job["verb"] == "sample":
                return {"rows": _rows(con, files, job["names"], int(job["count"]))}
            shape = _shape(con, files)
            if shape is None:
                return {"alike": False, "columns": []}
            found: Json = {"alike": True, "columns": shape}
            if job["verb"] == "profile" and len(shape) <= limits.SOURCE_COLUMNS_MAX:
                found |= _measured(con, files, [name for name, _ in shape])
            return found
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        raise Fault(*_UNSOUND) from error


def _read(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(literal, files))}], union_by_name = false)"


def _shape(con: duckdb.DuckDBPyConnection, files: Sequence[str]) -> list[list[str]] | None:
    first: list[list[str]] | None = None
    for file in files:
        found = con.execute(f"DESCRIBE SELECT * FROM {_read([file])}").fetchall()  # noqa: S608
        shape = [[str(name), str(kind)] for name, kind, *_ in found]
        if first is not None and dict(first) != dict(shape):
            return None
        first = first or shape
    return first


def _measured(con: duckdb.DuckDBPyConnection, files: Sequence[str], names: Sequence[str]) -> Json:
    asked = ["count(*)"]
    for name in names:
        asked += [f"count({quoted(name)})", f"approx_count_distinct({quoted(name)})"]
    got = con.execute(f"SELECT {', '.join(asked)} FROM {_read(files)}").fetchone()  # noqa: S608
    if got is None:
        raise duckdb.Error("no answer to the profile query")
    rows = int(got[0])
    pairs = [(int(got[at]), int(got[at + 1])) for at in range(1, len(got), 2)]
    told = [[round(1 - filled / rows, 6) if rows else 0.0, min(n, rows)] for filled, n in pairs]
    return {"rows": rows, "measures": told}


def _rows(
    con: duckdb.DuckDBPyConnection, files: Sequence[str], names: Sequence[str], count: int
) -> list[Json]:
    asked = ", ".join(map(quoted, names))
    query = f"SELECT {asked} FROM {_read(files)} LIMIT {count}"  # noqa: S608
    found = con.sql(query).to_arrow_table().to_pylist()
    return [{name: _shown(value) for name, value in row.items()} for row in found]


def _shown(value: Any) -> Any:
    """A value as JSON can carry it."""
    import base64
    import datetime
    import decimal

    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): _shown(each) for key, each in value.items()}
    return [_shown(each) for each in value] if isinstance(value, (list, tuple)) else str(value)


def _prepare(job: Json) -> None:
    if job["verb"] == "sample":
        import pyarrow  # noqa: F401 - while the house can still be read


if __name__ == "__main__":
    serve(look, limits.LOOK_S_MAX * 2, _prepare)  # two threads

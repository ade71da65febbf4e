"""One program, once, behind walls: a fresh process with its inputs, its libraries and nothing else.

In: the program's file, its tables, its parameters, a folder of the host's. Out: what it wrote,
read as JSON, and what it took. No network, no environment, no folder to write in, no other
process; ended as a group when its time is over or its contract is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from yunhe.apps import child
from yunhe.apps.errors import (
    AppEngineMissing,
    AppFailed,
    AppMemory,
    AppOutputRefused,
    AppSandboxMissing,
    AppTimeout,
)
from yunhe.apps.manifest import Kind, Manifest, Parameter
from yunhe.kernel import limits, sandbox
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import YunheError

# What a library of a manifest needs beside its own folder, as it lies among the packages.
_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "numpy": ("numpy", "numpy.libs"),
    "pyarrow": ("pyarrow", "pyarrow.libs"),
    "scipy": ("scipy", "scipy.libs", "numpy", "numpy.libs"),
    "sklearn": (
        *("sklearn", "scikit_learn.libs", "joblib", "threadpoolctl.py", "scipy", "scipy.libs"),
        *("numpy", "numpy.libs", "narwhals"),
    ),
    "onnxruntime": ("onnxruntime", "onnxruntime.libs", "numpy", "numpy.libs"),
}
_CODE_MB: Final = 1_536  # address space of the libraries themselves and what they reserve
_WAIT_S: Final = 0.01


@dataclass(frozen=True)
class Ran:
    """What a program gave, and what it took: seconds by the clock and of a processor, bytes."""

    result: Any
    wall_s: float
    cpu_s: float
    memory_bytes: int


def run(
    manifest: Manifest,
    code: Path,
    inputs: Mapping[str, Path],
    parameters: Mapping[str, Parameter],
    folder: Path,
    watch: Callable[[], object],
) -> Ran:
    """Run one program to its end; `folder` then holds `log`, what it printed.

    `watch` is called every limits.APP_LOOK_S; what it raises ends the program. Raises AppFailed,
    AppTimeout, AppMemory, AppOutputRefused, AppEngineMissing, AppSandboxMissing.
    """
    libraries = _libraries(manifest)
    library = _linked(libraries, folder / "lib")
    result, log = folder / "result.json", folder / "log"
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with (
        os.fdopen(os.open(result, flags, 0o600), "r+b") as out,
        os.fdopen(os.open(log, flags | os.O_APPEND, 0o600), "r+b") as said,
    ):
        order = {
            "sandbox": sandbox.__file__,
            "read": [str(path) for path in _readable(library, code, inputs.values())],
            "limits": {
                "memory_bytes": (manifest.memory_mb + _CODE_MB) << 20,
                "cpu_s": manifest.seconds + 1,
                "files_max": 256,
                "file_size_bytes": limits.APP_OUTPUT_BYTES_MAX,
                "threads_max": limits.APP_THREADS_MAX,
            },
            "parent": os.getpid(),
            "out": out.fileno(),
            "lib": str(folder / "lib"),
            "kind": str(manifest.kind),
            "code": str(code),
            "inputs": {name: str(path) for name, path in inputs.items()},
            "columns": [name for table in manifest.inputs.values() for name in table],
            "outputs": list(manifest.output.columns),
            "parameters": dict(parameters),
        }
        try:
            ran = _waited(_started(order, out.fileno(), said.fileno()), manifest, watch)
        finally:
            kept = min(os.fstat(said.fileno()).st_size, limits.APP_LOG_BYTES_MAX)
            os.ftruncate(said.fileno(), kept)
    return Ran(_read(result), *ran)


def printed(folder: Path) -> str:
    """What the program of a run printed, as far as it is kept: nothing that moves a terminal."""
    try:
        with (folder / "log").open("rb") as file:
            text = file.read(limits.APP_LOG_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def _libraries(manifest: Manifest) -> list[str]:
    """What is linked: what the manifest declares, and what hands the program its tables."""
    own = ("pyarrow", "onnxruntime") if manifest.kind is Kind.ONNX else ("pyarrow",)
    return list(dict.fromkeys([*own, *manifest.libraries]))


def _linked(libraries: list[str], folder: Path) -> list[Path]:
    """Links to the libraries in a folder of their own, so that no other package is to be seen."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    homes = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    found: list[Path] = [folder]
    for part in dict.fromkeys(part for each in libraries for part in _PARTS[each]):
        for home in map(Path, filter(None, homes)):
            if (home / part).exists():
                found.append((home / part).resolve())
                with contextlib.suppress(FileExistsError):
                    (folder / part).symlink_to(found[-1])
                break
    missing = [each for each in libraries if not (folder / _PARTS[each][0]).exists()]
    if missing:
        raise AppEngineMissing(library=", ".join(missing))
    return found


def _readable(library: list[Path], code: Path, inputs: Any) -> list[Path]:
    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/urandom")
    base = [Path(each) for each in dict.fromkeys([*python, *system]) if each]
    return [*base, *library, code, *inputs]


def _started(order: dict[str, Any], out: int, log: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", child.__file__],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=sandbox.environment(),
        cwd="/",
        pass_fds=(out,),
        start_new_session=True,
    )
    with contextlib.suppress(BrokenPipeError):
        assert process.stdin is not None  # noqa: S101 - asked for above
        with process.stdin as pipe:
            pipe.write(json.dumps(order).encode() + b"\n")
    return process


def _waited(
    process: subprocess.Popen[bytes], manifest: Manifest, watch: Callable[[], object]
) -> tuple[float, float, int]:
    """Wait for the end, which comes in time; wall seconds, processor seconds, bytes."""
    began = time.monotonic()
    look, late = began + limits.APP_LOOK_S, False
    try:
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            now = time.monotonic()
            if not late and now > began + manifest.seconds:
                late = True
                _end(process)
            if now >= look:
                watch()
                look = now + limits.APP_LOOK_S
            time.sleep(_WAIT_S)
    except BaseException:
        _end(process)
        process.wait()
        raise
    finally:
        _end(process)  # whatever it may have left behind
    _judge(process.returncode, late)
    took = time.monotonic() - began
    return took, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _judge(code: int, late: bool) -> None:
    if late or code == -signal.SIGXCPU:
        raise AppTimeout
    # A program may end with any code: where the walls stand, this one is its own word, and a
    # failure like others, which counts among its contract's answers.
    if code == child.NO_WALLS and not (stands := sandbox.available()).whole:
        raise AppSandboxMissing(walls=", ".join(stands.missing()))
    if code == child.NO_MEMORY:
        raise AppMemory
    if code != 0:
        raise AppFailed(f"exit code {code}")


def _read(path: Path) -> Any:
    """What the program wrote: strict JSON of bounded size in a plain file."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > limits.APP_OUTPUT_BYTES_MAX:
            raise AppOutputRefused("too large")
        try:
            return loads_strict(file.read(), limits.APP_OUTPUT_BYTES_MAX)
        except YunheError as error:
            raise AppOutputRefused(str(error)) from error

"""What a hostile program tries behind the walls (scorecard A2), and what it gets: nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from apps.programs import manifest
from yunhe.apps import box
from yunhe.apps.errors import (
    AppCut,
    AppEngineMissing,
    AppFailed,
    AppMemory,
    AppOutputRefused,
    AppTimeout,
)
from yunhe.apps.manifest import compose
from yunhe.kernel import limits, sandbox

pytestmark = pytest.mark.skipif(
    not sandbox.available().whole, reason="this machine has no Landlock or no seccomp"
)


class Bench:
    """One program at a time in a folder of its own, beside a neighbour's secret."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.secret = home / "neighbour" / "in.arrow"
        self.secret.parent.mkdir()
        self.secret.write_text("CANARY of a neighbour")
        self.table = home / "patients.arrow"
        table = pa.table({"age": [20, 30, 40], "sex": ["m", "f", "m"]})
        with pa.OSFile(str(self.table), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
        self.folder = home / "job"

    def run(self, body: str, watch: Any = None, **more: Any) -> Any:
        """What `def run(inputs, parameters)` with this body gives."""
        text = "import os, sys\ndef run(inputs, parameters):\n" + "\n".join(
            f"    {line}" for line in body.splitlines()
        )
        code = self.home / "code"
        code.write_text(text)
        form = manifest("hostile", **{"needs": {"memory_mb": 512, "seconds": 10}, **more})
        made = compose(form, "did:web:author", text.encode())
        given = {"secret": str(self.secret), "home": str(self.home)}
        self.folder.mkdir(exist_ok=True)
        inputs = {"patients": self.table}
        look = watch or (lambda: None)
        return box.run(made, code, inputs, given, self.folder, look).result

    def tried(self, attacks: list[str]) -> dict[str, str]:
        """What became of each attack, all in one process: its error, or "" where it worked."""
        got = self.run(
            f"made = {{}}\nfor number, attack in enumerate({attacks!r}):\n"
            "    made[str(number)] = ''\n"
            "    try:\n        exec(attack, {'os': os, 'parameters': parameters})\n"
            "    except BaseException as error:\n"
            "        made[str(number)] = f'{type(error).__name__}: {error}'\n"
            "return made"
        )
        return dict(zip(attacks, got["numbers"].values(), strict=True))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_gets_its_tables_and_parameters_and_gives_numbers(bench: Bench) -> None:
    got = bench.run("return {'n': sum(inputs['patients']['age'].to_pylist())}")
    assert got == {"numbers": {"n": 90}}


FILES = [
    "open('/etc/passwd').read()",
    "open(parameters['secret']).read()",
    "os.listdir(parameters['home'])",
    "os.listdir('/proc')",
    "open(f'/proc/{os.getppid()}/environ').read()",
    "open(f'/proc/{os.getppid()}/mem', 'rb').read(8)",
    "open('/tmp/left-behind', 'w')",
    "open(parameters['secret'], 'a')",
    "os.link(parameters['secret'], '/tmp/linked')",
    "os.symlink('/etc/passwd', parameters['home'] + '/link')",
    "os.mkdir(parameters['home'] + '/more')",
    "os.remove(parameters['secret'])",
    "os.truncate(parameters['secret'], 0)",
    "os.memfd_create('x')",
]
NETWORK = [
    "import socket; socket.create_connection(('127.0.0.1', 80))",
    "import socket; socket.socket(socket.AF_UNIX)",
    "import socket; socket.socketpair()",
    "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1/')",
    "import socket; socket.getaddrinfo('secret.example.org', 80)",
]
PTRACE = (
    "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.ptrace(16, os.getppid(), 0, 0): raise PermissionError(ctypes.get_errno())"
)
PROCESSES = [
    "os.fork()",
    "os.forkpty()",
    "import subprocess; subprocess.run(['/bin/sh', '-c', 'id'])",
    "os.posix_spawn('/bin/sh', ['sh'], {})",
    "os.execv('/bin/sh', ['sh'])",
    "os.kill(os.getppid(), 9)",
    "os.kill(1, 9)",
    "import multiprocessing; multiprocessing.Process(target=print).start()",
    PTRACE,
]


def test_no_file_but_its_own(bench: Bench) -> None:
    for attack, error in bench.tried(FILES).items():
        assert error.startswith(("PermissionError", "FileNotFoundError")), (attack, error)
    assert bench.secret.read_text() == "CANARY of a neighbour"
    assert not Path("/tmp/left-behind").exists()


def test_no_way_out(bench: Bench) -> None:
    for attack, error in bench.tried(NETWORK).items():
        assert error.startswith(("PermissionError", "gaierror", "URLError")), (attack, error)


def test_no_other_process(bench: Bench) -> None:
    for attack, error in bench.tried(PROCESSES).items():
        assert error.startswith(("PermissionError", "OSError", "BlockingIOError")), (attack, error)


def test_no_environment_and_no_descriptor_of_the_node(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YUNHE_TOKEN", "CANARY")
    with (bench.home / "open").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        got = bench.run(
            "held = []\nfor fd in range(256):\n    try:\n        os.fstat(fd); held.append(fd)\n"
            "    except OSError:\n        pass\n"
            "return {'env': ' '.join(os.environ.values()), 'fds': len(held)}"
        )
    assert "CANARY" not in got["numbers"]["env"]
    assert got["numbers"]["fds"] <= 6  # stdin, stdout, stderr, the result, a table and its map


def test_a_bomb_ends_alone_and_in_time(bench: Bench) -> None:
    short = {"memory_mb": 256, "seconds": 1}
    with pytest.raises(AppTimeout):
        bench.run("import time; time.sleep(60)", needs=short)
    with pytest.raises((AppMemory, AppTimeout)):
        bench.run("x = []\nwhile True: x.append(bytearray(1 << 26))", needs=short)


def test_what_it_prints_and_writes_is_bounded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "APP_OUTPUT_BYTES_MAX", 1 << 20)
    with pytest.raises((AppFailed, AppOutputRefused)):
        bench.run("while True: print('x' * 65536)")
    assert (bench.folder / "log").stat().st_size <= limits.APP_LOG_BYTES_MAX
    with pytest.raises((AppFailed, AppOutputRefused)):
        bench.run("return {'n': 'x' * (2 << 20)}")


def test_what_it_prints_moves_no_terminal_of_the_host(bench: Bench) -> None:
    bench.run("print('\\x1b[2J\\x9b31m\\r\\u202eok\\t年\\n')\nreturn {'n': 1}")
    assert box.printed(bench.folder) == "\ufffd[2J\ufffd31m\ufffd\ufffdok\t年\n\n"


@pytest.mark.parametrize("text", ["", '{"numbers": {"n": 1e999}}', '{"a": 1, "a": 2}', "\x00"])
def test_a_result_that_is_no_json_is_refused(bench: Bench, text: str) -> None:
    with pytest.raises((AppOutputRefused, AppFailed)):
        # Past our own writer, straight to the descriptor that it would use.
        bench.run(
            f"for fd in range(3, 64):\n    try:\n        os.write(fd, {text.encode()!r})\n"
            "    except OSError:\n        pass\nos._exit(0)"
        )


def test_only_declared_libraries_are_there(bench: Bench) -> None:
    tried = bench.tried(["import pandas", "import yunhe", "import yunhe.kernel.keys"])
    assert all(error.startswith("ModuleNotFoundError") for error in tried.values()), tried
    with pytest.raises(AppEngineMissing):
        bench.run("import numpy\nreturn {'n': 1}", libraries=["scipy"])


def test_who_watches_ends_it(bench: Bench) -> None:
    def ended() -> None:
        raise AppCut

    with pytest.raises(AppCut):
        bench.run("import time; time.sleep(30)", watch=ended)

"""Behind the walls nothing of the machine is left but what was mounted: attacks, each refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from examples import example
from yunhe.kernel import sandbox

pytestmark = pytest.mark.skipif(
    not sandbox.available().whole, reason="this kernel has no Landlock or no seccomp"
)

LOAD = f"""
import sys, importlib.util
spec = importlib.util.spec_from_file_location("sandbox", {sandbox.__file__!r})
sandbox = importlib.util.module_from_spec(spec)
sys.modules["sandbox"] = sandbox
spec.loader.exec_module(sandbox)
"""

ATTACKER = (
    LOAD
    + """
import ctypes, errno, fcntl, json, os, platform, resource, signal, socket, threading, time
from pathlib import Path

given, output, other, user, spare = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
arm = platform.machine() == "aarch64"
parent = os.getppid()
if user:
    os.setgid(user), os.setuid(user)
pipe = os.pipe()
report = sandbox.confine(
    sandbox.Mounts((Path(given),), (Path(output),)),
    sandbox.Limits(memory_bytes=1 << 30, cpu_s=20, files_max=64, file_size_bytes=1 << 16),
    keep=pipe,
    parent=parent,
)
said, tried = {"report": report.whole, "apart": report.network_namespace}, {}

def attack(name, do):
    try:
        do()
        tried[name] = "SUCCEEDED"
    except (OSError, MemoryError, ValueError) as refused:
        number = getattr(refused, "errno", None)
        tried[name] = errno.errorcode.get(number, type(refused).__name__)

def call(x86, aarch64, *arguments):
    def do():
        if libc.syscall(aarch64 if arm else x86, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "refused")
    return do

def opened(path, flags, mode=0o600):
    os.close(os.open(path, flags, mode))

def bigger():
    with open(f"{output}/big", "wb", buffering=0) as file:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        while file.write(b"x" * 65536):
            pass

def linked(make):
    make("/etc/passwd", f"{output}/link")
    opened(f"{output}/link", os.O_RDONLY)

attack("read passwd", lambda: opened("/etc/passwd", os.O_RDONLY))
attack("read a neighbour's file", lambda: opened(other, os.O_RDONLY))
attack("list the root", lambda: os.listdir("/"))
attack("read the parent's environment", lambda: opened(f"/proc/{parent}/environ", os.O_RDONLY))
attack("read the parent's memory", lambda: opened(f"/proc/{parent}/mem", os.O_RDWR))
attack("read the kernel's keys", lambda: opened("/proc/keys", os.O_RDONLY))
attack("a way up", lambda: opened(f"{given}/../secret", os.O_RDONLY))
attack("a symbolic link", lambda: linked(os.symlink))
attack("a hard link", lambda: linked(os.link))
attack("write what is to be read", lambda: opened(f"{given}/file", os.O_WRONLY))
attack("cut by reading", lambda: opened(f"{given}/file", os.O_RDONLY | os.O_TRUNC))
attack("cut by name", lambda: os.truncate(f"{given}/file", 0))
attack("remove", lambda: os.unlink(f"{given}/file"))
attack("rename", lambda: os.rename(f"{given}/file", f"{output}/file"))
attack("make one beside", lambda: opened(f"{given}/new", os.O_CREAT | os.O_WRONLY))
attack("write to tmp", lambda: opened("/tmp/yunhe-escaped", os.O_CREAT | os.O_WRONLY))
attack("change rights", lambda: os.chmod(f"{given}/file", 0o777))
attack("change times", lambda: os.utime(f"{given}/file", (1, 1)))
attack("make a device", lambda: os.mknod(f"{output}/device", 0o20600, os.makedev(1, 1)))
attack("fill the disk", bigger)
for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"):
    kind = socket.SOCK_RAW if family in ("AF_NETLINK", "AF_PACKET") else socket.SOCK_STREAM
    attack(f"socket {family}", lambda: socket.socket(getattr(socket, family), kind))
attack("a pair of sockets", socket.socketpair)
attack("run a program", lambda: os.execv("/bin/true", ["true"]))
attack("run what is in memory", call(322, 281, 0, b"", None, None, 0x1000))
attack("fork", lambda: os.fork() or os._exit(0))
attack("clone3", call(435, 435, None, 0))
attack("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attack("a new namespace", call(272, 97, 0x10000000))
attack("enter a namespace", call(308, 268, 0, 0))
attack("mount", call(165, 40, b"none", b"/tmp", b"tmpfs", 0, None))
attack("trace the parent", call(101, 117, 16, parent, None, None))
attack("read other memory", call(310, 270, parent, None, 0, None, 0, 0))
attack("take a descriptor", call(438, 438, 0, 1, 0))
attack("hold the parent", call(434, 434, parent, 0))
attack("signal the parent", lambda: os.kill(parent, 0))
attack("signal the group", lambda: os.kill(0, 0))
attack("signal all", lambda: os.kill(-1, 0))
attack("signal by descriptor", lambda: fcntl.fcntl(pipe[0], fcntl.F_SETOWN, parent))
attack("watch a folder", call(294, 26, 0))
attack("hold a file up", lambda: fcntl.fcntl(pipe[0], fcntl.F_SETLEASE, fcntl.F_RDLCK))
attack("be told of a folder", lambda: fcntl.fcntl(pipe[0], fcntl.F_NOTIFY, fcntl.DN_ACCESS))
attack("limit the parent", lambda: resource.prlimit(parent, resource.RLIMIT_CPU, (1, 1)))
attack("slow the parent", lambda: os.setpriority(os.PRIO_PROCESS, parent, 19))
attack("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 40, 1 << 40)))
attack("raise the limit of files", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99)))
attack("eat memory", lambda: bytearray(2 << 30))
attack("memory outside of the limit", call(319, 279, b"x", 0))
attack("shared memory", call(29, 194, 0, 1 << 20, 0o1600))
attack("a message queue", call(240, 180, b"x", 0o100, 0o600, None))
attack("io_uring", call(425, 425, 1, None))
attack("bpf", call(321, 280, 0, None, 0))
attack("userfaultfd", call(323, 282, 0))
attack("keyctl", call(250, 219, 0, -3, 0))
attack("perf", call(298, 241, None, 0, -1, -1, 0))
attack("open by handle", call(304, 265, 0, None, 0))
attack("another personality", call(135, 92, 0x0040000))
attack("set the clock", call(227, 112, 0, None))
attack("load a module", call(313, 273, 0, b"", 0))
attack("reboot", call(169, 142, 0xFEE1DEAD, 672274793, 0, None))
attack("a call of a later kernel", call(463, 463, 0, None, 0, None, None, 0))
attack("an inherited descriptor", lambda: os.fstat(spare))
if not arm:
    attack("x32", call(0x40000000 + 41, 0, 2, 1, 0))

said["tried"] = tried
said["environment"] = dict(os.environ)
Path(output, "result").write_text("kept")
thread = threading.Thread(target=lambda: said.__setitem__("given", open(f"{given}/file").read()))
thread.start(), thread.join()
os.kill(os.getpid(), 0)
sandbox.tighten(sandbox.Mounts((Path("/"),)))
attack("undo Landlock", lambda: opened("/etc/passwd", os.O_RDONLY))
sandbox.tighten(sandbox.Mounts())
attack("what was left before", lambda: opened(f"{given}/file", os.O_RDONLY))
os.write(1, json.dumps(said).encode())
"""
)

USERS = [0, *([65534] if os.geteuid() == 0 else [])]


@pytest.fixture(scope="module", params=USERS, ids=["this user", "nobody"][: len(USERS)])
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the attacker brought home, as this user and, where root runs, as nobody."""
    home = tmp_path_factory.mktemp("walls")
    for folder in (home, *home.parents):  # for nobody, too
        if folder.name.startswith(("walls", "popen-", "pytest-")):
            folder.chmod(0o755)
    given, output = home / "given", home / "output"
    given.mkdir()
    output.mkdir()
    output.chmod(0o777)
    (given / "file").write_text("given")
    (home / "secret").write_text("CANARY")
    (home / "secret").chmod(0o644)
    read, write = os.pipe()
    asked = json.dumps([str(given), str(output), str(home / "secret"), request.param, read])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", ATTACKER, asked],
            env={"SECRET": "CANARY", "LC_ALL": "C.UTF-8"},
            pass_fds=(read,),
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(read)
        os.close(write)
    assert done.returncode == 0, done.stderr.decode()
    assert (given / "file").read_text() == "given"
    assert (output / "result").read_text() == "kept"
    return json.loads(done.stdout)


def test_every_attack_is_refused(said: Any) -> None:
    tried = said["tried"]
    assert said["report"] is True
    assert len(tried) >= 60
    # By the walls, not by chance: the arguments of most would be refused for other reasons.
    walls = {"EPERM", "EACCES"}
    assert tried.pop("a hard link") in ("EPERM", "EXDEV")  # another wall for nobody
    left = {name: outcome for name, outcome in tried.items() if outcome not in walls}
    assert left == {
        "a call of a later kernel": "ENOSYS",
        "clone3": "ENOSYS",
        "an inherited descriptor": "EBADF",
        "eat memory": "MemoryError",
        "fill the disk": "EFBIG",
        "raise a limit": "ValueError",
        "raise the limit of files": "ValueError",
        **({"x32": "ENOSYS"} if "x32" in tried else {}),
    }


def test_what_was_given_is_there(said: Any) -> None:
    assert said["given"] == "given"  # read in a thread of its own: threads are allowed
    assert set(said["environment"]) <= set(sandbox.environment())
    assert "SECRET" not in said["environment"]


def test_tightening_needs_one_thread() -> None:
    code = f"""{LOAD}
import threading
event = threading.Event()
threading.Thread(target=event.wait).start()
try:
    sandbox.tighten(sandbox.Mounts())
except sandbox.SandboxFault as fault:
    print(fault.strerror)
event.set()
"""
    told = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert told.stdout == "2 threads run\n", told.stderr


def test_processes_may_be_allowed_and_are_confined_too() -> None:
    code = f"""{LOAD}
import os, socket
sandbox.confine(sandbox.Mounts((sandbox.Path("/"),)), sandbox.Limits(processes_max=4))
pid = os.fork()
if not pid:
    try:
        socket.socket()
    except PermissionError:
        os._exit(7)
os.write(1, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])).encode())
"""
    told = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert told.stdout == "7", told.stderr


def test_a_confined_process_dies_with_its_parent(tmp_path: Path) -> None:
    child = f"""{LOAD}
import os, time
sandbox.confine(sandbox.Mounts(), sandbox.Limits(), parent=os.getppid())
os.write(1, b"up")
time.sleep(60)
"""
    parent = f"""
import os, subprocess, sys
made = subprocess.Popen([sys.executable, "-I", "-c", {child!r}], stdout=subprocess.PIPE)
made.stdout.read(2)
print(made.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    told = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True)
    pid = int(told.stdout)
    until = time.monotonic() + 5
    while _runs(pid):
        assert time.monotonic() < until, "it outlived its parent"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


ERRNO, ALLOW, KILL = 0x5_0000, 0x7FFF_0000, 0x8000_0000


def answer(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter says of a call, by a small machine for its programs."""
    code = sandbox._program(machine, may_fork=False)
    words = {0: number, 4: sandbox._ARCHITECTURES[machine][0] if arch is None else arch}
    words |= {16 + 8 * at: value & 0xFFFF_FFFF for at, value in enumerate(arguments)}
    at = held = 0
    while True:
        operation, then, otherwise, operand = code[at]
        at += 1
        if operation == sandbox._RETURN:
            return operand
        if operation == sandbox._LOAD:
            held = words.get(operand, 0)
        elif operation == sandbox._AND:
            held &= operand
        else:
            met = {
                sandbox._EQUAL: held == operand,
                sandbox._OVER: held > operand,
                sandbox._ANY_BIT: bool(held & operand),
            }[operation]
            at += then if met else otherwise


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_says_the_same_on_every_machine(machine: str) -> None:
    column = sandbox._ARCHITECTURES[machine][1]
    looked = sandbox._numbers(sandbox._LOOKED_INTO, column)
    refused = f"{sandbox._REFUSED},{sandbox._EXECUTES}"
    for number in sandbox._numbers(refused, column).values():
        assert answer(machine, number) == ERRNO | 1
    for number in (*sandbox._numbers(sandbox._ABSENT, column).values(), 463, 500, 1 << 30):
        assert answer(machine, number) == ERRNO | 38
    assert answer(machine, looked["openat"], arch=7) == KILL  # numbers of another machine
    own, thread, namespace = os.getpid(), 0x1_0000, 0x1000_0000
    calls = {
        ("clone", thread): ALLOW,
        ("clone", thread | namespace): ERRNO | 1,
        ("clone", 17): ERRNO | 1,
        ("kill", own): ALLOW,
        ("kill", own + 1): ERRNO | 1,
        ("kill", 0): ERRNO | 1,
        ("tgkill", -1): ERRNO | 1,
        ("prlimit64", 0): ALLOW,
        ("prlimit64", own + 1): ERRNO | 1,
        ("fcntl", 0, 3): ALLOW,
        ("fcntl", 0, 8): ERRNO | 1,
        ("openat", 0, 0, os.O_RDONLY): ALLOW,
        ("openat", 0, 0, os.O_WRONLY | os.O_TRUNC): ALLOW,  # Landlock's to decide
        ("openat", 0, 0, os.O_RDONLY | os.O_TRUNC): ERRNO | 1,
    }
    found = {call: answer(machine, looked[call[0]], *call[1:]) for call in calls}
    assert found == calls


def test_the_example_of_the_page_stands(tmp_path: Path) -> None:
    for name in ("in", "out", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    page = example("sandbox", "confine").replace("/data/", f"{tmp_path}/")
    tried = f"""
assert stands.whole, stands
assert open("{tmp_path}/in/file").read() == "in"
open("{tmp_path}/out/new", "w").close()
try:
    open("{tmp_path}/other/file")
except PermissionError:
    print("held")
"""
    done = subprocess.run(
        [sys.executable, "-c", page + tried], capture_output=True, text=True, check=False
    )
    assert done.stdout == "held\n", done.stderr

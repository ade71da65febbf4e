"""Walls around a process that runs what is not trusted: `confine` puts it behind them, for good.

In: the files it may read and write, and what it may take. Out: a `Report` of the walls that stand.
Called in the child, before anything untrusted. It imports the standard library only, so that a
child may load it by its path: the house and its secrets stay outside.

Walls: Landlock (files, TCP, signals, abstract sockets), a seccomp filter (no sockets, no exec, no
new processes, nothing that reaches another process or the kernel's rarer doors), a network
namespace of its own, no capabilities, resource limits, no inherited descriptor, a clean
environment, and death with the parent. Linux only; elsewhere the report says so.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import stat
import struct
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

# What DuckDB reads of the machine, the cores and memory it may take: it aborts where it cannot.
ENGINE_ASKS: Final = tuple(
    map(Path, ("/proc/self/cgroup", "/sys/fs/cgroup", "/sys/devices/system/cpu"))
)
_THREADS_END_S_MAX: Final = 0.5


@dataclass(frozen=True)
class Limits:
    """What a process may take; bytes, seconds of processor time, counts. None: as it was.

    `processes_max`: how many it may start; its own threads are bounded by `threads_max`, where a
    user namespace lets the kernel count them apart from others of the same user.
    """

    memory_bytes: int | None = None
    cpu_s: int | None = None
    files_max: int = 1024
    processes_max: int = 0
    file_size_bytes: int = 0
    threads_max: int = 512


@dataclass(frozen=True)
class Mounts:
    """Files and folders (with all below) that may be read, and that may be read and written."""

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Report:
    """Which walls stand. `landlock` is the kernel's ABI, 0 without it."""

    landlock: int = 0
    seccomp: bool = False
    network_namespace: bool = False

    @property
    def whole(self) -> bool:
        """Whether no file and no socket can be had: the two walls that must stand."""
        return self.landlock > 0 and self.seccomp

    def missing(self) -> tuple[str, ...]:
        """The names of the walls that do not stand."""
        walls = (
            ("landlock", self.landlock > 0),
            ("seccomp", self.seccomp),
            ("network namespace", self.network_namespace),
        )
        return tuple(name for name, stands in walls if not stands)


class SandboxFault(OSError):
    """A wall that this machine has could not be put up: the process must not go on."""


def confine(
    mounts: Mounts,
    limits: Limits,
    *,
    keep: Collection[int] = (),
    parent: int = 0,
) -> Report:
    """Put this process behind the walls; there is no way back. Call it with one thread only.

    `keep` are descriptors that stay open beside 0 to 2. `parent`: its process id; this process
    dies with it (with the thread of it that started this one: prctl(2), PR_SET_PDEATHSIG).
    Paths that are not there, or not for this user, are left out. Raises SandboxFault.
    """
    _clean(keep)
    _limit(limits)
    if sys.platform != "linux":
        return Report()
    apart, mapped = _apart()
    if mapped:
        _rlimit(resource.RLIMIT_NPROC, limits.processes_max + limits.threads_max)
    _prctl(_NO_NEW_PRIVS, 1)
    landlock = _landlock(mounts)
    _drop_capabilities(readable=os.geteuid() == 0 and not mapped)
    _prctl(_DUMPABLE, 0)
    if parent:
        _prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    return Report(landlock, _seccomp(limits.processes_max > 0), apart)


def tighten(mounts: Mounts) -> bool:
    """Leave only `mounts` of what may be opened until now; False where there is no Landlock.

    Raises SandboxFault, also where other threads run: they would keep what they had.
    """
    if sys.platform != "linux" or not _landlock_abi():
        return False
    until = monotonic() + _THREADS_END_S_MAX
    while threads() != 1:
        if monotonic() >= until:
            raise SandboxFault(errno.EBUSY, f"{threads()} threads run")
        sleep(0.000_05)  # a thread that was joined is counted until the kernel has put it away
    return _landlock(mounts) > 0


def threads() -> int:
    """How many threads this process has; Linux only."""
    # The links of that folder are its two own and one a thread; no right to read it is needed.
    return os.stat("/proc/self/task").st_nlink - 2


def available() -> Report:
    """The walls that stand on this machine, tried out in a process of its own."""
    import subprocess  # not needed in a child, which is to start fast

    try:
        tried = subprocess.run(
            [sys.executable, "-I", "-S", __file__],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            env=environment(),
            cwd="/",
            timeout=30,
            check=False,
        )
        return Report(**json.loads(tried.stdout))
    except (ValueError, TypeError, subprocess.TimeoutExpired):
        return Report()  # not even the trial came to its end


def environment() -> dict[str, str]:
    """What a confined process finds in its environment, and nothing else.

    The numeric libraries start no thread of their own at import: `tighten` would refuse.
    """
    return {
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }


@cache
def runtime() -> tuple[Path, ...]:
    """Where this Python, its packages and the system's libraries lie: code, to be read only."""
    import sysconfig

    python = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/dev/urandom")
    return tuple(Path(each) for each in dict.fromkeys([*python, *system]) if each)


# -- what needs no kernel feature ---------------------------------------------------------------


def _clean(keep: Collection[int]) -> None:
    known = environment()
    for name in [*os.environ]:
        if name not in known:
            del os.environ[name]
    low = 3
    for each in sorted({fd for fd in keep if fd > 2}):
        os.closerange(low, each)
        low = each + 1
    os.closerange(low, 1 << 20)


def _limit(limits: Limits) -> None:
    _rlimit(resource.RLIMIT_CORE, 0)
    _rlimit(resource.RLIMIT_NOFILE, limits.files_max)
    _rlimit(resource.RLIMIT_FSIZE, limits.file_size_bytes)
    if limits.memory_bytes is not None:
        _rlimit(resource.RLIMIT_AS, limits.memory_bytes)
    if limits.cpu_s is not None:
        _rlimit(resource.RLIMIT_CPU, limits.cpu_s, over=2)  # SIGXCPU first, SIGKILL then


def _rlimit(which: int, most: int, over: int = 0) -> None:
    hard = resource.getrlimit(which)[1]
    bound = most + over if hard == resource.RLIM_INFINITY else min(most + over, hard)
    resource.setrlimit(which, (min(most, bound), bound))


# -- the kernel's walls ------------------------------------------------------------------------

_NO_NEW_PRIVS, _PDEATHSIG, _DUMPABLE = 38, 1, 4  # prctl(2)
_NEW_USER, _NEW_NET, _NEW_IPC = 0x1000_0000, 0x4000_0000, 0x0800_0000  # unshare(2)
_CAP_READ_ANY, _CAP_SYS_ADMIN = 2, 21
_CAPSET = 0x2008_0522

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same number everywhere
_VERSION_FLAG, _PATH_BENEATH = 1, 1
# landlock(7): rights over files, those that came with an ABI, and those that a file can have.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_ABI: Final = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_OF_FILES: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
# Devices, sockets and links are made by nobody in here.
_MAKES: Final = sum(1 << bit for bit in (4, 5, 7, 8)) | _WRITE_FILE | _REFER | _TRUNCATE


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, done: int, absent: Collection[int] = ()) -> int:
    """What a system call gave; -1 for an error in `absent`; raises SandboxFault for others."""
    if done >= 0:
        return done
    why = ctypes.get_errno()
    if why in absent:
        return -1
    raise SandboxFault(why, f"{name}: {os.strerror(why)}")


def _prctl(what: int, value: int) -> None:
    _call("prctl", _libc().prctl(what, ctypes.c_ulong(value), 0, 0, 0))


def _syscall(number: int, *arguments: Any) -> int:
    libc = _libc()
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *arguments))


def _apart() -> tuple[bool, bool]:
    """Leave the network: whether that stands, and whether through a user namespace.

    Root goes without one: in it, it could not read files of others that it is told to read.
    """
    unshare = _libc().unshare
    if _capable(_CAP_SYS_ADMIN):
        return unshare(_NEW_NET | _NEW_IPC) == 0, False
    if os.geteuid() == 0:
        return False, False
    done = unshare(_NEW_USER | _NEW_NET | _NEW_IPC) == 0
    return done, done


def _capable(capability: int) -> bool:
    sets = ctypes.create_string_buffer(24)
    _call("capget", _libc().capget(struct.pack("=Ii", _CAPSET, 0), sets))
    return bool(struct.unpack_from("=I", sets)[0] >> capability & 1)


def _drop_capabilities(*, readable: bool) -> None:
    """None is left; root keeps that of reading files of others: Landlock says which."""
    kept = 1 << _CAP_READ_ANY if readable and _capable(_CAP_READ_ANY) else 0
    head = struct.pack("=Ii", _CAPSET, 0)
    sets = struct.pack("=6I", kept, kept, 0, 0, 0, 0)
    _call("capset", _libc().capset(head, sets))


def _landlock_abi() -> int:
    absent = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
    size = ctypes.c_size_t(0)
    found = _syscall(_CREATE_RULESET, None, size, ctypes.c_uint32(_VERSION_FLAG))
    return max(0, _call("landlock", found, absent))


def _landlock(mounts: Mounts) -> int:
    """One layer that leaves `mounts` only; the kernel's ABI, 0 without Landlock."""
    abi = _landlock_abi()
    if not abi:
        return 0
    handled = sum(rights for since, rights in _OF_ABI.items() if since <= abi)
    attributes = struct.pack(
        "=QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0
    )  # files; TCP bind and connect; abstract sockets and signals
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    asked = (attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    ruleset = _call("landlock_create_ruleset", _syscall(_CREATE_RULESET, *asked))
    try:
        read = _READ_FILE | _READ_DIR
        _allow(ruleset, mounts.read, read & handled)
        _allow(ruleset, mounts.write, (read | _MAKES) & handled)
        done = _syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
        _call("landlock_restrict_self", done)
    finally:
        os.close(ruleset)
    return abi


def _allow(ruleset: int, paths: Iterable[Path], rights: int) -> None:
    for path in paths:
        try:
            held = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        try:
            whole = stat.S_ISDIR(os.fstat(held).st_mode)
            rule = struct.pack("=Qi", rights if whole else rights & _OF_FILES, held)
            asked = (ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
            _call("landlock_add_rule", _syscall(_ADD_RULE, *asked))
        finally:
            os.close(held)


# -- seccomp: a program of the kernel's old packet filter, over the number of a call -------------

# Calls refused whole: name, number on x86_64 and on aarch64 ("-": it has none). What reaches other
# processes, the network, mounts, the kernel, memory that no limit counts, or the rights and times
# of files, which Landlock does not watch.
_REFUSED: Final = """
socket 41 198, socketpair 53 199, connect 42 203, bind 49 200, listen 50 201, accept 43 202,
accept4 288 242, ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271,
process_madvise 440 440, process_mrelease 448 448, kcmp 312 272, pidfd_open 434 434,
pidfd_getfd 438 438, pidfd_send_signal 424 424, tkill 200 130, rt_sigqueueinfo 129 138,
rt_tgsigqueueinfo 297 240, setpriority 141 140, ioprio_set 251 30, sched_setscheduler 144 119,
sched_setparam 142 118, sched_setattr 314 274, move_pages 279 239, migrate_pages 256 238,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, fsopen 430 430, fsconfig 431 431,
fsmount 432 432, fspick 433 433, open_tree 428 428, move_mount 429 429, mount_setattr 442 442,
name_to_handle_at 303 264, open_by_handle_at 304 265, unshare 272 97, setns 308 268, swapon 167 224,
swapoff 168 225, quotactl 179 60, quotactl_fd 443 443, init_module 175 105, finit_module 313 273,
delete_module 176 106, kexec_load 246 104, kexec_file_load 320 294, reboot 169 142, syslog 103 116,
acct 163 89, bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, io_uring_setup 425 425,
io_uring_enter 426 426, io_uring_register 427 427, add_key 248 217, request_key 249 218,
keyctl 250 219, personality 135 92, iopl 172 -, ioperm 173 -, modify_ldt 154 -,
lookup_dcookie 212 18, nfsservctl 180 42, _sysctl 156 -, settimeofday 164 170,
clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266, sethostname 170 161,
setdomainname 171 162, fanotify_init 300 262, fanotify_mark 301 263, memfd_create 319 279,
memfd_secret 447 447, shmget 29 194, shmat 30 196, shmctl 31 195, msgget 68 186, msgsnd 69 189,
msgrcv 70 188, msgctl 71 187, semget 64 190, semop 65 193, semctl 66 191, semtimedop 220 192,
mq_open 240 180, mq_unlink 241 181, mknod 133 -, mknodat 259 33, chmod 90 -, fchmod 91 52,
fchmodat 268 53, fchmodat2 452 452, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54,
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15,
fremovexattr 199 16, utime 132 -, utimes 235 -, utimensat 280 88, futimesat 261 -, truncate 76 45,
vhangup 153 58, uselib 134 -, inotify_init 253 -, inotify_init1 294 26, inotify_add_watch 254 27
"""
_EXECUTES: Final = "execve 59 221, execveat 322 281"
_FORKS: Final = "fork 57 -, vfork 58 -"
_ABSENT: Final = "clone3 435 435, openat2 437 437"  # libraries fall back to what can be looked into
_LOOKED_INTO: Final = """
clone 56 220, kill 62 129, tgkill 234 131, prlimit64 302 261, sched_setaffinity 203 122,
fcntl 72 25, open 2 -, openat 257 56, seccomp 317 277
"""
_LAST_KNOWN: Final = 462  # calls of later kernels are as if there were none
_ARCHITECTURES: Final = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}

_LOAD, _EQUAL, _OVER, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL, _EPERM, _ENOSYS = 0x7FFF_0000, 0x8000_0000, 0x5_0001, 0x5_0026
_THREAD, _NAMESPACES = 0x1_0000, 0x7E02_0000  # clone(2)
_O_TRUNC, _O_ACCMODE = 0o1000, 0o3
# fcntl(2): F_SETOWN, F_SETSIG, F_SETOWN_EX send signals; F_SETLEASE holds up whoever opens a file,
# F_NOTIFY tells of what others do, as inotify does without Landlock being asked.
_FCNTL_REFUSED: Final = (8, 10, 15, 1024, 1026)

_Code = list[tuple[int, int, int, int]]  # operation, jump if true, jump if false, operand


def _numbers(table: str, column: int) -> dict[str, int]:
    rows = (row.split() for row in table.split(","))
    return {row[0]: int(row[column + 1]) for row in rows if row[column + 1] != "-"}


def _argument(at: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, 16 + 8 * at)  # its lower half: these machines are little-endian


def _only_for(number: int, body: _Code) -> _Code:
    return [(_EQUAL, 0, len(body), number), *body]


def _one_of(values: Collection[int], then: int, otherwise: int) -> _Code:
    made: _Code = []
    for value in values:
        made += [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, then)]
    return [*made, (_RETURN, 0, 0, otherwise)]


def _looks(number: dict[str, int], may_fork: bool) -> _Code:
    """The calls of which the arguments decide."""
    own = os.getpid()
    if may_fork:
        clone = [(_ANY_BIT, 0, 1, _NAMESPACES), (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]
    else:
        clone = [(_AND, 0, 0, _THREAD | _NAMESPACES), *_one_of([_THREAD], _ALLOW, _EPERM)]
    cut = [(_AND, 0, 0, _O_TRUNC | _O_ACCMODE)]  # to truncate needs the right to write
    cut += _one_of([_O_TRUNC, _O_TRUNC | _O_ACCMODE], _EPERM, _ALLOW)
    made = _only_for(number["clone"], [_argument(0), *clone])
    for name, allowed in (("kill", [own]), ("tgkill", [own]), ("prlimit64", [0, own]),
                          ("sched_setaffinity", [0, own])):  # fmt: skip
        made += _only_for(number[name], [_argument(0), *_one_of(allowed, _ALLOW, _EPERM)])
    fcntl = [_argument(1), *_one_of(_FCNTL_REFUSED, _EPERM, _ALLOW)]
    made += _only_for(number["fcntl"], fcntl)
    made += _only_for(number["openat"], [_argument(2), *cut])
    if "open" in number:
        made += _only_for(number["open"], [_argument(1), *cut])
    return made


def _program(machine: str, may_fork: bool) -> _Code:
    architecture, column = _ARCHITECTURES[machine]
    code: _Code = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    # Above the last are later calls, and those of x32, which has other numbers.
    code += [(_LOAD, 0, 0, 0), (_OVER, 0, 1, _LAST_KNOWN), (_RETURN, 0, 0, _ENOSYS)]
    for number in _numbers(_ABSENT, column).values():
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ENOSYS)]
    refused = ",".join([_REFUSED, _EXECUTES, *([] if may_fork else [_FORKS])])
    for number in _numbers(refused, column).values():
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _EPERM)]
    code += _looks(_numbers(_LOOKED_INTO, column), may_fork)
    return [*code, (_RETURN, 0, 0, _ALLOW)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _seccomp(may_fork: bool) -> bool:
    """Put the filter over every thread; False where there is none for this machine."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES or sys.maxsize < 1 << 32:
        return False
    code = _program(machine, may_fork)
    packed = b"".join(struct.pack("=HBBI", *each) for each in code)
    number = _numbers(_LOOKED_INTO, _ARCHITECTURES[machine][1])["seccomp"]
    mode, every_thread = ctypes.c_uint(1), ctypes.c_uint(1)
    program = _Program(len(code), packed)
    done = _syscall(number, mode, every_thread, ctypes.byref(program))
    if done > 0:
        raise SandboxFault(errno.EBUSY, f"thread {done} could not be filtered")
    return _call("seccomp", done, (errno.ENOSYS, errno.EINVAL)) == 0


if __name__ == "__main__":
    _stands = confine(Mounts(runtime()), Limits())
    os.write(1, json.dumps(asdict(_stands)).encode())

"""Abuses of what a provider's data lies in: paths that lead away, files that lie, addresses."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from attack import canaries
from attack.world import Target
from yunhe.identity import GuardedClient
from yunhe.identity.errors import AddressForbidden
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import YunheError
from yunhe.sources import Sources

OUTSIDE: Final = "CANARY-OUTSIDE"


def _profiled(make: Callable[[Path, Path], str]) -> Callable[[Target], str]:
    """Profile the path that `make` gives of a root and a folder outside it."""

    def act(_: Target) -> str:
        with tempfile.TemporaryDirectory() as name:
            root, outside = Path(name) / "root", Path(name) / "outside"
            root.mkdir()
            outside.mkdir()
            pq.write_table(pa.table({"a": [OUTSIDE]}), outside / "secret.parquet")
            pq.write_table(pa.table({"a": [1]}), root / "good.parquet")
            try:
                path = make(root, outside)
                profile = Sources([root]).profile(path)
            except YunheError as refused:
                shown = str(refused.problem())
                return f"LEAK by {refused.code}" if canaries.leaks(shown) else refused.code
            shown = str(profile)
            return f"LEAK of {shown}" if str(outside) in shown or OUTSIDE in shown else "RUNS"

    return act


def _linked(root: Path, outside: Path) -> str:
    (root / "link.parquet").symlink_to(outside / "secret.parquet")
    return "link.parquet"


def _linked_folder(root: Path, outside: Path) -> str:
    (root / "link").symlink_to(outside)
    return "link"


def _linked_within(root: Path, outside: Path) -> str:
    (root / "folder").mkdir()
    (root / "folder" / "a.parquet").symlink_to(outside / "secret.parquet")
    return "folder"


def _loop(root: Path, outside: Path) -> str:
    (root / "a.parquet").symlink_to(root / "b.parquet")
    (root / "b.parquet").symlink_to(root / "a.parquet")
    return "a.parquet"


def _pipe(root: Path, outside: Path) -> str:
    os.mkfifo(root / "pipe.parquet")
    return "pipe.parquet"


_AWAY: Final = "SOURCE_PATH_NOT_ALLOWED|SOURCE_MISSING|SOURCE_LOCATOR_NOT_VALID|SOURCE_KIND_UNKNOWN"
_NAMED: Final = (
    ("a way up", "../outside/secret.parquet"),
    ("a way up and down", "good.parquet/../../outside/secret.parquet"),
    ("a way up in percent", "%2e%2e/outside/secret.parquet"),
    ("a way up in wide dots", "\uff0e\uff0e/outside/secret.parquet"),
    ("a way up by backslashes", "..\\outside\\secret.parquet"),
    ("a file of the system", "/etc/passwd"),
    ("a file of the process", "/proc/self/environ"),
    ("a device", "/dev/zero"),
    ("a home", "~/secret.parquet"),
    ("a variable", "$HOME/secret.parquet"),
    ("a NUL", "good.parquet\0.csv"),
    ("a pattern", "../*/secret.parquet"),
    ("an address of the cloud", "http://169.254.169.254/latest/meta-data.parquet"),
    ("a name of 5000 characters", "a" * 5_000 + ".parquet"),
    ("a quote", "x'); DROP TABLE a; --.parquet"),
)


def _given(path: str) -> Callable[[Path, Path], str]:
    return lambda root, outside: path


PATHS: Final = {
    **{(title, _AWAY): _profiled(_given(path)) for title, path in _NAMED},
    ("an absolute path outside", _AWAY): _profiled(lambda root, out: str(out / "secret.parquet")),
    ("a path beside that begins alike", _AWAY): _profiled(
        lambda root, out: str(shutil.copytree(out, f"{root}-2")) + "/secret.parquet"
    ),
    ("a link that leads out", _AWAY): _profiled(_linked),
    ("a link to a folder outside", _AWAY): _profiled(_linked_folder),
    ("a folder with a link that leads out", f"{_AWAY}|SOURCE_EMPTY"): _profiled(_linked_within),
    ("a link to itself", _AWAY): _profiled(_loop),
    ("a pipe", f"{_AWAY}|SOURCE_EMPTY|SOURCE_UNREADABLE|SOURCE_NOT_PARQUET"): _profiled(_pipe),
    ("the file that is allowed", "RUNS"): _profiled(_given("good.parquet")),
}

# --- files that lie ----------------------------------------------------------------------------


def _poisoned(make: Callable[[Path], None]) -> Callable[[Target], str]:
    """Publish and profile a file that `make` wrote."""

    def at(root: Path, outside: Path) -> str:
        make(root / "poison.parquet")
        return "poison.parquet"

    return _profiled(at)


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(content) and None


def _changed(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    """A good file with bytes changed."""

    def make(file: Path) -> None:
        pq.write_table(pa.table({"a": list(range(10_000)), "b": ["x"] * 10_000}), file)
        content = bytearray(file.read_bytes())
        change(content)
        file.write_bytes(content)

    return make


def _footer(length: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[-8:-4] = struct.pack("<I", length)

    return change


def _scrambled(content: bytearray) -> None:
    size = struct.unpack("<I", content[-8:-4])[0]
    for at in range(len(content) - 8 - size, len(content) - 8, 7):
        content[at] ^= 0x5A


def _pages(content: bytearray) -> None:
    content[4:2_000] = b"\xff" * 1_996


def _cut(content: bytearray) -> None:
    del content[len(content) // 2 :]


def _hostile_names(file: Path) -> None:
    names = ['"; DROP TABLE x; --', "__entity", "__base", "a.b", "", "a\nb", "\u202egaid"]
    pq.write_table(pa.table([[1]] * len(names), names=names), file)


def _nested(file: Path) -> None:
    deep: pa.DataType = pa.int64()
    for _ in range(60):
        deep = pa.struct([("a", deep)])
    pq.write_table(pa.table({"a": pa.nulls(3, deep)}), file)


def _many_rows(file: Path) -> None:
    duckdb.execute(f"COPY (SELECT 1 AS a FROM range(30000000)) TO '{file}' (FORMAT parquet)")


_BAD: Final = "SOURCE_UNREADABLE|SOURCE_NOT_PARQUET|SOURCE_TOO_LARGE|SOURCE_DRIFTED"
POISONED: Final = {
    ("no file at all", _BAD): _poisoned(_bytes(b"")),
    ("a text", _BAD): _poisoned(_bytes(b"CANARY,secret\n1,2\n")),
    ("only the marks", _BAD): _poisoned(_bytes(b"PAR1PAR1")),
    ("a footer that is not there", _BAD): _poisoned(_changed(_footer(0xFFFFFFFF))),
    ("a footer of nothing", _BAD): _poisoned(_changed(_footer(0))),
    ("a footer too long", _BAD): _poisoned(_changed(_footer(1 << 30))),
    ("a footer scrambled", _BAD): _poisoned(_changed(_scrambled)),
    ("half a file", _BAD): _poisoned(_changed(_cut)),
    ("pages of ones", f"{_BAD}|RUNS"): _poisoned(_changed(_pages)),
    ("an encrypted mark", _BAD): _poisoned(_bytes(b"PAREPARE")),
    ("hostile column names", f"{_BAD}|RUNS"): _poisoned(_hostile_names),
    ("sixty levels", f"{_BAD}|RUNS"): _poisoned(_nested),
    ("thirty million rows in few bytes", f"{_BAD}|RUNS"): _poisoned(_many_rows),
    ("an HTML page", _BAD): _poisoned(_bytes(b"<html>CANARY</html>")),
}

# --- addresses ---------------------------------------------------------------------------------


def _fetched(url: str, development: bool = False) -> Callable[[Target], str]:
    """What a stranger's address would make this node fetch."""

    def act(_: Target) -> str:
        with GuardedClient(Egress(development), 1.0) as client:
            try:
                client.get(url)
            except AddressForbidden as refused:
                return refused.code
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
                return "NO_CONNECTION"
        return "FETCHED"

    return act


_HOSTS: Final = (
    "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0", "[::]", "169.254.169.254", "10.0.0.1",
    "172.16.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255", "198.18.0.1",
    "[fe80::1]", "[fc00::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]", "[::127.0.0.1]", "2130706433", "0x7f000001", "0177.0.0.1", "127.1",
    "localhost", "LOCALHOST.", "ip6-localhost", "\u2460\u2461\u2466.0.0.1",
)  # fmt: skip
_REFUSED: Final = "ADDRESS_FORBIDDEN|NO_CONNECTION"
ADDRESSES: Final = {
    **{(f"https {host}", _REFUSED): _fetched(f"https://{host}:9/x") for host in _HOSTS},
    ("http outside development", "ADDRESS_FORBIDDEN"): _fetched("http://93.184.215.14/x"),
    ("a file", _REFUSED): _fetched("file:///etc/passwd"),
    ("gopher", _REFUSED): _fetched("gopher://127.0.0.1:70/x"),
    ("a user in the address", _REFUSED): _fetched("https://good.example@127.0.0.1:9/x"),
    ("cloud metadata in development", "ADDRESS_FORBIDDEN"): _fetched(
        "http://169.254.169.254/latest", development=True
    ),
}

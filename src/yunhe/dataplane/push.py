"""A governed result laid whole on the provider's disk, to be pushed from there.

In: a running query. Out: one file, its figures. A push may be halted for days and broken off many
times: the worker is free meanwhile, every attempt sends the same bytes, and they are one use.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from yunhe.contracts import Terms
from yunhe.dataplane.errors import PushNeedsPurpose, PushNeedsSql, PushTooLarge, SpoolFailed
from yunhe.dataplane.ipc import IpcCount
from yunhe.dataplane.model import TableBinding
from yunhe.kernel import limits
from yunhe.kernel.durable import settle_file, settle_folder

_READ_BYTES = 1 << 20
_LOOK_BYTES = 64 << 20  # how often the room on the disk is looked at


@dataclass(frozen=True)
class Spooled:
    """What lies on disk: rows, bytes, SHA-256 (hex) of the Arrow IPC stream."""

    rows: int
    bytes: int
    digest: str


def whole_product(tables: Mapping[str, TableBinding], terms: Terms) -> str:
    """The query for all that the contract lets be read; raises PushNeedsSql."""
    if terms.minimum_group:
        raise PushNeedsSql(why="the contract allows aggregates only", why_zh="合约仅允许聚合统计")
    agreed = {column.partition(".")[0] for column in terms.columns}
    names = sorted(name for name in tables if name in agreed)
    if len(names) != 1:
        raise PushNeedsSql(
            why=f"the contract covers {len(names)} tables, and a stream is one",
            why_zh=f"合约涉及 {len(names)} 张表，而一个数据流只能是一张表",
        )
    name = names[0].replace('"', '""')
    return f'SELECT * FROM "{name}"'  # noqa: S608  the gate reads it as any stranger's


def one_purpose(terms: Terms) -> str:
    """The purpose where none is said: the only one there is; raises PushNeedsPurpose."""
    if len(terms.purposes) != 1:
        raise PushNeedsPurpose
    return terms.purposes[0]


def lay_down(chunks: Iterable[bytes], path: Path, watch: Callable[[], None]) -> Spooled:
    """Write a stream to `path`, durably; there is no file unless it is whole.

    Raises PushTooLarge, SpoolFailed, and what `chunks` and `watch` raise.
    """
    part = path.with_suffix(".part")
    count, looked = IpcCount(), 0
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            for chunk in chunks:
                watch()
                count.feed(chunk)
                if count.bytes > limits.PUSH_BYTES_MAX:
                    raise PushTooLarge(limit=limits.PUSH_BYTES_MAX)
                if count.bytes >= looked:
                    looked = count.bytes + _LOOK_BYTES
                    _room(path.parent)
                file.write(chunk)
            settle_file(file)
        part.replace(path)
        settle_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SpoolFailed(str(error)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return Spooled(count.rows, count.bytes, count.digest)


def _room(folder: Path) -> None:
    if shutil.disk_usage(folder).free < limits.SPARE_BYTES:
        raise OSError(errno.ENOSPC, "what is left is kept for the database")


def count_file(path: Path, bytes_max: int | None = None) -> IpcCount:
    """The figures of the first `bytes_max` bytes of a stream on disk; raises OSError."""
    count = IpcCount()
    left = path.stat().st_size if bytes_max is None else bytes_max
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(left, _READ_BYTES))):
            count.feed(chunk)
            left -= len(chunk)
    return count

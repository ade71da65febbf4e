"""A pushed body on its way onto our disk: in order, bounded, counted, whole or not at all.

In: the headers of a request and its bytes. Out: the file that the inbox signs for; a part that is
kept where the body broke, so that another goes on from there.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Final

from yunhe.dataplane import IpcCount, StreamMalformed, count_file
from yunhe.kernel import limits
from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.protocols.arrow.errors import (
    InboxFull,
    InboxHalted,
    InboxMalformed,
    InboxTooLarge,
    malformed,
)
from yunhe.protocols.arrow.sender import DIGEST

_RANGE: Final = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_SHA256: Final = re.compile(r"sha-256=:([A-Za-z0-9+/=]{1,64}):")


@dataclass(frozen=True)
class Place:
    """Where the body of one transfer goes, and what the inbox is told and asked meanwhile.

    `check` raises why no more is taken; `began` hears how many bytes are here and how many the
    whole has; `arrived` signs for the whole; `left` makes room for another body.
    """

    part: Path
    whole: Path
    check: Callable[[], object]
    began: Callable[[int, int], object]
    arrived: Callable[[IpcCount], object]
    left: Callable[[], object]


class Sink:
    """One body on its way onto the disk; one writer a transfer. `write`, then `finish`."""

    def __init__(self, place: Place, headers: Mapping[str, str]) -> None:
        """Raises InboxTooLarge, InboxFull, InboxMalformed, InboxHalted; then nothing is taken."""
        self._place, self._part = place, place.part
        have = size_of(self._part) or 0
        start, self._end, self._total = _range(headers, have)
        if self._total > limits.PUSH_BYTES_MAX:
            raise InboxTooLarge(limit=limits.PUSH_BYTES_MAX)
        self._digest = _digest(headers.get(DIGEST, ""))
        self._part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        wanted = max(0, self._total - start) + limits.SPARE_BYTES
        if shutil.disk_usage(self._part.parent).free < wanted:
            raise InboxFull
        # What is there already is counted anew: the figures we sign are those of our disk.
        self._count = count_file(self._part, start) if start else IpcCount()
        self._file = self._opened(start)
        self._checked = monotonic()
        self._closed = False
        place.began(self._count.bytes, self._total)

    def _opened(self, start: int) -> BinaryIO:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        file = os.fdopen(os.open(self._part, flags, 0o600), "wb")
        file.truncate(start)
        file.seek(start)
        return file

    @property
    def come(self) -> int:
        """Bytes on the disk, of the whole."""
        return self._count.bytes

    def write(self, chunk: bytes) -> None:
        """Take more; raises InboxMalformed, InboxTooLarge, InboxFull, InboxHalted, and why the
        contract does not bind any more."""
        now = monotonic()
        if now - self._checked >= limits.STREAM_CHECK_S:
            self._checked = now
            self._place.check()
        end = self._end or limits.PUSH_BYTES_MAX
        if self._count.bytes + len(chunk) > end:
            self._drop()
            raise InboxTooLarge(limit=end)
        try:
            self._count.feed(chunk)
        except StreamMalformed as error:
            self._drop()
            raise malformed(str(error)) from error
        # A body need not say how long it is, and others come beside it.
        if shutil.disk_usage(self._part.parent).free < limits.SPARE_BYTES:
            raise InboxFull
        try:
            self._file.write(chunk)
        except OSError as error:
            raise InboxFull(str(error)) from error

    def finish(self) -> bool:
        """The body is over: sign for it if it is whole; whether it was.

        Raises InboxMalformed, InboxHalted, InboxFull.
        """
        whole = self._total in (0, self._count.bytes)
        if not whole:
            self.close()
            return False
        self._place.check()
        if not self._count.complete or self._digest not in ("", self._count.digest):
            self._drop()
            raise malformed("no end mark" if not self._count.complete else "its digest differs")
        try:
            settle_file(self._file)
            self._part.replace(self._place.whole)
            settle_folder(self._place.whole.parent)
        except OSError as error:
            raise InboxFull(str(error)) from error
        self._place.arrived(self._count)
        self.close()
        return True

    def _drop(self) -> None:
        """What came is worth nothing: the next attempt begins anew."""
        self._file.truncate(0)

    def close(self) -> None:
        """Keep what came; another body may go on. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            with contextlib.suppress(OSError):
                self._file.close()
        finally:
            self._place.left()


def size_of(path: Path) -> int | None:
    """Bytes of a file, None where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _range(headers: Mapping[str, str], have: int) -> tuple[int, int, int]:
    """(where the body begins, where it ends, the whole's size); 0 where that is not said."""
    said = headers.get("Content-Range", "")
    if not said:
        length = headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 32 else 0
        return 0, size, size
    found = _RANGE.fullmatch(said)
    if found is None:
        raise InboxMalformed(why="its Content-Range is unreadable", why_zh="Content-Range 无法读取")
    start, last, total = (int(part) for part in found.groups())
    if not start <= last < total:
        raise InboxMalformed(why="its Content-Range is no range", why_zh="Content-Range 不是区间")
    if start > have:
        raise InboxHalted(why=f"{have} bytes have come", why_zh=f"已接收 {have} 字节")
    return start, last + 1, total


def _digest(said: str) -> str:
    """The SHA-256 of a Repr-Digest (RFC 9530), hex; empty where none is said."""
    found = _SHA256.search(said)
    if found is None:
        return ""
    try:
        return base64.b64decode(found.group(1), validate=True).hex()
    except (binascii.Error, ValueError) as error:
        why_zh = "Repr-Digest 无法读取"
        raise InboxMalformed(why="its Repr-Digest is unreadable", why_zh=why_zh) from error

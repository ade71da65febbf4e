"""Shared Parquet files and the addresses they may be fetched from, once and for a while.

In: a governed result. Out: an address nobody can guess; bytes, in ranges, to whoever shows it. A
client reads a file in several ranges, so "once" is: until every byte has gone out and a few
seconds more, and never more bytes than a few times its size. The contract and the profile are
asked for every request and twice a second while bytes flow. What ended is removed from the disk.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import BinaryIO

from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError
from yunhe.protocols.delta.errors import ShareFileGone, ShareFull
from yunhe.protocols.delta.parquet import Laid

_CHUNK_BYTES = 1 << 20
_SLACK_BYTES = 1 << 20  # footers are read more than once


@dataclass
class SharedFile:
    """One file and how much of it has been fetched; `key` is the secret part of its address."""

    key: str
    profile_id: str
    contract_id: str
    query: str  # what it answers: the same query again gets it while it is untouched
    path: Path
    laid: Laid
    until: float  # of the monotonic clock
    served: int = 0
    covered: list[tuple[int, int]] = field(default_factory=list)  # disjoint, in order
    spent_at: float | None = None


class Files:
    """The shared files of one process; thread-safe. Addresses do not outlive the process."""

    def __init__(self, folder: Path, check: Callable[[str], object]) -> None:
        """`check(profile id)` raises where its profile or contract does not count any more."""
        self._folder, self._check = folder, check
        # What an earlier process left: nobody holds an address of it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held: dict[str, SharedFile] = {}
        self._coming: dict[str, int] = {}
        self._lock = threading.Lock()

    def place(self, profile_id: str) -> Path:
        """Where the next file of a profile goes; raises ShareFull. Then `put`, or `give_up`."""
        self.sweep()
        with self._lock:
            theirs = sum(each.profile_id == profile_id for each in self._held.values())
            theirs += self._coming.get(profile_id, 0)
            if theirs >= limits.DELTA_FILES_EACH_MAX:
                raise ShareFull(why="too many files of this profile", why_zh="该配置的文件过多")
            if len(self._held) + sum(self._coming.values()) >= limits.DELTA_FILES_MAX:
                raise ShareFull(why="too many files at once", why_zh="文件总数过多")
            if shutil.disk_usage(self._folder).free < limits.SPARE_BYTES:
                raise ShareFull(why="the disk", why_zh="磁盘")
            self._coming[profile_id] = self._coming.get(profile_id, 0) + 1
        return self._folder / f"{secrets.token_hex(16)}.parquet"

    def give_up(self, profile_id: str) -> None:
        """The place is not needed after all."""
        with self._lock:
            left = self._coming.pop(profile_id, 0) - 1
            if left > 0:
                self._coming[profile_id] = left

    def put(
        self, profile_id: str, contract_id: str, query: str, path: Path, laid: Laid
    ) -> SharedFile:
        """Give a file at its `place` an address."""
        self.give_up(profile_id)
        key = secrets.token_urlsafe(32)
        until = monotonic() + limits.DELTA_URL_S
        made = SharedFile(key, profile_id, contract_id, query, path, laid, until)
        with self._lock:
            self._held[_digest(key)] = made
        return made

    def untouched(self, profile_id: str, query: str) -> SharedFile | None:
        """The file of the same query, asked moments ago and not fetched: an answer that was lost
        on its way is no second use."""
        young = monotonic() + limits.DELTA_URL_S - limits.DELTA_AGAIN_S
        with self._lock:
            for each in self._held.values():
                same = each.profile_id == profile_id and each.query == query
                if same and not each.served and each.until > young:
                    return each
        return None

    def find(self, name: str, key: str) -> SharedFile:
        """The file behind an address and its secret.

        Raises ShareFileGone, and why its profile or contract does not count.
        """
        with self._lock:
            found = self._held.get(_digest(key))
        if found is None or found.path.name != name or _over(found):
            raise ShareFileGone
        try:
            self._check(found.profile_id)
        except YunheError:
            self._drop(found)
            raise
        return found

    def read(self, found: SharedFile, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end`; cut within a second of the contract's end."""
        self._charge(found, start, end)
        try:
            file = found.path.open("rb")
        except OSError as error:
            raise ShareFileGone(str(error)) from error
        return self._chunks(found, file, start, end)

    def _chunks(self, found: SharedFile, file: BinaryIO, at: int, end: int) -> Iterator[bytes]:
        looked = monotonic()
        with file:
            file.seek(at)
            while at < end and (chunk := file.read(min(_CHUNK_BYTES, end - at))):
                if monotonic() - looked >= limits.STREAM_CHECK_S:
                    looked = monotonic()
                    self._check(found.profile_id)
                yield chunk
                at += len(chunk)
                self._went(found, at - len(chunk), at)

    def _charge(self, found: SharedFile, start: int, end: int) -> None:
        most = limits.DELTA_SERVED_TIMES * found.laid.bytes + _SLACK_BYTES
        with self._lock:
            if _over(found) or found.served + end - start > most:
                raise ShareFileGone
            found.served += end - start

    def _went(self, found: SharedFile, start: int, end: int) -> None:
        with self._lock:
            found.covered = _joined([*found.covered, (start, end)])
            whole = found.covered == [(0, found.laid.bytes)]
            if whole:  # a reader that still reads is not cut off
                found.spent_at = monotonic() + limits.DELTA_GRACE_S

    def ended(self, contract_id: str) -> None:
        """Remove the files of a contract that is over."""
        for each in self._all():
            if each.contract_id == contract_id:
                self._drop(each)

    def revoked(self, profile_id: str) -> None:
        """Remove the files of a profile that is over."""
        for each in self._all():
            if each.profile_id == profile_id:
                self._drop(each)

    def sweep(self) -> None:
        """Remove what is used up, expired, or of a contract that is over; for the timer."""
        for each in self._all():
            try:
                if not _over(each):
                    self._check(each.profile_id)
                    continue
            except YunheError:
                pass  # why it ended is told to whoever asks for it
            self._drop(each)

    def live(self) -> int:
        """How many files there are."""
        return len(self._all())

    def _all(self) -> list[SharedFile]:
        with self._lock:
            return [*self._held.values()]

    def _drop(self, each: SharedFile) -> None:
        with self._lock:
            self._held.pop(_digest(each.key), None)
        each.path.unlink(missing_ok=True)


def _over(each: SharedFile) -> bool:
    now = monotonic()
    return now >= each.until or (each.spent_at is not None and now >= each.spent_at)


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()

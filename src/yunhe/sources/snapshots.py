"""Snapshots: typed Parquet of what does not lie there as Parquet, under the node's data folder.

In: a `Staged` source and the columns pinned when it was described (none: they are decided). Out:
a `Snapshot`. Files are named by their digest, mode 0600; a manifest is replaced in one step, so
that no query sees half a refresh; one refresh at a time runs for a source.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, time
from typing import Any, Final

from yunhe.kernel import limits
from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.kernel.errors import YunheError
from yunhe.kernel.walls import BEST, REQUIRE
from yunhe.sources import walled
from yunhe.sources.errors import SourceAway
from yunhe.sources.model import Drift, Snapshot
from yunhe.sources.port import Staged

_INGEST: Final = ("-m", "yunhe.sources.ingest")
_MANIFEST_KEEP_S: Final = 30 * 86_400.0


class Snapshots:
    """The snapshots of one node. Thread-safe."""

    def __init__(self, folder: Path, walls: str = BEST) -> None:
        """`walls`: BEST or REQUIRE, of the process that reads files."""
        self._folder, self._walls = folder, walls
        self._lock = threading.Lock()
        self._flights: dict[str, threading.Lock] = {}
        self._failed: dict[str, tuple[float, YunheError]] = {}
        self._ingests = threading.BoundedSemaphore(limits.INGESTS_MAX)

    def fresh(self, source: Staged, pinned: Mapping[str, str] | None, given: str) -> Snapshot:
        """The snapshot of the source as it is now; made anew where its fingerprint changed.

        Raises what `source` does, SourceUnreadable, SourceOverBound, SandboxMissing. A failure is
        kept a moment: a source that is broken is not read anew by every query. `given` names it in
        errors.
        """
        key = key_of(str(source.locator), pinned)
        with self._lock:
            flight = self._flights.setdefault(key, threading.Lock())
        with flight:
            now = source.fingerprint()
            kept = self._kept(key, now)
            if kept is not None:
                return kept
            failed = self._failed.get(key + now)
            if failed is not None and monotonic() < failed[0]:
                raise failed[1]
            try:
                return self._make(key, source, pinned, now, given)
            except YunheError as error:
                with self._lock:
                    self._failed = {k: f for k, f in self._failed.items() if f[0] > monotonic()}
                    self._failed[key + now] = (monotonic() + limits.SNAPSHOT_FAILED_S, error)
                raise

    def _kept(self, key: str, fingerprint: str) -> Snapshot | None:
        manifest = self._folder / f"{key}.json"
        try:
            kept = json.loads(manifest.read_text(encoding="utf-8"))
            if kept["fingerprint"] != fingerprint:
                return None
            files = tuple(str(self._folder / name) for name in kept["files"])
            if not all(Path(file).is_file() for file in files):
                return None
            columns = tuple((name, kind) for name, kind in kept["columns"])
            with suppress(OSError):
                os.utime(manifest)
            drift = Drift.from_json(kept["drift"])
            return Snapshot(files, columns, drift, tuple(kept["encodings"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent, or of another time: it is made anew

    def _make(
        self,
        key: str,
        source: Staged,
        pinned: Mapping[str, str] | None,
        fingerprint: str,
        given: str,
    ) -> Snapshot:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=self._folder))
        try:
            staged = work / "staged"
            staged.mkdir()
            pieces = source.stage(staged)
            job = {
                "pieces": [
                    {"file": str(each.file), "name": each.name, "format": each.format}
                    for each in pieces
                ],
                "options": dict(source.locator.options),
                "pinned": [*pinned.items()] if pinned else None,
                "work": str(work),
                "out": str(work / "out.parquet"),
                "parent": os.getpid(),
                "required": self._walls == REQUIRE,
            }
            with self._ingests:
                report = _ingested(job, given)
            if source.moved(fingerprint):
                en, zh = "it changes while it is read", "读取过程中发生变化"
                raise SourceAway(path=given, why=en, why_zh=zh)
            return self._keep(key, report, work / "out.parquet", fingerprint)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _keep(self, key: str, report: Any, made: Path, fingerprint: str) -> Snapshot:
        with made.open("rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest() + ".parquet"
            os.fsync(file.fileno())
        made.chmod(0o600)
        drift = Drift(
            tuple(report["gone"]), report["changed"], tuple(report["extra"]), report["partial"]
        )
        manifest = {
            "fingerprint": fingerprint,
            "files": [name],
            "columns": report["columns"],
            "drift": drift.to_json(),
            "encodings": report["encodings"],
        }
        with self._lock:
            made.replace(self._folder / name)
            put_json(self._folder / f"{key}.json", manifest)
            self._sweep()
        columns = tuple((name, kind) for name, kind in report["columns"])
        found = tuple(report["encodings"])
        return Snapshot((str(self._folder / name),), columns, drift, found)

    def _sweep(self) -> None:
        """Remove what no manifest names any more and no query can still be reading."""
        named: set[str] = set()
        now = time()
        for manifest in self._folder.glob("*.json"):
            with suppress(OSError, ValueError, KeyError):
                if manifest.stat().st_mtime < now - _MANIFEST_KEEP_S:
                    manifest.unlink()
                    continue
                named |= set(json.loads(manifest.read_text(encoding="utf-8"))["files"])
        for file in self._folder.glob("*.parquet"):
            with suppress(OSError):
                if file.name in named:
                    os.utime(file)  # its time begins when nothing names it any more
                elif file.stat().st_mtime < now - limits.SNAPSHOT_KEEP_S:
                    file.unlink()


def put_json(path: Path, value: Mapping[str, Any]) -> None:
    """Put a manifest in its place in one step, mode 0600, durably."""
    beside = path.with_suffix(".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        settle_file(file)
    beside.replace(path)
    settle_folder(path.parent)


def key_of(where: str, pinned: Mapping[str, str] | None) -> str:
    """How the manifest of a source is named, with the columns pinned for it."""
    told = json.dumps([where, [*pinned.items()] if pinned else None], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:40]


def _ingested(job: dict[str, Any], given: str) -> dict[str, Any]:
    """Run the ingest in a process of its own; its report.

    Raises SourceUnreadable, SourceOverBound, SandboxMissing.
    """
    return walled.told(_INGEST, job, given, limits.INGEST_S_MAX)

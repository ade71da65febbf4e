"""Parquet as it lies there: its columns, a profile of it, its first rows.

In: files under the roots, or a snapshot's. Out: what the look (`look.py`, behind the walls) said of
them. A shape is kept in the snapshots' folder by the fingerprint of its files, so that a query
after a restart, or of a table that nobody changed, starts no process.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final

from yunhe.kernel import limits
from yunhe.kernel.errors import YunheError
from yunhe.kernel.walls import BEST, REQUIRE
from yunhe.sources import walled
from yunhe.sources.errors import SourceTooLarge
from yunhe.sources.local import LocalSource
from yunhe.sources.model import ColumnProfile, TableProfile
from yunhe.sources.snapshots import key_of, put_json

_LOOK: Final = (str(Path(__file__).with_name("look").with_suffix(".py")),)
Shape = dict[str, str]


class ParquetFiles:
    """What a node asks of Parquet files. Thread-safe."""

    def __init__(self, folder: Path | None, walls: str = BEST) -> None:
        """`folder`: where shapes are kept; without it they are looked at anew."""
        self._folder, self._walls = folder, walls
        self._lock = threading.Lock()
        self._flights: dict[str, threading.Lock] = {}
        self._failed: dict[str, tuple[float, YunheError]] = {}
        self._looks = threading.BoundedSemaphore(limits.LOOKS_MAX)

    def shape(self, source: LocalSource, fingerprint: str) -> Shape | None:
        """Column -> type if all files of the source have the same ones, else None.

        `fingerprint`: of the source, as it was just taken. Raises SourceUnreadable,
        SourceOverBound, SandboxMissing; a failure is kept a moment.
        """
        given = source.locator.path
        key = key_of(f"shape {source.locator}", None)
        with self._lock:
            flight = self._flights.setdefault(key, threading.Lock())
        with flight:
            kept = self._kept(key, fingerprint)
            if kept is not None:
                return kept[0]
            failed = self._failed.get(key + fingerprint)
            if failed is not None and monotonic() < failed[0]:
                raise failed[1]
            try:
                report = self._look("shape", [str(file) for file in source.files()], given)
            except YunheError as error:
                with self._lock:
                    self._failed = {k: f for k, f in self._failed.items() if f[0] > monotonic()}
                    self._failed[key + fingerprint] = (
                        monotonic() + limits.SNAPSHOT_FAILED_S,
                        error,
                    )
                raise
            found = _shape(report, given)
            self._keep(key, fingerprint, found)
            return found

    def profile(self, source: LocalSource, given: str) -> TableProfile | None:
        """Files as they lie there, in one pass; None where they are not alike. Raises as `shape`,
        SourceTooLarge."""
        now = source.fingerprint()
        files = tuple(str(file) for file in source.files())
        found = self.profile_of(files, str(source.locator), given)
        shape = None if found is None else found.types()
        self._keep(key_of(f"shape {source.locator}", None), now, shape)
        return None if found is None else replace(found, files=files)

    def profile_of(self, files: Sequence[str], origin: str, given: str) -> TableProfile | None:
        """A profile of files behind `origin`; None where they are not alike."""
        report = self._look("profile", files, given)
        shape = _shape(report, given)
        if shape is None:
            return None
        if len(shape) > limits.SOURCE_COLUMNS_MAX:
            raise SourceTooLarge(what="the columns of a table", limit=limits.SOURCE_COLUMNS_MAX)
        try:
            measures = [(float(share), int(about)) for share, about in report["measures"]]
            pairs = zip(shape.items(), measures, strict=True)
            columns = tuple(ColumnProfile(name, kind, *told) for (name, kind), told in pairs)
            rows = int(report["rows"])
        except (LookupError, TypeError, ValueError) as error:
            raise walled.unread(error, given) from error
        size = sum(Path(file).stat().st_size for file in files)
        return TableProfile(columns, rows, size, (), origin)

    def sample(
        self, files: Sequence[str], names: Sequence[str], rows: int, given: str
    ) -> list[dict[str, Any]]:
        """The first rows, JSON-safe; raises as `shape`."""
        report = self._look("sample", files, given, names=[*names], count=rows)
        found = report.get("rows")
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise walled.unread(ValueError("no rows"), given)
        return found[:rows]

    def _look(self, verb: str, files: Sequence[str], given: str, **more: Any) -> dict[str, Any]:
        work = tempfile.mkdtemp(prefix="yunhe-look-")
        job = {
            "verb": verb,
            "pieces": [{"file": file} for file in files],
            "work": work,
            "parent": os.getpid(),
            "required": self._walls == REQUIRE,
            **more,
        }
        try:
            with self._looks:
                return walled.told(_LOOK, job, given, limits.LOOK_S_MAX)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _kept(self, key: str, fingerprint: str) -> tuple[Shape | None] | None:
        if self._folder is None:
            return None
        try:
            kept = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
            shape = kept["shape"]
            found = None if shape is None else {str(name): str(kind) for name, kind in shape}
            return (found,) if kept["fingerprint"] == fingerprint else None
        except (OSError, ValueError, LookupError, TypeError):
            return None  # absent, or of another time: it is looked at anew

    def _keep(self, key: str, fingerprint: str, shape: Shape | None) -> None:
        if self._folder is None:
            return
        told = None if shape is None else [*shape.items()]
        manifest = {"fingerprint": fingerprint, "files": [], "shape": told}
        with self._lock:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            put_json(self._folder / f"{key}.json", manifest)


def _shape(report: Mapping[str, Any], given: str) -> Shape | None:
    try:
        columns = [(name, kind) for name, kind in report["columns"]]
        alike = report["alike"]
    except (LookupError, TypeError, ValueError) as error:
        raise walled.unread(error, given) from error
    texts = all(isinstance(each, str) for pair in columns for each in pair)
    if not texts or type(alike) is not bool:
        raise walled.unread(ValueError("no columns"), given)
    return dict(columns) if alike else None

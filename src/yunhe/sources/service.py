"""`Sources`: what lies at a locator, profiled; and the Parquet files a worker may read of it now.

In: locators. Out: `TableProfile`s, `Snapshot`s, samples for the provider. Parquet that is as it was
described is read where it lies; everything else by a typed snapshot; databases are asked in place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from yunhe.kernel import limits
from yunhe.kernel.settings import NodeConfig
from yunhe.kernel.walls import BEST
from yunhe.sources.connected import open_live, open_staged
from yunhe.sources.connections import Connections
from yunhe.sources.database import Database, Failed, Looked, drifted
from yunhe.sources.errors import SourceKindUnknown
from yunhe.sources.local import LocalSource, Roots
from yunhe.sources.locator import LOCAL, Locator, parse
from yunhe.sources.model import Drift, Snapshot, TableProfile
from yunhe.sources.parquet import ParquetFiles
from yunhe.sources.port import Staged
from yunhe.sources.snapshots import Snapshots


class Sources:
    """What this node may read: files under `roots`, and what its connections lead to."""

    def __init__(
        self,
        roots: Iterable[Path],
        snapshots: Path | None = None,
        connections: Connections | None = None,
        walls: str = BEST,
    ) -> None:
        """`snapshots`: the folder for them; without it only Parquet can be read.

        `walls`: BEST or REQUIRE, of the process that makes them.
        """
        self._roots = Roots(roots)
        self._snapshots = None if snapshots is None else Snapshots(snapshots, walls)
        self._parquet = ParquetFiles(snapshots, walls)
        self._connections = connections or Connections({})
        self._lock = threading.Lock()
        self._direct: dict[str, tuple[str, Snapshot | None]] = {}
        self._looked: dict[str, tuple[float, Snapshot]] = {}
        self._live: dict[str, Database] = {}

    def files(self, path: str | Path) -> tuple[Path, ...]:
        """The Parquet files at `path` (a file, or a folder: all levels, sorted), links resolved.

        A relative path starts from a root. Raises PathNotAllowed (outside the roots also where
        nothing exists: no oracle for the file system), SourceMissing (inside them), SourceEmpty,
        SourceKindUnknown, SourceTooLarge.
        """
        source = self._roots.open(parse(str(path)))
        if source.locator.kind != "parquet":
            raise SourceKindUnknown(path=str(path))
        return source.files()

    def profile(self, path: str | Path) -> TableProfile:
        """Columns with type, NULL share and approximate distinct count; rows; bytes.

        One pass over the data in a process of its own, bounded, behind the walls; raises as
        `files`, SourceUnreadable, SourceOverBound, SandboxMissing, and for connected places
        ConnectionUnknown, CredentialNotRead, SourceAway.
        """
        locator = parse(str(path))
        if locator.in_place:
            return self.live(locator).profile()
        source = self._staged(locator)
        origin = str(source.locator)
        if isinstance(source, LocalSource) and source.locator.kind == "parquet":
            lying = self._parquet.profile(source, str(path))
            if lying is not None:
                return lying
        made = self._made(source, None, str(path))
        options = source.locator.options
        if "gb18030" in made.encodings and not {"encoding", "likely"} & {*options}:
            # Files to come may be too short to tell: 女 alone is valid UTF-8.
            told = {**options, "likely": "gb18030"}
            origin = str(replace(source.locator, options=told))
        found = self._parquet.profile_of(made.files, origin, str(path))
        assert found is not None  # noqa: S101 - a snapshot is one file
        return found

    def fresh(self, origins: Sequence[str], pinned: Mapping[str, str]) -> Snapshot:
        """The Parquet files of a described table as its origins are now, and how they drifted.

        `pinned`: column -> DuckDB type, as described. Databases have no such files: ask `live`.
        Raises as `profile`.
        """
        made = [self._fresh(origin, pinned, len(origins) == 1) for origin in origins]
        if len(made) == 1:
            return made[0]
        files = tuple(file for each in made for file in each.files)
        drift = Drift(
            tuple(dict.fromkeys(name for each in made for name in each.drift.gone)),
            {name: where for each in made for name, where in each.drift.changed.items()},
            tuple(dict.fromkeys(name for each in made for name in each.drift.extra)),
            {name: count for each in made for name, count in each.drift.partial.items()},
        )
        return Snapshot(files, tuple(pinned.items()), drift)

    def sample(
        self, origins: Sequence[str], pinned: Mapping[str, str], rows: int
    ) -> list[dict[str, Any]]:
        """The first rows as they are now, JSON-safe, at most `limits.SAMPLE_ROWS_MAX`.

        For the provider's own eyes: no policy stands before it. Raises as `fresh`.
        """
        rows = min(rows, limits.SAMPLE_ROWS_MAX)
        locators = [parse(origin) for origin in origins]
        if any(locator.in_place for locator in locators):
            return [row for each in locators for row in self.live(each).sample(rows)][:rows]
        files = self.fresh(origins, pinned).files
        return self._parquet.sample(files, [*pinned], rows, ", ".join(origins))

    def live(self, locator: Locator | str) -> Database:
        """A source that is asked where it is; raises ConnectionUnknown, LocatorNotValid."""
        key = str(locator)
        with self._lock:
            found = self._live.get(key)
        if found is None:
            found = Looked(open_live(parse(key), self._connections))
            with self._lock:
                if len(self._live) >= limits.SOURCES_LOOKED_MAX:
                    self._live.clear()
                found = self._live.setdefault(key, found)
        return found

    def drift(self, origin: str, pinned: Mapping[str, str]) -> Drift | None:
        """How a table that is asked where it is differs from `pinned`; None: it cannot be asked.

        Why not is told by asking it. Raises as `live`.
        """
        table = self.live(origin)
        try:
            return drifted(table.locator, table.shape(), pinned)
        except Failed as error:
            if not error.column:
                return None
            return Drift(changed={error.column: f"{table.locator}: values of several kinds"})

    def _staged(self, locator: Locator) -> Staged:
        if locator.kind in ("", *LOCAL):
            return self._roots.open(locator)
        return open_staged(locator, self._connections)

    def _fresh(self, origin: str, pinned: Mapping[str, str], alone: bool) -> Snapshot:
        key = f"{origin}\n{alone}\n{[*pinned.items()]}"
        looked = self._looked.get(key)
        if looked is not None and monotonic() < looked[0]:
            return looked[1]
        source = self._staged(parse(origin))
        found = None
        if isinstance(source, LocalSource) and source.locator.kind == "parquet":
            found = self._directly(key, source, pinned, alone)
        made = found or self._made(source, pinned, origin)
        with self._lock:
            if len(self._looked) >= limits.SOURCES_LOOKED_MAX:
                self._looked.clear()
            self._looked[key] = (monotonic() + source.check_s, made)
        return made

    def _directly(
        self, key: str, source: LocalSource, pinned: Mapping[str, str], alone: bool
    ) -> Snapshot | None:
        """Parquet as it lies there, if all its files are alike and as pinned; else None."""
        now = source.fingerprint()
        files = source.files()
        known = self._direct.get(key)
        if known is not None and known[0] == now:
            return known[1]
        shape = self._parquet.shape(source, now)
        extra = tuple(name for name in shape or () if name not in pinned)
        made = None
        fits = shape is not None and all(shape.get(n) == kind for n, kind in pinned.items())
        if fits and (alone or not extra):
            columns = tuple(pinned.items())
            made = Snapshot(tuple(str(file) for file in files), columns, Drift(extra=extra))
        with self._lock:
            if len(self._direct) >= limits.SOURCES_LOOKED_MAX:
                self._direct.clear()
            self._direct[key] = (now, made)
        return made

    def _made(self, source: Staged, pinned: Mapping[str, str] | None, given: str) -> Snapshot:
        if self._snapshots is None:
            raise SourceKindUnknown(path=given)
        return self._snapshots.fresh(source, pinned, given)


def of_node(config: NodeConfig) -> Sources:
    """The sources of one node; raises BadSetting for a connection that is not well said."""
    connections = Connections(config.connections)
    # What models predicted here is the host's own, to be offered as any other (docs/apps.md).
    roots = (*config.data_roots, config.data_dir / "apps" / "predictions")
    return Sources(roots, config.data_dir / "snapshots", connections, config.sandbox)

"""What a profile says of a table, what a snapshot of it is, and how it drifted. No values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ColumnProfile:
    """One column: its DuckDB type, the share of NULLs (0..1), about how many distinct values."""

    name: str
    type: str
    null_fraction: float
    distinct_approx: int


@dataclass(frozen=True)
class TableProfile:
    """One table over one or more files; `bytes` is the size on disk.

    `files` are the Parquet files as they lie there; none where a snapshot or a database stands
    behind `origin`, the locator with everything decided.
    """

    columns: tuple[ColumnProfile, ...]
    rows: int
    bytes: int
    files: tuple[str, ...]
    origin: str = ""

    def types(self) -> dict[str, str]:
        """Column name -> DuckDB type, in the table's order."""
        return {column.name: column.type for column in self.columns}


@dataclass(frozen=True)
class Drift:
    """How a source differs from what was pinned when its table was described.

    `gone`: columns in none of its files. `changed`: columns of another type, and where it was
    first seen. `extra`: columns that were not there, ignored. `partial`: columns that some files
    lack, NULL there.
    """

    gone: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    partial: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.gone or self.changed or self.extra or self.partial)

    def lost(self, needed: Collection[str]) -> tuple[str, ...]:
        """Of the `needed` columns those that are gone or of another type."""
        return tuple(name for name in (*self.gone, *self.changed) if name in needed)

    def to_json(self) -> dict[str, Any]:
        """As stored, recorded and shown to the provider."""
        return {
            "gone": sorted(self.gone),
            "changed": dict(sorted(self.changed.items())),
            "extra": sorted(self.extra),
            "partial": dict(sorted(self.partial.items())),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Drift:
        """The inverse of `to_json`."""
        return cls(
            tuple(data["gone"]), dict(data["changed"]), tuple(data["extra"]), dict(data["partial"])
        )


@dataclass(frozen=True)
class Snapshot:
    """What a worker may read now: Parquet files with every pinned column in its pinned type."""

    files: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    drift: Drift = Drift()
    encodings: tuple[str, ...] = ()  # that its texts were found in

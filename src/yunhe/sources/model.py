"""What a profile says of a table. No value of the data is kept: shapes and counts only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnProfile:
    """One column: its DuckDB type, the share of NULLs (0..1), about how many distinct values."""

    name: str
    type: str
    null_fraction: float
    distinct_approx: int


@dataclass(frozen=True)
class TableProfile:
    """One table over one or more files; `bytes` is the size on disk."""

    columns: tuple[ColumnProfile, ...]
    rows: int
    bytes: int
    files: tuple[str, ...]

    def types(self) -> dict[str, str]:
        """Column name -> DuckDB type, in the table's order."""
        return {column.name: column.type for column in self.columns}

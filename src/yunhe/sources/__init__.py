"""Where bytes live: Parquet files and folders under the roots the operator allows.

In: a path a provider names. Out: the resolved files and a `TableProfile` of what they hold.
No events; nothing here reads a single value out to anybody.
"""

from __future__ import annotations

from yunhe.sources.errors import (
    PathNotAllowed,
    SourceEmpty,
    SourceMissing,
    SourceNotParquet,
    SourceUnreadable,
)
from yunhe.sources.model import ColumnProfile, TableProfile
from yunhe.sources.service import Sources

__all__ = [
    "ColumnProfile",
    "PathNotAllowed",
    "SourceEmpty",
    "SourceMissing",
    "SourceNotParquet",
    "SourceUnreadable",
    "Sources",
    "TableProfile",
]

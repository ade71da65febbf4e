"""Where bytes live: files and folders under allowed roots, object stores, HTTP APIs, databases.

In: a locator a provider writes (`locator.parse`). Out: a `TableProfile`, and the Parquet files a
worker may read. Credentials are references (`Connections`). No events; only `sample` reads a
value out, and only for the provider.
"""

from __future__ import annotations

from yunhe.sources.connected import open_live
from yunhe.sources.connections import Connection, Connections
from yunhe.sources.database import (
    PRINT,
    Bounds,
    Database,
    DatabaseColumn,
    Failed,
    Stop,
    arrow_type,
    quoted,
)
from yunhe.sources.database_spark import spark_table
from yunhe.sources.errors import (
    ConnectionUnknown,
    CredentialNotRead,
    LocatorNotValid,
    PathNotAllowed,
    PullTooLarge,
    SnapshotNotMade,
    SourceAway,
    SourceDrifted,
    SourceEmpty,
    SourceExtraMissing,
    SourceKindUnknown,
    SourceMissing,
    SourceOverBound,
    SourceUnreadable,
)
from yunhe.sources.locator import Locator, parse
from yunhe.sources.model import ColumnProfile, Drift, Snapshot, TableProfile
from yunhe.sources.port import Live, Piece, Staged
from yunhe.sources.service import Sources, of_node

__all__ = [
    "PRINT",
    "Bounds",
    "ColumnProfile",
    "Connection",
    "ConnectionUnknown",
    "Connections",
    "CredentialNotRead",
    "Database",
    "DatabaseColumn",
    "Drift",
    "Failed",
    "Live",
    "Locator",
    "LocatorNotValid",
    "PathNotAllowed",
    "Piece",
    "PullTooLarge",
    "Snapshot",
    "SnapshotNotMade",
    "SourceAway",
    "SourceDrifted",
    "SourceEmpty",
    "SourceExtraMissing",
    "SourceKindUnknown",
    "SourceMissing",
    "SourceOverBound",
    "SourceUnreadable",
    "Sources",
    "Staged",
    "Stop",
    "TableProfile",
    "arrow_type",
    "of_node",
    "open_live",
    "parse",
    "quoted",
    "spark_table",
]

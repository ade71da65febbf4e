"""The database of one node: one verb, one transaction, on SQLite (group commit) or PostgreSQL.

In: functions of a `Tx`. Out: their results, after the commit is durable, or an error and no
trace. Slices declare their tables on `metadata` in their `store.py` and keep all SQL there.
"""

from __future__ import annotations

from yunhe.kernel.db.base import Database
from yunhe.kernel.db.errors import (
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseFailed,
    DatabaseNewer,
    StorageFull,
    no_room,
)
from yunhe.kernel.db.open import create_all, open_database
from yunhe.kernel.db.tables import Json, UtcTime, by_name, metadata
from yunhe.kernel.db.tx import Tx

__all__ = [
    "Database",
    "DatabaseBusy",
    "DatabaseDamaged",
    "DatabaseFailed",
    "DatabaseNewer",
    "Json",
    "StorageFull",
    "Tx",
    "UtcTime",
    "by_name",
    "create_all",
    "metadata",
    "no_room",
    "open_database",
]

"""Open the database a URL names: `sqlite:///path` or `postgresql://...`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from yunhe.kernel.clock import Clock, SystemClock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.base import Database
from yunhe.kernel.db.errors import DatabaseFailed
from yunhe.kernel.db.postgres import PostgresDatabase
from yunhe.kernel.db.sqlite import SqliteDatabase
from yunhe.kernel.db.tables import metadata


def open_database(
    url: str, clock: Clock | None = None, crash: CrashPoints | None = None
) -> Database:
    """The database at `url`; raises DatabaseFailed for an engine we do not support."""
    clock, crash = clock or SystemClock(), crash or CrashPoints()
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return SqliteDatabase(Path(parsed.database), clock, crash)
    if parsed.get_backend_name() == "postgresql":
        return PostgresDatabase(url, clock, crash)
    raise DatabaseFailed(detail=f"no such engine: {parsed.get_backend_name()}")


def create_all(db: Database) -> None:
    """Create every declared table directly; for tests. Production runs the migrations."""
    if isinstance(db, SqliteDatabase):
        db.write(lambda tx: metadata.create_all(tx.connection))
    else:
        metadata.create_all(db.engine)

"""Open the database a URL names: `sqlite:///path` or `postgresql://...`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from yunhe.kernel.clock import Clock, SystemClock
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db.base import Database
from yunhe.kernel.db.errors import translate
from yunhe.kernel.db.postgres import PostgresDatabase
from yunhe.kernel.db.sqlite import SqliteDatabase
from yunhe.kernel.db.tables import metadata
from yunhe.kernel.settings import BadSetting


def open_database(
    url: str, clock: Clock | None = None, crash: CrashPoints | None = None
) -> Database:
    """The database at `url`, which may hold a password: no message repeats it.

    Raises BadSetting for a URL that names none we support, DatabaseDamaged, DatabaseBusy.
    """
    clock, crash = clock or SystemClock(), crash or CrashPoints()
    try:
        parsed = sa.make_url(url)
        engine = parsed.get_backend_name()
        if engine == "sqlite" and parsed.database:
            return SqliteDatabase(Path(parsed.database), clock, crash)
        if engine == "postgresql":
            return PostgresDatabase(url, clock, crash)
    except sa.exc.ArgumentError:
        engine = "?"
    except sa.exc.DBAPIError as error:
        raise translate(error) from error
    raise BadSetting(
        name="database_url",
        why=f"it is postgresql://… or sqlite:///PATH, not {engine}",
        why_zh=f"应为 postgresql://… 或 sqlite:///路径，而不是 {engine}",
    )


def create_all(db: Database) -> None:
    """Create every declared table directly; for tests. Production runs the migrations."""
    if isinstance(db, SqliteDatabase):
        db.write(lambda tx: metadata.create_all(tx.connection))
    else:
        metadata.create_all(db.engine)

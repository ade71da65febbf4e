"""The schema's one history (Alembic): `upgrade(db)` brings any database to the newest.

In: a database of any earlier version, or an empty one. Out: the same at head. A test proves that
head equals the tables the slices declare, on both engines.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from yunhe.kernel.db import Database, DatabaseNewer, Tx


def config() -> Config:
    """The Alembic configuration; there is no ini file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    return made


def standing(db: Database) -> tuple[str, str]:
    """The version that the database has, and the newest that this program knows."""

    def found(tx: Tx) -> str:
        return ", ".join(MigrationContext.configure(tx.connection).get_current_heads())

    known = ScriptDirectory.from_config(config()).get_current_head() or ""
    return db.read(found), known


def upgrade(db: Database) -> None:
    """Bring `db` to the newest version, in one transaction where the engine has them.

    Raises DatabaseNewer for one that a later version of the program has migrated.
    """

    def run(tx: Tx) -> None:
        made = config()
        known = {each.revision for each in ScriptDirectory.from_config(made).walk_revisions()}
        for found in MigrationContext.configure(tx.connection).get_current_heads():
            if found not in known:
                raise DatabaseNewer(found=found)
        made.attributes["connection"] = tx.connection
        command.upgrade(made, "head")

    db.write_at_start(run)

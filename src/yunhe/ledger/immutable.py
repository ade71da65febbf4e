"""Rows that are written once: the database itself refuses UPDATE, DELETE, REPLACE and TRUNCATE.

In: a table and the columns no second row may share. Out: triggers as DDL text for SQLite and
PostgreSQL, attached to the table so that `create_all` makes them, and listed by `ddl` for the
migrations. Application code is not what keeps the books honest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa


def seal(table: sa.Table, checks: Mapping[str, Sequence[str]] | None = None) -> None:
    """Attach the triggers to `table`; `checks` adds statements per dialect after them."""
    for dialect in ("sqlite", "postgresql"):
        for text in (*statements(table, dialect), *(checks or {}).get(dialect, ())):
            # `%` would be read as a DDL substitution.
            made = sa.DDL(text.replace("%", "%%")).execute_if(dialect=dialect)  # type: ignore[no-untyped-call]
            sa.event.listen(table, "after_create", made)


def statements(table: sa.Table, dialect: str) -> list[str]:
    """The CREATE statements that make `table` immutable on one dialect."""
    name = table.name
    said = f"{name} is written once"
    if dialect == "postgresql":
        return [
            (
                f"CREATE OR REPLACE FUNCTION {name}_sealed() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{said}'; END $$"
            ),
            (
                f"CREATE TRIGGER {name}_no_change BEFORE UPDATE OR DELETE ON {name} "
                f"FOR EACH ROW EXECUTE FUNCTION {name}_sealed()"
            ),
            (
                f"CREATE TRIGGER {name}_no_truncate BEFORE TRUNCATE ON {name} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {name}_sealed()"
            ),
        ]
    made = [
        f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
        f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
        for verb in ("UPDATE", "DELETE")
    ]
    # INSERT OR REPLACE deletes the old row without its DELETE trigger; so an insert over a taken
    # key is refused before the conflict is resolved.
    for place, columns in enumerate(_keys(table)):
        same = " AND ".join(f"{column} = NEW.{column}" for column in columns)
        made.append(
            f"CREATE TRIGGER {name}_no_replace_{place} BEFORE INSERT ON {name} "  # noqa: S608
            f"WHEN EXISTS (SELECT 1 FROM {name} WHERE {same}) "
            f"BEGIN SELECT RAISE(ABORT, '{said}'); END"
        )
    return made


def _keys(table: sa.Table) -> list[list[str]]:
    keys = [[column.name for column in table.primary_key.columns]]
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            keys.append([column.name for column in constraint.columns])
    return sorted(keys)

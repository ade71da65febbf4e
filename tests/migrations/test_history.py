"""The schema's one history against the tables the slices declare, on both engines."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from yunhe import migrations, node  # noqa: F401  node imports every slice's tables
from yunhe.kernel.db import Database, create_all, metadata, open_database

ROOT = Path(__file__).parents[2]
NO_INDEX = ("No matching distribution", "ConnectionError", "Could not fetch", "NewConnectionError")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a table."""
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("pg_url")
    db = open_database(url)
    yield db
    db.close()


def seen(db: Database) -> dict[str, Any]:
    """Everything the engine itself says about the schema: tables, columns, indexes, triggers."""
    inspector = sa.inspect(db.engine)
    tables = [name for name in inspector.get_table_names() if name != "alembic_version"]
    with db.engine.connect() as connection:
        if db.dialect == "sqlite":
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        else:
            query = (
                "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger"
                " WHERE NOT tgisinternal ORDER BY tgname"
            )
        triggers = [tuple(row) for row in connection.exec_driver_sql(query)]
    return {
        "tables": {
            name: {
                "columns": {
                    c["name"]: (str(c["type"]), c["nullable"], str(c["default"]))
                    for c in inspector.get_columns(name)
                },
                "key": inspector.get_pk_constraint(name)["constrained_columns"],
                "indexes": sorted(
                    (str(i["name"]), tuple(map(str, i["column_names"])), bool(i["unique"]))
                    for i in inspector.get_indexes(name)
                ),
                "unique": sorted(
                    tuple(u["column_names"]) for u in inspector.get_unique_constraints(name)
                ),
                "foreign": sorted(
                    (tuple(f["constrained_columns"]), f["referred_table"])
                    for f in inspector.get_foreign_keys(name)
                ),
                "checks": sorted(str(c["name"]) for c in inspector.get_check_constraints(name)),
            }
            for name in tables
        },
        "triggers": triggers,
    }


def test_the_history_leads_to_exactly_the_declared_tables(empty: Database) -> None:
    migrations.upgrade(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    by_history = seen(empty)
    assert set(by_history["tables"]) == set(metadata.tables)
    sealed = {"ledger_transfer", "exchange_meter", "exchange_receipt", "exchange_line"}
    for table in sealed:
        assert any(name.startswith(table) for name, _ in by_history["triggers"]), table


def test_it_equals_what_the_tests_create_directly(empty: Database, tmp_path: Path) -> None:
    create_all(empty)
    direct = seen(empty)
    if empty.dialect == "sqlite":
        other = open_database(f"sqlite:///{tmp_path / 'other.db'}")
    else:
        with empty.engine.connect() as connection:
            connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            connection.commit()
        other = empty
    migrations.upgrade(other)
    try:
        assert seen(other) == direct
    finally:
        other.close()


def test_upgrading_again_changes_nothing(empty: Database) -> None:
    migrations.upgrade(empty)
    before = seen(empty)
    migrations.upgrade(empty)
    assert seen(empty) == before
    with empty.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM alembic_version").scalar() == 1


def test_the_history_is_one_line() -> None:
    script = ScriptDirectory.from_config(migrations.config())
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_the_database_itself_refuses_to_change_what_was_written(empty: Database) -> None:
    migrations.upgrade(empty)
    row = "'t', 'n', 'a', 0, 0, 0"
    columns = "contract_id, role, provider_did, per_use_fen, per_row_fen, opened_at"
    insert = (
        f"INSERT INTO exchange_bill ({columns}, consumer_did, product_code)"
        f" VALUES ({row}, 'c', 'p')"
    )
    empty.write(lambda tx: tx.execute(sa.text(insert)))
    for change in ("UPDATE exchange_bill SET role = 'x'", "DELETE FROM exchange_bill"):
        with pytest.raises(Exception, match=r"(?i)DATABASE_FAILED|written once|immutable"):
            empty.write(lambda tx, change=change: tx.execute(sa.text(change)))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel of the project."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
        pytest.skip("no package index answers, and the build backend is not installed")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def test_a_wheel_carries_the_whole_history(wheel: list[str]) -> None:
    here = ROOT / "src" / "yunhe" / "migrations"
    for path in [*here.glob("versions/*.py"), here / "env.py", here / "script.py.mako"]:
        assert f"yunhe/migrations/{path.relative_to(here)}" in wheel


def test_the_build_takes_the_package_as_a_folder() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    target = data["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert target == {"packages": ["src/yunhe"]}, "anything narrower may lose script.py.mako"

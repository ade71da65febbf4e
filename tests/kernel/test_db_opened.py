"""A database that cannot be opened says why: damaged, newer, of no engine we have."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from yunhe import migrations, node  # noqa: F401  node imports every slice's tables
from yunhe.kernel.db import DatabaseDamaged, DatabaseNewer, open_database
from yunhe.kernel.settings import BadSetting


def opened(file: Path) -> None:
    db = open_database(f"sqlite:///{file}")
    try:
        migrations.upgrade(db)
    finally:
        db.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "node.db"
    opened(made)
    return made


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "node.db"
    file.write_bytes(os.urandom(5000))
    with pytest.raises(DatabaseDamaged):
        opened(file)


def test_a_schema_that_was_overwritten_is_damaged(file: Path) -> None:
    with file.open("r+b") as pages:
        pages.seek(100)
        pages.write(os.urandom(4096 * 20))
    with pytest.raises(DatabaseDamaged):
        opened(file)


def test_a_newer_schema_is_named(file: Path) -> None:
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999_later'")
    raw.close()
    with pytest.raises(DatabaseNewer, match="9999_later"):
        opened(file)


@pytest.mark.parametrize("url", ["mysql://u:hidden@h/d", "sqlite://", "hidden", "://hidden"])
def test_a_url_of_no_engine_we_have_is_a_bad_setting(url: str) -> None:
    with pytest.raises(BadSetting) as refused:
        open_database(url)
    assert refused.value.facts["name"] == "database_url"
    assert "hidden" not in str(refused.value) + refused.value.sentence("zh")

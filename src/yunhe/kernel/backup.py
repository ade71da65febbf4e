"""A copy of all that a node keeps, taken while it runs: its database as of one moment, its keys,
what its vault and its queues hold.

In: the settings and a folder that is not there yet. Out: that folder, whole or not at all; put in
the place of the node's own it is the node again. Data files under `data_roots` are not the node's.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from yunhe.kernel.durable import settle_file, settle_folder
from yunhe.kernel.errors import Conflict
from yunhe.kernel.settings import NodeConfig

# The lock is the process's own; the rest is made again from the database and the sources.
_LEFT: Final = frozenset({"node.lock", "search", "pulled", "shared", "doors"})
_SQLITE: Final = "sqlite:///"
_LAST: Final = "last-backup"  # its time of change says when; what it holds is where, for people


class BackupFailed(Conflict):
    code = "BACKUP_FAILED"
    en = "The backup could not be made: {why}."
    zh = "无法完成备份：{why}。"
    mend_en = "Nothing was left behind; mend what is named and try again."
    mend_zh = "未留下任何文件；请先解决所述问题后重试。"


def backup(config: NodeConfig, settings: Path, to: Path) -> bool:
    """Copy the node of `settings` into the new folder `to`; whether its database is in it.

    A PostgreSQL database is not: its own tools copy it. Raises BackupFailed.
    """
    if to.exists():
        raise BackupFailed(why=f"{to} is there already", why_zh=f"{to} 已存在")
    part = to.with_name(f"{to.name}.part")
    try:
        part.mkdir(mode=0o700, parents=True)
        shutil.copy2(settings, part / "node.toml")
        held = _database(config, part / "data")
        _files(config.data_dir, part / "data")
        settle_folder(part / "data")
        settle_folder(part)
        part.rename(to)
        settle_folder(to.parent)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise BackupFailed(why=str(error)) from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _note(config.data_dir / _LAST, to)
    return held


def last(data_dir: Path) -> datetime | None:
    """When `backup` last copied the node of this folder; None where it never did."""
    try:
        return datetime.fromtimestamp((data_dir / _LAST).stat().st_mtime, UTC)
    except OSError:
        return None


def _note(file: Path, to: Path) -> None:
    # The copy is whole by now: a folder that we may only read, or a full disk, does not undo it.
    with suppress(OSError):
        file.write_text(f"{to.resolve()}\n", "utf-8")
        file.chmod(0o600)


def _database(config: NodeConfig, home: Path) -> bool:
    home.mkdir(mode=0o700)
    if not config.database.startswith(_SQLITE):
        return False
    source = Path(config.database.removeprefix(_SQLITE))
    copy = home / "node.db"
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    # One step under one read lock: the writer goes on, and the copy is of one moment.
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as held,
        closing(sqlite3.connect(copy)) as made,
    ):
        held.backup(made)
        found = made.execute("PRAGMA integrity_check").fetchone()[0]
        made.execute("PRAGMA journal_mode = DELETE")  # one file, no log beside it
    with copy.open("rb") as written:
        settle_file(written)
    if found != "ok":
        raise BackupFailed(
            why=f"the database is damaged: {str(found)[:200]}",
            why_zh=f"数据库已损坏：{str(found)[:200]}",
        )
    return True


def _files(data_dir: Path, home: Path) -> None:
    """Everything beside the database; what is gone before it was copied was no longer needed."""
    for entry in sorted(data_dir.iterdir()):
        if entry.name in _LEFT or entry.name.startswith("node.db"):
            continue
        if entry.is_dir():
            _folder(entry, home / entry.name)
        else:
            _file(entry, home / entry.name)


def _folder(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700)
    for entry in sorted(source.iterdir()):
        (_folder if entry.is_dir() else _file)(entry, target / entry.name)
    settle_folder(target)


def _file(source: Path, target: Path) -> None:
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)
        return
    with target.open("rb") as copied:
        settle_file(copied)

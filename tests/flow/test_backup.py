"""`yunhe backup` of running nodes, and the nodes again out of what it made."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flow.world import Served, World, three, until
from yunhe import evidence
from yunhe.cli import app
from yunhe.kernel.backup import BackupFailed, backup
from yunhe.kernel.settings import NodeConfig
from yunhe.sdk import gather_trust

TOML = """name = "a"
subject_code = "91330100MA00000665"
subject_name = "甲"
subject_name_en = "A"
address = "https://a.example"
data_dir = "data"
"""


def restored(world: World, key: str, copy: Path) -> None:
    """The node dies, its disk is lost; a new one has what the copy holds."""
    config = world[key].config
    world.nodes.pop(key).close()
    shutil.rmtree(config.data_dir)
    shutil.copytree(copy / "data", config.data_dir)
    world.nodes[key] = Served(config)


@pytest.mark.timeout(180)
def test_nodes_go_on_from_their_copies(tmp_path: Path) -> None:
    with three(tmp_path) as world:
        settings = tmp_path / "node.toml"
        settings.write_text(TOML)
        contract, at_r = world.agree(world.product()), world["r"].space
        asking = threading.Thread(target=lambda: [world.ask(contract) for _ in range(5)])
        asking.start()
        assert backup(world["a"].config, settings, tmp_path / "early")  # beside the writer
        asking.join()
        until("the receipts", lambda: world["r"].space.contract(contract).uses_left == 15)
        for key in ("fn", "a"):
            assert backup(world[key].config, settings, tmp_path / f"{key}-copy")
        before = world["a"].did, world["a"].space.log_key()
        for key in ("a", "fn"):
            restored(world, key, tmp_path / f"{key}-copy")
        assert (world["a"].did, world["a"].space.log_key()) == before
        until("the index", lambda: world["r"].space.search("patients"))
        world.ask(contract)
        assert world["a"].space.contract(contract).uses_left == 14
        world["a"].space.issue_statement(contract)
        until("paid", lambda: [s.state for s in at_r.statements(contract)] == ["settled"])
        addresses = [world[key].config.address for key in ("a", "r")]
        trust = gather_trust([world["fn"].config.address], addresses)
        for key in ("a", "r"):
            assert evidence.verify_bundle(world[key].space.bundle(contract), trust).ok
        with sqlite3.connect(tmp_path / "early" / "data" / "node.db") as early:
            assert early.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        early.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node that stood still: settings, a database, a key, a lock."""
    (tmp_path / "data" / "keys").mkdir(parents=True)
    (tmp_path / "node.toml").write_text(TOML)
    (tmp_path / "data" / "keys" / "did.pem").write_text("key")
    (tmp_path / "data" / "node.lock").write_text("1")
    with sqlite3.connect(tmp_path / "data" / "node.db") as made:
        made.execute("CREATE TABLE t (x)")
    made.close()
    return tmp_path


def run(home: Path, *more: str) -> tuple[int, str, str]:
    to = str(home / "copies" / "one")
    found = CliRunner().invoke(app, ["backup", str(home / "node.toml"), "--to", to, *more])
    return found.exit_code, found.stdout, found.stderr


def test_a_copy_is_for_the_node_alone_and_never_replaced(home: Path) -> None:
    assert json.loads(run(home, "--json")[1])["database"] is True
    copy = home / "copies" / "one"
    names = sorted(str(each.relative_to(copy)) for each in copy.rglob("*"))
    assert names == ["data", "data/keys", "data/keys/did.pem", "data/node.db", "node.toml"]
    folders = (copy, copy / "data", copy / "data" / "keys")
    assert {each.stat().st_mode & 0o777 for each in folders} == {0o700}
    assert (copy / "data" / "node.db").stat().st_mode & 0o777 == 0o600
    for _ in range(2):  # a copy, then only its folder: neither is anybody's to replace
        code, _, told = run(home)
        assert code == 1
        assert "BACKUP_FAILED" in told
        assert "there already" in told
        shutil.rmtree(copy)
        copy.mkdir()


def test_what_cannot_be_copied_leaves_nothing_behind(home: Path) -> None:
    database = home / "data" / "node.db"
    for made in (b"no database at all" * 100, None):
        database.unlink()
        if made:
            database.write_bytes(made)
        code, _, told = run(home)
        assert code == 1, told
        assert "BACKUP_FAILED" in told
        assert not any((home / "copies").iterdir())


def test_a_database_elsewhere_is_said_to_be_missing(home: Path) -> None:
    (home / "node.toml").write_text(TOML + 'database_url = "postgresql://u:p@h/d"\n')
    code, _, told = run(home)
    assert code == 0
    assert "pg_dump" in told
    assert not (home / "copies" / "one" / "data" / "node.db").exists()


def test_a_damaged_database_makes_no_copy(home: Path) -> None:
    database = home / "data" / "node.db"
    with sqlite3.connect(database) as made:
        made.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
        made.execute("CREATE INDEX i ON t (x)")
    made.close()
    with database.open("r+b") as pages:
        pages.seek(4096 * 6)
        pages.write(b"\xff" * 4096 * 4)
    config = NodeConfig("a", "x", "x", "x", "https://a.example", home / "data")
    with pytest.raises(BackupFailed):
        backup(replace(config, name="b"), home / "node.toml", home / "copy")
    assert not (home / "copy").exists()
    assert not (home / "copy.part").exists()


def test_a_database_that_says_what_it_may_not_makes_no_copy(home: Path) -> None:
    with sqlite3.connect(home / "data" / "node.db") as made:  # every page can be read
        made.execute("INSERT INTO t VALUES (NULL)")
        made.execute("PRAGMA writable_schema = ON")
        made.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE t (x NOT NULL)'")
    made.close()
    code, _, told = run(home)
    assert code == 1
    assert "the database is damaged: NULL value in t.x" in told
    assert not any((home / "copies").iterdir())

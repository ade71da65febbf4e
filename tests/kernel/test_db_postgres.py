"""PostgreSQL in trouble: who waits for a lock or a connection hears of it; nothing is half done."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import sqlalchemy as sa

from kernel.test_db import count, notes, put, with_notes
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, Tx, open_database
from yunhe.kernel.db.errors import DatabaseBusy, DatabaseDamaged, DatabaseFailed, StorageFull
from yunhe.kernel.errors import YunheError


def test_a_locked_table_is_a_clear_error_and_no_half_state(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PG_LOCK_S_MAX", 0.3)
    database = open_database(pg_url, ManualClock())
    with_notes(database)
    with database.engine.connect() as other:
        other.exec_driver_sql(f"LOCK TABLE {notes.name} IN ACCESS EXCLUSIVE MODE")
        for verb in (lambda: database.write(put(1)), lambda: count(database)):
            started = time.monotonic()
            with pytest.raises(DatabaseBusy):
                verb()
            assert time.monotonic() - started < 10
        other.rollback()
    database.write(put(2))
    assert count(database) == 1
    database.close()


@pytest.mark.parametrize(
    ("state", "text", "known"),
    [
        ("53100", "无法扩展文件: 设备上没有空间", StorageFull),
        ("57P01", "由于管理员命令中断联接", DatabaseBusy),
        ("55P03", "由于锁超时, 正在取消语句", DatabaseBusy),
        ("25006", "不能在一个只读模式的事务中执行", DatabaseBusy),
        ("XX001", "页面无效", DatabaseDamaged),
        ("23514", "关系的新列违反了检查约束", DatabaseFailed),
    ],
)
def test_a_server_that_speaks_chinese_is_understood(
    pg_db: Database, state: str, text: str, known: type[YunheError]
) -> None:
    raised = f"DO $$ BEGIN RAISE EXCEPTION '{text}' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(YunheError) as refused:
        pg_db.write(lambda tx: tx.connection.exec_driver_sql(raised))
    assert type(refused.value) is known
    assert refused.value.detail.startswith(text)


def test_a_verb_whose_connection_is_ended_hears_that_the_database_is_away(pg_db: Database) -> None:
    with_notes(pg_db)

    def verb(tx: Tx) -> None:
        put(1)(tx)
        (pid,) = tx.connection.exec_driver_sql("SELECT pg_backend_pid()").one()
        with pg_db.engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        put(2)(tx)

    with pytest.raises(DatabaseBusy):
        pg_db.write(verb)
    assert count(pg_db) == 0
    pg_db.write(put(3))
    assert count(pg_db) == 1


def test_who_finds_no_connection_hears_that_it_is_busy(
    pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PG_CONNECTIONS_MAX", 2)
    monkeypatch.setattr(limits, "PG_IDLE_MAX", 1)
    monkeypatch.setattr(limits, "PG_LOCK_S_MAX", 0.3)
    database = open_database(pg_url, ManualClock())
    with_notes(database)
    held, let_go = threading.Barrier(3), threading.Event()

    def hold(tx: object) -> None:
        held.wait(10)
        let_go.wait(10)

    threads = [threading.Thread(target=database.write, args=(hold,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    held.wait(10)
    with pytest.raises(DatabaseBusy):
        database.write(put(1))
    let_go.set()
    for thread in threads:
        thread.join()
    database.write(put(2))
    assert count(database) == 1
    database.close()


def test_a_server_that_does_not_answer_is_not_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PG_CONNECT_S_MAX", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://yunhe@127.0.0.1:{silent.getsockname()[1]}/node"
        database = open_database(url, ManualClock())
        started = time.monotonic()
        with pytest.raises(DatabaseBusy):
            database.read(lambda tx: tx.scalar(sa.text("SELECT 1")))
        assert time.monotonic() - started < 10
        database.close()

"""One behaviour suite for both engines: what `write` and `read` promise."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import (
    Database,
    DatabaseBusy,
    DatabaseFailed,
    Json,
    StorageFull,
    Tx,
    UtcTime,
    open_database,
)

_own = sa.MetaData()  # not the house's: its history is held against what slices declare
notes = sa.Table(
    "test_notes",
    _own,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("body", Json),
    sa.Column("at", UtcTime),
    sa.CheckConstraint("id > 0"),
)


@pytest.fixture
def any_db(any_db: Database) -> Database:
    return with_notes(any_db)


@pytest.fixture
def db(db: Database) -> Database:
    return with_notes(db)


def with_notes(database: Database) -> Database:
    database.write(lambda tx: _own.create_all(tx.connection))
    return database


def put(number: int, body: object = None) -> object:
    def verb(tx: Tx) -> int:
        tx.execute(sa.insert(notes), {"id": number, "body": body, "at": tx.now})
        return number

    return verb


def count(db: Database) -> int:
    return db.read(lambda tx: tx.scalar(sa.select(sa.func.count()).select_from(notes)))


def test_a_verb_is_seen_after_it_returns(any_db: Database, clock: ManualClock) -> None:
    assert any_db.write(put(1, {"b": 1, "a": [True, None]})) == 1
    row = any_db.read(lambda tx: tx.one(sa.select(notes)))
    assert row is not None
    assert row.body == {"a": [True, None], "b": 1}
    assert row.at == clock.now()


def test_a_failing_verb_leaves_no_trace(any_db: Database) -> None:
    def verb(tx: Tx) -> None:
        put(1)(tx)
        raise LookupError("no")

    with pytest.raises(LookupError):
        any_db.write(verb)
    assert count(any_db) == 0


def test_a_database_error_is_the_houses_word_and_the_next_verb_works(any_db: Database) -> None:
    any_db.write(put(1))
    with pytest.raises(Exception, match="DATABASE_FAILED"):
        any_db.write(put(1))
    any_db.write(put(2))
    assert count(any_db) == 2


def test_a_nested_verb_joins(any_db: Database) -> None:
    def outer(tx: Tx) -> None:
        any_db.write(put(1))
        assert any_db.read(lambda inner: inner is tx)
        raise LookupError("the outer one fails")

    with pytest.raises(LookupError):
        any_db.write(outer)
    assert count(any_db) == 0


def test_one_failing_verb_of_a_group_fails_alone(any_db: Database) -> None:
    failed: list[int] = []

    def caller(number: int) -> None:
        try:
            any_db.write(put(number if number % 2 else -number))
        except DatabaseFailed:
            failed.append(number)

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(2, 66)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(any_db) == 32
    assert sorted(failed) == list(range(2, 66, 2))


def test_events_run_inside_the_verb_and_can_fail_it(any_db: Database) -> None:
    @dataclass(frozen=True)
    class Happened:
        number: int

    def handler(tx: Tx, event: Happened) -> None:
        put(event.number)(tx)
        if event.number == 3:
            raise LookupError("the handler says no")

    any_db.events.on(Happened, handler)
    any_db.write(lambda tx: tx.emit(Happened(1)))
    with pytest.raises(LookupError):
        any_db.write(lambda tx: tx.emit(Happened(3)))
    assert count(any_db) == 1


def test_after_commit_runs_only_after_a_commit(any_db: Database) -> None:
    calls: list[str] = []

    def verb(tx: Tx) -> None:
        tx.after_commit(lambda: calls.append("done"))
        put(1)(tx)

    any_db.write(verb)
    assert calls == ["done"]
    with pytest.raises(Exception, match="DATABASE_FAILED"):
        any_db.write(verb)
    assert calls == ["done"]


def test_insert_once(any_db: Database) -> None:
    row = {"id": 5, "body": None, "at": None}
    assert any_db.write(lambda tx: tx.insert_once(notes, row))
    assert not any_db.write(lambda tx: tx.insert_once(notes, row))
    assert [tuple(each) for each in any_db.read(lambda tx: tx.all(sa.select(notes)))] == [
        (5, None, None)
    ]


def test_insert_once_keeps_the_first_row_with_its_types(any_db: Database) -> None:
    at = datetime(2026, 5, 4, 3, 2, 1, 7, tzinfo=UTC)
    first = {"id": 6, "body": {"b": 1, "a": [2]}, "at": at}
    assert any_db.write(lambda tx: tx.insert_once(notes, first))
    assert not any_db.write(lambda tx: tx.insert_once(notes, {**first, "body": None}))
    (kept,) = any_db.read(lambda tx: tx.all(sa.select(notes)))
    assert tuple(kept) == (6, {"b": 1, "a": [2]}, at)


def test_a_conditional_update_lets_exactly_n_through(any_db: Database) -> None:
    any_db.write(put(10))
    won: list[int] = []

    def spend() -> None:
        done = any_db.write(
            lambda tx: (
                tx.execute(
                    sa.update(notes).where(notes.c.id.between(6, 10)).values(id=notes.c.id - 1)
                ).rowcount
            )
        )
        won.append(done)

    threads = [threading.Thread(target=spend) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 5


def test_every_writing_connection_is_synchronous_full(db: Database) -> None:
    assert db.write(lambda tx: tx.scalar(sa.text("PRAGMA synchronous"))) == 2
    assert db.write(lambda tx: tx.scalar(sa.text("PRAGMA journal_mode"))) == "wal"
    with pytest.raises(Exception, match="DATABASE_FAILED"):
        db.read(lambda tx: put(1)(tx))  # every other connection cannot write at all
    assert db.read(lambda tx: tx.scalar(sa.text("PRAGMA synchronous"))) == 2


def test_postgresql_commits_synchronously(pg_db: Database) -> None:
    assert pg_db.write(lambda tx: tx.scalar(sa.text("SHOW synchronous_commit"))) == "on"
    assert pg_db.write(lambda tx: tx.scalar(sa.text("SHOW fsync"))) == "on"


def test_concurrent_callers_share_commits(db: Database) -> None:
    before = db.commits
    threads = [
        threading.Thread(target=lambda n=n: [db.write(put(n * 100 + i + 1)) for i in range(20)])
        for n in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(db) == 640
    assert db.commits - before < 640


def test_a_locked_database_is_a_clear_error_and_no_half_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "SQLITE_BUSY_S_MAX", 0.1)
    database = open_database(f"sqlite:///{tmp_path / 'l.db'}", ManualClock())
    with_notes(database)
    other = sa.create_engine(f"sqlite:///{tmp_path / 'l.db'}", isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            database.write(put(1))
        connection.exec_driver_sql("ROLLBACK")
    other.dispose()
    _one_line("DATABASE_BUSY", caplog)
    database.write(put(2))
    assert count(database) == 1
    database.close()


def test_a_full_disk_is_a_clear_error_and_no_half_state(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    db.write(put(1))
    pages = db.write(lambda tx: tx.scalar(sa.text("PRAGMA page_count")))
    db.write(lambda tx: tx.execute(sa.text(f"PRAGMA max_page_count = {pages + 4}")))
    with pytest.raises(StorageFull) as refused:
        db.write(lambda tx: [put(number, "x" * 4000)(tx) for number in range(2, 60)])
    assert refused.value.sentence("zh").startswith("节点磁盘已满")
    _one_line("STORAGE_FULL", caplog)
    db.write(lambda tx: tx.execute(sa.text("PRAGMA max_page_count = 100000")))
    db.write(put(2))
    assert count(db) == 2


def _one_line(code: str, caplog: pytest.LogCaptureFixture) -> None:
    """The operator reads what happened, and no traceback: nothing in the code is wrong."""
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert code in told.getMessage()
    assert told.exc_info is None


def test_a_failing_commit_hook_fails_every_caller(db: Database) -> None:
    def hook(_tx: Tx) -> None:
        raise LookupError("the sequencer says no")

    db.before_commit.append(hook)
    with pytest.raises(LookupError):
        db.write(put(1))
    db.before_commit.clear()
    assert count(db) == 0


def test_a_closed_database_refuses(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'c.db'}", ManualClock())
    database.close()
    with pytest.raises(DatabaseBusy):
        database.write(lambda tx: None)


def test_prepared_statements_keep_their_types_and_rollback(any_db: Database) -> None:
    select = sa.select(notes.c.body, notes.c.at).where(notes.c.id == sa.bindparam("key"))
    change = sa.update(notes).where(notes.c.id == sa.bindparam("key"))
    change = change.values(body=sa.bindparam("new"))

    def verb(tx: Tx) -> bool:
        tx.insert(notes, {"id": 1, "body": {"b": [1]}, "at": tx.now})
        assert tx.change(change, {"key": 1, "new": {"c": None}}) == 1
        assert tx.change(change, {"key": 2, "new": {}}) == 0
        tx.change_each(change, [{"key": 1, "new": {"d": "中"}}])
        row = tx.rows(select, {"key": 1})[0]
        assert row[0] == {"d": "中"}
        return bool(row[1] == tx.now)

    assert any_db.write(verb)
    with pytest.raises(DatabaseFailed):
        any_db.write(lambda tx: tx.insert(notes, {"id": 1, "body": {}, "at": tx.now}))
    assert any_db.read(lambda tx: tx.rows(select, {"key": 1}))[0][0] == {"d": "中"}


def test_a_verb_that_nobody_waits_for_shares_the_next_ones_commit(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SOON_S", 30)
    told: list[tuple[bool, int]] = []
    before = db.commits
    db.write_soon(put(1), lambda done: told.append((done, db.commits)))
    time.sleep(0.05)
    assert (told, db.commits) == ([], before)
    db.write(put(2))
    assert told == [(True, before + 1)]
    assert count(db) == 2


def test_a_verb_that_nobody_waits_for_waits_a_moment_only(any_db: Database) -> None:
    told = threading.Event()
    any_db.write_soon(put(1), lambda done: told.set() if done else None)
    assert told.wait(10)
    assert count(any_db) == 1


def test_a_verb_that_nobody_waits_for_fails_alone_and_says_so(any_db: Database) -> None:
    refused = threading.Event()

    def bad(_tx: Tx) -> None:
        raise LookupError("why")

    any_db.write_soon(bad, lambda done: None if done else refused.set())
    any_db.write(put(2))
    assert refused.wait(10)
    assert count(any_db) == 1


def test_a_verb_that_holds_the_writer_is_warned_of_unless_nobody_could_wait(
    any_db: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GROUP_MS_MAX", 0)
    told = any_db.write_at_start(lambda tx: tx.scalar(sa.select(sa.literal(7))))
    assert told == 7
    assert "held the writer" not in caplog.text
    any_db.write(lambda tx: None)
    assert ("held the writer" in caplog.text) == (any_db.dialect == "sqlite")


def test_closing_commits_what_nobody_waits_for(tmp_path: Path, clock: ManualClock) -> None:
    made = with_notes(open_database(f"sqlite:///{tmp_path}/n.db", clock))
    made.write_soon(put(1), lambda _done: None)
    made.close()
    again = open_database(f"sqlite:///{tmp_path}/n.db", clock)
    assert count(again) == 1
    again.close()


def test_a_caller_alone_is_the_writer_and_others_wait_for_the_turn(db: Database) -> None:
    ran: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(_tx: Tx) -> None:
        ran.append(threading.current_thread().name)
        begun.set()
        assert go_on.wait(20)

    def quick(_tx: Tx) -> None:
        ran.append(threading.current_thread().name)

    with ThreadPoolExecutor(3, "caller") as pool:
        first = pool.submit(db.write, slow)
        assert begun.wait(20)
        assert ran[0].startswith("caller")
        rest = [pool.submit(db.write, quick) for _ in range(2)]
        time.sleep(0.05)
        assert len(ran) == 1
        go_on.set()
        for each in (first, *rest):
            each.result(20)
    assert len(ran) == 3
    db.write(quick)
    assert ran[3] == threading.current_thread().name


def test_no_caller_is_forgotten_and_no_mark_lost(db: Database) -> None:
    marked: list[bool] = []

    def caller(me: int) -> None:
        for turn in range(25):
            number = me * 1000 + 2 * turn + 1
            db.write(put(number))
            db.write_soon(put(number + 1), marked.append)
            if turn % 5 == me % 5:
                time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(caller, me) for me in range(8)]:
            each.result(60)
    ends = time.monotonic() + 20
    while len(marked) < 200:
        assert time.monotonic() < ends
        time.sleep(0.005)
    assert all(marked)
    assert count(db) == 400


def test_what_follows_a_commit_may_read_and_sees_it(db: Database) -> None:
    seen: list[int] = []

    def verb(tx: Tx) -> None:
        put(1)(tx)  # type: ignore[operator]
        tx.after_commit(lambda: seen.append(count(db)))

    db.write(verb)
    assert seen == [1]


def test_of_the_calls_with_one_key_only_the_last_is_made(any_db: Database) -> None:
    called: list[str] = []

    def verb(tx: Tx) -> None:
        for name in ("a", "b"):
            tx.after_commit(lambda name=name: called.append(name), key="k")
        tx.after_commit(lambda: called.append("c"))

    any_db.write(verb)
    assert called == ["b", "c"]


def test_postgresql_replaces_a_connection_that_died_while_nobody_used_it(pg_db: Database) -> None:
    mine = pg_db.read(lambda tx: tx.scalar(sa.text("SELECT pg_backend_pid()")))
    with pg_db.engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({mine}, 5000)")
    with_notes(pg_db).write(put(1))
    assert count(pg_db) == 1
    assert pg_db.read(lambda tx: tx.scalar(sa.text("SELECT pg_backend_pid()"))) != mine


def test_postgresql_takes_no_verb_for_done_that_went_on_after_a_failed_statement(
    pg_db: Database,
) -> None:
    with_notes(pg_db).write(put(1))

    def careless(tx: Tx) -> None:
        put(2)(tx)
        with contextlib.suppress(sa.exc.IntegrityError):
            put(1)(tx)

    with pytest.raises(DatabaseFailed):
        pg_db.write(careless)
    assert count(pg_db) == 1


def test_postgresql_reads_a_snapshot_and_writes_nothing_there(pg_db: Database) -> None:
    with_notes(pg_db)

    def read(tx: Tx) -> int:
        before = tx.scalar(sa.select(sa.func.count()).select_from(notes))
        with ThreadPoolExecutor() as pool:
            pool.submit(pg_db.write, put(1)).result(10)
        return before + tx.scalar(sa.select(sa.func.count()).select_from(notes))

    assert pg_db.read(read) == 0
    with pytest.raises(DatabaseFailed):
        pg_db.read(put(2))
    assert count(pg_db) == 1


def test_postgresql_runs_alone_what_spoils_a_shared_commit(pg_db: Database) -> None:
    with_notes(pg_db)
    told: dict[int, bool] = {}
    done = threading.Event()

    def then(number: int) -> Callable[[bool], None]:
        def tell(committed: bool) -> None:
            told[number] = committed
            if len(told) == 9:
                done.set()

        return tell

    for number in (1, 2, 3, 4, 0, 5, 6, 7, 8):  # 0 is refused by the table
        pg_db.write_soon(put(number), then(number))
    assert done.wait(10)
    assert told == {number: number > 0 for number in range(9)}
    assert count(pg_db) == 8

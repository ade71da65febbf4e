"""Readiness: one look for however many ask, and only what is this node's own fault."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from flow.world import settings, until
from yunhe.dataplane import Pool, pool
from yunhe.evidence import Standing
from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database, DatabaseBusy, Tx, open_database
from yunhe.kernel.outbox import Message, Retry, enqueue
from yunhe.monitor import NotReady, Readiness
from yunhe.node import Node

ROLES = ("connector", "functional-node")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(settings("a", tmp_path, 8100, None, roles=ROLES, workers=1), ManualClock())
    made.start()
    yield made
    made.stop()


def looks(node: Node) -> Readiness:
    return Readiness(node.watched)


def parts(node: Node) -> list[str]:
    """What is wrong, by part."""
    return [each.part for each in looks(node).look()]


def test_a_started_node_is_ready_and_a_stopped_outbox_is_not(node: Node) -> None:
    assert parts(node) == []
    node.outbox.stop()
    assert parts(node) == ["outbox"]
    node.outbox.start()
    assert parts(node) == []


def test_however_many_ask_there_is_one_look_and_none_waits_long(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "READY_S_MAX", 0.3)
    ready, looked, let_go = looks(node), [], threading.Event()
    whole = ready.look

    def hangs() -> object:
        looked.append(threading.current_thread().name)
        let_go.wait(60)
        return whole()

    monkeypatch.setattr(ready, "look", hangs)

    async def asked(number: int) -> list[object]:
        return await asyncio.gather(*(ready.check() for _ in range(number)), return_exceptions=True)

    async def all_of_them() -> None:
        for _ in range(3):
            told = await asked(200)
            assert {type(each) for each in told} == {NotReady}
            assert all(each.facts["parts"] == ["database"] for each in told)
            ready._found_at = float("-inf")  # a second later
        let_go.set()
        while ready._look is not None:
            await asyncio.sleep(0.01)
        await ready.check()

    with caplog.at_level(logging.WARNING, "yunhe.monitor.ready"):
        asyncio.run(all_of_them())
    assert looked == ["hand"]
    assert [each.levelname for each in caplog.records] == ["ERROR", "WARNING"]


def test_what_was_found_is_kept_for_a_second(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "READY_KEPT_S", 3600.0)
    ready, looked = looks(node), []
    monkeypatch.setattr(ready, "look", lambda: looked.append(1) or ())

    async def often() -> None:
        for _ in range(100):
            await ready.check()

    asyncio.run(often())
    assert len(looked) == 1


def test_a_locked_file_is_not_ready_until_it_is_let_go(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.db._raw.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]
    file = node.config.data_dir / "node.db"
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert parts(node) == ["database"]
        other.execute("ROLLBACK")
    assert parts(node) == []


def test_a_check_writes_nothing_and_begins_no_commit(any_db: Database) -> None:
    before = any_db.commits
    any_db.check()
    assert any_db.commits == before


def test_a_server_that_only_reads_takes_no_verb(pg_url: str) -> None:
    database = open_database(pg_url, ManualClock())
    database.check()
    with database.engine.connect() as admin:
        name = admin.exec_driver_sql("SELECT current_database()").scalar()
        admin.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        admin.commit()
    database.close()
    database = open_database(pg_url, ManualClock())
    with pytest.raises(DatabaseBusy):
        database.check()
    database.close()


def send(node: Node, kind: str) -> None:
    node.db.write(lambda tx: enqueue(tx, kind, "did:web:b", f"c-{kind}", {}))


def test_a_peer_that_is_away_makes_nobody_unready(node: Node) -> None:
    tried = threading.Event()

    def away(_message: Message) -> None:
        tried.set()
        raise Retry("away")

    node.outbox.deliver("away", away)
    send(node, "away")
    assert tried.wait(30)
    node.clock.advance(3600)  # type: ignore[attr-defined]
    assert parts(node) == []


def test_messages_that_nobody_tries_are_told(node: Node) -> None:
    send(node, "nobody-delivers-this")
    node.clock.advance(limits.OUTBOX_STUCK_S + 1)  # type: ignore[attr-defined]
    assert parts(node) == []  # something was tried moments ago, for all that is known
    node.outbox.attempted_at = monotonic() - limits.OUTBOX_STUCK_S - 1
    assert parts(node) == ["outbox"]


def test_an_entry_without_an_index_is_told_after_a_while(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waiting(seconds: float) -> Standing:
        return Standing(0, None, node.clock.now() - timedelta(seconds=seconds))

    monkeypatch.setattr(node.evidence, "standing", lambda: waiting(limits.UNSEQUENCED_S_MAX - 1))
    assert parts(node) == []
    monkeypatch.setattr(node.evidence, "standing", lambda: waiting(limits.UNSEQUENCED_S_MAX + 1))
    assert parts(node) == ["evidence"]


def test_on_postgresql_the_sequencer_is_a_thread_that_must_live(
    tmp_path: Path, pg_url: str
) -> None:
    made = Node(settings("fn", tmp_path, 8100, None, database_url=pg_url), ManualClock())
    made.start()
    assert parts(made) == []
    made.evidence.stop()

    def unsequenced(tx: Tx) -> None:
        made.evidence.record(tx, "test.said", {"n": 1})

    made.db.write(unsequenced)
    assert parts(made) == ["evidence"]
    made.evidence.start()
    until("the entry's index", lambda: made.evidence.standing().waiting_since is None)
    assert parts(made) == []
    made.stop()


def test_a_machine_without_processes_to_give_is_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_limits: object) -> object:
        raise BlockingIOError(11, "no process to be had")

    monkeypatch.setattr(limits, "WORKER_REFILL_S", 0.0)
    monkeypatch.setattr(limits, "WORKER_WAIT_S_MAX", 0.05)
    monkeypatch.setattr(pool, "Process", none_left)
    (_, spare) = node.pool._idle[0]
    spare.kill()  # the one there is ends, and no other can be had
    with pytest.raises(OSError):
        node.pool._process()
    assert not node.pool.census().usable
    assert parts(node) == ["workers"]
    monkeypatch.undo()
    node.pool._lost(node.pool._choose_spare(), taken=True, fate="died")
    until("a worker", lambda: node.pool.census().usable)
    assert parts(node) == []


def test_a_pool_that_is_not_started_has_no_worker() -> None:
    assert not Pool(1).census().usable

"""The outbox: in order, once, retried, given up; and what a receiver has seen."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from yunhe.kernel import limits
from yunhe.kernel.clock import ManualClock
from yunhe.kernel.db import Database
from yunhe.kernel.outbox import GiveUp, Message, Outbox, Retry, enqueue, pending, seen
from yunhe.kernel.outbox import outbox as table
from yunhe.kernel.turns import Peers, Turn


class Wire:
    """Collects what was sent; fails as told."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.sent: list[Message] = []
        self.failures = failures or []
        self.changed = threading.Condition()

    def __call__(self, message: Message) -> dict[str, Any]:
        with self.changed:
            if self.failures:
                raise self.failures.pop(0)
            self.sent.append(message)
            self.changed.notify_all()
        return {"ok": True}

    def wait(self, number: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sent) >= number, 10)


def send(db: Database, conversation: str, number: int) -> str:
    return db.write(lambda tx: enqueue(tx, "k", "did:web:b", conversation, {"n": number}))


def test_messages_of_a_conversation_arrive_in_order(any_db: Database) -> None:
    outbox, wire = Outbox(any_db), Wire()
    outbox.deliver("k", wire)
    outbox.start()
    for number in range(20):
        send(any_db, f"c{number % 2}", number)
    wire.wait(20)
    outbox.stop()
    for name in ("c0", "c1"):
        got = [m.payload["n"] for m in wire.sent if m.conversation == name]
        assert got == sorted(got)


def test_a_verb_that_fails_sends_nothing(any_db: Database) -> None:
    outbox, wire = Outbox(any_db), Wire()
    outbox.deliver("k", wire)
    outbox.start()

    def verb(tx: Any) -> None:
        enqueue(tx, "k", "did:web:b", "c", {"n": 1})
        raise LookupError

    with pytest.raises(LookupError):
        any_db.write(verb)
    send(any_db, "c", 2)
    wire.wait(1)
    outbox.stop()
    assert [m.payload["n"] for m in wire.sent] == [2]


def test_a_retry_keeps_the_message_id_and_the_order(any_db: Database) -> None:
    outbox, wire = Outbox(any_db), Wire([Retry("away")])
    outbox.deliver("k", wire)
    first = send(any_db, "c", 1)
    second = send(any_db, "c", 2)
    outbox.start()
    for _ in range(200):
        any_db.clock.advance(1)  # type: ignore[attr-defined]
        with wire.changed:
            if wire.changed.wait_for(lambda: len(wire.sent) >= 2, 0.05):
                break
    outbox.stop()
    assert [m.message_id for m in wire.sent] == [first, second]


def test_what_a_crash_left_pending_is_sent_at_start(any_db: Database) -> None:
    wire = Wire()
    send(any_db, "c", 1)
    outbox = Outbox(any_db)
    outbox.deliver("k", wire)
    outbox.start()
    wire.wait(1)
    outbox.stop()


def test_a_node_that_comes_back_does_not_sit_out_its_old_waits(any_db: Database) -> None:
    message = send(any_db, "c", 1)
    any_db.write(
        lambda tx: tx.execute(
            sa.update(table).values(attempts=20, next_at=tx.now + timedelta(minutes=1))
        )
    )
    again, wire = Outbox(any_db), Wire()
    again.deliver("k", wire)
    again.start()
    wire.wait(1)
    again.stop()
    assert [each.message_id for each in wire.sent] == [message]


def test_delivered_runs_in_the_transaction_that_marks_it(any_db: Database) -> None:
    outbox, wire = Outbox(any_db), Wire()
    done = threading.Event()
    outbox.deliver("k", wire)
    outbox.on_delivered("k", lambda tx, m, reply: (seen(tx, m.peer, "reply"), done.set()))
    outbox.start()
    send(any_db, "c", 1)
    assert done.wait(10)
    outbox.stop()
    assert any_db.write(lambda tx: seen(tx, "did:web:b", "reply"))
    assert any_db.read(lambda tx: pending(tx, "c")) == []


def test_giving_up_tells_the_slice_and_lets_the_next_pass(any_db: Database) -> None:
    outbox, wire = Outbox(any_db), Wire([GiveUp("refused: 400")])
    why: list[str] = []
    outbox.deliver("k", wire)
    outbox.on_gave_up("k", lambda tx, m, reason: why.append(reason))
    outbox.start()
    send(any_db, "c", 1)
    send(any_db, "c", 2)
    wire.wait(1)
    outbox.stop()
    assert why == ["refused: 400"]
    left = any_db.read(lambda tx: pending(tx, "c"))
    assert [(m["state"], m["last_error"]) for m in left] == [("failed", "refused: 400")]


def test_a_dead_peer_keeps_nobody_else_waiting(any_db: Database) -> None:
    outbox, wire = Outbox(any_db), Wire()
    hung, most, now = threading.Event(), [0], [0]

    def deliver(message: Message) -> dict[str, Any]:
        if message.peer == "did:web:b":
            return wire(message)
        with wire.changed:
            now[0] += 1
            most[0] = max(most[0], now[0])
        hung.wait(10)
        with wire.changed:
            now[0] -= 1
        raise Retry("away")

    outbox.deliver("k", deliver)
    outbox.start()
    for number in range(20):
        any_db.write(
            lambda tx, n=number: enqueue(tx, "k", "did:web:dead", f"d{n}", {})  # type: ignore[misc]
        )
    for number in range(5):
        send(any_db, f"c{number}", number)
    wire.wait(5)  # while every message to the dead one hangs
    assert most[0] == limits.OUTBOX_FEW_MAX
    with wire.changed:
        most[0] = 0
    hung.set()
    any_db.clock.advance(100)  # type: ignore[attr-defined]
    for number in range(5, 10):
        send(any_db, f"c{number}", number)
    wire.wait(10)

    def untried() -> int:
        rows = any_db.read(lambda tx: tx.all(sa.select(table.c.attempts)))
        return sum(not row.attempts for row in rows)

    ends = time.monotonic() + 20
    while untried() and time.monotonic() < ends:
        any_db.clock.advance(100)  # type: ignore[attr-defined]
        time.sleep(0.05)
    outbox.stop()
    assert not untried()  # none is forgotten


def test_peers_that_only_drip_keep_nobody_waiting(any_db: Database) -> None:
    """They take every message, each after a long while: no failure ever tells of them."""
    outbox, wire = Outbox(any_db), Wire()
    dripping, most = threading.Event(), [0, 0]

    def deliver(message: Message) -> dict[str, Any]:
        if message.peer == "did:web:b" or not message.payload.get("drips"):
            return wire(message)
        with wire.changed:
            most[0] += 1
            most[1] = max(most)
        dripping.wait(30)
        with wire.changed:
            most[0] -= 1
        return {}

    def tell(peer: str, conversation: str, **payload: Any) -> None:
        any_db.write(lambda tx: enqueue(tx, "k", f"did:web:{peer}", conversation, payload))

    outbox.deliver("k", deliver)
    outbox.start()
    try:
        for peer in range(2 * limits.OUTBOX_WORKERS):
            for number in range(4):
                tell(f"slow{peer}", f"s{peer}-{number}", drips=True)
        begun = time.monotonic()
        for number in range(20):
            send(any_db, f"c{number}", number)
            tell(f"new{number}", f"n{number}")  # nobody knows yet that it answers
        wire.wait(40)
        assert time.monotonic() - begun < 10
        assert most[1] == 2 * limits.OUTBOX_WORKERS  # one thread for each
    finally:
        dripping.set()
    outbox.stop()
    assert outbox._peers._running == {}
    assert outbox._peers._since == {}


def test_a_peer_that_was_quick_and_is_slow_now_holds_few_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("yunhe.kernel.turns.monotonic", lambda: now[0])
    peers, wide = Peers(), limits.OUTBOX_WORKERS - 1

    def enter(peer: str, number: int) -> list[bool]:
        return [peers.enter(Turn(f"{peer}{n}", peer, None)) for n in range(number)]

    assert sum(enter("a", 9)) == limits.OUTBOX_FEW_MAX  # it has yet to answer
    peers.answered("a", peers.began("a"))
    freed = peers.leave("a")
    assert len(freed) == 7  # all that were parked: it is quick
    assert [peers.enter(turn) for turn in freed] == [True] * wide
    began = [peers.began("a") for _ in range(wide)]
    now[0] += limits.OUTBOX_SLOW_S  # they still run
    assert not any(enter("a", 3))
    assert enter("b", 1) == [False]  # unknown, too: those together leave some threads
    peers.answered("a", began[0])
    assert peers.leave("a") == []
    for each in began[1:]:
        peers.answered("a", each)
        for turn in peers.leave("a"):
            assert peers.enter(turn)
    running = peers._running
    assert (running["a"], running["b"]) == (limits.OUTBOX_FEW_MAX, 1)
    assert peers.grow() == (0, [])  # nothing takes long any more


def test_whoever_refuses_takes_no_thread_for_each_message(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member may begin a thousand negotiations from an address where nobody answers."""
    monkeypatch.setattr(limits, "OUTBOX_BACKOFF_S_MIN", 30)  # as after the tenth attempt
    outbox, failed = Outbox(db), threading.Semaphore(0)

    def refuse(_message: Message) -> None:
        failed.release()
        raise Retry("nobody there")

    outbox.deliver("k", refuse)
    outbox.start()
    before = threading.active_count()
    for number in range(200):
        send(db, f"c{number}", number)
    for _ in range(200):
        assert failed.acquire(timeout=10)
    assert threading.active_count() <= before + limits.OUTBOX_EXTRA_MAX
    outbox.stop()


def test_seen_is_per_peer(any_db: Database) -> None:
    assert not any_db.write(lambda tx: seen(tx, "a", "1"))
    assert any_db.write(lambda tx: seen(tx, "a", "1"))
    assert not any_db.write(lambda tx: seen(tx, "b", "1"))


def test_two_replicas_on_postgresql_send_each_message_once(pg_url: str, pg_db: Database) -> None:
    from yunhe.kernel.db import open_database

    other = open_database(pg_url, pg_db.clock)
    wire = Wire()
    outboxes = [Outbox(pg_db), Outbox(other)]
    for number in range(40):
        send(pg_db, f"c{number % 4}", number)
    for outbox in outboxes:
        outbox.deliver("k", wire)
        outbox.start()
    wire.wait(40)
    for outbox in outboxes:
        outbox.stop()
    other.close()
    assert len({m.message_id for m in wire.sent}) == len(wire.sent) == 40


@pytest.mark.parametrize(("attempts_max", "state"), [(40, "failed"), (60, "sent")])
def test_a_message_is_tried_as_often_as_its_kind_wants(
    db: Database, clock: ManualClock, attempts_max: int, state: str
) -> None:
    failures: list[Exception] = [Retry("asleep") for _ in range(50)]
    outbox, wire = Outbox(db), Wire(failures)
    outbox.deliver("k", wire, attempts_max)
    send(db, "c", 1)
    for _ in range(51):
        clock.advance(120)
        outbox._send_all("c")
    waiting = db.read(lambda tx: pending(tx, "c"))
    assert [each["state"] for each in waiting] == ([] if state == "sent" else ["failed"])
    assert len(wire.sent) == (state == "sent")


def test_what_was_claimed_while_its_conversation_was_held_is_sent_at_once(pg_db: Database) -> None:
    """Between the commit of a mark and the letting go, the next message is claimed already."""
    outbox, wire = Outbox(pg_db), Wire()
    outbox.deliver("k", wire)
    outbox.start()
    assert outbox._taken_up("c")
    send(pg_db, "c", 1)
    send(pg_db, "c", 2)
    assert not wire.sent
    outbox._let_go("c", "did:web:b")
    wire.wait(2)
    outbox.stop()
    assert [m.payload["n"] for m in wire.sent] == [1, 2]


def test_a_replica_that_stops_gives_back_what_it_claimed(pg_url: str, pg_db: Database) -> None:
    outbox, held = Outbox(pg_db), threading.Event()
    late: list[Any] = []
    outbox.deliver("k", Wire(), after=lambda _message, call: (late.append(call), held.set()))
    outbox.start()
    send(pg_db, "c", 1)
    assert held.wait(10)
    outbox._stop.set()
    late[0]()
    outbox.stop()
    other, wire = Outbox(pg_db), Wire()
    other.deliver("k", wire)
    other.start()
    wire.wait(1)
    other.stop()
    assert pg_db.read(lambda tx: pending(tx, "c")) == []


def test_what_is_held_for_a_moment_leaves_after_the_next_start(any_db: Database) -> None:
    outbox, held, wire = Outbox(any_db), threading.Event(), Wire()
    late: list[Any] = []
    outbox.deliver("k", wire, after=lambda _message, call: (late.append(call), held.set()))
    outbox.start()
    send(any_db, "c", 1)
    assert held.wait(10)
    outbox.stop()
    late[0]()  # its moment comes when nothing leaves any more
    assert wire.sent == []
    outbox.start()
    wire.wait(1)
    outbox.stop()
    assert any_db.read(lambda tx: pending(tx, "c")) == []


def test_a_peer_that_is_busy_is_left_alone_for_a_while(db: Database, clock: ManualClock) -> None:
    outbox = Outbox(db)
    outbox.deliver("k", Wire([Retry("busy", 3600.0)]))
    outbox.start()
    send(db, "c", 1)
    waited = until_waiting(db)
    outbox.stop()
    assert (waited["attempts"], waited["last_error"]) == (1, "busy")
    assert waited["next_at"] - clock.now() == timedelta(seconds=3600)


def until_waiting(db: Database) -> dict[str, Any]:
    """What waits in `c` once it was tried."""
    end = time.monotonic() + 10
    while True:
        [waits] = db.read(lambda tx: pending(tx, "c"))
        if waits["attempts"]:
            return waits
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_call_is_made_later(db: Database) -> None:
    outbox, made = Outbox(db), threading.Event()
    outbox.start()
    outbox.later(0.0, made.set)
    assert made.wait(10)
    outbox.stop()


def test_the_timer_outlives_a_look_that_failed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, wire = Outbox(db), Wire()
    outbox.deliver("k", wire)
    failed, read = threading.Event(), db.read

    def failing(fn: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError
        return read(fn)

    monkeypatch.setattr(Peers, "grow", lambda _self: 1 // 0)
    monkeypatch.setattr(db, "read", failing)
    send(db, "c", 1)
    outbox.start()
    try:
        wire.wait(1)  # nobody rang for it since the start: the timer alone takes it up
        assert failed.is_set()
        assert outbox.alive()
    finally:
        outbox.stop()
    assert not outbox.alive()

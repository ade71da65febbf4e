"""The outbox: news for another node commits with the verb, then leaves at once, in order.

In: `enqueue(tx, ...)` inside a verb. Out: deliveries by the function registered for the kind,
retried with the same message id until done or given up; order holds within a conversation.
Receivers call `seen` to drop what they already have. The timer is only for failures.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final

import sqlalchemy as sa

from yunhe.kernel import limits
from yunhe.kernel.alarms import Alarms
from yunhe.kernel.chores import Chores
from yunhe.kernel.crash import CrashPoints
from yunhe.kernel.db import Database, Json, Tx, UtcTime, metadata
from yunhe.kernel.turns import Peers, Turn

log = logging.getLogger(__name__)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("message_id", sa.String(80), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("peer", sa.String(255), nullable=False),
    sa.Column("address", sa.String(1024), nullable=False),
    sa.Column("conversation", sa.String(255), nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # pending | sent | failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("next_at", UtcTime, nullable=False),
    sa.Column("claimed_until", UtcTime),
    sa.Column("last_error", sa.Text),
    sa.UniqueConstraint("conversation", "seq"),
    sa.Index("outbox_due", "state", "next_at"),
)

inbox = sa.Table(
    "inbox",
    metadata,
    sa.Column("peer", sa.String(255), primary_key=True),
    sa.Column("message_id", sa.String(255), primary_key=True),
    sa.Column("received_at", UtcTime, nullable=False, index=True),
)

# Built once: what every message costs (kernel.db.prepared).
_TAIL: Final = sa.select(
    sa.func.max(outbox.c.seq),
    sa.func.coalesce(sa.func.sum(sa.case((outbox.c.state == "pending", 1), else_=0)), 0),
).where(outbox.c.conversation == sa.bindparam("of"))
_HEAD: Final = (
    sa.select(
        *(outbox.c[name] for name in ("message_id", "kind", "peer", "address", "conversation")),
        *(outbox.c[name] for name in ("seq", "payload", "attempts", "created_at", "next_at")),
        outbox.c.claimed_until,
    )
    .where(outbox.c.conversation == sa.bindparam("of"), outbox.c.state == "pending")
    .order_by(outbox.c.seq)
    .limit(1)
)
_WAITS: Final = ("message_id", "kind", "state", "attempts", "next_at", "last_error")
_WAITING: Final = (
    sa.select(*(outbox.c[name] for name in _WAITS))
    .where(outbox.c.conversation == sa.bindparam("of"), outbox.c.state != "sent")
    .order_by(outbox.c.seq)
)
_DUE: Final = (
    sa.select(outbox.c.conversation, outbox.c.peer)
    .where(outbox.c.state == "pending", outbox.c.next_at <= sa.bindparam("now"))
    .distinct()
    .limit(limits.OUTBOX_SCAN_MAX)
)
_CLAIM: Final = (
    sa.update(outbox)
    .where(outbox.c.message_id == sa.bindparam("key"))
    .values(claimed_until=sa.bindparam("until"))
)
_MARK_SENT: Final = (
    sa.update(outbox)
    .where(outbox.c.message_id == sa.bindparam("key"))
    .values(
        state="sent", attempts=sa.bindparam("new_attempts"), last_error=None, claimed_until=None
    )
)


@dataclass(frozen=True)
class Message:
    """One message on its way; `message_id` is the same over all retries."""

    message_id: str
    kind: str
    peer: str
    address: str
    conversation: str
    seq: int
    payload: dict[str, Any]
    attempts: int
    created_at: datetime


@dataclass(frozen=True)
class Enqueued:
    """Emitted in the verb's transaction; the dispatcher wakes after the commit.

    `first`: nothing of its conversation waits before it, so it may leave as it is.
    """

    message: Message
    first: bool


class Retry(Exception):
    """The peer may yet take it: try again later, after `least_s` seconds or more."""

    def __init__(self, why: str, least_s: float = 0.0) -> None:
        super().__init__(why)
        self.least_s = least_s


class GiveUp(Exception):
    """The peer will never take it: tell the slice that sent it."""


Deliver = Callable[[Message], dict[str, Any] | None]
After = Callable[[Message, Callable[[], None]], None]
OnDelivered = Callable[[Tx, Message, dict[str, Any] | None], None]
OnGaveUp = Callable[[Tx, Message, str], None]


def enqueue(
    tx: Tx,
    kind: str,
    peer: str,
    conversation: str,
    payload: dict[str, Any],
    address: str = "",
) -> str:
    """Add one message for `peer` to the verb; returns the id it keeps over all retries."""
    message_id = f"urn:uuid:{tx.new_id()}"
    [(last, waiting)] = tx.rows(_TAIL, {"of": conversation})
    row: dict[str, Any] = {
        "message_id": message_id,
        "kind": kind,
        "peer": peer,
        "address": address,
        "conversation": conversation,
        "seq": (last or 0) + 1,
        "payload": payload,
        "attempts": 0,
        "created_at": tx.now,
    }
    tx.insert(outbox, {**row, "state": "pending", "next_at": tx.now})
    # What is delivered is what the database keeps: JSON, without the types it came in.
    row["payload"] = json.loads(json.dumps(payload))
    tx.emit(Enqueued(Message(**row), first=not waiting))
    return message_id


def seen(tx: Tx, peer: str, message_id: str) -> bool:
    """Whether this message of `peer` was handled before; records it for the next time."""
    row = {"peer": peer, "message_id": message_id, "received_at": tx.now}
    return not tx.insert_once(inbox, row)


def pending(tx: Tx, conversation: str) -> list[dict[str, Any]]:
    """What still waits in a conversation, with the last error and the next retry time."""
    return [dict(zip(_WAITS, row, strict=True)) for row in tx.rows(_WAITING, {"of": conversation})]


class Outbox:
    """The dispatcher of one process: a few threads, a queue of conversations, one timer."""

    def __init__(self, db: Database, crash: CrashPoints | None = None) -> None:
        self._db = db
        self._crash = crash or CrashPoints()
        self._deliver: dict[str, Deliver] = {}
        self._attempts_max: dict[str, int] = {}
        self._after: dict[str, After] = {}
        self._delivered: dict[str, OnDelivered] = {}
        self._gave_up: dict[str, OnGaveUp] = {}
        self._ready: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._peers = Peers()
        # Replicas share the table: there a message is claimed before it is sent.
        self._shared = db.dialect == "postgresql"
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._again: dict[str, Message | None] = {}  # what rang: its head, where that is ours
        self._held: dict[str, Turn] = {}  # by message id: what `after` has not let go yet
        self._stop = threading.Event()
        self._alarms = Alarms("outbox-alarms")
        self._threads: list[threading.Thread] = []
        self._timer = Chores("outbox-timer", limits.OUTBOX_TICK_S, self._take_up_due, self._grow)
        self.attempted_at = monotonic()  # when a message was last sent, with or without success
        db.events.on(Enqueued, self._enqueued)

    def deliver(
        self,
        kind: str,
        fn: Deliver,
        attempts_max: int = limits.OUTBOX_ATTEMPTS_MAX,
        after: After | None = None,
    ) -> None:
        """Send messages of `kind` with `fn`; it raises Retry or GiveUp, or returns the reply.

        After `attempts_max` retries (40: some 25 minutes) the message is given up. `after` is
        given a fresh message and a call that sends it, to be made once, now or in a moment.
        """
        self._deliver[kind] = fn
        self._attempts_max[kind] = attempts_max
        if after is not None:
            self._after[kind] = after

    def on_delivered(self, kind: str, fn: OnDelivered) -> None:
        """Run `fn(tx, message, reply)` in the transaction that marks the message sent."""
        self._delivered[kind] = fn

    def on_gave_up(self, kind: str, fn: OnGaveUp) -> None:
        """Run `fn(tx, message, why)` in the transaction that marks the message failed."""
        self._gave_up[kind] = fn

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Make `call` in so many seconds, by the thread of retries: it is short."""
        self._alarms.set(seconds, call)

    def start(self) -> None:
        """Start sending; what a crash left pending goes first, however long it was to wait."""
        self._stop.clear()
        self._peers = Peers()
        self._db.write(self._bring_forward)
        self._employ(limits.OUTBOX_WORKERS)
        self._timer.ring()
        self._timer.start()
        self._alarms.start()

    def stop(self) -> None:
        """Stop after the messages under way."""
        self._stop.set()
        self._alarms.stop()
        self._timer.stop()  # it employs nobody from here on
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join()
        while not self._ready.empty():
            if (turn := self._ready.get()) is not None:
                self._release(turn)
        for turn in self._taken_back():
            self._release(turn)
        if self._threads:
            self._db.write(lambda _tx: None)  # after the last mark
        self._threads.clear()

    def alive(self) -> bool:
        """Whether it takes up and sends what waits."""
        return self._timer.alive() and any(thread.is_alive() for thread in self._threads)

    def _taken_back(self) -> list[Turn]:
        """What was to leave in a moment, and leaves after the next start."""
        with self._lock:
            held = list(self._held.values())
            self._held.clear()
            for turn in held:
                self._busy.discard(turn.conversation)
                self._again.pop(turn.conversation, None)
        return held

    def _employ(self, number: int) -> None:
        for _ in range(number):
            name = f"outbox-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def _enqueued(self, tx: Tx, event: Enqueued) -> None:
        if event.first and self._shared and self._threads and not self._stop.is_set():
            # Claimed in the verb itself: who else would have to look for it and claim it.
            until = tx.now + timedelta(seconds=limits.OUTBOX_CLAIM_S)
            tx.change(_CLAIM, {"key": event.message.message_id, "until": until})
        elif self._shared:
            event = replace(event, first=False)
        tx.after_commit(lambda: self._wake(event))

    def _wake(self, event: Enqueued) -> None:
        message = event.message
        if not event.first:
            self._offer(message.conversation, message.peer)
        elif self._taken_up(message.conversation, message):
            turn = Turn(message.conversation, message.peer, message)
            after = self._after.get(message.kind)
            if after is None:
                self._ready.put(turn)
            else:
                with self._lock:
                    self._held[message.message_id] = turn
                after(message, lambda: self._let_leave(message.message_id))

    def _let_leave(self, message_id: str) -> None:
        with self._lock:
            turn = self._held.pop(message_id, None)
        if turn is not None:
            self._ready.put(turn)

    def _offer(self, conversation: str, peer: str) -> None:
        """Take up a conversation, unless somebody has."""
        if self._taken_up(conversation):
            self._ready.put(Turn(conversation, peer, None))

    def _taken_up(self, conversation: str, head: Message | None = None) -> bool:
        """Whether it is ours from now on; who has it will look once more, or go on with `head`."""
        with self._lock:
            if conversation in self._busy:
                claimed = head if self._shared else None  # nobody else will find it
                self._again[conversation] = self._again.get(conversation) or claimed
                return False
            self._busy.add(conversation)
            return True

    def _bring_forward(self, tx: Tx) -> None:
        # Where this node was away, nobody knows how its peers fare: their waits are stale.
        held = (outbox.c.state == "pending", outbox.c.next_at > tx.now)
        tx.execute(sa.update(outbox).where(*held).values(next_at=tx.now))

    def _take_up_due(self) -> None:
        def due(tx: Tx) -> list[tuple[str, str]]:
            return [(conversation, peer) for conversation, peer in tx.rows(_DUE, {"now": tx.now})]

        for conversation, peer in self._db.read(due):
            self._offer(conversation, peer)

    def _grow(self) -> None:
        """Start more threads where sends take long, and give them the turns that had to wait."""
        more, freed = self._peers.grow()
        self._employ(more)
        for turn in freed:
            self._ready.put(turn)

    def _work(self) -> None:
        while (taken := self._ready.get()) is not None:
            if not self._peers.enter(taken):
                continue  # it is taken up when one of its peer's ends
            kept = False
            try:
                kept = self._serve(taken)
            except Exception:
                conversation = taken.conversation
                log.exception("conversation %s stopped; the timer takes it up", conversation)
            for parked in self._peers.leave(taken.peer):
                self._ready.put(parked)
            if not kept:
                self._let_go(taken.conversation, taken.peer)

    def _serve(self, turn: Turn) -> bool:
        """Send what waits; True if the conversation is let go only when the mark is committed."""
        if turn.head is not None and not self._stop.is_set():
            # Alone in its conversation: whatever came since has rung again.
            return self._send(turn.head, at_leisure=True)
        self._release(turn)
        self._send_all(turn.conversation)
        return False

    def _release(self, turn: Turn) -> None:
        """What we claimed and shall not send, another replica may have."""
        if (head := turn.head) is not None and self._shared:
            self._db.write(lambda tx: self._set(tx, head))

    def _let_go(self, conversation: str, peer: str) -> None:
        """Done with a conversation, for now: whoever rang meanwhile is heard."""
        with self._lock:
            again = conversation in self._again
            head = self._again.pop(conversation, None)
            if head is None:
                self._busy.discard(conversation)
            else:
                self._again[conversation] = None  # others may have rung after it
        if head is not None:
            self._ready.put(Turn(conversation, peer, head))
        elif again and not self._stop.is_set():
            self._offer(conversation, peer)

    def _send_all(self, conversation: str) -> None:
        while not self._stop.is_set():
            message = self._head(conversation)
            if message is None or not self._send(message):
                return

    def _send(self, message: Message, at_leisure: bool = False) -> bool:
        """Send the head of a conversation; False if it has to wait.

        `at_leisure`: True says that it went, is marked with the next verb, and its conversation
        is let go then; after a crash in between it is sent once more, under the same id.
        """
        send = self._deliver.get(message.kind)
        if send is None:
            raise LookupError(f"no delivery for {message.kind}")
        self.attempted_at = monotonic()
        began = self._peers.began(message.peer)
        try:
            self._crash.at("before_send")
            reply = send(message)
            self._crash.at("after_send")
        except GiveUp as refused:
            self._peers.answered(message.peer, began)
            why = str(refused)
            self._db.write(lambda tx: self._fail(tx, message, why))
            return not at_leisure
        except Exception as error:
            if not isinstance(error, Retry):
                log.exception("sending %s failed", message.kind)
            why = str(error) or type(error).__name__
            self._peers.failed(message.peer, began)
            least_s = error.least_s if isinstance(error, Retry) else 0.0
            self._db.write(lambda tx: self._later(tx, message, why, least_s))
            return False
        self._peers.answered(message.peer, began)
        self._crash.at("before_mark_sent")
        if not at_leisure:
            self._db.write(lambda tx: self._sent(tx, message, reply))
            self._crash.at("after_mark_sent")
            return True

        def marked(_committed: bool) -> None:
            self._crash.at("after_mark_sent")
            self._let_go(message.conversation, message.peer)

        self._db.write_soon(lambda tx: self._sent(tx, message, reply), marked)
        return True

    def _head(self, conversation: str) -> Message | None:
        """The first waiting message of a conversation, if it is due."""

        def claim(tx: Tx) -> Any:
            # Whoever holds the claim sends, the others pass by.
            row = tx.one(_HEAD.with_for_update(skip_locked=True), {"of": conversation})
            if row is None or (row.claimed_until and row.claimed_until > tx.now):
                return None
            until = tx.now + timedelta(seconds=limits.OUTBOX_CLAIM_S)
            key = outbox.c.message_id == row.message_id
            tx.execute(sa.update(outbox).where(key).values(claimed_until=until))
            return row

        def look(tx: Tx) -> Any:
            return next(iter(tx.rows(_HEAD, {"of": conversation})), None)

        row = self._db.write(claim) if self._shared else self._db.read(look)
        if row is None:
            return None
        *message, next_at, _claimed_until = row
        return None if next_at > self._db.clock.now() else Message(*message)

    def _sent(self, tx: Tx, message: Message, reply: dict[str, Any] | None) -> None:
        tx.change(_MARK_SENT, {"key": message.message_id, "new_attempts": message.attempts + 1})
        if (handler := self._delivered.get(message.kind)) is not None:
            handler(tx, message, reply)

    def _later(self, tx: Tx, message: Message, why: str, least_s: float) -> None:
        attempts = message.attempts + 1
        if attempts >= self._attempts_max.get(message.kind, limits.OUTBOX_ATTEMPTS_MAX):
            self._fail(tx, message, why)
            return
        wait = min(limits.OUTBOX_BACKOFF_S_MAX, limits.OUTBOX_BACKOFF_S_MIN * 2**attempts)
        wait *= random.uniform(0.5, 1.0)  # noqa: S311  jitter, so that peers do not march in step
        wait = max(wait, least_s)
        again = tx.now + timedelta(seconds=wait)
        self._set(tx, message, attempts=attempts, next_at=again, last_error=why[:500])
        # A short first pause is not the timer's business: it may be mid-sleep.
        again_of = (message.conversation, message.peer)
        tx.after_commit(lambda: self._alarms.set(wait, lambda: self._offer(*again_of)))

    def _fail(self, tx: Tx, message: Message, why: str) -> None:
        self._set(tx, message, state="failed", attempts=message.attempts + 1, last_error=why[:500])
        if (handler := self._gave_up.get(message.kind)) is not None:
            handler(tx, message, why)

    def _set(self, tx: Tx, message: Message, **values: Any) -> None:
        key = outbox.c.message_id == message.message_id
        tx.execute(sa.update(outbox).where(key).values(claimed_until=None, **values))

"""The provider's pushes: query once, lay down, send until it has arrived, settle once.

In: pushes whose transfer runs. Out: bytes at the consumer's address; then the use posted and the
transfer completed, or terminated with a reason. The table is the queue: a restart finds there
what is to go on, and the file beside it. One life of a push is `Pusher._go_on`.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from yunhe.contracts import (
    PUSH,
    Contract,
    ContractExpired,
    ContractTerminated,
    Push,
    Pushes,
    PushState,
    Side,
    Transfer,
    TransferMoved,
    TransferState,
    Why,
)
from yunhe.control import Control
from yunhe.dataplane import DataPlane, IpcCount, Query, Spooled, count_file
from yunhe.kernel import limits
from yunhe.kernel.chores import Chores
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.egress import Egress
from yunhe.kernel.errors import NotFound, Unavailable, YunheError
from yunhe.kernel.keys import secret_file
from yunhe.protocols.arrow.sender import Parcel, Sending

log = logging.getLogger(__name__)

_FINAL: Final = (TransferState.COMPLETED, TransferState.TERMINATED)


class SpoolLost(NotFound):
    code = "SPOOL_LOST"
    en = "The result of the push is no longer on the provider's disk."
    zh = "推送结果已不在提供方磁盘上。"
    mend_en = "Ask for a new push."
    mend_zh = "请重新请求推送。"


class _Halted(Exception):
    """The transfer is suspended or over, or the node stops: no failure."""


@dataclass
class _Live:
    """What runs in this process: by transfer, the attempt to send (None while it queries), and
    for whom."""

    sendings: dict[str, Sending | None] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)


class Pusher:
    """Sends the pushes of one node; `start` it, and `stop` it before the database closes."""

    def __init__(
        self,
        db: Database,
        pushes: Pushes,
        in_force: Callable[[str], Contract],
        standing: Callable[[str], None],
        plane: DataPlane,
        control: Control,
        sealing: Callable[..., Callable[[Iterator[bytes]], Iterator[bytes]]],
        folder: Path,
        egress: Egress,
    ) -> None:
        """`in_force(contract id)` raises where a contract does not bind, `standing(did)` where a
        peer is no member any more; `sealing` is the vault's; results lie in `folder`."""
        self._db, self._pushes, self._in_force = db, pushes, in_force
        self._plane, self._control = plane, control
        self._standing, self._sealing = standing, sealing
        self._folder, self._egress = folder, egress
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._owner = secret_file(folder.with_name("push.id")).hex()[:32]
        self._live = _Live()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(limits.PUSH_THREADS, thread_name_prefix="push")
        self._watch = Chores("pusher", limits.PUSH_TICK_S, self._hand_out)
        db.events.on(TransferMoved, self._moved)

    def _moved(self, tx: Tx, event: TransferMoved) -> None:
        if event.role is Side.PROVIDER and event.format == PUSH:
            tx.after_commit(self._watch.ring)

    def start(self) -> None:
        """Go on with what an earlier process left, and wait for more."""
        self._watch.start()

    def stop(self) -> None:
        """Break off what runs; the next start goes on with it."""
        self._watch.stop()
        with self._lock:
            for sending in self._live.sendings.values():
                if sending is not None:
                    sending.stop()
        self._pool.shutdown(wait=True)

    def sent(self, transfer_id: str) -> int | None:
        """How many bytes the present attempt has sent; None where none runs."""
        with self._lock:
            sending = self._live.sendings.get(transfer_id)
        return None if sending is None else sending.sent

    def _hand_out(self) -> None:
        now = self._db.clock.now()
        for t, push in self._pushes.unfinished(Side.PROVIDER):
            due = push.next_at is None or push.next_at <= now
            if t.state not in _FINAL and not (t.state is TransferState.STARTED and due):
                continue
            if push.owner not in ("", self._owner):
                continue  # the result lies on the disk of another replica
            with self._lock:
                peers = [*self._live.peers.values()]
                if self._watch.stopping or t.id in self._live.sendings:
                    continue
                if peers.count(t.peer_did) >= limits.PUSHES_OF_PEER_MAX:
                    continue  # one consumer's slow addresses hold up nobody else
                self._live.sendings[t.id], self._live.peers[t.id] = None, t.peer_did
            self._pool.submit(self._one, t.id)

    def _one(self, transfer_id: str) -> None:
        went = self._tried(transfer_id)
        with self._lock:
            self._live.sendings.pop(transfer_id, None)
            self._live.peers.pop(transfer_id, None)
        if went:
            # What came while it ran woke nobody for it. After a failure the next round is soon
            # enough: what fails at once would be tried without a pause.
            self._watch.ring()

    def _tried(self, transfer_id: str) -> bool:
        try:
            if not self._watch.stopping and self._pushes.claim(transfer_id, self._owner):
                self._go_on(*self._pushes.both(transfer_id))
        except YunheError as error:
            log.warning("a push waits for its next try: %s", error)
            return False
        except Exception:
            log.exception("a push failed inside the node")
            return False
        return True

    # -- one life --------------------------------------------------------------------------------

    def _go_on(self, t: Transfer, push: Push) -> None:
        if push.state is PushState.DELIVERED:
            self._pushes.delivered(t.id, _nothing)
        elif t.state in _FINAL:
            self._cut(t, push)
        elif t.state is TransferState.STARTED:
            try:
                self._still(t)
                if push.state is PushState.WAITING:
                    self._sending(t, push).probe()  # nothing is spent on an address that is none
                    push = self._query(t, self._pushes.begin(t.id))
                self._deliver(t, push)
            except _Halted:
                return
            except (ContractTerminated, ContractExpired) as ended:
                self._cut(t, self._pushes.both(t.id)[1], ended)
            except YunheError as error:
                self._failed(t, error)

    def _query(self, t: Transfer, push: Push) -> Push:
        contract = self._in_force(t.contract_id)
        terms = contract.terms
        # Of a sealed delivery the receiver's vault asks at each read which application it is;
        # beside a release rule nothing is delivered.
        for_vault = bool(push.seal) and terms.release is None and terms.applications
        query = Query(
            contract.id,
            push.use,
            push.sql,
            push.purpose,
            push.principal,
            application=terms.applications[0] if for_vault else "",
        )

        def kept(tx: Tx, laid: Spooled) -> None:
            self._pushes.ready(tx, t.id, laid.rows, laid.bytes, laid.digest)

        through = None
        if push.seal:
            count = IpcCount()
            through = self._sealing(contract, push, lambda chunk: _rows_after(count, chunk))
        self._plane.spool(t.peer_did, query, self._file(t), kept, through)
        return self._pushes.both(t.id)[1]

    def _deliver(self, t: Transfer, push: Push) -> None:
        path = self._file(t)
        if not path.is_file() or path.stat().st_size != push.total:
            raise SpoolLost
        sending = self._sending(t, push)
        with self._lock:
            if self._watch.stopping:
                raise _Halted
            self._live.sendings[t.id] = sending
        self._pushes.sending(t.id)
        try:
            self._still(t)
            sending.run(lambda: self._still(t))
        except BaseException:
            self._pushes.halted(t.id, _left(push, sending))
            raise
        finally:
            with self._lock:
                self._live.sendings[t.id] = None
        self._pushes.delivered(
            t.id,
            lambda _tx, p: self._control.post_held(p.use, t.contract_id, p.rows, p.total, True),
        )
        path.unlink(missing_ok=True)

    def _sending(self, t: Transfer, push: Push) -> Sending:
        if t.data_address is None:  # it ended since it was looked at
            raise _Halted
        address = replace(t.data_address, method=push.method, ranged=push.ranged)
        parcel = Parcel(self._file(t), push.total, push.digest, push.use)
        return Sending(address, parcel, self._egress, self._db.crash)

    def _still(self, t: Transfer) -> None:
        """Whether bytes may flow now; raises _Halted, why the contract does not bind, and why
        the consumer is no member any more."""
        if self._watch.stopping:
            raise _Halted
        self._plane.stands(t.contract_id)
        if self._pushes.both(t.id)[0].state is not TransferState.STARTED:
            raise _Halted
        self._standing(t.peer_did)

    def _failed(self, t: Transfer, error: YunheError) -> None:
        if self._watch.stopping:
            return
        t, push = self._pushes.both(t.id)
        now = self._db.clock.now()
        worn = push.failures + 1 >= limits.PUSH_ATTEMPTS_MAX
        worn = worn or now - push.created_at > timedelta(seconds=limits.PUSH_S_MAX)
        # By the status: a registrar whose key cannot be had now is no Unavailable, and no refusal.
        if error.status == Unavailable.status and not worn:
            why = f"{error.code}: {error.sentence()}"
            self._pushes.halted(t.id, push.sent, why, _later(now, push.failures))
            log.info("a push is tried again: %s", error)
        else:
            self._cut(t, push, error)

    def _cut(self, t: Transfer, push: Push, error: YunheError | None = None) -> None:
        """It ends without having arrived: post what left, if the use was released."""
        path = self._file(t)
        why = None
        if error is not None:
            why = Why(error.code, (error.sentence("en"), error.sentence("zh")))
        settle: Callable[[Tx, Push], Any] = _nothing
        if push.state is PushState.READY:
            rows, sent = self._what_left(path, push)

            def settle(_tx: Tx, p: Push) -> Any:
                return self._control.post_held(p.use, t.contract_id, rows, sent, False)

        self._pushes.cut(t.id, settle, why)
        path.unlink(missing_ok=True)

    @staticmethod
    def _what_left(path: Path, push: Push) -> tuple[int, int]:
        """Rows and bytes that may have left. After a crash: all rows, of bytes not known."""
        if push.sent < 0 or not path.is_file():
            return push.rows, 0
        return min(count_file(path, push.sent).rows_begun, push.rows), push.sent

    def _file(self, t: Transfer) -> Path:
        return self._folder / f"{t.id.rpartition(':')[2]}.arrow"


def _rows_after(count: IpcCount, chunk: bytes) -> int:
    count.feed(chunk)
    return count.rows


def _left(push: Push, sending: Sending) -> int:
    """What has left the node over all attempts, as far as it is known; -1: it is not.

    Where the receiver says it stands is no measure: it would say so to pay for less than it has.
    """
    return push.sent if push.sent < 0 else max(push.sent, sending.sent)


def _nothing(_tx: Tx, _push: Push) -> None:
    return None


def _later(now: datetime, failures: int) -> datetime:
    wait_s = min(limits.PUSH_BACKOFF_S_MAX, limits.PUSH_BACKOFF_S_MIN * 2 ** min(failures, 20))
    return now + timedelta(seconds=wait_s * random.uniform(0.5, 1.0))  # noqa: S311  jitter

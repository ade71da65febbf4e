"""Whether the node can take work now: asked by load balancers, by anybody, as often as they like.

In: questions on the event loop. Out: what is wrong, seldom older than a second. One look is under
way at a time, in a thread of its own; who asks meanwhile waits for that one, holds no thread, and
hears after READY_S_MAX that the database is silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta
from time import monotonic

from yunhe.kernel import backlog, limits
from yunhe.kernel.asgi import Hands
from yunhe.kernel.errors import YunheError
from yunhe.monitor.errors import NotReady
from yunhe.monitor.model import Fault, Watched

log = logging.getLogger(__name__)
_SILENT = Fault("database", "the database does not answer", "数据库无应答")
_REFUSES = Fault("database", "the database takes no verb", "数据库无法写入")
_EVIDENCE = Fault("evidence", "nobody sequences the evidence log", "存证日志无人定序")
_WORKERS = Fault("workers", "no worker can be started", "无法启动工作进程")
_OUTBOX = Fault("outbox", "messages for other nodes are not sent", "发往其他节点的消息未能发送")


class Readiness:
    """One a node, used on its event loop only."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._hands = Hands(1)
        self._found: tuple[Fault, ...] = ()
        self._found_at = self._began = float("-inf")
        self._look: asyncio.Task[tuple[Fault, ...]] | None = None

    async def check(self) -> None:
        """Return where the node is ready; raises NotReady naming what is wrong."""
        if faults := await self._faults():
            raise refusal(faults)

    async def _faults(self) -> tuple[Fault, ...]:
        if monotonic() - self._found_at < limits.READY_KEPT_S:
            return self._found
        if self._look is None:
            self._began = monotonic()
            self._look = asyncio.create_task(self._hands.run(self.look))
            self._look.add_done_callback(self._looked)
        left = self._began + limits.READY_S_MAX - monotonic()
        # `wait` leaves the look to go on: others wait for it, too.
        await asyncio.wait({self._look}, timeout=max(0.0, left))
        if self._look is not None:
            self._note((_SILENT,))
        return self._found

    def _looked(self, look: asyncio.Task[tuple[Fault, ...]]) -> None:
        self._look = None
        if look.cancelled():
            return
        error = look.exception()
        if error is not None:
            log.error("the node could not look whether it is ready", exc_info=error)
        self._note((_SILENT,) if error is not None else look.result())

    def _note(self, found: tuple[Fault, ...]) -> None:
        """Strangers may ask a thousand times a second: the log hears of changes only."""
        if {each.part for each in found} != {each.part for each in self._found}:
            if found:
                log.error("%s", refusal(found))
            else:
                log.warning("the node is ready again")
        self._found, self._found_at = found, monotonic()

    def look(self) -> tuple[Fault, ...]:
        """What is wrong now; waits for the database as long as a verb would."""
        watched = self._watched
        faults = [_WORKERS] if watched.provides and not watched.pool.census().usable else []
        try:
            watched.db.check()
        except YunheError:
            return (_REFUSES, *faults)
        try:
            faults += self._waiting()
        except YunheError:
            return (_REFUSES, *faults)
        return tuple(faults)

    def _waiting(self) -> Iterable[Fault]:
        watched = self._watched
        now = watched.db.clock.now()
        if not watched.evidence.alive() or watched.evidence.standing().stuck(now):
            yield _EVIDENCE
        # A peer that is away must not make this node unready: only that nothing is tried at all.
        tried = monotonic() - watched.outbox.attempted_at < limits.OUTBOX_STUCK_S
        before = now - timedelta(seconds=limits.OUTBOX_STUCK_S)
        left = not tried and watched.db.read(lambda tx: backlog.overdue(tx, before))
        if left or not watched.outbox.alive():
            yield _OUTBOX


def refusal(faults: Iterable[Fault]) -> NotReady:
    """The error that names `faults`."""
    faults = tuple(faults)
    return NotReady(
        parts=sorted({each.part for each in faults}),
        why="; ".join(each.en for each in faults),
        why_zh="；".join(each.zh for each in faults),
    )

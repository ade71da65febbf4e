"""What waits in the outbox, for whoever looks after the node.

In: a transaction. Out: how much waits and since when, whether anything waits that somebody should
have sent, and whether a peer has been tried in vain.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from yunhe.kernel.db import Tx
from yunhe.kernel.outbox import outbox

_PENDING: Final = outbox.c.state == "pending"
_WAITING: Final = sa.select(sa.func.count(), sa.func.min(outbox.c.created_at)).where(_PENDING)
_FAILED: Final = sa.select(sa.func.count()).select_from(outbox).where(outbox.c.state == "failed")
_BEFORE: Final = outbox.alias("before")


@dataclass(frozen=True)
class Backlog:
    """Messages that wait, the oldest of them, and those that were given up."""

    waiting: int
    oldest_at: datetime | None
    failed: int


def backlog(tx: Tx) -> Backlog:
    """The outbox now."""
    [(waiting, oldest_at)] = tx.rows(_WAITING, {})
    return Backlog(waiting, oldest_at, int(tx.scalar(_FAILED) or 0))


def overdue(tx: Tx, since: datetime) -> bool:
    """Whether the first message of a conversation was due at `since` and nobody has it in hand."""
    earlier = sa.exists().where(
        _BEFORE.c.conversation == outbox.c.conversation,
        _BEFORE.c.state == "pending",
        _BEFORE.c.seq < outbox.c.seq,
    )
    free = sa.or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until < tx.now)
    due = sa.select(outbox.c.seq).where(_PENDING, outbox.c.next_at <= since, free, ~earlier)
    return tx.one(due.limit(1)) is not None


def in_vain(tx: Tx, peer: str) -> bool:
    """Whether a message for `peer` waits that was tried before."""
    tried = (_PENDING, outbox.c.peer == peer, outbox.c.attempts > 0)
    return tx.one(sa.select(outbox.c.seq).where(*tried).limit(1)) is not None

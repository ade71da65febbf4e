"""What nobody goes on with is ended, and the other side told.

In: the time, from the node's timer. Out: negotiations without a word for long end, pulls whose
token is long over complete: their consumer asks anew when it needs one.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from yunhe.contracts import rules, store, store_open, transfers
from yunhe.contracts.desk import Desk, end, ours
from yunhe.contracts.model import TransferState, Why
from yunhe.contracts.rules import TransferVerb
from yunhe.kernel import limits
from yunhe.kernel.db import Tx

_IDLE: Final = Why("NEGOTIATION_IDLE", ("Nobody went on with it.", "长期无人继续，协商已关闭。"))


def end_idle(desk: Desk, tx: Tx, limit: int) -> int:
    """End at most `limit` of each kind; returns how many there were."""
    silent = tx.now - timedelta(days=limits.NEGOTIATION_IDLE_DAYS)
    talks = store_open.idle_talks(tx, silent, limit)
    for key in talks:
        n = ours(tx, key)
        if n.updated_at < silent and rules.after(n.state, rules.Verb.TERMINATE, n.role):
            end(desk, tx, n, _IDLE, say=bool(n.peer_pid))
    over = tx.now - timedelta(seconds=limits.DATA_TOKEN_S_MAX + limits.TRANSFER_IDLE_S)
    pulls = store_open.idle_pulls(tx, transfers.PULL, over, limit)
    for key in pulls:
        t = store.transfer(tx, key, lock=True)
        if t is not None and t.state is TransferState.STARTED:
            transfers.say(desk, tx, t, TransferVerb.COMPLETE)
    return len(talks) + len(pulls)

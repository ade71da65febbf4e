"""What became of our messages: delivered with an answer, or given up with the peer's reason.

In: the outbox's reports, inside the transaction that marks the message. Out: the peer's pid
learnt; or the conversation ended with the reason on it, so that nothing is stuck in silence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yunhe.contracts import lifecycle, store, transfers
from yunhe.contracts.desk import Desk, end
from yunhe.contracts.messages import ContractTermination, TransferTermination
from yunhe.contracts.model import Side, State, TransferState, Why
from yunhe.contracts.rules import TransferVerb, transfer_after
from yunhe.kernel import limits, outbox
from yunhe.kernel.db import Tx

_CONTRACT_OVER = ("CONTRACT_TERMINATED", "CONTRACT_EXPIRED")


def delivered(tx: Tx, message: outbox.Message, reply: dict[str, Any] | None) -> None:
    """Learn the peer's pid from its answer `{"peer_pid": ...}` to an opening message."""
    told = message.payload
    known = told.get("consumer_pid" if told.get("sender") == Side.PROVIDER else "provider_pid")
    peer_pid = None if known else (reply or {}).get("peer_pid")
    if not isinstance(peer_pid, str) or not 0 < len(peer_pid) <= limits.PID_CHARS_MAX:
        return
    of = store.transfers if message.kind.startswith("dsp.transfer.") else store.negotiations
    store.learn_peer_pid(tx, of, message.conversation, peer_pid)


def gave_up(desk: Desk, tx: Tx, message: outbox.Message, why: str) -> None:
    """The peer will not take a message: end the conversation for that reason."""
    code, _, sentence = why.partition(": ")
    said = tuple(filter(None, (sentence or why).split("\n")))
    reason = Why(code if code.isupper() else "PEER_REFUSED", said)
    if message.kind.startswith("dsp.transfer."):
        _transfer(desk, tx, message, reason)
    else:
        _negotiation(desk, tx, message, reason)


def _negotiation(desk: Desk, tx: Tx, message: outbox.Message, why: Why) -> None:
    n = store.negotiation(tx, message.conversation, lock=True)
    if n is None or message.kind == ContractTermination.kind or n.state is State.TERMINATED:
        return
    if n.state is State.FINALIZED:
        # The consumer never learnt that the contract is in force: then it is not.
        store.save_negotiation(tx, replace(n, error=why))
        lifecycle.finish(desk, tx, n.contract_id, "terminated", why, desk.did)
        return
    # The two sides disagree on the state: both end (DSP 2025-1 §Contract Negotiation).
    end(desk, tx, n, why, say=bool(n.peer_pid))


def _transfer(desk: Desk, tx: Tx, message: outbox.Message, why: Why) -> None:
    t = store.transfer(tx, message.conversation, lock=True)
    if t is None or message.kind == TransferTermination.kind:
        return
    if transfer_after(t.state, TransferVerb.TERMINATE, t.role) is not None:
        transfers.move(desk, tx, t, TransferVerb.TERMINATE, t.role, error=why, data_address=None)
    if (
        t.role is Side.CONSUMER
        and why.code in _CONTRACT_OVER
        and t.state in (TransferState.REQUESTED,)
    ):
        lifecycle.finish(desk, tx, t.contract_id, "terminated", why, t.peer_did)

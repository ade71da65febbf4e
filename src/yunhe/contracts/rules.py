"""THE state tables: (state, message, sender) -> next state; a missing cell is a refusal.

In: a state, what was said and who says it. Out: the next state, or None. Negotiation follows
DSP 2025-1 §Contract Negotiation, transfer §Transfer Process; termination is taken from either
party in every state that is not final. A test walks every cell.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from yunhe.contracts.model import Side, State, TransferState


class Verb(StrEnum):
    """What can be said in a negotiation."""

    REQUEST = "request"
    OFFER = "offer"
    ACCEPT = "accept"
    AGREE = "agree"
    VERIFY = "verify"
    FINALIZE = "finalize"
    TERMINATE = "terminate"


class TransferVerb(StrEnum):
    """What can be said in a transfer."""

    REQUEST = "request"
    START = "start"
    SUSPEND = "suspend"
    COMPLETE = "complete"
    TERMINATE = "terminate"


_S, _T = State, TransferState
_C, _P = (Side.CONSUMER,), (Side.PROVIDER,)
_BOTH = (Side.CONSUMER, Side.PROVIDER)

# from, said, by whom, to
_NEGOTIATION_ROWS: Final = (
    (None, Verb.REQUEST, _C, _S.REQUESTED),
    (None, Verb.OFFER, _P, _S.OFFERED),
    (_S.REQUESTED, Verb.OFFER, _P, _S.OFFERED),
    (_S.REQUESTED, Verb.AGREE, _P, _S.AGREED),
    (_S.REQUESTED, Verb.TERMINATE, _BOTH, _S.TERMINATED),
    (_S.OFFERED, Verb.REQUEST, _C, _S.REQUESTED),
    (_S.OFFERED, Verb.ACCEPT, _C, _S.ACCEPTED),
    (_S.OFFERED, Verb.TERMINATE, _BOTH, _S.TERMINATED),
    (_S.ACCEPTED, Verb.AGREE, _P, _S.AGREED),
    (_S.ACCEPTED, Verb.TERMINATE, _BOTH, _S.TERMINATED),
    (_S.AGREED, Verb.VERIFY, _C, _S.VERIFIED),
    (_S.AGREED, Verb.TERMINATE, _BOTH, _S.TERMINATED),
    (_S.VERIFIED, Verb.FINALIZE, _P, _S.FINALIZED),
    (_S.VERIFIED, Verb.TERMINATE, _BOTH, _S.TERMINATED),
)

_TRANSFER_ROWS: Final = (
    (None, TransferVerb.REQUEST, _C, _T.REQUESTED),
    (_T.REQUESTED, TransferVerb.START, _P, _T.STARTED),
    (_T.REQUESTED, TransferVerb.TERMINATE, _BOTH, _T.TERMINATED),
    (_T.STARTED, TransferVerb.SUSPEND, _BOTH, _T.SUSPENDED),
    (_T.STARTED, TransferVerb.COMPLETE, _BOTH, _T.COMPLETED),
    (_T.STARTED, TransferVerb.TERMINATE, _BOTH, _T.TERMINATED),
    (_T.SUSPENDED, TransferVerb.START, _BOTH, _T.STARTED),
    (_T.SUSPENDED, TransferVerb.TERMINATE, _BOTH, _T.TERMINATED),
)

_NEGOTIATION: Final = {
    (state, verb, side): to for state, verb, sides, to in _NEGOTIATION_ROWS for side in sides
}
_TRANSFER: Final = {
    (state, verb, side): to for state, verb, sides, to in _TRANSFER_ROWS for side in sides
}


def after(state: State | None, verb: Verb, sender: Side) -> State | None:
    """The state after `sender` said `verb` in `state` (None: no negotiation yet); None refuses."""
    return _NEGOTIATION.get((state, verb, sender))


def transfer_after(
    state: TransferState | None, verb: TransferVerb, sender: Side
) -> TransferState | None:
    """The same for transfers."""
    return _TRANSFER.get((state, verb, sender))


def may_say(state: State, side: Side) -> tuple[Verb, ...]:
    """What `side` may say in `state`; empty in a final state or while the other's turn lasts."""
    return tuple(verb for verb in Verb if after(state, verb, side) is not None)

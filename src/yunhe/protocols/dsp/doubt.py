"""Messages that may have arrived without our knowing: the peer's state is asked before they repeat.

In: messages of which the answer was lost, by the wire or by a crash of ours. Out: whether the peer
already acts on one. Peers that keep no message ids would otherwise refuse the repetition, and a
negotiation that went well would end (DSP 2025-1 §Contract Negotiation, GET of the state).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import httpx

from yunhe import contracts
from yunhe.contracts import Message, State, TransferState
from yunhe.kernel import limits
from yunhe.kernel.outbox import Message as Letter
from yunhe.protocols.dsp.client import DspClient

_AGREED: Final = (State.AGREED, State.VERIFIED, State.FINALIZED)
_TAKEN: Final[dict[type[Message], tuple[str, ...]]] = {
    contracts.ContractRequest: (State.REQUESTED, *_AGREED),
    contracts.ContractOffer: (State.OFFERED, State.ACCEPTED, *_AGREED),
    contracts.ContractAcceptance: (State.ACCEPTED, *_AGREED),
    contracts.ContractAgreement: _AGREED,
    contracts.ContractVerification: (State.VERIFIED, State.FINALIZED),
    contracts.ContractFinalization: (State.FINALIZED,),
    contracts.ContractTermination: (State.TERMINATED,),
    contracts.TransferStart: (TransferState.STARTED,),
    contracts.TransferSuspension: (TransferState.SUSPENDED,),
    contracts.TransferCompletion: (TransferState.COMPLETED,),
    contracts.TransferTermination: (TransferState.TERMINATED,),
}
_NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Doubts:
    """Which messages are in doubt: cut while under way, or left over by an earlier process."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._since = now()
        self._cut: set[str] = set()
        self._lock = threading.Lock()

    def cut(self, letter: Letter, error: Exception) -> None:
        """A message whose sending failed; one that never left is not in doubt."""
        if not isinstance(error, _NEVER_LEFT):
            with self._lock:
                self._cut.add(letter.message_id)

    def settled(self, letter: Letter) -> None:
        """A message whose fate is known."""
        with self._lock:
            self._cut.discard(letter.message_id)

    def about(self, letter: Letter) -> bool:
        """Whether the peer may have it already."""
        return letter.created_at < self._since or letter.message_id in self._cut


def taken(client: DspClient, letter: Letter, message: Message) -> bool:
    """Whether the peer's own state shows that it has `message`; raises as the client does.

    An opening message has no pid of the peer to ask for: its repetition is known by our pid.
    """
    if not message.receiver_pid:
        return False
    family = "transfers" if isinstance(message, contracts.TransferMessage) else "negotiations"
    where = f"{letter.address.rstrip('/')}/{family}/{quote(message.receiver_pid, safe=':')}"
    got = client.call("GET", where, letter.peer, None, limits.DSP_REPLY_BYTES_MAX)
    body: Any = got.body
    state = body.get("state") if got.status == 200 and isinstance(body, dict) else None
    plain = state.rpartition(":")[2] if isinstance(state, str) else ""
    return plain in _TAKEN.get(type(message), ())

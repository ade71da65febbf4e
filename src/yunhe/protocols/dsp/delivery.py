"""Deliveries of the outbox: each `dsp.*` message goes to its endpoint, once it can.

In: outbox messages (versioned domain JSON). Out: a POST; `{"peer_pid"}` learnt from the answer;
Retry while the peer may yet take it, GiveUp with the peer's own reason when it never will. The
message id is the body's `@id` over all retries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import httpx

from yunhe import contracts
from yunhe.contracts import Contracts, Message, Side
from yunhe.kernel import limits
from yunhe.kernel.errors import Unavailable, YunheError
from yunhe.kernel.outbox import GiveUp, Outbox, Retry
from yunhe.kernel.outbox import Message as Letter
from yunhe.protocols.dsp import wire
from yunhe.protocols.dsp.body import clean
from yunhe.protocols.dsp.client import Answer, DspClient
from yunhe.protocols.dsp.doubt import Doubts, taken
from yunhe.protocols.dsp.errors import silent
from yunhe.protocols.dsp.replies import Replies
from yunhe.protocols.dsp.wire import Json

_AGAIN: Final = frozenset({408, 423, 425, 429})
_BUSY: Final = 409  # not DSP's, but Eclipse's
_OPENINGS: Final = ("negotiations/request", "negotiations/offers", "transfers/request")
_TAILS: Final[dict[type[Message], str]] = {
    contracts.ContractRequest: "negotiations/{pid}/request",
    contracts.ContractOffer: "negotiations/{pid}/offers",
    contracts.ContractAcceptance: "negotiations/{pid}/events",
    contracts.ContractFinalization: "negotiations/{pid}/events",
    contracts.ContractAgreement: "negotiations/{pid}/agreement",
    contracts.ContractVerification: "negotiations/{pid}/agreement/verification",
    contracts.ContractTermination: "negotiations/{pid}/termination",
    contracts.TransferStart: "transfers/{pid}/start",
    contracts.TransferSuspension: "transfers/{pid}/suspension",
    contracts.TransferCompletion: "transfers/{pid}/completion",
    contracts.TransferTermination: "transfers/{pid}/termination",
}


class DspDelivery:
    """Sends what `service` put into the outbox."""

    def __init__(
        self,
        service: Contracts,
        client: DspClient,
        now: Callable[[], datetime],
        replies: Replies | None = None,
        opening: Callable[[str], None] | None = None,
    ) -> None:
        """`replies`: those of the node's routes, which no answer overtakes.

        `opening(contract_id)` is told that the start of a transfer leaves now: until the peer has
        taken it in, nobody waits for us.
        """
        self._service = service
        self._replies = replies or Replies()
        self._client = client
        self._now = now
        self._doubts = Doubts(now)
        self._opening = opening or (lambda _contract_id: None)

    def install(self, outbox: Outbox) -> None:
        """Register the delivery of every kind."""
        for message in contracts.MESSAGES:
            outbox.deliver(message.kind, self.deliver, after=self._after_reply)

    def _after_reply(self, letter: Letter, send: Callable[[], None]) -> None:
        """What answers a message leaves after the reply to it."""
        to = "consumer_pid" if letter.payload.get("sender") == Side.PROVIDER else "provider_pid"
        self._replies.after((letter.peer, str(letter.payload.get(to, ""))), send)

    def deliver(self, letter: Letter) -> Json | None:
        """Send one message; raises Retry or GiveUp."""
        message, tail = self._addressed(letter)
        url = f"{letter.address.rstrip('/')}/{tail}"
        try:
            if self._doubts.about(letter) and taken(self._client, letter, message):
                return None
            got = self._client.post(url, letter.peer, wire.write(message))
        except (httpx.HTTPError, Unavailable) as error:
            self._doubts.cut(letter, error)
            told = silent(url, error) if isinstance(error, httpx.HTTPError) else error
            raise Retry(f"{told.code}: {told.sentence()}") from error
        except YunheError as error:
            raise GiveUp(f"{error.code}: {error.sentence()}") from error
        self._doubts.settled(letter)
        if 200 <= got.status < 300:
            return self._learnt(message, got.body)
        # A fresh token each time: one that the peer could not check just now may pass the next.
        again = got.status == 401 and letter.attempts < limits.DSP_TOKEN_RETRIES_MAX
        if again or got.status >= 500 or got.status in _AGAIN or self._early(letter, tail, got):
            # Eclipse's repeats what it was busy with first; what came between would be lost.
            raise Retry(got.why(), limits.DSP_BUSY_S if got.status == _BUSY else 0.0)
        if self._crossed(letter, message):
            return None
        raise GiveUp(got.why())

    def _early(self, letter: Letter, tail: str, got: Answer) -> bool:
        """Whether it may not know yet what it just said, or still be busy with it."""
        opens = tail in _OPENINGS
        longest = limits.DSP_NOT_FOUND_RETRY_S if opens else limits.DSP_EARLY_RETRY_S
        age_s = (self._now() - letter.created_at).total_seconds()
        return got.status in (404, _BUSY) and age_s < longest

    def _crossed(self, letter: Letter, message: Message) -> bool:
        """Whether both sides ended it at once: the peer refuses our end of what it ended too."""
        if not isinstance(message, contracts.ContractTermination | contracts.TransferTermination):
            return False
        try:
            return taken(self._client, letter, message)
        except (httpx.HTTPError, YunheError):
            return False  # the refusal itself is the one to tell

    def _addressed(self, letter: Letter) -> tuple[Message, str]:
        """The message with the pids as known by now, and where it goes."""
        message = contracts.from_payload(letter.kind, letter.payload, letter.message_id)
        if isinstance(message, contracts.TransferRequest):
            if message.format == contracts.PUSH:  # only there the consumer says an address
                to = self._service.addressed(letter.conversation).data_address
                message = replace(message, data_address=to)
            return message, "transfers/request"
        if isinstance(message, contracts.ContractRequest) and message.address:
            return message, "negotiations/request"
        if isinstance(message, contracts.ContractOffer) and message.address:
            return message, "negotiations/offers"
        if not message.receiver_pid:
            message = self._learnt_since(letter, message)
        self._replies.wait((letter.peer, message.receiver_pid))
        if isinstance(message, contracts.TransferStart):
            opened = self._service.addressed(letter.conversation)
            message = replace(message, data_address=opened.data_address)
            self._opening(opened.contract_id)
        return message, _TAILS[type(message)].format(pid=quote(message.receiver_pid, safe=":"))

    def _learnt_since(self, letter: Letter, message: Message) -> Message:
        """A message that was written before the peer said its pid, which is for good."""
        talk: contracts.Negotiation | contracts.Transfer
        if isinstance(message, contracts.TransferMessage):
            talk = self._service.transfer(letter.conversation)
        else:
            talk = self._service.negotiation(letter.conversation)
        if not talk.peer_pid:
            raise GiveUp("PEER_PID_UNKNOWN: the peer never said under which id it keeps this")
        return replace(message, provider_pid=talk.provider_pid, consumer_pid=talk.consumer_pid)

    @staticmethod
    def _learnt(message: Message, body: Any) -> Json | None:
        name = "providerPid" if message.sender is Side.CONSUMER else "consumerPid"
        pid = body.get(name) if isinstance(body, dict) else None
        return {"peer_pid": pid} if isinstance(pid, str) and clean(pid) == pid else None

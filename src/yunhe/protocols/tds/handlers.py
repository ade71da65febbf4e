"""Which verb answers which TDS message, and how both look on the wire.

In: message bodies of peers; domain messages of the outbox. Out: calls of the federation and signed
answers; deliveries. One table, MESSAGES, holds the names of each message's request and answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from yunhe import catalog, identity
from yunhe.federation import Federation
from yunhe.identity import Peer
from yunhe.kernel import limits
from yunhe.kernel.errors import Internal, RateLimited, Unauthenticated, Unavailable, YunheError
from yunhe.kernel.outbox import GiveUp, Message, Outbox, Retry
from yunhe.protocols.tds import fields
from yunhe.protocols.tds.client import TdsClient
from yunhe.protocols.tds.errors import PeerRefused, UnreadableMessage
from yunhe.protocols.tds.fields import Body, Name, Names
from yunhe.protocols.tds.messages import MESSAGES
from yunhe.protocols.tds.router import Handler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shape:
    """A message: the names of its request and of its answer; `under`: what wraps the request."""

    request: Names
    answer: Names
    under: str = ""  # the domain member that holds the request: record, form


_CREDENTIAL: Final = Names(Name("credential", "credential"))
_ROOTS: Final = Names(Name("roots", "rootCertList"))
_ASKED: Final = Names(Name("application_id", "applicationId"))
_CODE: Final = Names(Name("code", "productId"))
_NOTHING: Final = Names()

SHAPES: Final[Mapping[str, Shape]] = {
    "RegisterSubject": Shape(fields.SUBJECT, fields.APPLICATION, "form"),
    "RegisterConnector": Shape(fields.CONNECTOR, fields.APPLICATION, "form"),
    "GetApplication": Shape(_ASKED, fields.APPLICATION),
    "SubmitCredentialRequest": Shape(_NOTHING, _CREDENTIAL),
    "GetIdentityProviderList": Shape(_NOTHING, _ROOTS),
    "RegisterDataResource": Shape(fields.RESOURCE, fields.APPLICATION, "record"),
    "RegisterDataProduct": Shape(fields.PRODUCT, fields.APPLICATION, "record"),
    "RegisterApplication": Shape(fields.PROGRAM, fields.APPLICATION, "record"),
    "ListDataProduct": Shape(fields.LISTING, fields.APPLICATION, "record"),
    "DelistDataProduct": Shape(fields.WITHDRAWAL, fields.APPLICATION, "record"),
    "RevokeDataResource": Shape(fields.WITHDRAWAL, fields.APPLICATION, "record"),
    "RevokeDataProduct": Shape(fields.WITHDRAWAL, fields.APPLICATION, "record"),
    "ReviewResult": Shape(fields.APPLICATION, _NOTHING),
    "SearchDataCatalog": Shape(fields.SEARCH, fields.PAGE),
    "GetDataCatalogDetail": Shape(_CODE, fields.DETAIL),
}
PLAIN: Final = ("FindApplications",)  # of ours alone: nothing of them is translated
# What a peer says of our token and not of the message: it passes when the peer has read our
# document again, or a clock was set.
_PASSING: Final = frozenset(
    error.code
    for error in (
        identity.CredentialExpired,
        identity.TokenExpired,
        identity.TokenKeyUnknown,
        identity.TokenNotYet,
        identity.TokenReplayed,
    )
)
_ORDER_READ: Final = {"dsc": "newest", "desc": "newest", "asc": "oldest"}  # N05 A.1
_ORDER_WRITE: Final = {"newest": "dsc", "oldest": "asc"}


def handlers(
    federation: Federation, others: Mapping[str, Handler] | None = None
) -> dict[str, Handler]:
    """Every message this node answers: the federation's, and `others` (statements, receipts,
    proofs), whose bodies are ours alone and are not translated."""
    made: dict[str, Handler] = {name: _handler(federation, name) for name in SHAPES}
    plain = {name: _plain(federation, name) for name in PLAIN}
    return {**made, **plain, **(others or {})}


def _plain(federation: Federation, name: str) -> Handler:
    def handle(body: Body, peer: Peer) -> Body:
        return federation.receive(name, body, peer)

    return handle


def _handler(federation: Federation, name: str) -> Handler:
    def handle(body: Body, peer: Peer) -> Body:
        payload = read_request(name, body)
        message_id = body.get("messageId", "")
        if not isinstance(message_id, str) or len(message_id) > limits.TDS_MESSAGE_CHARS_MAX:
            raise UnreadableMessage(detail="messageId")
        return write_answer(name, federation.receive(name, payload, peer, message_id))

    return handle


def read_request(name: str, body: Body) -> Body:
    """A request's domain payload; raises UnreadableMessage."""
    shape = SHAPES[name]
    ours = shape.request.from_wire(body)
    if name == "SearchDataCatalog":
        order = str(ours.get("order", ""))
        ours["order"] = _ORDER_READ.get(order, order)
    return {shape.under: ours} if shape.under else ours


def write_request(name: str, payload: Body) -> Body:
    """A domain payload as the request's body; messages without a shape stay as they are."""
    shape = SHAPES.get(name)
    if shape is None:
        return payload
    ours = payload[shape.under] if shape.under else payload
    if name == "SearchDataCatalog":
        ours = {**ours, "order": _ORDER_WRITE.get(ours.get("order", ""), ours.get("order", ""))}
    return shape.request.to_wire(ours)


def write_answer(name: str, payload: Body) -> Body:
    """A domain answer as the body's `data`."""
    return SHAPES[name].answer.to_wire(payload)


def read_answer(name: str, data: Body) -> Body:
    """The domain answer in a body's `data`; messages without a shape stay as they are."""
    shape = SHAPES.get(name)
    return data if shape is None else shape.answer.from_wire(data)


class TdsWire:
    """Sends domain messages as TDS messages: live (`call`) or from the outbox (`deliver`)."""

    def __init__(self, client: TdsClient, address_of: Callable[[str], str]) -> None:
        """`address_of(did)` finds a peer whose address the sender did not know."""
        self._client = client
        self._address_of = address_of

    def install(self, box: Outbox) -> None:
        """Deliver every `tds.<Name>` of the outbox."""
        for name, message in MESSAGES.items():
            short, long = limits.OUTBOX_ATTEMPTS_MAX, limits.OUTBOX_ATTEMPTS_LONG_MAX
            box.deliver(f"tds.{name}", self.deliver, long if message.patient else short)

    def call(self, address: str, did: str, name: str, payload: Body) -> Body:
        """Ask a node and wait; the domain answer.

        Raises EntryNotFound for what the peer does not have, PeerRefused, PeerUnavailable and
        what else the client raises.
        """
        body = write_request(name, payload)
        try:
            return read_answer(name, self._client.call(address, did, name, body))
        except PeerRefused as error:
            if error.peer_code == catalog.EntryNotFound.code:
                raise catalog.EntryNotFound(entry=str(payload.get("code", ""))[:65]) from error
            raise

    def deliver(self, message: Message) -> dict[str, Any]:
        """Send one outbox message under its id; raises Retry or GiveUp."""
        name = message.kind.removeprefix("tds.")
        body = {**write_request(name, message.payload), "messageId": message.message_id}
        try:
            address = message.address or self._address_of(message.peer)
            return read_answer(name, self._client.call(address, message.peer, name, body))
        except (Unavailable, RateLimited, Internal, Unauthenticated) as error:
            # Unauthenticated: a peer whose document or key is not readable yet, or a clock off.
            raise Retry(str(error)) from error
        except PeerRefused as error:
            passing = error.peer_code in _PASSING
            # The peer's own words in both languages: a line for each, as tongues.of reads them.
            told = f"{error.sentence('en')}\n{error.sentence('zh')}"
            raise (Retry if passing else GiveUp)(told) from error
        except YunheError as error:
            raise GiveUp(str(error)) from error

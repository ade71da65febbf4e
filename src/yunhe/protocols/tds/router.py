"""The HTTP face of TDS messages: `POST /tds/<Name>`, authenticated, signed, bounded.

In: handlers by message name, each `(body, peer) -> data`. Out: a FastAPI router. Everything that
can be refused is refused here before a handler runs, and nothing is stored for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Request, Response

from yunhe.identity import Identity, Peer, require_member
from yunhe.kernel import canonical, limits
from yunhe.kernel.asgi import json_body
from yunhe.kernel.errors import Internal, YunheError
from yunhe.protocols.tds import framing
from yunhe.protocols.tds.errors import HeaderInvalid, UnknownMessage, UnreadableMessage, http_status
from yunhe.protocols.tds.messages import MESSAGES

Handler = Callable[[dict[str, Any], Peer], dict[str, Any]]

log = logging.getLogger(__name__)


async def bounded_body(request: Request) -> bytes | None:
    """The raw body, or None once it exceeds the limit; never more than that in memory."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.TDS_BODY_BYTES_MAX:
            return None
    return bytes(body)


def router(identity: Identity, handlers: Mapping[str, Handler]) -> APIRouter:
    """`POST /tds/{name}` for exactly the names of `handlers`; their verbs run in threads."""
    unknown = set(handlers) - set(MESSAGES)
    if unknown:
        raise ValueError(f"no such message: {', '.join(sorted(unknown))}")
    made = APIRouter(tags=["tds"])
    desk = _Desk(identity, handlers)

    @made.post(
        "/tds/{name}",
        summary="One TDS message (N03 8.2)",
        response_class=Response,
        openapi_extra=json_body(),
    )
    def receive(
        name: str, request: Request, raw: Annotated[bytes | None, Depends(bounded_body)]
    ) -> Response:
        return desk.answer(name, request, raw)

    return made


def did_router(identity: Identity) -> APIRouter:
    """Where this node's own did:web document stands, by the did:web rule for its DID."""
    _, *path = identity.own_did.removeprefix("did:web:").split(":")
    place = "/".join(unquote(part) for part in path) or ".well-known"
    made = APIRouter(tags=["did"])

    @made.get(f"/{place}/did.json", summary="This node's DID document")
    def document() -> dict[str, Any]:
        return identity.did_document()

    return made


class _Desk:
    """Takes one message from headers to signed answer."""

    def __init__(self, identity: Identity, handlers: Mapping[str, Handler]) -> None:
        self._identity = identity
        self._handlers = dict(handlers)

    def answer(self, name: str, request: Request, raw: bytes | None) -> Response:
        """The signed answer; errors become envelopes, never tracebacks."""
        name = name if framing.well_formed(name) else "unknown"
        try:
            handler, body, peer = self._admit(name, request, raw)
        except YunheError as error:
            return self._signed(name, request, framing.failure(name, error), error.status)
        try:
            envelope, status = framing.success(name, self._run(name, handler, body, peer)), 200
        except YunheError as error:
            envelope, status = framing.failure(name, error), http_status(error)
        except Exception as error:
            log.exception("the handler of %s failed", name)
            envelope, status = framing.failure(name, Internal(detail=str(error))), 500
        return self._signed(name, request, envelope, status)

    def _admit(
        self, name: str, request: Request, raw: bytes | None
    ) -> tuple[Handler, dict[str, Any], Peer]:
        """Who sends what, authenticated and spent; raises before anything is stored."""
        source = request.client.host if request.client else "?"
        try:
            verified = self._identity.peers.verify(request.headers.get("authorization", ""))
        except YunheError as error:
            self._identity.refusals.refused(source, error.code)
            raise
        try:
            handler, frame, body = self._read(name, request, raw)
            framing.check_signature(frame, body, (verified.peer.jwk,))
            return handler, body, self._identity.admit_message(verified, frame.sequence)
        except YunheError as error:
            # The token is not spent yet, so whoever holds it may repeat this: counted, not kept.
            self._identity.refusals.refused(verified.peer.did, error.code)
            raise

    def _run(self, name: str, handler: Handler, body: dict[str, Any], peer: Peer) -> dict[str, Any]:
        try:
            if not MESSAGES[name].open:
                require_member(peer)
            return handler(body, peer)
        except YunheError as error:
            if error.status < 500:
                self._identity.record_refusal(peer, name, error.code)
            raise

    def _read(
        self, name: str, request: Request, raw: bytes | None
    ) -> tuple[Handler, framing.Frame, dict[str, Any]]:
        handler = self._handlers.get(name)
        if handler is None:
            raise UnknownMessage(name=name)
        frame = framing.read(request.headers, self._identity.clock.now())
        if frame.name != name:
            raise HeaderInvalid(name="msgcode")
        if raw is None:
            raise UnreadableMessage(detail="too large")
        return handler, frame, framing.read_body(raw, limits.TDS_BODY_BYTES_MAX)

    def _signed(
        self, name: str, request: Request, envelope: dict[str, Any], status: int
    ) -> Response:
        sequence = request.headers.get("sequenceNum", "")
        if not sequence.isascii() or len(sequence) > limits.TDS_SEQUENCE_CHARS_MAX:
            sequence = ""
        frame = framing.sign(
            self._identity.key, envelope, name, sequence or "-", self._identity.clock.now()
        )
        return Response(
            canonical.dumps(envelope), status, frame.headers(), media_type=framing.MEDIA_TYPE
        )

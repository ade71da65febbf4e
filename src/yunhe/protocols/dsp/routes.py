"""The DSP 2025-1 HTTPS endpoints: version, catalogue, negotiation, transfer (spec §1.1).

In: HTTP. Out: typed messages for `contracts`, and its state as DSP bodies. Provider and consumer
share one base path; which side a message is for, the pid decides. What a handler does runs in
worker threads, as the services below know no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from yunhe import contracts
from yunhe.contracts import Contracts, Party, State, TransferState
from yunhe.kernel import limits
from yunhe.kernel.asgi import Hands, json_body
from yunhe.kernel.canonical import loads_strict
from yunhe.kernel.errors import YunheError
from yunhe.kernel.routes import Bare, side_by_side
from yunhe.protocols.dsp import wire
from yunhe.protocols.dsp.body import Body
from yunhe.protocols.dsp.callers import Caller
from yunhe.protocols.dsp.catalog import Catalog, Filter, Place, read_filters
from yunhe.protocols.dsp.errors import BadMessage
from yunhe.protocols.dsp.http import DspRoute, answer, raw_body, read_body, refusal
from yunhe.protocols.dsp.replies import Replies, rest_s
from yunhe.protocols.dsp.versions import BINDING, VERSION, WELL_KNOWN

PATH: Final = "/dsp/2025-1"
_FILTERS: Final = ("id", "keyword")

Authenticate = Callable[[Request], Party]
Read = Callable[[Body], contracts.Message]
ReadLater = Callable[[Body, str], contracts.Message]  # the pid of its path beside it
Tell = Callable[[Party, bytes], Response]  # the answer to a caller's body


def _spent(peer: Party) -> Caller:
    return Caller(peer, lambda _tx: peer, lambda: None)


def version_router(auth: Mapping[str, object] | None = None) -> APIRouter:
    """GET /.well-known/dspace-version, for the root of the host; no authentication.

    `auth` is how participants prove who they are here: protocol, version, profile.
    """
    router = APIRouter()

    @router.get(WELL_KNOWN, include_in_schema=False)
    def versions() -> dict[str, object]:
        one: dict[str, object] = {"version": VERSION, "path": PATH, "binding": BINDING}
        return {"protocolVersions": [one if auth is None else {**one, "auth": auth}]}

    return router


def router(
    service: Contracts,
    catalog: Catalog,
    authenticate: Authenticate,
    now: Callable[[], datetime],
    development: bool = False,
    replies: Replies | None = None,
    sender: Callable[[Request], Caller] | None = None,
) -> APIRouter:
    """Everything under `PATH`. `authenticate(request)` raises for strangers, and spends tokens;

    `sender(request)` leaves that to the message's own transaction.
    """
    sender = sender or (lambda request: _spent(authenticate(request)))
    hearing = _Hearing(service, replies or Replies(), sender)

    def caller(request: Request) -> Party:
        return authenticate(request)

    return side_by_side(
        APIRouter(),
        (
            _catalog_router(catalog, caller),
            _opening_router(hearing, development),
            _negotiation_router(service, hearing, caller),
            _transfer_router(service, hearing, caller, now, development),
        ),
    )


def catalog_router(catalog: Catalog, authenticate: Authenticate) -> APIRouter:
    """The catalogue alone, for a node that serves its federation and negotiates nothing."""

    def caller(request: Request) -> Party:
        return authenticate(request)

    return _catalog_router(catalog, caller)


def _part(name: str, kind: type[APIRoute] = DspRoute) -> APIRouter:
    return APIRouter(prefix=f"{PATH}/{name}", route_class=kind, tags=["dsp"])


def _catalog_router(catalog: Catalog, caller: Authenticate) -> APIRouter:
    router = _part("catalog", Bare)
    hands = Hands(limits.DSP_HANDS)

    async def told(request: Request, tell: Tell, body: bool = False) -> Response:
        try:
            raw = await raw_body(request) if body else b""
            return await hands.run(lambda: tell(caller(request), raw))
        except YunheError as error:
            return refusal(request, error)

    def page(request: Request, peer: Party, filters: list[Filter]) -> Response:
        # A link of ours repeats the filter; a body beside it may say the same once more.
        linked = [{name: v} for name, v in request.query_params.multi_items() if name in _FILTERS]
        both = [*dict.fromkeys([*filters, *read_filters(linked)])]
        body, links = catalog.page(both, _place(request), peer.did)
        return answer(request, body, 200, **links)

    @router.post("/request", openapi_extra=json_body(required=False))
    async def request_catalog(request: Request) -> Response:
        def first(peer: Party, raw: bytes) -> Response:
            # Some clients ask with an empty body, others without a context: both want everything.
            body = Body(loads_strict(raw) if raw.strip() else {})
            body.expect("CatalogRequestMessage")
            return page(request, peer, read_filters(body.data.get("filter")))

        return await told(request, first, body=True)

    @router.get("/request")
    async def linked_page(request: Request) -> Response:
        return await told(request, lambda peer, _: page(request, peer, []))

    @router.get("/datasets/{id_:path}")
    async def dataset(request: Request, id_: str) -> Response:
        return await told(request, lambda peer, _: answer(request, catalog.dataset(id_, peer.did)))

    return router


def _place(request: Request) -> Place:
    said = [
        Place(value, back=name == "before")
        for name, value in request.query_params.multi_items()
        if name in ("after", "before")
    ]
    if len(said) > 1 or any(not 0 < len(p.code) <= limits.PID_CHARS_MAX for p in said):
        raise BadMessage(field="after / before", why="is not the code of one entry")
    return said[0] if said else Place()


class _Hearing:
    """A message is heard and replied to; our own answer follows the reply."""

    def __init__(
        self, service: Contracts, replies: Replies, sender: Callable[[Request], Caller]
    ) -> None:
        self._service, self._replies, self._sender = service, replies, sender
        self._hands = Hands(limits.DSP_HANDS)

    async def opened(self, request: Request, read: Read, state: str) -> Response:
        """The reply to an opening message: our pid, and the state that this message led to."""
        return await self.heard(request, read, state, 201)

    async def heard(
        self, request: Request, read: Read, state: str = "", status: int = 200
    ) -> Response:
        """The reply: `state` where our own answer has moved on from what the message led to."""
        try:
            raw = await raw_body(request)
            return await self._hands.run(lambda: self._hear(request, raw, read, state, status))
        except YunheError as error:
            return refusal(request, error)

    def _hear(self, request: Request, raw: bytes, read: Read, state: str, status: int) -> Response:
        caller = self._sender(request)
        try:
            message = read(read_body(request, raw))
            return self._replied(request, message, caller, state, status)
        except Exception:
            caller.spend()  # a token is for one message, also for one that we refuse
            raise

    def _replied(
        self, request: Request, message: contracts.Message, caller: Caller, state: str, status: int
    ) -> Response:
        key = (caller.peer.did, message.sender_pid)
        self._replies.begin(key)
        try:
            told = self._service.receive(message, caller.peer, caller.admit)
            response = answer(request, wire.process(told, state), status)
        except BaseException:
            self._replies.done(key)
            raise
        rests = rest_s(request.headers.get("user-agent", ""))
        return _Leaving(response, lambda: self._replies.done(key, rests))


class _Leaving(Response):
    """A reply, and what is called when it has left, or cannot."""

    def __init__(self, reply: Response, left: Callable[[], None]) -> None:
        self._reply, self._left = reply, left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await self._reply(scope, receive, send)
        finally:
            self._left()


def _opening_router(hearing: _Hearing, development: bool) -> APIRouter:
    router = _part("negotiations", Bare)

    @router.post("/request", openapi_extra=json_body())
    async def first_request(request: Request) -> Response:
        return await hearing.opened(
            request, lambda body: wire.first_request(body, development), State.REQUESTED.value
        )

    @router.post("/offers", openapi_extra=json_body())
    async def first_offer(request: Request) -> Response:
        return await hearing.opened(
            request, lambda body: wire.first_offer(body, development), State.OFFERED.value
        )

    return router


_NEGOTIATION_POSTS: Final[tuple[tuple[str, ReadLater], ...]] = (
    ("request", wire.counter_request),
    ("offers", wire.counter_offer),
    ("agreement", wire.agreement),
    ("agreement/verification", wire.verification),
    ("events", wire.event),
    ("termination", wire.termination),
)


def _negotiation_router(service: Contracts, hearing: _Hearing, caller: Authenticate) -> APIRouter:
    router, heard = _part("negotiations"), _part("negotiations", Bare)

    @router.get("/{pid}")
    def show(request: Request, pid: str, peer: Party = Depends(caller)) -> Response:
        n = service.negotiation(pid)
        if n.peer_did != peer.did:
            raise contracts.NegotiationUnknown
        return answer(request, wire.negotiation(n))

    for tail, read in _NEGOTIATION_POSTS:
        _add_later(heard, "negotiation", tail, read, hearing)
    return side_by_side(router, [heard])


def _add_later(heard: APIRouter, what: str, tail: str, read: ReadLater, hearing: _Hearing) -> None:
    """The route of a later message of a conversation, which our pid names."""

    @heard.post("/{pid}/" + tail, name=f"{what}_{tail}", openapi_extra=json_body())
    async def hear(request: Request, pid: str) -> Response:
        return await hearing.heard(request, lambda body: read(body, pid))


def _transfer_router(
    service: Contracts,
    hearing: _Hearing,
    caller: Authenticate,
    now: Callable[[], datetime],
    development: bool,
) -> APIRouter:
    router, heard = _part("transfers"), _part("transfers", Bare)

    @heard.post("/request", openapi_extra=json_body())
    async def first(request: Request) -> Response:
        return await hearing.opened(
            request,
            lambda body: wire.transfer_request(body, development, now()),
            TransferState.REQUESTED.value,
        )

    @router.get("/{pid}")
    def show(request: Request, pid: str, peer: Party = Depends(caller)) -> Response:
        t = service.transfer(pid)
        if t.peer_did != peer.did:
            raise contracts.TransferUnknown
        return answer(request, wire.transfer(t))

    later: tuple[tuple[str, ReadLater], ...] = (
        ("start", lambda body, pid: wire.transfer_start(body, pid, now())),
        ("completion", wire.transfer_completion),
        ("suspension", wire.transfer_suspension),
        ("termination", wire.transfer_termination),
    )
    for tail, read in later:
        _add_later(heard, "transfer", tail, read, hearing)
    return side_by_side(router, [heard])

"""What every handler needs: the services of the node and who is calling.

The composition root fills `Services`; handlers get it and the `Principal` by dependency.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Container, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from inspect import iscoroutinefunction, signature
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from yunhe import (
    apps,
    catalog,
    contracts,
    control,
    dataplane,
    evidence,
    exchange,
    fabric,
    federation,
    identity,
    monitor,
)
from yunhe.api.errors import Unexpected
from yunhe.api.wait import Waiters
from yunhe.kernel.asgi import Chunks, Hands, Threads
from yunhe.kernel.db import no_room
from yunhe.kernel.errors import Invalid, Unauthenticated, YunheError
from yunhe.kernel.settings import NodeConfig
from yunhe.vault import Ask, Opened, Tracing, Vault


class FoundOffer(Protocol):
    """One offer as the provider's own catalogue states it."""

    @property
    def offer_id(self) -> str: ...
    @property
    def product_code(self) -> str: ...
    @property
    def provider_did(self) -> str: ...
    @property
    def address(self) -> str: ...
    @property
    def policy(self) -> contracts.Policy: ...


class Answer(Chunks, Protocol):
    """The governed result on its way through this node."""

    @property
    def use_id(self) -> str: ...
    @property
    def groups_withheld(self) -> bool: ...


class Inbox(Protocol):
    """Where pushes are asked for, awaited and kept."""

    def open(self, contract_id: str, wish: contracts.Wish) -> contracts.Transfer: ...
    def come(self, transfer_id: str) -> int | None: ...
    def file(self, transfer_id: str) -> Path: ...
    def discard(self, transfer_id: str) -> None: ...


class Profile(Protocol):
    """A sharing profile without its secret."""

    @property
    def id(self) -> str: ...
    @property
    def contract_id(self) -> str: ...
    @property
    def principal(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime: ...
    @property
    def revoked_at(self) -> datetime | None: ...


class MadeProfile(Protocol):
    """A fresh one, with the content of its file."""

    @property
    def profile(self) -> Profile: ...
    @property
    def file(self) -> dict[str, Any]: ...


class Profiles(Protocol):
    """The credentials of stock Delta Sharing clients."""

    def create(self, contract_id: str, purpose: str, principal: str, ttl_s: int) -> MadeProfile: ...
    def of_contract(self, contract_id: str) -> Sequence[Profile]: ...
    def revoke(self, profile_id: str) -> None: ...


class Sealed(Protocol):
    """SQL over sealed deliveries."""

    def query(self, transfer_id: str, sql: str, ask: Ask) -> Opened: ...


@dataclass(frozen=True)
class Services:
    """The verbs that the management API speaks to; one set a node."""

    config: NodeConfig
    identity: identity.Identity
    evidence: evidence.EvidenceLog
    holder: catalog.Holder
    register: catalog.Register
    federation: federation.Federation
    contracts: contracts.Contracts
    control: control.Control
    exchange: exchange.Exchange
    # (code, provider did, connector address) -> the provider's offers, from its own catalogue
    offers: Callable[[str, str, str], Sequence[FoundOffer]]
    # a connector's address -> where it speaks our version, by its version document
    dsp_base: Callable[[str], str]
    # (contract id, sql, purpose, use id, principal) -> the provider's answer
    ask: Callable[[str, str, str, str, str], Answer]
    # (peer did, contract id, sql) -> what the gate makes of it here, and where it would run
    explain: Callable[[str, str, str], dataplane.Governed]
    # contract id -> what its provider says is left of it
    left: Callable[[str], dict[str, Any]]
    inbox: Inbox
    figures: monitor.Figures
    readiness: monitor.Readiness
    checks: monitor.Checks
    fabric: fabric.Fabric
    profiles: Profiles
    vault: Vault
    apps: apps.Apps
    sealed: Sealed
    tracing: Tracing
    # transfer id -> bytes that its running push has sent
    sent: Callable[[str], int | None]
    # contract id, statement id or "" -> its evidence bundle
    bundle: Callable[[str, str], dict[str, Any]]
    waiters: Waiters
    hands: Hands  # what verbs run in
    queries: Threads
    streams: Threads


# It waits for nothing, so it is `async`: FastAPI sends every other dependency to a thread.
async def services(request: Request) -> Services:
    """The services of this app's node."""
    found: Services = request.app.state.services
    return found


def _check_parameters(request: Request, known: Container[str]) -> None:
    """Refuse a query parameter that the call does not have, or has twice."""
    for name in request.query_params:
        if name not in known:
            raise Invalid(why=f"there is no parameter {name[:64]}")
        if len(request.query_params.getlist(name)) > 1:
            raise Invalid(why=f"the parameter {name} stands twice")


class Verb(APIRoute):
    """A route whose answer is written in the thread of its verb, which is one of `Services.hands`.

    FastAPI would look at the answer in one more thread, and these are plain objects of JSON. A
    function that is not `async` names the services `parts`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        if not iscoroutinefunction(endpoint):
            endpoint = _written(endpoint, more.get("status_code") or 200)
        super().__init__(path, endpoint, **more)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind a look at the names of the query parameters; counted."""
        inner = super().get_route_handler()
        known = frozenset(field.alias for field in self.dependant.query_params)
        path = self.path.removeprefix("/api/v1")  # as docs/api.md has it: no id of anybody

        async def handle(request: Request) -> Response:
            code = Unexpected.code
            try:
                if request.scope["query_string"]:
                    _check_parameters(request, known)
                answer = await inner(request)
                code = "OK"
            except YunheError as refusal:
                code = refusal.code
                if isinstance(refusal, identity.RoleMissing):
                    await run_in_threadpool(_trespassed, request, f"{request.method} {path}")
                raise
            except RequestValidationError:
                code = Invalid.code
                raise
            except OSError as error:
                code = full.code if (full := no_room(error)) else code
                raise
            finally:
                request.app.state.services.figures.verb(f"{request.method} {path}", code)
            return answer

        return handle


def _written(endpoint: Callable[..., Any], status: int) -> Callable[..., Any]:
    if "parts" not in signature(endpoint).parameters:
        raise TypeError(f"{endpoint.__name__} names no parts")

    def written(named: dict[str, Any]) -> Response:
        answer = endpoint(**named)
        if isinstance(answer, Response):
            return answer
        content = to_json(answer, inf_nan_mode="null")
        return Response(content, status, media_type="application/json")

    @functools.wraps(endpoint)
    async def verb(**named: Any) -> Response:
        parts: Services = named["parts"]
        return await parts.hands.run(lambda: written(named))

    return verb


def face(tag: str, path: str = "") -> APIRouter:
    """The router of one noun of the management API."""
    return APIRouter(prefix=f"/api/v1{path}", tags=[tag], route_class=Verb)


def caller(*roles: str) -> Callable[..., Awaitable[identity.Principal]]:
    """A dependency: the authenticated caller, who holds one of `roles` (`admin` holds all)."""

    async def check(request: Request) -> identity.Principal:
        who = request.app.state.services.identity
        bearer = request.headers.get("authorization", "")
        principal: identity.Principal | None = who.tokens.known(bearer)
        if principal is None:
            principal = await run_in_threadpool(_authenticated, who, bearer, request)
        request.state.caller = principal
        if roles and not set(roles) & set(principal.roles):
            identity.require(principal, roles[0])
        return principal

    return check


def _trespassed(request: Request, what: str) -> None:
    parts: Services = request.app.state.services
    parts.identity.record_trespass(request.state.caller, what)


def _authenticated(who: identity.Identity, bearer: str, request: Request) -> identity.Principal:
    try:
        return who.authenticate(bearer)
    except Unauthenticated as refused:
        # Counted by source and minute, not one entry each: nobody fills our disk (§4.6).
        source = request.client.host if request.client else "?"
        who.refusals.refused(source, refused.code)
        raise


Parts = Annotated[Services, Depends(services)]
AnyCaller = Annotated[identity.Principal, Depends(caller())]
User = Annotated[identity.Principal, Depends(caller("user"))]
Provider = Annotated[identity.Principal, Depends(caller("provider"))]
Reviewer = Annotated[identity.Principal, Depends(caller("reviewer"))]
Operator = Annotated[identity.Principal, Depends(caller("operator"))]
Admin = Annotated[identity.Principal, Depends(caller("admin"))]
Trader = Annotated[identity.Principal, Depends(caller("user", "provider"))]

"""What every handler needs: the services of the node and who is calling.

The composition root fills `Services`; handlers get it and the `Principal` by dependency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Request
from fastapi.routing import APIRoute

from yunhe import catalog, contracts, control, evidence, exchange, federation, identity
from yunhe.api.wait import Waiters
from yunhe.kernel.asgi import Chunks, Threads
from yunhe.kernel.errors import Invalid, Unauthenticated
from yunhe.kernel.settings import NodeConfig


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
    # (contract id, sql, purpose, use id, principal) -> the provider's answer
    ask: Callable[[str, str, str, str, str], Answer]
    bundle: Callable[[str], dict[str, Any]]
    waiters: Waiters
    queries: Threads
    streams: Threads


# A dependency that waits for nothing is `async`: FastAPI sends every other one to a thread.
async def services(request: Request) -> Services:
    """The services of this app's node."""
    found: Services = request.app.state.services
    return found


async def known_parameters(request: Request) -> None:
    """A dependency: refuses a query parameter that the call does not have, or has twice."""
    route: APIRoute = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params}
    for name in request.query_params:
        if name not in known:
            raise Invalid(why=f"there is no parameter {name[:64]}")
        if len(request.query_params.getlist(name)) > 1:
            raise Invalid(why=f"the parameter {name} stands twice")


def face(tag: str, path: str = "") -> APIRouter:
    """The router of one noun of the management API."""
    return APIRouter(prefix=f"/api/v1{path}", tags=[tag], dependencies=[Depends(known_parameters)])


def caller(*roles: str) -> Callable[..., identity.Principal]:
    """A dependency: the authenticated caller, who holds one of `roles` (`admin` holds all)."""

    def check(
        request: Request, parts: Annotated[Services, Depends(services)]
    ) -> identity.Principal:
        source = request.client.host if request.client else "?"
        try:
            principal = parts.identity.authenticate(request.headers.get("authorization", ""))
        except Unauthenticated as refused:
            # Counted by source and minute, not one entry each: nobody fills our disk (§4.6).
            parts.identity.refusals.refused(source, refused.code)
            raise
        if roles and not set(roles) & set(principal.roles):
            identity.require(principal, roles[0])
        return principal

    return check


Parts = Annotated[Services, Depends(services)]
AnyCaller = Annotated[identity.Principal, Depends(caller())]
User = Annotated[identity.Principal, Depends(caller("user"))]
Provider = Annotated[identity.Principal, Depends(caller("provider"))]
Reviewer = Annotated[identity.Principal, Depends(caller("reviewer"))]
Admin = Annotated[identity.Principal, Depends(caller("admin"))]
Trader = Annotated[identity.Principal, Depends(caller("user", "provider"))]

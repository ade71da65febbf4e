"""What every handler needs: the services of the node and who is calling.

The composition root fills `Services`; handlers get it and the `Principal` by dependency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from yunhe import identity
from yunhe.kernel.settings import NodeConfig

if TYPE_CHECKING:
    from yunhe import catalog, contracts, control, evidence, exchange, federation
    from yunhe.api.relay import Relay
    from yunhe.api.wait import Waiters
    from yunhe.protocols.dsp import DspClient


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
    catalogues: DspClient
    relay: Relay
    waiters: Waiters


def services(request: Request) -> Services:
    """The services of this app's node."""
    found: Services = request.app.state.services
    return found


def caller(*roles: str) -> Callable[..., identity.Principal]:
    """A dependency: the authenticated caller, who holds one of `roles` (`admin` holds all)."""

    def check(
        request: Request, parts: Annotated[Services, Depends(services)]
    ) -> identity.Principal:
        header = request.headers.get("authorization", "")
        principal = parts.identity.authenticate(header, _source(request))
        if roles:
            parts.identity.require(principal, *roles)
        return principal

    return check


def _source(request: Request) -> str:
    return request.client.host if request.client else ""


Parts = Annotated[Services, Depends(services)]
AnyCaller = Annotated[identity.Principal, Depends(caller())]
User = Annotated[identity.Principal, Depends(caller("user"))]
Provider = Annotated[identity.Principal, Depends(caller("provider"))]
Reviewer = Annotated[identity.Principal, Depends(caller("reviewer"))]
Admin = Annotated[identity.Principal, Depends(caller("admin"))]
Trader = Annotated[identity.Principal, Depends(caller("user", "provider"))]

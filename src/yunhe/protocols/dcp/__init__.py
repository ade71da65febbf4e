"""Decentralized Claims Protocol 1.0: how foreign nodes prove who they are, and we to them.

In: HTTP of verifiers, issuers and holders; credential messages of our outbox. Out: presentations,
status lists, verified peers. The verbs are identity's; wire types live and die here.
"""

from __future__ import annotations

from yunhe.protocols.dcp.client import ClaimsClient, ClaimsDelivery
from yunhe.protocols.dcp.errors import NoSuchService, PeerFailed
from yunhe.protocols.dcp.routes import PATH, advertised, router
from yunhe.protocols.dcp.verifier import Speaker, Verifier

__all__ = [
    "PATH",
    "ClaimsClient",
    "ClaimsDelivery",
    "NoSuchService",
    "PeerFailed",
    "Speaker",
    "Verifier",
    "advertised",
    "router",
]

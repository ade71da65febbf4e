"""Dataspace Protocol 2025-1: version, catalogue, contract negotiation, transfer.

In: HTTP of peers, messages of our outbox, listed products. Out: typed messages for `contracts`,
DSP bodies on the wire. JSON-LD and ODRL live and die here.
"""

from __future__ import annotations

from yunhe.protocols.dsp.agreement import OdrlAgreement
from yunhe.protocols.dsp.callers import Caller, Callers
from yunhe.protocols.dsp.catalog import Catalog, CatalogEntry, Shelf, offer_id
from yunhe.protocols.dsp.client import DspClient
from yunhe.protocols.dsp.delivery import DspDelivery
from yunhe.protocols.dsp.errors import (
    BadMessage,
    BadPolicy,
    DatasetUnknown,
    FilterUnsupported,
    PeerRefused,
    PeerSilent,
)
from yunhe.protocols.dsp.offers import RemoteOffer
from yunhe.protocols.dsp.replies import Replies
from yunhe.protocols.dsp.routes import PATH, catalog_router, router, version_router
from yunhe.protocols.dsp.shelves import FederationShelf, OwnShelf, Shelves

__all__ = [
    "PATH",
    "BadMessage",
    "BadPolicy",
    "Caller",
    "Callers",
    "Catalog",
    "CatalogEntry",
    "DatasetUnknown",
    "DspClient",
    "DspDelivery",
    "FederationShelf",
    "FilterUnsupported",
    "OdrlAgreement",
    "OwnShelf",
    "PeerRefused",
    "PeerSilent",
    "RemoteOffer",
    "Replies",
    "Shelf",
    "Shelves",
    "catalog_router",
    "offer_id",
    "router",
    "version_router",
]

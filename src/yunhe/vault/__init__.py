"""Sealed delivery and the vault: the contract still holds after the data has arrived.

In: pushes that a receiver asks to be sealed for a key of its own. Out: encrypted streams, reads
admitted by this node's own control, destroyed keys with a signed proof. Evidence: that of every
use, `vault.read`, `vault.destroyed`, and at the provider `vault.read_reported`,
`vault.destroyed_reported`, `vault.proof_overdue`. Messages leave as `tds.ReportVault`,
`tds.EndVault`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from yunhe.contracts import Contracts
from yunhe.control import Control
from yunhe.kernel.db import Database
from yunhe.kernel.keys import SigningKey, jws_detached
from yunhe.kernel.settings import NodeConfig
from yunhe.vault.errors import ApplicationUnproven, VaultBroken, VaultTooLarge
from yunhe.vault.notebook import REPORT, Item, Keys, Notebook, Recorder
from yunhe.vault.provider import END, Provider
from yunhe.vault.reading import Ask, Books, Figures, Readings
from yunhe.vault.seal import check_key
from yunhe.vault.service import Opened, Opening, Vault
from yunhe.vault.store import Due, Note
from yunhe.vault.tracing import Given, Tracing, give
from yunhe.vault.watermark import (
    BIAS_FROM,
    BIAS_SPAN,
    KEY_MARK,
    SLOTS,
    UNIT,
    Marker,
    Recipient,
    Score,
    detect,
)

__all__ = [
    "BIAS_FROM",
    "BIAS_SPAN",
    "END",
    "KEY_MARK",
    "REPORT",
    "SLOTS",
    "UNIT",
    "ApplicationUnproven",
    "Ask",
    "Due",
    "Figures",
    "Given",
    "Item",
    "Keys",
    "Marker",
    "Note",
    "Opened",
    "Opening",
    "Recipient",
    "Score",
    "Tracing",
    "Vault",
    "VaultBroken",
    "VaultTooLarge",
    "check_key",
    "detect",
    "give",
    "of_node",
]


class Trust(Protocol):
    """The part of `identity.Identity` asked here."""

    def jose_name(self, did: str) -> str:
        """The name of our signatures' algorithm that a peer reads."""
        ...

    def region_of(self, did: str) -> str:
        """Where a member is registered; "" where that is not known."""
        ...


def of_node(
    db: Database,
    evidence: Recorder,
    contracts: Contracts,
    control: Control,
    key: SigningKey,
    trust: Trust,
    jwk_of: Callable[[str, str], Mapping[str, Any]],
    books: Books,
    config: NodeConfig,
) -> Vault:
    """The vault of a node, its keys below the data folder; it signs as the node does."""

    def sign(text: bytes, to: str) -> str:
        return jws_detached(key, text, algorithm=trust.jose_name(to))

    keys = Keys(config.did, sign, jwk_of)
    notebook = Notebook(evidence, keys)
    region = functools.partial(trust.region_of, config.did)
    readings = Readings(db, contracts, control, books, notebook, keys, region)
    provider = Provider(db, evidence, contracts, control, keys)
    folder = config.data_dir / "vault"
    return Vault(db, contracts, keys, notebook, readings, provider, folder)

"""Sealed delivery and the vault: the contract still holds after the data has arrived.

In: pushes that a receiver asks to be sealed for a key of its own. Out: encrypted streams, counted
reads, destroyed keys with a signed proof. Evidence: `vault.read`, `vault.destroyed`, and at the
provider `vault.read_reported`, `vault.destroyed_reported`. Messages leave as `tds.ReportVault`,
`tds.EndVault`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from yunhe.contracts import Contracts
from yunhe.kernel.db import Database
from yunhe.kernel.keys import SigningKey, jws_detached
from yunhe.kernel.settings import NodeConfig
from yunhe.vault.seal import check_key
from yunhe.vault.service import END, REPORT, Item, Keys, Opened, Recorder, Vault
from yunhe.vault.store import Note

__all__ = ["END", "REPORT", "Item", "Keys", "Note", "Opened", "Vault", "check_key", "of_node"]


class Books(Protocol):
    """The part of the exchange asked here."""

    def receipts(self, contract_id: str) -> list[Any]:
        """What this node has signed for under a contract."""
        ...


def of_node(
    db: Database,
    evidence: Recorder,
    contracts: Contracts,
    key: SigningKey,
    jose_name: Callable[[str], str],
    jwk_of: Callable[[str], Mapping[str, Any]],
    books: Books,
    config: NodeConfig,
) -> Vault:
    """The vault of a node, its keys below the data folder; it signs as the node does."""

    def sign(text: bytes, to: str) -> str:
        return jws_detached(key, text, algorithm=jose_name(to))

    keys = Keys(config.did, sign, jwk_of)
    folder = config.data_dir / "vault"
    return Vault(db, evidence, contracts, keys, lambda at: len(books.receipts(at)), folder)

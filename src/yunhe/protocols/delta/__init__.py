"""Delta Sharing: stock clients read what a contract shows, as governed Parquet.

In: a profile file that a user made for a contract. Out: shares, schemas, tables and files. Needs
no reader of ours; the use is asked of the provider like any other and charged once. Evidence:
`sharing.profile_created`, `sharing.profile_revoked`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter

from yunhe.contracts import ContractEnded, Contracts
from yunhe.kernel.db import Database, Tx
from yunhe.kernel.settings import NodeConfig
from yunhe.protocols.delta.files import Files
from yunhe.protocols.delta.profiles import MadeProfile, Profiles, Recorder
from yunhe.protocols.delta.router import router
from yunhe.protocols.delta.shares import Relayed, Shares
from yunhe.protocols.delta.store import Profile

__all__ = ["MadeProfile", "Profile", "Profiles", "Sharing", "sharing"]


@dataclass(frozen=True)
class Sharing:
    """The Delta Sharing face of one node, put together."""

    profiles: Profiles
    files: Files
    shares: Shares
    address: str

    def router(self, refused: Callable[[str, str], None]) -> APIRouter:
        """Its HTTP routes; `refused(source, code)` counts what strangers try."""
        return router(self.profiles, self.shares, self.files, self.address, refused)


def sharing(
    db: Database, evidence: Recorder, contracts: Contracts, relay: Relayed, config: NodeConfig
) -> Sharing:
    """The face of a connector; its files lie below the data folder and go with the contract."""
    profiles = Profiles(db, evidence, contracts, config.address)
    files = Files(config.data_dir / "shared", profiles.check)

    def ended(tx: Tx, event: ContractEnded) -> None:
        contract_id = event.contract.id
        tx.after_commit(lambda: files.ended(contract_id))

    db.events.on(ContractEnded, ended)
    return Sharing(profiles, files, Shares(relay, files), config.address)

"""One contract from certificate to settlement, as this node can prove it.

In: a contract's id and the slices that hold its parts. Out: the bundle that `yunhe verify` checks.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from yunhe.contracts import Contracts
from yunhe.evidence import EvidenceLog, entry_part, make_bundle
from yunhe.exchange.service import Exchange
from yunhe.identity import Identity
from yunhe.kernel import limits
from yunhe.kernel.clock import iso
from yunhe.kernel.keys import SigningKey


def bundle(
    contract_id: str,
    contracts: Contracts,
    identity: Identity,
    evidence: EvidenceLog,
    exchange: Exchange,
    key: SigningKey,
    now: datetime,
) -> dict[str, Any]:
    """The signed bundle; raises ContractUnknown, and that an entry's proof is not there yet."""

    def proved(entry_id: str) -> dict[str, Any]:
        proof = evidence.proof(entry_id, wait_s=limits.PROOF_WAIT_S_MAX)
        return entry_part(evidence.entry(entry_id), proof.text())

    contract = contracts.contract(contract_id)
    agreement = contract.agreement
    parts = exchange.bundle_parts(contract_id)
    for part in (*parts["uses"], *parts["settlements"]):
        part["entry"] = proved(part.pop("entry_id"))
    credentials = {
        identity.own_did: identity.own_credential(),
        contract.peer_did: identity.credential_of(contract.peer_did),
    }
    whole = {
        "exporter": identity.own_did,
        "exported_at": iso(now),
        "credentials": [credentials[agreement.provider_did], credentials[agreement.consumer_did]],
        "contract": {
            "agreement": json.loads(agreement.document),
            "provider_jws": agreement.provider_jws,
            "consumer_jws": agreement.consumer_jws,
            "entry": proved(contract.entry_id),
        },
        **parts,
    }
    return make_bundle(whole, key)

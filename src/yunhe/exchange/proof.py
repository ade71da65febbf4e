"""One contract from certificate to settlement, as this node can prove it.

In: a contract's id and the slices that hold its parts. Out: the bundle that `yunhe verify` checks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from yunhe.contracts import Contracts
from yunhe.evidence import EvidenceLog, entry_part, make_bundle
from yunhe.exchange.service import Exchange
from yunhe.identity import Held, Identity
from yunhe.kernel import limits
from yunhe.kernel.clock import iso, parse_iso
from yunhe.kernel.keys import BadSignature, SigningKey, verify_jws_detached


def bundle(
    contract_id: str,
    contracts: Contracts,
    identity: Identity,
    evidence: EvidenceLog,
    exchange: Exchange,
    key: SigningKey,
    now: datetime,
    statement_id: str = "",
) -> dict[str, Any]:
    """The signed bundle, of the whole contract or of one settled statement.

    Raises ContractUnknown, StatementUnknown, BundleTooLong, and that an entry's proof is not there
    yet.
    """

    def proved(entry_id: str) -> dict[str, Any]:
        proof = evidence.proof(entry_id, wait_s=limits.PROOF_WAIT_S_MAX)
        return entry_part(evidence.entry(entry_id), proof.text())

    def vouching(did: str, compact: str) -> list[str]:
        return _vouching(identity.credentials_of(did), at, compact, agreement.document)

    contract = contracts.contract(contract_id)
    agreement = contract.agreement
    parts = exchange.bundle_parts(contract_id, statement_id)
    for part in (*parts["uses"], *parts["settlements"]):
        part["entry"] = proved(part.pop("entry_id"))
    entry = proved(contract.entry_id)
    at = parse_iso(entry["leaf"]["t"])
    provider, *later = vouching(agreement.provider_did, agreement.provider_jws)
    consumer, *more = vouching(agreement.consumer_did, agreement.consumer_jws)
    whole = {
        "exporter": identity.own_did,
        "exported_at": iso(now),
        "credentials": [provider, consumer, *later, *more],
        "contract": {
            "agreement": json.loads(agreement.document),
            "provider_jws": agreement.provider_jws,
            "consumer_jws": agreement.consumer_jws,
            "entry": entry,
        },
        **parts,
    }
    return make_bundle(whole, key)


def _vouching(held: Sequence[Held], at: datetime, compact: str, document: bytes) -> list[str]:
    """Of a party's credentials (the oldest first) those that a bundle needs.

    First the one in force when the contract was logged, for the key that signed it (`compact`);
    "" where none is known. Then one for each other key that the party has had since.
    """
    if not held:
        return [""]
    skew = timedelta(seconds=limits.SI_TOKEN_SKEW_S)
    in_force = [each for each in held if each.begins_at <= at + skew and at < each.ends_at]
    signers = [each for each in in_force if _signed(each, compact, document)]
    first = (signers or in_force or held)[-1]
    since = {each.jwk["x"]: each.token for each in reversed(held) if at < each.ends_at}
    since.pop(first.jwk["x"], None)
    return [first.token, *list(since.values())[: limits.BUNDLE_CREDENTIALS_MAX // 2 - 1]]


def _signed(by: Held, compact: str, document: bytes) -> bool:
    try:
        verify_jws_detached(by.jwk, compact, document)
    except BadSignature:
        return False
    return True

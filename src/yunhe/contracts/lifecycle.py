"""A contract's own life: put in force, asked for, terminated, expired.

In: a verified negotiation, or the wish of a party to end. Out: the contract, and events on which
control opens and closes its quota in the same transaction. What ends here ends at the commit.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from yunhe.contracts import rules, store
from yunhe.contracts.desk import Desk, move, tell
from yunhe.contracts.errors import (
    ContractExpired,
    ContractTerminated,
    ContractUnknown,
    TermNotUnderstood,
)
from yunhe.contracts.events import ContractEnded, ContractInForce, TransferMoved
from yunhe.contracts.messages import TransferTermination
from yunhe.contracts.model import Contract, Negotiation, Side, Why
from yunhe.contracts.policy import Policy
from yunhe.contracts.rules import TransferVerb, Verb
from yunhe.kernel.canonical import sha256_hex
from yunhe.kernel.clock import iso
from yunhe.kernel.db import Tx


def put_in_force(desk: Desk, tx: Tx, n: Negotiation, said_by: Side) -> Negotiation:
    """FINALIZED: the contract binds from this commit on."""
    agreement = n.agreement
    if agreement is None:  # the table lets nobody finalize before VERIFIED
        raise LookupError(n.id)
    facts = {
        "contract": agreement.id,
        "document_sha256": sha256_hex(agreement.document),
        "provider_jws": agreement.provider_jws,
        "consumer_jws": agreement.consumer_jws,
        "signature_level": agreement.signature_level,
    }
    moved = move(desk, tx, n, Verb.FINALIZE, said_by, facts, contract_id=agreement.id)
    # Its own entry, which a bundle discloses: nothing of the haggling before stands in it.
    entry = desk.evidence.record(tx, "contract.in_force", {**facts, "at": iso(tx.now)})
    contract = Contract(
        id=agreement.id,
        role=n.role,
        peer_did=n.peer_did,
        address=n.address,
        product_code=n.product_code,
        policy=agreement.policy,
        state="in_force",
        version=1,
        agreement=agreement,
        negotiation_id=n.id,
        in_force_at=tx.now,
        expires_at=expiry(agreement.policy),
        entry_id=entry.entry_id,
    )
    store.insert_contract(tx, contract)
    tx.emit(ContractInForce(contract, tx.now))
    return moved


def expiry(policy: Policy) -> datetime | None:
    """When a contract of this policy ends by itself, if ever."""
    try:
        return policy.terms.expires_at
    except TermNotUnderstood:
        return None  # no use is ever allowed under such a policy, so nothing has to expire


def in_force(tx: Tx, contract_id: str, now: datetime, peer_did: str | None = None) -> Contract:
    """The contract, if it binds at `now` (and is `peer_did`'s, where given).

    Raises ContractUnknown (also for another's), ContractTerminated, ContractExpired.
    """
    contract = store.contract(tx, contract_id)
    if contract is None or (peer_did is not None and contract.peer_did != peer_did):
        raise ContractUnknown
    if contract.state == "terminated":
        end = contract.end or Why("")
        ended_at = iso(contract.ended_at) if contract.ended_at else ""
        raise ContractTerminated(
            contract_id=contract.id,
            ended_at=ended_at,
            reason=end.text("en"),
            reason_zh=end.text("zh"),
        )
    if contract.expires_at is not None and contract.expires_at <= now:
        raise ContractExpired(contract_id=contract.id, ended_at=iso(contract.expires_at))
    return contract


def terminate(desk: Desk, tx: Tx, contract_id: str, why: Why, by: str) -> Contract:
    """End a contract now and tell the peer through its open transfers; once done, a no-op."""
    if store.contract(tx, contract_id) is None:
        raise ContractUnknown
    return finish(desk, tx, contract_id, "terminated", why, by)


def finish(desk: Desk, tx: Tx, contract_id: str, state: str, why: Why, by: str) -> Contract:
    """Leave `in_force` for `state`, close open transfers, tell control and the peer."""
    if store.end_contract(tx, contract_id, state, why):
        contract = _contract(tx, contract_id)
        body = {"contract": contract.id, "by": by, "why": why.to_json(), "at": iso(tx.now)}
        desk.evidence.record(tx, f"contract.{state}", body)
        _close_transfers(tx, contract, why)
        tx.emit(ContractEnded(contract, by, tx.now))
        tx.after_commit(desk.bell.ring)
    return _contract(tx, contract_id)


def _contract(tx: Tx, contract_id: str) -> Contract:
    contract = store.contract(tx, contract_id)
    if contract is None:
        raise ContractUnknown
    return contract


def _close_transfers(tx: Tx, contract: Contract, why: Why) -> None:
    for transfer in store.transfers_of(tx, contract.id, open_only=True):
        to = rules.transfer_after(transfer.state, TransferVerb.TERMINATE, transfer.role)
        if to is None:
            continue
        closed = replace(transfer, state=to, error=why, data_address=None, updated_at=tx.now)
        store.save_transfer(tx, closed)
        tx.emit(TransferMoved(closed.id, contract.id, to, closed.role, closed.format, tx.now))
        message = TransferTermination(
            sender=closed.role,
            provider_pid=closed.provider_pid,
            consumer_pid=closed.consumer_pid,
            why=why,
            contract_id=contract.id if contract.state == "terminated" else "",
        )
        tell(tx, closed, message)


def expire_due(desk: Desk, tx: Tx, limit: int) -> int:
    """Write down the end of contracts whose time has come; returns how many."""
    due = store.due_contracts(tx, tx.now, limit)
    for contract in due:
        why = Why("CONTRACT_EXPIRED", ("The agreed end was reached.", "合约到期。"))
        finish(desk, tx, contract.id, "expired", why, desk.did)
    return len(due)

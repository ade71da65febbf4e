"""Uses that were made at another door than this node's data plane.

A receiver keeps a quota of its own for what was delivered to it sealed: its reads are admitted
here like any use, and what it drew from the provider counts with them (`hold`, `learn`). The
provider counts and charges the reads that its receiver signs for (`book`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from yunhe.contracts import Contract, ContractInForce
from yunhe.control import store
from yunhe.control.bodies import quota_of
from yunhe.control.errors import UseIdTaken
from yunhe.control.model import Posted
from yunhe.control.service import Control
from yunhe.kernel.db import Tx


@dataclass(frozen=True)
class Made:
    """One use as its party tells of it. `peer_did`: who made it; `entry_id`: our evidence of it."""

    use_id: str
    contract_id: str
    peer_did: str
    principal: str
    purpose: str
    rows: int
    bytes: int
    entry_id: str
    at: datetime


def hold(tx: Tx, contract: Contract, own_did: str) -> bool:
    """Open the receiver's quota of a contract in force; False where it stands already.

    Call it in a verb that has seen that the contract binds: its end closes the quota.
    """
    values = quota_of(ContractInForce(contract, contract.in_force_at))
    return store.open_quota(tx, {**values, "peer_did": own_did})


def known(tx: Tx, contract_id: str) -> int:
    """How many uses of a contract are posted here, wherever they were made."""
    return store.posted_count(tx, contract_id)


def learn(tx: Tx, found: Iterable[Made]) -> int:
    """Count uses of ours that the provider's door has given; a known one: no effect. How many."""
    count = 0
    for each in found:
        if store.add_use(tx, _row(each, "posted")):
            store.spend(tx, each.contract_id, each.rows, each.bytes)
            count += 1
    return count


def book(control: Control, tx: Tx, made: Made) -> Posted:
    """The provider counts, meters and charges a use that its receiver has signed for.

    One that is over the agreed number is charged too: it was made. Raises UseIdTaken for an id
    that is known, so that nobody ends a use under way by it, and GrantForged without a quota.
    """
    if not store.add_use(tx, _row(made, "released")):
        raise UseIdTaken
    store.spend(tx, made.contract_id, made.rows, 0)  # the bytes when it is posted
    return control.post_held(made.use_id, made.contract_id, made.rows, made.bytes, True)


def _row(made: Made, state: str) -> dict[str, object]:
    ended = {"ended_at": made.at, "rows": made.rows, "bytes": made.bytes, "fee_fen": 0}
    return {
        "use_id": made.use_id,
        "contract_id": made.contract_id,
        "peer_did": made.peer_did,
        "principal": made.principal,
        "action": "read",
        "purpose": made.purpose,
        "rows_max": made.rows,
        "state": state,
        "complete": True,
        "reserved_at": made.at,
        "entry_id": made.entry_id,
        **(ended if state == "posted" else {}),
    }
